#include "tests/unit/merge/reference_merge.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void ref_init(struct ref_case *c, const char *method, enum uqm_dtype dtype)
{
    const struct ref_family *family = ref_family_of(method);
    *c = (struct ref_case){
        .method = method,
        .dtype = dtype,
        .base = -1,
        .normalize = family ? family->normalize : true,
        .rescale = family && family->rescale,
        .normalize_weights = true,
        .flatten = true,
        .lambda = 1,
        .eps = 1e-8,
        .tol = 1e-5,
        .max_iter = 10,
        .select_topk = 1,
        .ram_epsilon = 1e-5,
        .r = 0.1,
        .alpha = 0.2,
    };
    for (size_t i = 0; i < REF_INPUTS; i++)
        c->in[i] = (struct ref_input){ .weight = 1, .density = 1, .gamma = 0.01, .epsilon = 0.15 };
}

size_t ref_n_elem(const struct ref_case *c)
{
    size_t n = 1;
    for (unsigned a = 0; a < c->rank; a++)
        n *= c->shape[a];
    return n;
}

enum uqm_dtype ref_result_dtype(const struct ref_case *c)
{
    bool wide = strcmp(c->method, "arcee_fusion") == 0 ||
                (strcmp(c->method, "ramplus_tl") == 0 && c->n_inputs > 1);
    return wide && c->dtype != UQM_F64 ? UQM_F32 : c->dtype;
}

const struct ref_family *ref_family_of(const char *method)
{
    static const struct ref_family family[] = {
        { "task_arithmetic", REF_DENSE, false, false, false },
        { "ties", REF_MAGNITUDE, true, true, false },
        { "dare_ties", REF_RANDOM, true, false, true },
        { "dare_linear", REF_RANDOM, false, false, true },
        { "breadcrumbs", REF_OUTLIERS, false, false, false },
        { "breadcrumbs_ties", REF_OUTLIERS, true, false, false },
        { "della", REF_DELLA, true, true, true },
        { "della_linear", REF_DELLA, false, false, true },
    };
    for (size_t i = 0; i < sizeof family / sizeof *family; i++)
        if (strcmp(family[i].name, method) == 0)
            return &family[i];
    return NULL;
}

/* --- lines --- */

size_t ref_n_lines(const struct ref_case *c, int axis)
{
    size_t n = ref_n_elem(c);
    if (axis == REF_FLAT || c->rank == 0)
        return 1;
    return n == 0 ? 0 : n / c->shape[axis];
}

struct ref_line ref_line_at(const struct ref_case *c, int axis, size_t i)
{
    if (axis == REF_FLAT || c->rank == 0)
        return (struct ref_line){ 0, ref_n_elem(c), 1 };
    size_t stride = 1;
    for (unsigned a = (unsigned) axis + 1; a < c->rank; a++)
        stride *= c->shape[a];
    size_t n = c->shape[axis];
    return (struct ref_line){ i / stride * n * stride + i % stride, n, stride };
}

int ref_axis_of_ranks(const struct ref_case *c)
{
    return c->rank < 2 ? REF_FLAT : 1;
}

int ref_last_axis(const struct ref_case *c)
{
    return c->rank < 2 ? REF_FLAT : (int) c->rank - 1;
}

/* --- order --- */

struct keyed {
    float key;
    size_t index;
};

/* By key alone, NaN last; 0: equal. */
static int by_key(const struct keyed *a, const struct keyed *b)
{
    if (isnan(a->key) || isnan(b->key))
        return (isnan(a->key) != 0) - (isnan(b->key) != 0);
    return (a->key > b->key) - (a->key < b->key);
}

static int ascending(const void *pa, const void *pb)
{
    const struct keyed *a = pa, *b = pb;
    int order = by_key(a, b);
    return order ? order : a->index < b->index ? 1 : -1;
}

static void rank_by(size_t *order, const float *key, size_t n,
                    int (*compare)(const void *, const void *))
{
    struct keyed *all = calloc(n + 1, sizeof *all);
    assert(all);
    for (size_t k = 0; k < n; k++)
        all[k] = (struct keyed){ key[k], k };
    qsort(all, n, sizeof *all, compare);
    for (size_t k = 0; k < n; k++)
        order[k] = all[k].index;
    free(all);
}

void ref_rank_ascending(size_t *order, const float *key, size_t n)
{
    rank_by(order, key, n, ascending);
}

/* Keep the ranks [first, first + n_kept). */
static void keep_ranks(bool *keep, const size_t *order, size_t n, size_t first, size_t n_kept)
{
    for (size_t r = 0; r < n; r++)
        keep[order[r]] = r >= first && r - first < n_kept;
}

/* Ascending, equal keys in the order of their indices. */
static int stable(const void *pa, const void *pb)
{
    const struct keyed *a = pa, *b = pb;
    int order = by_key(a, b);
    return order ? order : a->index < b->index ? -1 : 1;
}

void ref_keep_magnitude(bool *keep, const float *key, size_t n, double density)
{
    size_t k = density <= 0 ? 0 : (size_t) (density * (double) n);
    if (density > 0 && k == 0 && n > 0)
        k = 1;
    size_t *order = calloc(n + 1, sizeof *order);
    assert(order);
    ref_rank_ascending(order, key, n);
    keep_ranks(keep, order, n, n - k, k);
    free(order);
}

void ref_keep_outliers(bool *keep, const float *key, size_t n, double density, double gamma)
{
    long kept = (long) (density * (double) n), top = (long) (gamma * (double) n);
    long bottom = (long) n - kept - top;
    size_t *order = calloc(n + 1, sizeof *order);
    assert(order);
    rank_by(order, key, n, stable);
    keep_ranks(keep, order, n, bottom > 0 ? (size_t) bottom : 0, kept > 0 ? (size_t) kept : 0);
    free(order);
}

/* --- types --- */

double ref_round(enum uqm_dtype dtype, double v)
{
    switch (dtype) {
    case UQM_F64: return v;
    case UQM_F32: return (double) (float) v;
    case UQM_BF16: return (double) uqm_f32_of_bf16(uqm_bf16_of_f32((float) v));
    default: assert(dtype == UQM_F16); return (double) uqm_f32_of_f16(uqm_f16_of_f32((float) v));
    }
}

uint64_t ref_bits(enum uqm_dtype dtype, double v)
{
    uint64_t u;
    switch (dtype) {
    case UQM_F64: memcpy(&u, &v, sizeof u); return u;
    case UQM_F32: return uqm_bits_of_f32((float) v);
    case UQM_BF16: return uqm_bf16_of_f32((float) v);
    default: assert(dtype == UQM_F16); return uqm_f16_of_f32((float) v);
    }
}

double ref_value(enum uqm_dtype dtype, uint64_t bits)
{
    double v;
    switch (dtype) {
    case UQM_F64: memcpy(&v, &bits, sizeof v); return v;
    case UQM_F32: return (double) uqm_f32_of_bits((uint32_t) bits);
    case UQM_BF16: return (double) uqm_f32_of_bf16((uint16_t) bits);
    default: assert(dtype == UQM_F16); return (double) uqm_f32_of_f16((uint16_t) bits);
    }
}

double ref_ulp(enum uqm_dtype dtype, double v)
{
    static const struct {
        enum uqm_dtype dtype;
        int bits, least; /* of the significand; exponent of the smallest subnormal */
    } types[] = {
        { UQM_F16, 11, -24 }, { UQM_BF16, 8, -133 }, { UQM_F32, 24, -149 }, { UQM_F64, 53, -1074 }
    };
    int e = 0;
    frexp(v, &e);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].dtype == dtype)
            return ldexp(1, e - types[i].bits > types[i].least && v != 0 ? e - types[i].bits
                                                                         : types[i].least);
    assert(false);
    return 0;
}

/* --- MT19937 --- */

void ref_mt_init(struct ref_mt *mt, uint64_t seed)
{
    mt->state[0] = (uint32_t) seed;
    for (uint32_t i = 1; i < 624; i++)
        mt->state[i] = 1812433253U * (mt->state[i - 1] ^ mt->state[i - 1] >> 30) + i;
    mt->next = 624;
}

uint32_t ref_mt_word(struct ref_mt *mt)
{
    uint32_t *s = mt->state;
    if (mt->next == 624) {
        for (size_t i = 0; i < 624; i++) {
            uint32_t y = (s[i] & 0x80000000U) | (s[(i + 1) % 624] & 0x7FFFFFFFU);
            s[i] = s[(i + 397) % 624] ^ y >> 1 ^ (y & 1 ? 0x9908B0DFU : 0);
        }
        mt->next = 0;
    }
    uint32_t y = s[mt->next++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9D2C5680U;
    y ^= y << 15 & 0xEFC60000U;
    return y ^ y >> 18;
}

double ref_mt_unit(void *mt)
{
    return (double) (ref_mt_word(mt) & 0xFFFFFF) * 0x1p-24;
}
