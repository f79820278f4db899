#include "src/checkpoint/strided.h"

#include "tests/unit/checkpoint/checkpoint_test.h"

enum { STORAGE_BYTES = 300007, MAX_RANK = 5 };

struct sample {
    struct uqm_strided t;
    uint64_t shape[MAX_RANK], strides[MAX_RANK], n_elem;
};

static uint64_t below_n(uint64_t *state, uint64_t n)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (*state >> 33) % n;
}

/* A view of the storage: axes of a packed array in another order, some skipped, some repeated. */
static void draw(struct sample *s, struct uqm_file *file, uint64_t *state)
{
    static const unsigned sizes[] = { 1, 2, 4, 8 };
    unsigned order[MAX_RANK];
    *s = (struct sample){
        .t = { .file = file, .begin = 13, .end = 13, .shape = s->shape, .strides = s->strides }
    };
    s->t.rank = (unsigned) below_n(state, MAX_RANK + 1);
    s->t.elem_bytes = sizes[below_n(state, 4)];
    s->t.swap_bytes = below_n(state, 2) && s->t.elem_bytes > 1 ? s->t.elem_bytes : 0;
    uint64_t packed = 1 + below_n(state, 3), span = 0;
    s->n_elem = 1;
    for (unsigned d = 0; d < s->t.rank; d++) {
        unsigned k = (unsigned) below_n(state, d + 1);
        order[d] = order[k];
        order[k] = d;
    }
    for (unsigned i = 0; i < s->t.rank; i++) {
        unsigned d = order[i];
        s->shape[d] = 1 + below_n(state, i == 0 ? 40 : 7);
        s->strides[d] = below_n(state, 9) == 0 ? 0 : packed;
        packed *= s->shape[d] + below_n(state, 3);
        span += (s->shape[d] - 1) * s->strides[d];
        s->n_elem *= s->shape[d];
    }
    s->t.offset_elem = below_n(state, 50);
    s->t.end = s->t.begin + (s->t.offset_elem + span + 1) * s->t.elem_bytes;
}

/* Element by element, from the definition. */
static void expect(uint8_t *out, const struct sample *s, const uint8_t *storage)
{
    for (uint64_t i = 0; i < s->n_elem; i++) {
        uint64_t at = s->t.offset_elem, rest = i;
        for (unsigned d = s->t.rank; d-- > 0; rest /= s->shape[d])
            at += rest % s->shape[d] * s->strides[d];
        const uint8_t *p = storage + s->t.begin + at * s->t.elem_bytes;
        for (unsigned k = 0; k < s->t.elem_bytes; k++)
            out[i * s->t.elem_bytes + k] = p[s->t.swap_bytes ? s->t.elem_bytes - 1 - k : k];
    }
}

static void any_view_read_in_any_pieces_is_the_tensor(void **state)
{
    struct folder *f = *state;
    uint8_t *storage = malloc(STORAGE_BYTES), *want = malloc(STORAGE_BYTES * 8);
    uint8_t *got = malloc(STORAGE_BYTES * 8);
    uint64_t rng = 42;
    struct uqm_file *file = NULL;
    struct uqm_err err = { 0 };
    for (size_t i = 0; i < STORAGE_BYTES; i++)
        storage[i] = (uint8_t) below_n(&rng, 256);
    put_file(below(f, "storage"), storage, STORAGE_BYTES);
    assert_ok(uqm_file_open(&file, test_env(UINT64_C(64) << 20, 1), below(f, "storage"), &err),
              err);
    int n_done = 0;
    while (n_done < 400) {
        struct sample s;
        struct uqm_file *made = NULL;
        draw(&s, file, &rng);
        if (s.t.end > STORAGE_BYTES || s.n_elem * s.t.elem_bytes > STORAGE_BYTES * 8)
            continue;
        expect(want, &s, storage);
        assert_ok(uqm_strided_open(&made, &s.t, "t", &err), err);
        uint64_t n = s.n_elem * s.t.elem_bytes;
        assert_int_equal(made->size_bytes, n);
        memset(got, 0x55, (size_t) n);
        for (uint64_t at = 0; at < n;) { /* at odd places too */
            uint64_t len = 1 + below_n(&rng, n_done % 2 ? 100 : 50000);
            len = len < n - at ? len : n - at;
            assert_ok(uqm_file_read(made, got + at, (size_t) len, at, &err), err);
            at += len;
        }
        if (memcmp(got, want, (size_t) n) != 0)
            fail_msg("view %d: other bytes", n_done);
        uqm_file_close(&made);
        n_done++;
    }
    uqm_file_close(&file);
    free(storage);
    free(want);
    free(got);
}

/* 600 x 250 of F16, transposed: more than a window in either direction. */
static void a_large_transposed_matrix_is_gathered(void **state)
{
    struct folder *f = *state;
    static uint16_t storage[150000], got[150000];
    static const uint64_t shape[] = { 250, 600 }, strides[] = { 1, 250 };
    struct uqm_file *file = NULL, *made = NULL;
    struct uqm_err err = { 0 };
    for (size_t i = 0; i < 150000; i++)
        storage[i] = (uint16_t) (i * 40503u >> 3);
    put_file(below(f, "storage"), storage, sizeof storage);
    assert_ok(uqm_file_open(&file, test_env(UINT64_C(64) << 20, 1), below(f, "storage"), &err),
              err);
    const struct uqm_strided t = { .file = file,
                                   .end = sizeof storage,
                                   .elem_bytes = 2,
                                   .rank = 2,
                                   .shape = shape,
                                   .strides = strides };
    assert_ok(uqm_strided_open(&made, &t, "t", &err), err);
    assert_ok(uqm_file_read(made, got, sizeof got, 0, &err), err);
    for (size_t r = 0; r < 250; r++)
        for (size_t c = 0; c < 600; c++)
            if (got[r * 600 + c] != storage[c * 250 + r])
                fail_msg("row %zu, column %zu", r, c);
    uqm_file_close(&made);
    uqm_file_close(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(any_view_read_in_any_pieces_is_the_tensor, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(a_large_transposed_matrix_is_gathered, make_folder,
                                        remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
