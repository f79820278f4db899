#include <math.h>

#include "src/base/rng.h"
#include "tests/unit/test.h"

/* Known answers of the Random123 distribution (kat_vectors, philox4x32 10). */
static void philox_gives_the_published_vectors(void **state)
{
    (void) state;
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } kat[] = {
        { { 0, 0, 0, 0 }, { 0, 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
        { { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff },
          { 0xffffffff, 0xffffffff },
          { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
        { { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 },
          { 0xa4093822, 0x299f31d0 },
          { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
    };
    for (size_t i = 0; i < sizeof kat / sizeof *kat; i++) {
        uint32_t out[4];
        uqm_philox4x32(out, kat[i].counter,
                       (struct uqm_rng_key){ { kat[i].key[0], kat[i].key[1] } });
        assert_memory_equal(out, kat[i].out, sizeof out);
    }
}

static void streams_differ_in_every_part_of_their_name(void **state)
{
    (void) state;
    const struct uqm_rng_key keys[] = {
        uqm_rng_stream(0, UQM_RNG_IMAGE, "mmb", "a", 0, 0),
        uqm_rng_stream(1, UQM_RNG_IMAGE, "mmb", "a", 0, 0),
        uqm_rng_stream(0, UQM_RNG_TEXT, "mmb", "a", 0, 0),
        uqm_rng_stream(0, UQM_RNG_IMAGE, "sci", "a", 0, 0),
        uqm_rng_stream(0, UQM_RNG_IMAGE, "mmb", "b", 0, 0),
        uqm_rng_stream(0, UQM_RNG_IMAGE, "mmb", "a", 1, 0),
        uqm_rng_stream(0, UQM_RNG_IMAGE, "mmb", "a", 0, 1),
        uqm_rng_stream(0, UQM_RNG_IMAGE, "mm", "ba", 0, 0),
    };
    const size_t n = sizeof keys / sizeof *keys;
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n; j++)
            assert_memory_not_equal(&keys[i], &keys[j], sizeof keys[i]);
}

static void draws_below_n_are_uniform(void **state)
{
    (void) state;
    struct uqm_rng rng;
    uqm_rng_init(&rng, uqm_rng_stream(7, UQM_RNG_TEXT, "d", "s", 0, 0));
    enum { N = 9, DRAWS = 90000 };
    int count[N] = { 0 };
    for (int i = 0; i < DRAWS; i++)
        count[uqm_rng_below(&rng, N)]++;
    double chi2 = 0;
    for (int i = 0; i < N; i++) {
        double d = count[i] - (double) DRAWS / N;
        chi2 += d * d / ((double) DRAWS / N);
    }
    assert_true(chi2 < 26.1); /* chi-squared, 8 degrees of freedom, p = 0.001 */
}

static void exponentials_have_mean_and_variance_one(void **state)
{
    (void) state;
    struct uqm_rng rng;
    uqm_rng_init(&rng, uqm_rng_stream(7, UQM_RNG_IMAGE, "d", "s", 0, 0));
    enum { DRAWS = 200000 };
    double sum = 0, sum2 = 0;
    for (int i = 0; i < DRAWS; i++) {
        double x = uqm_rng_exponential(&rng);
        assert_true(x >= 0 && isfinite(x));
        sum += x;
        sum2 += x * x;
    }
    double mean = sum / DRAWS, var = sum2 / DRAWS - mean * mean;
    assert_true(fabs(mean - 1) < 0.01 && fabs(var - 1) < 0.03);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_published_vectors),
        cmocka_unit_test(streams_differ_in_every_part_of_their_name),
        cmocka_unit_test(draws_below_n_are_uniform),
        cmocka_unit_test(exponentials_have_mean_and_variance_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
