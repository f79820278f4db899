/* Weights laid out for the shaders: shaders/weights.glsl says how. */
#include "compute/vk/vk_pack.h"
#include "tests/kernels/buffers.h"

static const struct {
    size_t n, k;
} shapes[] = { { 1, 1 },   { 7, 8 },   { 8, 7 },    { 9, 12 },
               { 17, 36 }, { 64, 64 }, { 65, 129 }, { 3, 4097 } };

static void every_byte_is_written_and_padding_is_zero(void **state)
{
    (void) state;
    static const enum uqm_dtype dtypes[] = { UQM_F16, UQM_BF16, UQM_F32 };
    struct random r = { 5 };
    struct uqm_threads *threads = NULL;
    struct uqm_err err = { 0 };
    assert_ok(uqm_threads_create(&threads, 3, &err), err);
    for (size_t c = 0; c < 3 * sizeof shapes / sizeof *shapes; c++) {
        const enum uqm_dtype dtype = dtypes[c % 3];
        const size_t n = shapes[c / 3].n, k = shapes[c / 3].k, elem = uqm_dtype_bytes(dtype, 1);
        const size_t n_blocks = (k + 7) / 8;
        const uint64_t bytes = uqm_vk_packed_bytes(dtype, n, k);
        assert_int_equal(bytes, (n + 7) / 8 * n_blocks * 64 * elem);

        struct buffer w = buffer_make(n * k * elem, 2), packed = buffer_make(bytes, 0);
        for (size_t i = 0; i < n * k * elem; i++)
            ((unsigned char *) w.p)[i] = (unsigned char) (random_u32(&r) | 1);
        uqm_vk_pack(packed.p, w.p, dtype, n, k, c % 2 ? threads : NULL);
        for (size_t row = 0; row < (n + 7) / 8 * 8; row++) {
            for (size_t j = 0; j < n_blocks * 8; j++) {
                const size_t at = (row / 8 * n_blocks + j / 8) * 64 + row % 8 * 8 + j % 8;
                const unsigned char *got = (unsigned char *) packed.p + at * elem;
                static const unsigned char zeros[4];
                bool inside = row < n && j < k;
                assert_memory_equal(
                    got, inside ? (unsigned char *) w.p + (row * k + j) * elem : zeros, elem);
            }
        }
        buffer_check_and_free(&w);
        buffer_check_and_free(&packed);
    }
    uqm_threads_destroy(&threads);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_is_written_and_padding_is_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
