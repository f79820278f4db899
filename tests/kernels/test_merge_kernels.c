/* Every tier of the task vectors' kernels against the reference, to the bit; the reference against
 * what merge_kernels.h says. */
#include "compute/merge_kernels.h"

#include <math.h>

#include "tests/kernels/tiers_here.h"

enum { N = 4097, GUARD = 16 };

struct arrays {
    float *a, *b, *c; /* [N + GUARD] */
};

static struct arrays make(uint64_t seed, bool awkward)
{
    struct random r = { seed };
    struct arrays v;
    float **f[3] = { &v.a, &v.b, &v.c };
    for (int k = 0; k < 3; k++) {
        *f[k] = calloc(N + GUARD, sizeof(float));
        for (size_t i = 0; i < N; i++)
            (*f[k])[i] = awkward ? awkward_f32(&r, i + (size_t) k) : random_f32(&r, 3);
    }
    return v;
}

static void unmake(struct arrays *v)
{
    free(v->a);
    free(v->b);
    free(v->c);
}

/* Same bits, or both NaN: which of two NaNs a sum keeps is not promised. */
static void assert_same_f64(const double *got, const double *want, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(&got[i], &want[i], sizeof *got) != 0 && !(isnan(got[i]) && isnan(want[i])))
            fail_msg("%s: element %zu of %zu: %a, not %a", what, i, n, got[i], want[i]);
}

static struct uqm_stored f32_of(const float *x)
{
    return (struct uqm_stored){ x, UQM_F32 };
}

static void magnitudes_agree_to_the_bit(void **state)
{
    (void) state;
    struct tiers t = tiers_here();
    struct arrays v = make(1, true);
    uint32_t want[N + GUARD], got[N + GUARD];
    for (size_t k = 0; k < t.n; k++)
        for (size_t l = 0; l < N_LENGTHS; l++) {
            size_t n = lengths[l];
            for (size_t e = 0; e < n; e++)
                want[e] = uqm_bits_of_f32(v.a[e] - v.b[e]) & 0x7FFFFFFF;
            got[n] = 77;
            t.v[k].merge->delta_keys(got, f32_of(v.a), f32_of(v.b), n);
            for (size_t e = 0; e < n; e++) /* NaNs are larger than all, whichever they are */
                assert_true(got[e] == want[e] || (got[e] > 0x7F800000 && want[e] > 0x7F800000));
            assert_int_equal(got[n], 77);
        }
    unmake(&v);
}

static void keys_of_a_range_come_in_their_order(void **state)
{
    (void) state;
    struct tiers t = tiers_here();
    struct random r = { 3 };
    static const struct {
        uint32_t low, n_keys;
    } ranges[] = { { 0x3F810000, 0x10000 }, { 0x3F80FF00, 0x20100 }, { 0, 0x40000000 },
                   { 0xC0820000, 0x10000 }, { 0xFFFF0000, 0x10000 }, { 0x3F810007, 1 } };
    static const uint32_t upper[] = { 0x3F80, 0x3F81, 0x3F82, 0xC081, 0xC082, 0xFFFF };
    uint32_t keys[N], want[N + GUARD], got[N + GUARD];
    for (size_t e = 0; e < N; e++)
        keys[e] = upper[random_u32(&r) % 6] << 16 | (e % 11 ? (uint32_t) e : 0xFFFF);
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        for (size_t k = 0; k < t.n; k++)
            for (size_t l = 0; l < N_LENGTHS; l++) {
                uint32_t low = ranges[i].low, n_keys = ranges[i].n_keys;
                size_t n = 0;
                for (size_t e = 0; e < lengths[l]; e++)
                    if (keys[e] >= low && keys[e] - low < n_keys)
                        want[n++] = keys[e];
                assert_int_equal(t.v[k].merge->keys_within(got, keys, low, n_keys, lengths[l]), n);
                assert_memory_equal(got, want, n * sizeof *got);
            }
}

static void keys_with_any_of_some_bits_come_in_their_order(void **state)
{
    (void) state;
    struct tiers t = tiers_here();
    struct random r = { 13 };
    uint32_t keys[N], want[N + GUARD], got[N + GUARD];
    for (size_t e = 0; e < N; e++)
        keys[e] = random_u32(&r) & (random_u32(&r) % 9 ? 0x7FFF0000 : 0x7FFFFFFF);
    for (size_t k = 0; k < t.n; k++)
        for (size_t l = 0; l < N_LENGTHS; l++) {
            size_t n = 0;
            for (size_t e = 0; e < lengths[l]; e++)
                if (keys[e] & 0xFFFF)
                    want[n++] = keys[e];
            assert_int_equal(t.v[k].merge->keys_with_bits(got, keys, 0xFFFF, lengths[l]), n);
            assert_memory_equal(got, want, n * sizeof *got);
        }
}

static void magnitudes_of_16_bits_are_those_of_their_f32(void **state)
{
    (void) state;
    struct tiers t = tiers_here();
    struct random r = { 21 };
    static const enum uqm_dtype dtypes[] = { UQM_F16, UQM_BF16 };
    char x[2 * N + 1], base[2 * N + 1];
    uint32_t got[N + GUARD];
    for (size_t e = 0; e < N; e++) {
        memcpy(x + 1 + 2 * e, &(uint16_t){ (uint16_t) random_u32(&r) }, 2);
        memcpy(base + 1 + 2 * e, &(uint16_t){ (uint16_t) random_u32(&r) }, 2);
    }
    for (size_t k = 0; k < t.n; k++)
        for (size_t d = 0; d < 2; d++) {
            t.v[k].merge->delta_keys(got, (struct uqm_stored){ x + 1, dtypes[d] },
                                     (struct uqm_stored){ base + 1, dtypes[d] }, N);
            for (size_t e = 0; e < N; e++) {
                uint16_t a, b;
                memcpy(&a, x + 1 + 2 * e, 2);
                memcpy(&b, base + 1 + 2 * e, 2);
                float want = dtypes[d] == UQM_F16 ? uqm_f32_of_f16(a) - uqm_f32_of_f16(b)
                                                  : uqm_f32_of_bf16(a) - uqm_f32_of_bf16(b);
                assert_true(isnan(want) ? got[e] > 0x7F800000
                                        : got[e] == (uqm_bits_of_f32(want) & 0x7FFFFFFF));
            }
        }
}

/* Of differences of few values: below the range, in it, the likely one, above. */
static void keys_about_a_threshold_are_split_and_the_likely_one_is_counted(void **state)
{
    (void) state;
    struct tiers t = tiers_here();
    struct random r = { 37 };
    static const enum uqm_dtype dtypes[] = { UQM_BF16, UQM_F32 };
    static const struct uqm_key_split ranges[] = { { 0x3F800000, 0x20000, 0x3F800000, 0, 0, 0 },
                                                   { 0x3F810000, 0x410000, 0x3FC00000, 0, 0, 0 },
                                                   { 0, 0x3F810000, 0, 0, 0, 0 },
                                                   { 0x7F000000, 0x1000000, 0x7F000000, 0, 0, 0 } };
    uint16_t narrow[2][N];
    float wide[2][N];
    uint32_t keys[N], want[N + GUARD], got[N + GUARD];
    for (size_t e = 0; e < N; e++)
        for (size_t i = 0; i < 2; i++) {
            narrow[i][e] = (uint16_t) (0x3F80 + random_u32(&r) % 3 * 0x40 + random_u32(&r) % 2);
            if (e % 13 == 12)
                narrow[i][e] = (uint16_t) random_u32(&r) & 0x7F7F;
            wide[i][e] = uqm_f32_of_bf16(narrow[i][e]);
        }
    for (size_t k = 0; k < t.n; k++)
        for (size_t d = 0; d < 2; d++)
            for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
                for (size_t l = 0; l < N_LENGTHS; l++) {
                    struct uqm_key_split split = ranges[i];
                    struct uqm_stored x = { d ? (void *) wide[0] : narrow[0], dtypes[d] };
                    struct uqm_stored base = { d ? (void *) wide[1] : narrow[1], dtypes[d] };
                    size_t n = 0, below = 0, likely = 0;
                    uint32_t largest = 0;
                    for (size_t e = 0; e < lengths[l]; e++) {
                        keys[e] = uqm_bits_of_f32(fabsf(wide[0][e] - wide[1][e]));
                        largest = keys[e] > largest ? keys[e] : largest;
                        below += keys[e] < split.low;
                        likely += keys[e] == split.likely;
                        if (keys[e] >= split.low && keys[e] - split.low < split.n_keys &&
                            keys[e] != split.likely)
                            want[n++] = keys[e];
                    }
                    assert_int_equal(t.v[k].merge->split_deltas(&split, got, x, base, lengths[l]),
                                     n);
                    assert_memory_equal(got, want, n * sizeof *got);
                    assert_int_equal(split.n_below, below);
                    assert_int_equal(split.n_likely, likely);
                    assert_int_equal(split.largest, largest);
                }
}

static void keys_fall_into_bins_from_the_lowest_on_and_zeros_into_their_own(void **state)
{
    (void) state;
    struct tiers t = tiers_here();
    struct random r = { 8 };
    uint32_t keys[N];
    uint16_t got[N + 1];
    for (size_t e = 0; e < N; e++)
        keys[e] = e % 7 ? random_u32(&r) >> (1 + e % 9) : e % 2;
    for (size_t k = 0; k < t.n; k++)
        for (unsigned shift = 17; shift <= 22; shift += 5)
            for (size_t l = 0; l < N_LENGTHS; l++) {
                const uint32_t low = shift == 22 ? 0 : ((uint32_t) INT32_MAX >> shift) - 700;
                got[lengths[l]] = 7;
                t.v[k].merge->key_bins(got, keys, shift, low, lengths[l]);
                assert_int_equal(got[lengths[l]], 7);
                for (size_t e = 0; e < lengths[l]; e++) {
                    long want = (long) (keys[e] >> shift) - (long) low, least = keys[e] > 0;
                    assert_int_equal(got[e], want < least ? least : want);
                }
            }
}

static void keys_below_a_bound_are_counted(void **state)
{
    (void) state;
    struct tiers t = tiers_here();
    struct random r = { 8 };
    static const uint32_t bounds[] = { 0, 1, 0x3F800000, 0x3F800001, 0x7FFFFFFF, 0x80000000 };
    uint32_t keys[N];
    for (size_t e = 0; e < N; e++)
        keys[e] = e % 5 == 0 ? bounds[random_u32(&r) % 5] : random_u32(&r) >> 1;
    for (size_t k = 0; k < t.n; k++)
        for (size_t b = 0; b < 6; b++)
            for (size_t l = 0; l < N_LENGTHS; l++) {
                size_t want = 0;
                for (size_t e = 0; e < lengths[l]; e++)
                    want += keys[e] < bounds[b];
                assert_int_equal(t.v[k].merge->keys_below(keys, bounds[b], lengths[l]), want);
            }
}

static void bins_that_are_equal_are_counted(void **state)
{
    (void) state;
    struct tiers t = tiers_here();
    struct random r = { 31 };
    static const uint16_t values[] = { 0, 1, 0x7FFF, 0x8000, 0xFFFF };
    uint16_t bins[N];
    for (size_t e = 0; e < N; e++)
        bins[e] = values[random_u32(&r) % 5];
    for (size_t k = 0; k < t.n; k++)
        for (size_t b = 0; b < 5; b++)
            for (size_t n = 0; n < N; n++) {
                size_t first = n % 7 < N - n ? n % 7 : 0, want = 0;
                for (size_t e = first; e < first + n; e++)
                    want += bins[e] == values[b];
                assert_int_equal(t.v[k].merge->bins_equal(bins + first, values[b], n), want);
            }
}

static void the_largest_key_is_found_wherever_it_stands(void **state)
{
    (void) state;
    struct tiers t = tiers_here();
    struct random r = { 24 };
    uint32_t keys[N];
    for (size_t e = 0; e < N; e++)
        keys[e] = random_u32(&r) % 0x7FFFFFFE;
    for (size_t k = 0; k < t.n; k++)
        for (size_t l = 0; l < N_LENGTHS; l++) {
            size_t n = lengths[l], at = n ? random_u32(&r) % n : 0;
            uint32_t before = keys[at];
            keys[at] = 0x7FFFFFFF;
            assert_int_equal(t.v[k].merge->largest_key(keys, n), n ? 0x7FFFFFFF : 0);
            keys[at] = before;
        }
}

static void philox_halves_are_the_streams_words(void **state)
{
    (void) state;
    struct tiers t = tiers_here();
    const struct uqm_rng_key key = { { 0x01234567, 0x89ABCDEF } };
    static const uint64_t firsts[] = { 0, 5, 0xFFFFFFF0, 0x3FFFFFFFFF };
    enum { BLOCKS = 83 };
    for (size_t f = 0; f < 4; f++) {
        uint16_t want[8 * BLOCKS], got[8 * BLOCKS];
        for (size_t b = 0; b < BLOCKS; b++) {
            uint64_t at = firsts[f] + b;
            const uint32_t counter[4] = { (uint32_t) at, (uint32_t) (at >> 32), 0, 0 };
            uint32_t words[4];
            uqm_philox4x32(words, counter, key);
            memcpy(want + 8 * b, words, sizeof words);
        }
        for (size_t k = 0; k < t.n; k++)
            for (size_t n = 0; n <= BLOCKS; n += 17) {
                memset(got, 0, sizeof got);
                t.v[k].merge->philox_halves(got, key, firsts[f], n);
                assert_memory_equal(got, want, n * 16);
            }
    }
}

/* What is kept of n elements are the bits of keep, and nothing behind them is touched. */
static void assert_kept(const uint8_t *keep, const bool *want, size_t n)
{
    for (size_t e = 0; e < (n + 7) / 8 * 8; e++)
        assert_int_equal(keep[e / 8] >> e % 8 & 1, e < n && want[e]);
    assert_int_equal(keep[(n + 7) / 8], 0xA5);
}

static void halves_below_a_limit_are_kept_and_equal_ones_counted(void **state)
{
    (void) state;
    struct tiers t = tiers_here();
    struct random r = { 9 };
    static const uint16_t limits[] = { 0, 3, 0x7FFF, 0x8000, 0xFFFF };
    uint16_t halves[N];
    uint8_t got[N / 8 + 2];
    bool want[N];
    for (size_t i = 0; i < 5; i++) {
        for (size_t e = 0; e < N; e++) {
            halves[e] = (uint16_t) (limits[i] + random_u32(&r) % 5 - 2);
            want[e] = halves[e] < limits[i];
        }
        for (size_t k = 0; k < t.n; k++)
            for (size_t l = 0; l < N_LENGTHS; l++) {
                size_t equal = 0, n = lengths[l];
                memset(got, 0xA5, sizeof got);
                size_t found = t.v[k].merge->halves_below(got, halves, limits[i], n);
                for (size_t e = 0; e < n; e++)
                    equal += halves[e] == limits[i];
                assert_kept(got, want, n);
                assert_int_equal(found, equal);
            }
    }
}

static void halves_below_their_bins_limit_are_kept_and_doubtful_ones_listed(void **state)
{
    (void) state;
    enum { BINS = 5 };
    struct tiers t = tiers_here();
    struct random r = { 25 };
    static const uint32_t limits[BINS] = { 0xFFFF0000, 0x00000000, 0x90005000, 0x7FFF8000,
                                           0xFFFFFFFF };
    uint16_t halves[N], bins[N];
    uint8_t keep[N / 8 + 2];
    uint32_t at[N + GUARD];
    bool want[N], open[N];
    for (size_t e = 0; e < N; e++) {
        bins[e] = (uint16_t) (random_u32(&r) % BINS);
        uint32_t low = limits[bins[e]] & 0xFFFF, high = limits[bins[e]] >> 16;
        halves[e] = (uint16_t) (e % 4 == 0   ? low + e % 3
                                : e % 4 == 1 ? high + e % 3
                                             : random_u32(&r));
        want[e] = halves[e] < low;
        open[e] = halves[e] >= low && halves[e] <= high;
    }
    for (size_t k = 0; k < t.n; k++)
        for (size_t l = 0; l < N_LENGTHS; l++) {
            size_t found = 0, n = lengths[l];
            memset(keep, 0xA5, sizeof keep);
            size_t got = t.v[k].merge->halves_by_bin(keep, at, halves, bins, limits, n);
            for (size_t e = 0; e < n; e++)
                if (open[e])
                    assert_int_equal(at[found++], e);
            assert_int_equal(got, found);
            assert_kept(keep, want, n);
        }
}

/* --- weighted sums --- */

static void weighted_sums_agree_to_the_bit_at_any_address(void **state)
{
    (void) state;
    struct tiers t = tiers_here();
    struct arrays v = make(8, true);
    static const double divisors[] = { 1, 0.9, -3, 0, 0x1p-120, (double) INFINITY };
    double *want = calloc(N, sizeof *want), *got = calloc(N, sizeof *got);
    char *half = malloc(4 * N + 1);
    for (size_t e = 0; e < 2 * N; e++) /* all 16-bit patterns but few: NaNs and infinities too */
        memcpy(half + 1 + 2 * e, &(uint16_t){ (uint16_t) (e * 40503) }, 2);
    struct uqm_linear_input in[4] = {
        { .x = f32_of(v.a), .weight = 0.3 },
        { .x = { half + 1, UQM_F16 }, .weight = -0.45 },
        { .x = { half + 1 + 2 * N, UQM_BF16 }, .weight = 0.2 },
        { .x = f32_of(v.b), .weight = 1 },
    };
    for (size_t d = 0; d < sizeof divisors / sizeof *divisors; d++) {
        struct uqm_linear_mix m = { .n_inputs = 4, .inputs = in, .divisor = divisors[d] };
        m.reciprocal = uqm_quick_reciprocal(m.divisor);
        t.v[0].merge->linear_mix(want, &m, N);
        for (size_t k = 1; k < t.n; k++)
            for (size_t l = 0; l < N_LENGTHS; l++) {
                t.v[k].merge->linear_mix(got, &m, lengths[l]);
                assert_same_f64(got, want, lengths[l], "linear_mix");
            }
    }
    free(half);
    free(want);
    free(got);
    unmake(&v);
}

static void quotients_are_rounded_as_divisions_are(void **state)
{
    (void) state;
    struct tiers t = tiers_here();
    struct random r = { 11 };
    float x[N];
    double got[N];
    for (size_t e = 0; e < N; e++)
        x[e] = e % 64 == 0 ? (float) (e * e) * 1e30F : random_f32(&r, 30);
    x[1] = INFINITY;
    x[2] = -INFINITY;
    struct uqm_linear_input in = { .x = f32_of(x) };
    for (int i = 0; i < 200; i++) {
        in.weight = (double) random_f32(&r, 2) + 1e-9 * (double) random_f32(&r, 2);
        struct uqm_linear_mix m = { .n_inputs = 1, .inputs = &in };
        m.divisor = (double) random_f32(&r, 2) + 1e-9 * (double) random_f32(&r, 2);
        m.reciprocal = uqm_quick_reciprocal(m.divisor);
        assert_true(m.divisor == 0 || m.reciprocal != 0);
        t.v[0].merge->linear_mix(got, &m, N);
        for (size_t e = 0; e < N; e++) {
            double want = (double) x[e] * in.weight / m.divisor;
            if (memcmp(&got[e], &want, sizeof want) != 0 && want != 0)
                fail_msg("%a / %a: %a, not %a", (double) x[e], m.divisor, got[e], want);
        }
    }
}

/* --- task vectors --- */

struct task {
    struct uqm_task_input inputs[3];
    struct uqm_task_mix mix;
    uint8_t keep[N / 8 + 1];
};

static void make_task(struct task *t, const struct arrays *v, const struct arrays *w, unsigned how)
{
    struct random r = { how };
    for (size_t e = 0; e < sizeof t->keep; e++)
        t->keep[e] = (uint8_t) random_u32(&r);
    const struct uqm_stored x[3] = { f32_of(v->b),
                                     { v->c, how & 1 ? UQM_BF16 : UQM_F16 },
                                     f32_of(w->a) };
    for (int i = 0; i < 3; i++)
        t->inputs[i] = (struct uqm_task_input){
            .x = x[i],
            .least = how & 1 ? 0x3E000000 + i : 0,
            .most = how & 2 ? 0x40800000 : INT32_MAX,
            .keep = (how & 4) && (i != 1 || how & 64) ? t->keep : NULL,
            .ratio = (how & 74) == 74 ? (double) INFINITY
                     : how & 8        ? 1.3
                                      : 1,
            .weight = i == 1 ? -0.45 : 0.3 + i,
        };
    t->mix = (struct uqm_task_mix){
        .base = f32_of(v->a),
        .n_inputs = 3,
        .inputs = t->inputs,
        .consensus = how & 16,
        .normalize = how & 32,
        .divisor = 0.9,
        .lambda = how & 8 ? 0.7 : 1,
    };
    if (!(how & 64))
        return;
    /* one type for all, and fewer of them */
    const enum uqm_dtype dtype = how & 1 ? UQM_BF16 : UQM_F16;
    t->mix.base = (struct uqm_stored){ v->c, dtype };
    t->mix.n_inputs = 1 + how / 2 % 3;
    for (int i = 0; i < 3; i++)
        t->inputs[i].x = (struct uqm_stored){ i == 1 ? v->c : w->c, dtype };
    if (how & 128) {
        t->mix.base = f32_of(v->a);
        for (int i = 0; i < 3; i++)
            t->inputs[i].x = f32_of(i == 0 ? w->a : i == 1 ? v->b : w->b);
    }
}

static void task_vectors_agree_to_the_bit(void **state)
{
    (void) state;
    struct tiers t = tiers_here();
    struct arrays v = make(4, true), w = make(5, true);
    double *want = calloc(N, sizeof *want), *got = calloc(N, sizeof *got);
    struct task task;
    for (unsigned how = 0; how < 256; how++) {
        make_task(&task, &v, &w, how);
        t.v[0].merge->task_mix(want, &task.mix, N);
        for (size_t k = 1; k < t.n; k++)
            for (size_t l = 0; l < N_LENGTHS; l++) {
                t.v[k].merge->task_mix(got, &task.mix, lengths[l]);
                assert_same_f64(got, want, lengths[l], "task_mix");
            }
    }
    free(want);
    free(got);
    unmake(&v);
    unmake(&w);
}

static void task_sums_agree_to_the_bit(void **state)
{
    (void) state;
    struct tiers t = tiers_here();
    struct arrays v = make(6, false), w = make(7, false);
    struct task task;
    for (unsigned how = 0; how < 8; how++) {
        make_task(&task, &v, &w, how);
        for (size_t l = 0; l < N_LENGTHS; l++) {
            double want[2][UQM_SUM_PARTS] = { { 1 } }, got[2][UQM_SUM_PARTS];
            t.v[0].merge->task_sums(want[0], want[1], &task.inputs[0], f32_of(v.a), lengths[l]);
            for (size_t k = 1; k < t.n; k++) {
                memset(got, 0, sizeof got);
                got[0][0] = 1;
                t.v[k].merge->task_sums(got[0], got[1], &task.inputs[0], f32_of(v.a), lengths[l]);
                assert_memory_equal(got, want, sizeof got);
            }
        }
    }
    unmake(&v);
    unmake(&w);
}

static void inner_products_agree_to_the_bit(void **state)
{
    (void) state;
    enum { VECTORS = 7, PAIRS = VECTORS * (VECTORS + 1) / 2 };
    struct tiers t = tiers_here();
    struct arrays v = make(9, false), w = make(10, false);
    uint16_t bf16[N], f16[N];
    for (size_t e = 0; e < N; e++) {
        bf16[e] = uqm_bf16_of_f32(w.a[e]);
        f16[e] = uqm_f16_of_f32(w.b[e]);
    }
    const struct uqm_stored x[VECTORS] = { f32_of(v.a), { bf16, UQM_BF16 },     { f16, UQM_F16 },
                                           f32_of(v.b), { bf16 + 1, UQM_BF16 }, f32_of(v.c),
                                           f32_of(w.c) };
    const struct uqm_stored bases[] = { { NULL, UQM_F32 }, { f16, UQM_F16 } };
    for (size_t k = 0; k < t.n; k++)
        for (size_t b = 0; b < 2; b++)
            for (size_t n = 1; n <= VECTORS; n++)
                for (size_t l = 0; l + 1 < N_LENGTHS; l++) {
                    double want[PAIRS] = { 3 }, got[PAIRS] = { 3 };
                    t.v[0].merge->gram(want, x, n, bases[b], lengths[l]);
                    t.v[k].merge->gram(got, x, n, bases[b], lengths[l]);
                    assert_memory_equal(got, want, sizeof want);
                }
    double g[3] = { 0 }, xy = 0;
    t.v[0].merge->gram(g, x, 2, bases[1], 9);
    for (size_t e = 0; e < 9; e++)
        xy += ((double) v.a[e] - (double) uqm_f32_of_f16(f16[e])) *
              ((double) uqm_f32_of_bf16(bf16[e]) - (double) uqm_f32_of_f16(f16[e]));
    assert_true(fabs(g[1] - xy) <= 1e-12 * fabs(xy));
    unmake(&v);
    unmake(&w);
}

/* By hand: base 1, models 2, 0.5, 1.25: shares .3, -.225 (weight .45), .05. */
static void the_majority_decides_and_the_rest_do_not_count(void **state)
{
    (void) state;
    struct tiers t = tiers_here();
    float base[9], a[9], b[9], c[9];
    double got[9];
    for (size_t e = 0; e < 9; e++) {
        base[e] = 1;
        a[e] = 2;
        b[e] = 0.5F;
        c[e] = e == 8 ? 1 : 1.25F;
    }
    struct uqm_task_input in[3] = {
        { .x = f32_of(a), .most = INT32_MAX, .ratio = 1, .weight = 0.3 },
        { .x = f32_of(b), .most = INT32_MAX, .ratio = 1, .weight = 0.45 },
        { .x = f32_of(c), .most = INT32_MAX, .ratio = 1, .weight = 0.2 },
    };
    struct uqm_task_mix m = {
        .base = f32_of(base),
        .n_inputs = 3,
        .inputs = in,
        .consensus = true,
        .normalize = true,
        .lambda = 2,
    };
    for (size_t k = 0; k < t.n; k++) {
        t.v[k].merge->task_mix(got, &m, 9);
        assert_true(fabs(got[0] - (1 + 2 * 0.35 / 0.5)) < 1e-12);
        assert_true(fabs(got[8] - (1 + 2 * 0.3 / 0.3)) < 1e-12); /* a zero does not count */
        in[0].most = 0; /* the first is dropped: the second outweighs the third */
        t.v[k].merge->task_mix(got, &m, 9);
        assert_true(fabs(got[3] - (1 - 2 * 0.225 / 0.45)) < 1e-12);
        in[0].most = INT32_MAX;
    }
}

/* Three models of different types about a base, all bits or some. */
struct three {
    struct uqm_stored x[3];
    uint8_t keep[N / 8 + 1];
    uint16_t *half;
    struct uqm_offsets v;
};

static void make_three(struct three *t, const struct arrays *v, bool some)
{
    struct random r = { 21 };
    t->half = calloc(N + GUARD, sizeof *t->half);
    for (size_t e = 0; e < N; e++)
        t->half[e] = uqm_bf16_of_f32(v->c[e]);
    for (size_t i = 0; i < sizeof t->keep; i++)
        t->keep[i] = (uint8_t) random_u32(&r);
    t->x[0] = f32_of(v->b);
    t->x[1] = (struct uqm_stored){ t->half, UQM_BF16 };
    t->x[2] = f32_of(v->a + 3);
    t->v = (struct uqm_offsets){ f32_of(v->a), 3, t->x, some ? t->keep : NULL };
}

static void offsets_of_models_agree_to_the_bit(void **state)
{
    (void) state;
    struct tiers t = tiers_here();
    static uint32_t keys[N + GUARD], key[N + GUARD];
    static double want[N + GUARD], got[N + GUARD];
    static const double q[3] = { 0.2, 0.5, 0.3 };
    for (unsigned how = 0; how < 4; how++) {
        struct arrays v = make(31 + how, how & 1);
        struct three three;
        make_three(&three, &v, how & 2);
        t.v[0].merge->spread_keys(keys, &three.v, N);
        t.v[0].merge->agreeing_mix(want, &three.v, q, 1e-6, N);
        for (size_t k = 1; k < t.n; k++)
            for (size_t l = 0; l < N_LENGTHS; l++) {
                size_t n = lengths[l];
                double sum[3] = { 1, 2, 3 }, sums[3] = { 1, 2, 3 };
                key[n] = 77;
                got[n] = 77;
                t.v[k].merge->spread_keys(key, &three.v, n);
                assert_memory_equal(key, keys, n * sizeof *key);
                t.v[k].merge->agreeing_mix(got, &three.v, q, 1e-6, n);
                assert_same_f64(got, want, n, "agreeing_mix");
                assert_true(key[n] == 77 && got[n] == 77);
                t.v[0].merge->offset_squares(sums, &three.v, n);
                t.v[k].merge->offset_squares(sum, &three.v, n);
                assert_same_f64(sum, sums, 3, "offset_squares");
            }
        free(three.half);
        unmake(&v);
    }
}

static void offsets_of_models_are_what_is_said(void **state)
{
    (void) state;
    struct tiers t = tiers_here();
    const float base[9] = { 1, 1, 1, 1, 1, 1, 1, 1, 1 };
    const float a[9] = { 2, 2, 0, 1, NAN, 2, 3, 1, 2 }, b[9] = { 4, 0.5F, -1, 1, 2, 1, 1, 1, 4 };
    const struct uqm_stored x[2] = { f32_of(a), f32_of(b) };
    const double q[2] = { 0.25, 0.75 };
    for (size_t k = 0; k < t.n; k++) {
        struct uqm_offsets v = { f32_of(base), 2, x, NULL };
        uint32_t keys[9];
        uint8_t keep[2] = { 0, 0xFF };
        double out[9], sums[2] = { 0, 1 };
        t.v[k].merge->spread_keys(keys, &v, 9);
        assert_int_equal(keys[0], uqm_bits_of_f32(1));       /* 1 and 3 */
        assert_int_equal(keys[1], uqm_bits_of_f32(0.5625F)); /* 1 and -0.5 */
        assert_int_equal(keys[3], 0);
        assert_int_equal(keys[4], INT32_MAX);
        assert_int_equal(keys[8], keys[0]);
        t.v[k].merge->agreeing_mix(out, &v, q, 1e-6, 9);
        assert_true(out[0] == 1 + 2.5);  /* both */
        assert_true(out[1] == 1 + 1);    /* the first alone */
        assert_true(out[2] == 1 - 1.75); /* both, downwards */
        assert_true(out[3] == 1);        /* none */
        assert_true(out[8] == out[0]);
        t.v[k].merge->keys_at_least(keep, keys, uqm_bits_of_f32(1), 9);
        assert_int_equal(keep[0], 0x01 | 0x10 | 0x40);
        assert_int_equal(keep[1], 0x01);
        v.keep = (const uint8_t[2]){ 0x21, 0 };
        t.v[k].merge->offset_squares(sums, &v, 9);
        assert_true(sums[0] == 2 && sums[1] == 10);
        t.v[k].merge->agreeing_mix(out, &v, q, 1e-6, 9);
        assert_true(out[0] == 3.5 && out[1] == 1 && out[5] == 2 && out[8] == 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(magnitudes_agree_to_the_bit),
        cmocka_unit_test(keys_of_a_range_come_in_their_order),
        cmocka_unit_test(keys_with_any_of_some_bits_come_in_their_order),
        cmocka_unit_test(magnitudes_of_16_bits_are_those_of_their_f32),
        cmocka_unit_test(keys_about_a_threshold_are_split_and_the_likely_one_is_counted),
        cmocka_unit_test(keys_fall_into_bins_from_the_lowest_on_and_zeros_into_their_own),
        cmocka_unit_test(keys_below_a_bound_are_counted),
        cmocka_unit_test(bins_that_are_equal_are_counted),
        cmocka_unit_test(the_largest_key_is_found_wherever_it_stands),
        cmocka_unit_test(philox_halves_are_the_streams_words),
        cmocka_unit_test(halves_below_a_limit_are_kept_and_equal_ones_counted),
        cmocka_unit_test(halves_below_their_bins_limit_are_kept_and_doubtful_ones_listed),
        cmocka_unit_test(weighted_sums_agree_to_the_bit_at_any_address),
        cmocka_unit_test(quotients_are_rounded_as_divisions_are),
        cmocka_unit_test(task_vectors_agree_to_the_bit),
        cmocka_unit_test(task_sums_agree_to_the_bit),
        cmocka_unit_test(inner_products_agree_to_the_bit),
        cmocka_unit_test(the_majority_decides_and_the_rest_do_not_count),
        cmocka_unit_test(offsets_of_models_agree_to_the_bit),
        cmocka_unit_test(offsets_of_models_are_what_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
