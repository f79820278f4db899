#include "src/model/tokenizer.h"

#include <unistd.h>

#include "src/base/fs.h"
#include "src/base/rng.h"
#include "src/model/spm_proto.h"
#include "tests/unit/test.h"

static struct uqm_tokenizer *tokenizer;
static uint8_t *model; /* the zoo's file, with room to append a little */
static size_t model_len;
static char dir[] = "/tmp/uqm_tokenizer_XXXXXX";

enum { ROOM = 4096 };

static int load(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    char *data;
    assert_ok(uqm_tokenizer_open(&tokenizer, zoo_path("models/base"), &err), err);
    assert_ok(
        uqm_read_file(&data, &model_len, zoo_path("models/base/tokenizer.model"), 1 << 24, &err),
        err);
    model = realloc(data, model_len + ROOM);
    assert_non_null(model);
    assert_non_null(mkdtemp(dir));
    return 0;
}

static int unload(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    uqm_tokenizer_close(&tokenizer);
    assert_null(tokenizer);
    uqm_tokenizer_close(&tokenizer);
    free(model);
    assert_ok(uqm_remove_tree(dir, &err), err);
    return 0;
}

/* Open a tokenizer.model of these bytes, from a folder. */
static int open_bytes(struct uqm_tokenizer **out, const void *data, size_t len, struct uqm_err *err)
{
    char path[64];
    snprintf(path, sizeof path, "%s/tokenizer.model", dir);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    return uqm_tokenizer_open(out, dir, err);
}

/* The zoo's file with something behind it: of a setting that comes twice, the last one holds. */
static int open_with(struct uqm_tokenizer **out, const void *more, size_t n, struct uqm_err *err)
{
    assert_true(n <= ROOM);
    memcpy(model + model_len, more, n);
    return open_bytes(out, model, model_len + n, err);
}

static void assert_text(const int32_t *ids, size_t n, const char *expected)
{
    char *text;
    struct uqm_err err = { 0 };
    assert_ok(uqm_tokenizer_decode(&text, tokenizer, ids, n, &err), err);
    assert_string_equal(text, expected);
    free(text);
}

/* What is appended to the model, and what the refusal says. */
struct bad_model {
    const char *more;
    size_t n;
    const char *text;
};
#define CASE(bytes, text)                                                                          \
    {                                                                                              \
        bytes, sizeof bytes - 1, text                                                              \
    }

static void refuse_each(const struct bad_model *cases, size_t n, enum uqm_status code)
{
    for (size_t i = 0; i < n; i++) {
        struct uqm_tokenizer *t = NULL;
        struct uqm_err err = { 0 };
        assert_fails(open_with(&t, cases[i].more, cases[i].n, &err), err, code, cases[i].text);
        assert_null(t);
    }
}

static void other_kinds_of_model_are_refused_by_name(void **state)
{
    (void) state;
    static const struct bad_model cases[] = {
        CASE("\x12\x02\x18\x01", "tokenizer.model: a unigram model"),
        CASE("\x12\x02\x18\x63", "of another kind"),
        CASE("\x12\x03\xc0\x01\x01", "treat_whitespace_as_suffix is on"),
        CASE("\x12\x03\x98\x02\x00", "byte_fallback is off"),
        CASE("\x1a\x05\x12\x03zzz", "a character map of 3 bytes"),
        CASE("\x1a\x02\x18\x00", "add_dummy_prefix is off"),
        CASE("\x1a\x02\x20\x01", "remove_extra_whitespaces is on"),
        CASE("\x1a\x02\x28\x00", "escape_whitespaces is off"),
    };
    refuse_each(cases, sizeof cases / sizeof *cases, UQM_ERR_UNSUPPORTED);
}

static void contradictory_pieces_are_refused_by_number(void **state)
{
    (void) state;
    static const struct bad_model cases[] = {
        CASE("\x0a\x00", "piece 1000: no text"),
        CASE("\x0a\x02\x0a\x00", "piece 1000: 0 bytes long"),
        CASE("\x0a\x04\x0a\x02\xc3(", "piece 1000: not UTF-8"),
        CASE("\x0a\x05\x0a\x03qq\0", "piece 1000: not UTF-8"),
        CASE("\x0a\x08\x0a\x01q\x15\x00\x00\xc0\x7f", "piece 1000: the score is not finite"),
        CASE("\x0a\x05\x0a\x01q\x18\x07", "piece 1000: unknown type 7"),
        CASE("\x0a\x05\x0a\x01q\x18\x02", "piece 1000: a second unknown piece"),
        CASE("\x0a\x05\x0a\x01q\x18\x06", "piece 1000: a byte piece not spelled <0xNN>"),
        CASE("\x0a\x0a\x0a\x06<0x41>\x18\x06", "piece 1000: <0x41> a second time"),
        CASE("\x0a\x03\x0a\x01\x20\x08\x01", "a field of the wrong type"),
        CASE("\x0a\x05\x0a\x03\xe2\x96\x81", "tokenizer.model: "), /* a second lone U+2581 */
        CASE("\x0a\x7f\x0a", "a field runs past its end"),
        CASE("\x0b", "an unknown wire type"),
        CASE("\x02\x00", "a field number out of range"),
        CASE("\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "more than 64 bits"),
    };
    assert_int_equal(uqm_tokenizer_n_pieces(tokenizer), 1000);
    refuse_each(cases, sizeof cases / sizeof *cases, UQM_ERR_FORMAT);
}

static void a_cut_or_empty_or_missing_model_is_refused_with_its_path(void **state)
{
    (void) state;
    struct uqm_tokenizer *t = NULL;
    struct uqm_err err = { 0 };
    assert_fails(open_bytes(&t, "", 0, &err), err, UQM_ERR_FORMAT, "it has no pieces");
    assert_fails(uqm_tokenizer_open(&t, "/nowhere", &err), err, UQM_ERR_IO,
                 "/nowhere/tokenizer.model");
    /* The settings stand behind the pieces, so that no cut before them can pass. */
    for (size_t len = 1; len < model_len - 300; len += 37) {
        struct uqm_spm_model m;
        err = (struct uqm_err){ 0 };
        assert_true(uqm_spm_model_parse(&m, model, len, "x", &err) < 0);
        assert_true(err.msg[0] && !m.pieces);
    }
    assert_null(t);
}

/* Whatever passes our own reader must be safe in the library's hands. */
static void a_model_with_changed_bytes_is_refused_or_encodes(void **state)
{
    (void) state;
    struct uqm_rng rng;
    size_t n_opened = 0;
    uqm_rng_init(&rng, uqm_rng_stream(3, UQM_RNG_IMAGE, "test", "bytes", 0, 0));
    for (int round = 0; round < 120; round++) {
        struct uqm_tokenizer *t = NULL;
        struct uqm_err err = { 0 };
        uint8_t *copy = malloc(model_len);
        assert_non_null(copy);
        memcpy(copy, model, model_len);
        for (uint32_t n = 1 + uqm_rng_below(&rng, 3); n; n--)
            copy[uqm_rng_below(&rng, (uint32_t) model_len)] = (uint8_t) uqm_rng_u32(&rng);
        if (open_bytes(&t, copy, model_len, &err) == UQM_OK) {
            struct uqm_ids ids;
            assert_ok(uqm_tokenizer_encode(&ids, t, "you are a helpful caf\xc3\xa9", 22, &err),
                      err);
            for (size_t i = 0; i < ids.n; i++)
                assert_true(ids.v[i] >= 0 && ids.v[i] < uqm_tokenizer_n_pieces(t));
            uqm_ids_finish(&ids);
            uqm_tokenizer_close(&t);
            n_opened++;
        } else {
            assert_true(err.msg[0] && !t);
        }
        free(copy);
    }
    assert_true(n_opened > 0);
}

static void a_prompt_is_cut_at_the_marks_and_each_chunk_has_its_own_space(void **state)
{
    (void) state;
    struct uqm_ids ids, chunk;
    struct uqm_err err = { 0 };
    assert_ok(uqm_tokenizer_encode(&chunk, tokenizer, "A", 1, &err), err);
    assert_int_equal(chunk.n, 1);
    const int32_t a = chunk.v[0];
    assert_string_equal(uqm_tokenizer_piece(tokenizer, a), "\xe2\x96\x81"
                                                           "A");
    uqm_ids_finish(&chunk);

    assert_ok(uqm_tokenizer_encode_prompt(&ids, tokenizer, "<image>A<image><image>A<image", &err),
              err);
    const int32_t start[] = {
        1, UQM_IMAGE_PLACEHOLDER, a, UQM_IMAGE_PLACEHOLDER, UQM_IMAGE_PLACEHOLDER, a
    };
    assert_true(ids.n > 6); /* an unfinished mark is text */
    assert_memory_equal(ids.v, start, sizeof start);
    uqm_ids_finish(&ids);

    assert_ok(uqm_tokenizer_encode_prompt(&ids, tokenizer, "", &err), err);
    assert_int_equal(ids.n, 1);
    assert_int_equal(ids.v[0], 1);
    uqm_ids_finish(&ids);
}

static void malformed_input_becomes_replacement_characters(void **state)
{
    (void) state;
    struct uqm_ids ids, expected;
    struct uqm_err err = { 0 };
    assert_ok(uqm_tokenizer_encode(&ids, tokenizer,
                                   "a\xff"
                                   "b",
                                   3, &err),
              err);
    assert_ok(uqm_tokenizer_encode(&expected, tokenizer,
                                   "a\xef\xbf\xbd"
                                   "b",
                                   5, &err),
              err);
    assert_int_equal(ids.n, expected.n);
    assert_memory_equal(ids.v, expected.v, ids.n * sizeof *ids.v);
    uqm_ids_finish(&ids);
    uqm_ids_finish(&expected);
}

static void text_longer_than_any_prompt_is_refused(void **state)
{
    (void) state;
    const size_t len = 17 << 20;
    char *text = malloc(len);
    struct uqm_ids ids;
    struct uqm_err err = { 0 };
    assert_non_null(text);
    memset(text, 'a', len);
    assert_fails(uqm_tokenizer_encode(&ids, tokenizer, text, len, &err), err, UQM_ERR_UNSUPPORTED,
                 "17825792 bytes");
    free(text);
}

static void encoding_and_decoding_gives_the_text_back(void **state)
{
    (void) state;
    static const char *const texts[] = {
        "you are a helpful assistant",
        "na\xc3\xafve caf\xc3\xa9",
        "\xe6\x97\xa5\xe6\x9c\xac",
        "x",
        "two  spaces\nand a line",
        "<s> is text",
        "",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct uqm_ids ids;
        struct uqm_err err = { 0 };
        assert_ok(uqm_tokenizer_encode(&ids, tokenizer, texts[i], strlen(texts[i]), &err), err);
        assert_text(ids.v, ids.n, texts[i]);
        uqm_ids_finish(&ids);
    }
}

static void decoding_skips_special_ids_and_strips_white_space(void **state)
{
    (void) state;
    struct uqm_ids ids;
    struct uqm_err err = { 0 };
    const char text[] = " \n\t\xc2\xa0 you are \xe3\x80\x80\n";
    assert_ok(uqm_tokenizer_encode(&ids, tokenizer, text, sizeof text - 1, &err), err);
    assert_text(ids.v, ids.n, "you are");
    const int32_t first = ids.v[0];
    uqm_ids_finish(&ids);

    const int32_t special[] = { 1, 0, 2, -200, -1, 1000, 1063, INT32_MAX, first };
    assert_text(special, sizeof special / sizeof *special, "");
    assert_text(NULL, 0, "");
}

static void bytes_that_form_no_character_decode_to_replacement_characters(void **state)
{
    (void) state;
    const int32_t byte = 3; /* id of byte 0 */
    assert_string_equal(uqm_tokenizer_piece(tokenizer, byte), "<0x00>");
    const int32_t ids[] = { byte + 'a',  byte + 0xe6, byte + 0x97,
                            byte + 0xc3, byte + 0xa9, byte + 0xff };
    assert_text(ids, 6, "a\xef\xbf\xbd\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd");
}

static void pieces_out_of_range_are_empty(void **state)
{
    (void) state;
    assert_string_equal(uqm_tokenizer_piece(tokenizer, -200), "");
    assert_string_equal(uqm_tokenizer_piece(tokenizer, 1000), "");
    assert_string_equal(uqm_tokenizer_piece(tokenizer, 1), "<s>");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_kinds_of_model_are_refused_by_name),
        cmocka_unit_test(contradictory_pieces_are_refused_by_number),
        cmocka_unit_test(a_cut_or_empty_or_missing_model_is_refused_with_its_path),
        cmocka_unit_test(a_model_with_changed_bytes_is_refused_or_encodes),
        cmocka_unit_test(a_prompt_is_cut_at_the_marks_and_each_chunk_has_its_own_space),
        cmocka_unit_test(malformed_input_becomes_replacement_characters),
        cmocka_unit_test(text_longer_than_any_prompt_is_refused),
        cmocka_unit_test(encoding_and_decoding_gives_the_text_back),
        cmocka_unit_test(decoding_skips_special_ids_and_strips_white_space),
        cmocka_unit_test(bytes_that_form_no_character_decode_to_replacement_characters),
        cmocka_unit_test(pieces_out_of_range_are_empty),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
