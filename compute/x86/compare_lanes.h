/* Bodies of the comparisons; included after a lanes_*.h. */
#include <string.h>

#include "compute/compare.h"

enum { GROUPS = UQM_COMPARE_LANES / LANES };

/* LANES of the chains. */
struct chains {
    vf d2, x2, max;
};

static inline void add(struct chains *c, vf x, vf y)
{
    vf d = vf_sub(x, y);
    c->d2 = vf_add(c->d2, vf_mul(d, d));
    c->x2 = vf_add(c->x2, vf_mul(x, x));
    c->max = vf_max(vf_abs(d), c->max);
}

static inline void join(struct chains *c, const struct chains *upper)
{
    c->d2 = vf_add(c->d2, upper->d2);
    c->x2 = vf_add(c->x2, upper->x2);
    c->max = vf_max(c->max, upper->max);
}

/* Two groups of lanes, or four: named one by one, so that they stay in registers. */
struct all_chains {
    struct chains a, b, c, d;
};

static inline void finish(struct uqm_compared *out, struct all_chains *s)
{
    float sums[3][UQM_COMPARE_FOLDED];
    join(&s->a, GROUPS > 2 ? &s->c : &s->b);
    vf_store(sums[0], 0, s->a.d2);
    vf_store(sums[1], 0, s->a.x2);
    vf_store(sums[2], 0, s->a.max);
    if (GROUPS > 2) {
        const size_t at = UQM_COMPARE_FOLDED - LANES;
        join(&s->b, &s->d);
        vf_store(sums[0], at, s->b.d2);
        vf_store(sums[1], at, s->b.x2);
        vf_store(sums[2], at, s->b.max);
    }
    uqm_compare_fold(out, sums[0], sums[1], sums[2]);
}

/* Lanes past the end come as zeros of both, which change no sum. */
#define COMPARE(name, type, load)                                                                  \
    static inline void name##_step(struct all_chains *s, const type *x, const float *y, size_t i)  \
    {                                                                                              \
        add(&s->a, load(x, i), vf_load(y, i));                                                     \
        add(&s->b, load(x, i + LANES), vf_load(y, i + LANES));                                     \
        if (GROUPS > 2) {                                                                          \
            add(&s->c, load(x, i + 2 * LANES), vf_load(y, i + 2 * LANES));                         \
            add(&s->d, load(x, i + 3 * LANES), vf_load(y, i + 3 * LANES));                         \
        }                                                                                          \
    }                                                                                              \
    void TIER(name)(struct uqm_compared * out, const type *x, const float *y, size_t n_elem)       \
    {                                                                                              \
        const struct chains none = { vf_set(0), vf_set(0), vf_set(0) };                            \
        struct all_chains s = { none, none, none, none };                                          \
        size_t i = 0;                                                                              \
        for (; i + UQM_COMPARE_LANES <= n_elem; i += UQM_COMPARE_LANES)                            \
            name##_step(&s, x, y, i);                                                              \
        if (i < n_elem) {                                                                          \
            type end_x[UQM_COMPARE_LANES] = { 0 };                                                 \
            float end_y[UQM_COMPARE_LANES] = { 0 };                                                \
            memcpy(end_x, (const unsigned char *) x + i * sizeof *x, (n_elem - i) * sizeof *x);    \
            memcpy(end_y, (const unsigned char *) y + i * sizeof *y, (n_elem - i) * sizeof *y);    \
            name##_step(&s, end_x, end_y, 0);                                                      \
        }                                                                                          \
        finish(out, &s);                                                                           \
    }

static inline vf load_f16(const uint16_t *p, size_t i)
{
    return vf_of_f16(vh_load(p, i));
}
static inline vf load_bf16(const uint16_t *p, size_t i)
{
    return vf_of_bf16(vh_load(p, i));
}

COMPARE(compare_f32, float, vf_load)
COMPARE(compare_f16, uint16_t, load_f16)
COMPARE(compare_bf16, uint16_t, load_bf16)

static inline vf sign_of(vf d)
{
    vf zero = vf_set(0);
    return vf_select_greater(d, zero, vf_set(1), vf_select_greater(zero, d, vf_set(-1), zero));
}

void TIER(sign_f32)(float *s, const float *x, const float *b, size_t n_elem)
{
    size_t i = 0;
    for (; i + LANES <= n_elem; i += LANES)
        vf_store(s, i, sign_of(vf_sub(vf_load(x, i), vf_load(b, i))));
    if (i < n_elem) {
        size_t n = n_elem - i;
        vf_store_n(s, i, n, sign_of(vf_sub(vf_load_n(x, i, n, 0), vf_load_n(b, i, n, 0))));
    }
}

/* Counts run in floats: of a block they are exact. */
void TIER(vote_f32)(struct uqm_votes *out, float *sum, float *count, const float *s,
                    const float *way, size_t n_elem)
{
    vf moved = vf_set(0), same = vf_set(0);
    for (size_t i = 0; i < n_elem; i += LANES) {
        size_t n = n_elem - i < LANES ? n_elem - i : LANES;
        vf v = vf_load_n(s, i, n, 0), m = vf_abs(v);
        vf_store_n(sum, i, n, vf_add(vf_load_n(sum, i, n, 0), v));
        vf_store_n(count, i, n, vf_add(vf_load_n(count, i, n, 0), m));
        moved = vf_add(moved, m);
        vf agree = vf_mul(v, vf_load_n(way, i, n, 0));
        same = vf_add(same, vf_select_greater(agree, vf_set(0), vf_set(1), vf_set(0)));
    }
    *out = (struct uqm_votes){ (uint32_t) vf_sum(moved), (uint32_t) vf_sum(same) };
}

void TIER(tally_f32)(struct uqm_vote_tally *out, const float *sum, const float *count,
                     size_t n_elem)
{
    vf moved = vf_set(0), split = vf_set(0), zero = vf_set(0), one = vf_set(1);
    for (size_t i = 0; i < n_elem; i += LANES) {
        size_t n = n_elem - i < LANES ? n_elem - i : LANES;
        vf c = vf_load_n(count, i, n, 0), s = vf_abs(vf_load_n(sum, i, n, 0));
        moved = vf_add(moved, vf_select_greater(c, zero, one, zero));
        split = vf_add(split, vf_select_greater(c, s, one, zero));
    }
    uint32_t n_moved = (uint32_t) vf_sum(moved);
    *out = (struct uqm_vote_tally){ n_moved, n_moved - (uint32_t) vf_sum(split) };
}

/* The largest of whole vectors in 32 bytes, two at once; the rest as the reference does. */
static inline __m256i load_32_bytes(const void *p, size_t at)
{
    return _mm256_loadu_si256((const __m256i *) (const void *) ((const char *) p + at));
}

uint32_t TIER(largest_half)(const uint16_t *x, size_t n_elem)
{
    enum { STEP = 32 };
    const __m256i magnitude = _mm256_set1_epi16(0x7FFF);
    __m256i a = _mm256_setzero_si256(), b = a;
    size_t i = 0;
    for (; i + STEP <= n_elem; i += STEP) {
        a = _mm256_max_epu16(a, _mm256_and_si256(load_32_bytes(x, 2 * i), magnitude));
        b = _mm256_max_epu16(b, _mm256_and_si256(load_32_bytes(x, 2 * i + 32), magnitude));
    }
    uint16_t lanes[STEP / 2];
    _mm256_storeu_si256((__m256i *) (void *) lanes, _mm256_max_epu16(a, b));
    uint32_t rest = uqm_largest_half_ref(
        (const uint16_t *) (const void *) ((const char *) x + 2 * i), n_elem - i);
    uint32_t most = uqm_largest_half_ref(lanes, STEP / 2);
    return most > rest ? most : rest;
}

uint32_t TIER(largest_f32)(const float *x, size_t n_elem)
{
    enum { STEP = 16 };
    const __m256i magnitude = _mm256_set1_epi32(INT32_MAX);
    __m256i a = _mm256_setzero_si256(), b = a;
    size_t i = 0;
    for (; i + STEP <= n_elem; i += STEP) {
        a = _mm256_max_epu32(a, _mm256_and_si256(load_32_bytes(x, 4 * i), magnitude));
        b = _mm256_max_epu32(b, _mm256_and_si256(load_32_bytes(x, 4 * i + 32), magnitude));
    }
    float lanes[STEP / 2];
    _mm256_storeu_si256((__m256i *) (void *) lanes, _mm256_max_epu32(a, b));
    uint32_t rest =
        uqm_largest_f32_ref((const float *) (const void *) ((const char *) x + 4 * i), n_elem - i);
    uint32_t most = uqm_largest_f32_ref(lanes, STEP / 2);
    return most > rest ? most : rest;
}
