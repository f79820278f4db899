/* Blocks of ggml's types, against the gguf package and against the format's own description. */
#include "compute/quant.h"
#include "src/base/dtype.h"
#include "tests/kernels/gguf_blocks.h"
#include "tests/unit/convert/gguf_reader.h"

enum { N = 512 };

/* The script's numbers. */
static void make_numbers(float x[N])
{
    uint32_t state = 12345;
    for (int i = 0; i < N; i++) {
        state = state * 1664525 + 1013904223;
        double unit = (double) (state >> 8) / (double) (1 << 24) - 0.5;
        x[i] = (float) (unit * (1 + i % 7) * (i == 300 ? 8.0 : 0.1));
    }
}

static void q8_0_is_the_packages_to_the_bit(void **state)
{
    (void) state;
    float x[N];
    uint8_t block[UQM_Q8_0_BYTES];
    make_numbers(x);
    for (int b = 0; b < N / 32; b++) {
        assert_true(uqm_quant_q8_0(block, x + 32 * b));
        assert_memory_equal(block, package_q8_0 + b * UQM_Q8_0_BYTES, sizeof block);
    }
}

static void q4_k_and_q6_k_are_read_by_the_package_as_meant(void **state)
{
    (void) state;
    float x[N];
    uint8_t q4[UQM_Q4_K_BYTES], q6[UQM_Q6_K_BYTES];
    make_numbers(x);
    for (size_t b = 0; b < 2; b++) {
        assert_true(uqm_quant_q4_k(q4, x + 256 * b) && uqm_quant_q6_k(q6, x + 256 * b));
        assert_memory_equal(q4, block_q4_k + b * sizeof q4, sizeof q4);
        assert_memory_equal(q6, block_q6_k + b * sizeof q6, sizeof q6);
        for (size_t i = 0; i < 256; i++) {
            assert_true(decode_q4_k(q4, i) == package_of_q4_k[256 * b + i]);
            assert_true(decode_q6_k(q6, i) == package_of_q6_k[256 * b + i]);
        }
    }
}

static double relative_error(const float *x, const struct read_tensor *t)
{
    double e = 0, n = 0;
    for (uint64_t i = 0; i < t->n_elem; i++) {
        double d = (double) element(t, i) - (double) x[i];
        e += d * d;
        n += (double) x[i] * (double) x[i];
    }
    return sqrt(e / n);
}

/* Sums of twelve even numbers are as good as normal ones. */
static float normal(uint32_t *state)
{
    float sum = -6;
    for (int i = 0; i < 12; i++) {
        *state = *state * 1664525 + 1013904223;
        sum += (float) (*state >> 8) / (float) (1 << 24);
    }
    return sum;
}

static void the_error_is_what_so_many_bits_allow(void **state)
{
    static const struct {
        const char *name;
        float scale, shift, outlier;
        double most[3]; /* Q8_0, Q4_K, Q6_K */
    } cases[] = {
        { "normal", 0.02f, 0, 1, { 0.0058, 0.073, 0.0178 } },
        { "shifted", 0.1f, 1, 1, { 0.0035, 0.0225, 0.0105 } },
        { "large", 1e4f, 0, 1, { 0.0058, 0.073, 0.0178 } },
        { "outliers", 0.01f, 0, 30, { 0.019, 0.1, 0.035 } },
    };
    enum { MANY = 64 * 256 };
    static float x[MANY];
    static uint8_t bytes[3][MANY * 2];
    (void) state;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        uint32_t seed = 3;
        for (size_t i = 0; i < MANY; i++)
            x[i] = cases[c].shift +
                   normal(&seed) * cases[c].scale * (i % 101 == 0 ? cases[c].outlier : 1);
        for (size_t b = 0; b < MANY / 32; b++)
            assert_true(uqm_quant_q8_0(bytes[0] + 34 * b, x + 32 * b));
        for (size_t b = 0; b < MANY / 256; b++)
            assert_true(uqm_quant_q4_k(bytes[1] + 144 * b, x + 256 * b) &&
                        uqm_quant_q6_k(bytes[2] + 210 * b, x + 256 * b));
        for (size_t k = 0; k < 3; k++) {
            static const uint32_t types[] = { 8, 12, 14 };
            struct read_tensor t = { .type = types[k], .n_elem = MANY, .data = bytes[k] };
            double e = relative_error(x, &t);
            if (!(e <= cases[c].most[k]))
                fail_msg("%s, type %u: %g", cases[c].name, types[k], e);
        }
    }
}

static void blocks_of_equal_or_tiny_numbers_hold_them(void **state)
{
    static const float values[] = { 0, 1, -1, 3e-5f, 1e-9f, 1e-41f, -1e-45f, 60000 };
    (void) state;
    for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
        float x[256], f16 = 6e-8f; /* the least step of F16's scales */
        uint8_t b8[34], b4[144], b6[210];
        for (int i = 0; i < 256; i++)
            x[i] = values[v];
        assert_true(uqm_quant_q8_0(b8, x) && uqm_quant_q4_k(b4, x) && uqm_quant_q6_k(b6, x));
        for (size_t i = 0; i < 256; i++) {
            float most = fabsf(x[i]) / 100 + 128 * f16;
            assert_true(fabsf(decode_q4_k(b4, i) - x[i]) <= most);
            assert_true(fabsf(decode_q6_k(b6, i) - x[i]) <= most);
            assert_true(fabsf(half_at(b8) * (float) (int8_t) b8[2 + i % 32] - x[i]) <= most);
        }
    }
}

static void what_no_block_can_hold_is_refused(void **state)
{
    (void) state;
    static const float bad[] = { NAN, -NAN, INFINITY, -INFINITY, 3e38f, -1e8f };
    for (size_t v = 0; v < sizeof bad / sizeof *bad; v++)
        for (size_t at = 0; at < 256; at += 51) {
            float x[256] = { 0 };
            uint8_t b[256];
            x[at] = bad[v];
            assert_false(uqm_quant_q8_0(b, x + at / 32 * 32));
            assert_false(uqm_quant_q4_k(b, x));
            /* 1e8 is within what six bits and their scales reach */
            assert_int_equal(uqm_quant_q6_k(b, x), bad[v] == -1e8f);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(q8_0_is_the_packages_to_the_bit),
        cmocka_unit_test(q4_k_and_q6_k_are_read_by_the_package_as_meant),
        cmocka_unit_test(the_error_is_what_so_many_bits_allow),
        cmocka_unit_test(blocks_of_equal_or_tiny_numbers_hold_them),
        cmocka_unit_test(what_no_block_can_hold_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
