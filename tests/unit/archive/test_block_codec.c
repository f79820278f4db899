#include "src/archive/block_codec.h"
#include "src/archive/planes.h"
#include "tests/unit/archive/archive_test.h"

enum { MOST = 1 << 18 };

/* --- planes --- */

/* Bit by bit, from the definition. */
static uint8_t plane_byte(const uint8_t *word, size_t size, size_t plane)
{
    uint32_t v = 0, bits = (uint32_t) size * 8;
    for (size_t i = 0; i < size; i++)
        v |= (uint32_t) word[i] << 8 * i;
    uint64_t rotated = ((uint64_t) v << 1 | v >> (bits - 1)) & ((UINT64_C(1) << bits) - 1);
    return (uint8_t) (rotated >> 8 * (size - 1 - plane));
}

static void check_planes(size_t n, size_t size, size_t misaligned)
{
    uint8_t *words = malloc(n * size + 8), *back = malloc(n * size + 8), *planes[4];
    assert_true(words && back);
    for (size_t p = 0; p < 4; p++) {
        planes[p] = malloc(n + 1);
        assert_non_null(planes[p]);
        planes[p][n] = 0xA5;
    }
    for (size_t i = 0; i < n * size; i++)
        words[misaligned + i] = (uint8_t) bits_at(i + size);
    const uint8_t *const read[4] = { planes[0], planes[1], planes[2], planes[3] };
    back[misaligned + n * size] = 0x5A;
    if (size == 2) {
        uqm_planes_split16(planes, words + misaligned, n);
        uqm_planes_join16(back + misaligned, read, n);
    } else {
        uqm_planes_split32(planes, words + misaligned, n);
        uqm_planes_join32(back + misaligned, read, n);
    }
    for (size_t i = 0; i < n; i++)
        for (size_t p = 0; p < size; p++)
            assert_int_equal(planes[p][i], plane_byte(words + misaligned + i * size, size, p));
    assert_memory_equal(back + misaligned, words + misaligned, n * size);
    assert_int_equal(back[misaligned + n * size], 0x5A);
    for (size_t p = 0; p < 4; p++) {
        assert_int_equal(planes[p][n], 0xA5);
        free(planes[p]);
    }
    free(words);
    free(back);
}

static void planes_are_the_bytes_of_rotated_words_at_any_length_and_alignment(void **state)
{
    (void) state;
    for (size_t n = 0; n < 200; n++)
        for (size_t m = 0; m < 3; m++) {
            check_planes(n, 2, m);
            check_planes(n, 4, m);
        }
}

static void exclusive_or_is_exact_at_any_length_and_in_place(void **state)
{
    (void) state;
    uint8_t a[1300], b[1300], out[1301];
    for (size_t i = 0; i < sizeof a; i++) {
        a[i] = (uint8_t) bits_at(i);
        b[i] = (uint8_t) bits_at(i + 5000);
    }
    for (size_t n = 0; n <= sizeof a; n += n < 20 ? 1 : 61) {
        out[n] = 7;
        uqm_planes_xor(out, a, b, n);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(out[i], a[i] ^ b[i]);
        assert_int_equal(out[n], 7);
        uqm_planes_xor(out, out, b, n);
        assert_memory_equal(out, a, n);
    }
}

static void noise_looks_unpackable_and_anything_skewed_does_not(void **state)
{
    (void) state;
    uint8_t *v = malloc(MOST);
    assert_non_null(v);
    for (size_t n = 4096; n <= MOST; n *= 2) {
        for (size_t i = 0; i < n; i++)
            v[i] = (uint8_t) (bits_at(i + n) >> 8);
        assert_false(uqm_planes_look_packable(v, n));
        for (size_t i = 0; i < n; i++)
            v[i] = (uint8_t) (bits_at(i + n) % 230); /* 7.85 bits */
        assert_true(uqm_planes_look_packable(v, n));
        memset(v, 0, n / 2);
        assert_true(uqm_planes_look_packable(v, n));
    }
    assert_false(uqm_planes_look_packable(v, 0));
    free(v);
}

/* --- blocks --- */

struct codec_fixture {
    struct uqm_env *env;
    struct uqm_block_codec *codec;
    uint8_t *stored, *back;
};

static void open_codec(struct codec_fixture *f)
{
    struct uqm_err err = { 0 };
    f->env = test_env(64 << 20, 1);
    f->codec = NULL;
    f->stored = malloc(MOST);
    f->back = malloc(MOST + 1);
    assert_true(f->stored && f->back);
    assert_ok(uqm_block_codec_create(&f->codec, f->env, MOST, &err), err);
}

static void close_codec(struct codec_fixture *f)
{
    uqm_block_codec_destroy(&f->codec);
    assert_null(f->codec);
    assert_int_equal(uqm_budget_left(f->env), f->env->budget.limit_bytes);
    free(f->stored);
    free(f->back);
}

/* Returns the stored size. */
static size_t round_trip(struct codec_fixture *f, enum uqm_archive_words words,
                         const uint8_t *plain, size_t n, const uint8_t *base)
{
    struct uqm_archive_block b;
    struct uqm_err err = { 0 };
    size_t sum = 0;
    assert_ok(uqm_block_encode(f->codec, &b, f->stored, words, plain, n, base, &err), err);
    for (unsigned p = 0; p < words; p++) {
        assert_true(b.planes[p].stored_bytes > 0 && b.planes[p].stored_bytes <= n / words);
        assert_true(b.planes[p].packed == (b.planes[p].stored_bytes < n / words));
        sum += b.planes[p].stored_bytes;
    }
    assert_int_equal(sum, b.stored_bytes);
    assert_true(sum <= n);
    assert_int_equal(b.plain_xxh3, uqm_xxh3_64(plain, n, 0));
    assert_int_equal(b.stored_xxh3, uqm_xxh3_64(f->stored, sum, 0));
    f->back[n] = 0x77;
    assert_ok(uqm_block_decode(f->codec, f->back, n, words, &b, f->stored, base, &err), err);
    assert_memory_equal(f->back, plain, n);
    assert_int_equal(f->back[n], 0x77);
    return sum;
}

static void blocks_of_every_kind_and_odd_sizes_come_back(void **state)
{
    (void) state;
    static const enum uqm_archive_words kinds[] = { UQM_ARCHIVE_BYTES, UQM_ARCHIVE_WORDS16,
                                                    UQM_ARCHIVE_WORDS32 };
    struct codec_fixture f;
    open_codec(&f);
    uint8_t *noise = malloc(MOST), *text = calloc(1, MOST);
    assert_true(noise && text);
    for (size_t i = 0; i < MOST; i++)
        noise[i] = (uint8_t) (bits_at(i) >> 16);
    for (size_t i = 0; i < MOST; i++)
        text[i] = (uint8_t) "{\"weights\": [0, 1, 2]} "[i % 23];
    for (size_t k = 0; k < 3; k++)
        for (size_t w = 1; w < MOST / kinds[k]; w = w < 40 ? w + 1 : w * 3 + 1) {
            size_t n = w * kinds[k];
            assert_int_equal(round_trip(&f, kinds[k], noise, n, NULL), n);
            round_trip(&f, kinds[k], text, n, NULL);
            round_trip(&f, kinds[k], text, n, noise);
            round_trip(&f, kinds[k], noise, n, noise + (MOST - n) / 2);
        }
    assert_true(round_trip(&f, UQM_ARCHIVE_BYTES, text, MOST, NULL) < MOST / 100);
    free(noise);
    free(text);
    close_codec(&f);
}

static void gaussian_weights_pack_to_within_a_hundredth_of_their_entropy(void **state)
{
    (void) state;
    static const struct {
        enum uqm_dtype dtype;
        enum uqm_archive_words words;
    } kinds[] = { { UQM_BF16, UQM_ARCHIVE_WORDS16 },
                  { UQM_F16, UQM_ARCHIVE_WORDS16 },
                  { UQM_F32, UQM_ARCHIVE_WORDS32 } };
    struct codec_fixture f;
    open_codec(&f);
    for (size_t k = 0; k < 3; k++) {
        size_t n = MOST / kinds[k].words;
        uint8_t *w = make_weights(kinds[k].dtype, n, k + 1, 0.02);
        double bound = entropy_bound(w, n, kinds[k].words);
        double stored = (double) round_trip(&f, kinds[k].words, w, MOST, NULL);
        double price = UQM_ARCHIVE_BLOCK_ENTRY + 4 * kinds[k].words;
        print_message("# %s: %.4f of its size, the bound is %.4f\n", uqm_dtype_name(kinds[k].dtype),
                      stored / MOST, bound / MOST);
        assert_true(stored + price < 1.01 * bound);
        free(w);
    }
    close_codec(&f);
}

static void a_fine_tune_as_a_delta_is_less_than_half(void **state)
{
    (void) state;
    struct codec_fixture f;
    open_codec(&f);
    size_t n = MOST / 2;
    uint16_t *base = malloc(MOST), *tuned = malloc(MOST);
    assert_true(base && tuned);
    for (size_t i = 0; i < n; i++) {
        double w = gauss_at(1, i, 0.02);
        base[i] = uqm_bf16_of_f32((float) w);
        tuned[i] = uqm_bf16_of_f32((float) (w + gauss_at(2, i, 0.02 / 40)));
    }
    size_t stored =
        round_trip(&f, UQM_ARCHIVE_WORDS16, (const uint8_t *) tuned, MOST, (const uint8_t *) base);
    print_message("# delta of sigma / 40: %.4f of its size\n", (double) stored / MOST);
    assert_true(stored * 2 < MOST);
    assert_true(round_trip(&f, UQM_ARCHIVE_WORDS16, (const uint8_t *) base, MOST,
                           (const uint8_t *) base) < 64);
    free(base);
    free(tuned);
    close_codec(&f);
}

static void damage_is_found_before_a_byte_is_trusted(void **state)
{
    (void) state;
    struct codec_fixture f;
    struct uqm_archive_block b;
    struct uqm_err err = { 0 };
    open_codec(&f);
    size_t n = 3000;
    uint8_t *w = make_weights(UQM_BF16, n, 9, 0.02), *other = make_weights(UQM_BF16, n, 10, 0.02);
    assert_ok(uqm_block_encode(f.codec, &b, f.stored, UQM_ARCHIVE_WORDS16, w, 2 * n, NULL, &err),
              err);
    size_t unnoticed = 0;
    for (size_t i = 0; i < b.stored_bytes; i++)
        for (int bit = 0; bit < 8; bit += 3) {
            f.stored[i] ^= (uint8_t) (1 << bit);
            int ret = uqm_block_decode(f.codec, f.back, 2 * n, UQM_ARCHIVE_WORDS16, &b, f.stored,
                                       NULL, &err);
            if (ret == UQM_OK) {
                /* a bit that means nothing: the bytes must be right all the same */
                assert_memory_equal(f.back, w, 2 * n);
                unnoticed++;
            } else {
                assert_int_equal(ret, UQM_ERR_FORMAT);
                assert_non_null(strstr(err.msg, "damaged"));
            }
            assert_int_not_equal(uqm_xxh3_64(f.stored, b.stored_bytes, 0), b.stored_xxh3);
            f.stored[i] ^= (uint8_t) (1 << bit);
        }
    assert_true(unnoticed < 16);

    assert_ok(uqm_block_encode(f.codec, &b, f.stored, UQM_ARCHIVE_WORDS16, w, 2 * n, other, &err),
              err);
    other[17] ^= 1;
    assert_fails(
        uqm_block_decode(f.codec, f.back, 2 * n, UQM_ARCHIVE_WORDS16, &b, f.stored, other, &err),
        err, UQM_ERR_FORMAT, "the base is not the one");
    free(w);
    free(other);
    close_codec(&f);
}

static void frames_hold_exactly_what_was_put_in_them(void **state)
{
    (void) state;
    uint8_t text[5000], back[5001];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t) (i % 7);
    for (size_t n = 0; n <= sizeof text; n = n < 10 ? n + 1 : n * 5) {
        size_t stored;
        bool packed;
        uint8_t *frame = uqm_frame_pack(&stored, &packed, text, n);
        assert_non_null(frame);
        if (packed) {
            assert_true(stored < n);
            assert_true(uqm_frame_unpack(back, n, frame, stored));
            assert_memory_equal(back, text, n);
            assert_false(uqm_frame_unpack(back, n + 1, frame, stored));
            assert_false(uqm_frame_unpack(back, n, frame, stored - 1));
        } else {
            assert_int_equal(stored, n);
            assert_memory_equal(frame, text, n);
        }
        free(frame);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(planes_are_the_bytes_of_rotated_words_at_any_length_and_alignment),
        cmocka_unit_test(exclusive_or_is_exact_at_any_length_and_in_place),
        cmocka_unit_test(noise_looks_unpackable_and_anything_skewed_does_not),
        cmocka_unit_test(blocks_of_every_kind_and_odd_sizes_come_back),
        cmocka_unit_test(gaussian_weights_pack_to_within_a_hundredth_of_their_entropy),
        cmocka_unit_test(a_fine_tune_as_a_delta_is_less_than_half),
        cmocka_unit_test(damage_is_found_before_a_byte_is_trusted),
        cmocka_unit_test(frames_hold_exactly_what_was_put_in_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
