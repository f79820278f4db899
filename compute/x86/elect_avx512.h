/* task_mix() with consensus of at most three inputs of one type, in AVX-512 registers; included by
 * merge_lanes.h. What is infinite or NaN is left to mix_agreeing(). */
#ifndef UQM_COMPUTE_ELECT_AVX512_H
#define UQM_COMPUTE_ELECT_AVX512_H

enum { FEW = 3 };

/* What decides whether an element is kept: of all inputs the same, a constant. */
enum few_kept { FEW_DRAWN, FEW_LEAST, FEW_BOUNDS };

/* Exactly FEW inputs, those that are not there of weight 0. */
struct few {
    enum few_kept kept;
    bool scaled; /* some ratio is not 1: a constant */
    double lambda;
    struct uqm_stored base;
    struct uqm_task_input in[FEW];
    double divisors[1 << FEW], reciprocals[1 << FEW];
};

/* What the weights of every choice of inputs add up to, in their order, and its reciprocal: bit i
 * of a choice is input i. False: a division by one of them has to be one. */
static bool list_divisors(struct few *f, const struct uqm_task_mix *m)
{
    bool quick = true;
    for (unsigned choice = 0; choice < 1 << FEW; choice++) {
        double sum = 0;
        for (size_t i = 0; i < m->n_inputs; i++)
            sum += choice >> i & 1 ? m->inputs[i].weight : 0;
        f->divisors[choice] = sum == 0 || !m->normalize ? 1 : sum;
        f->reciprocals[choice] = uqm_quick_reciprocal(f->divisors[choice]);
        quick = quick && f->reciprocals[choice] != 0;
    }
    return quick;
}

static bool is_moderate(double x)
{
    return fabs(x) < 0x1p100;
}

/* Whether the masks alone decide, or bounds alone, and which of them. False: both do, or it differs
 * from input to input. */
static bool find_kept(struct few *f)
{
    size_t n_drawn = 0, n_least = 0, n_bounds = 0;
    for (size_t i = 0; i < FEW; i++) {
        const struct uqm_task_input *in = &f->in[i];
        /* above INT32_MAX is nothing, and at it a NaN alone, which is looked at again */
        bool none = in->least == INT32_MAX && in->most < 0;
        n_drawn += is_drawn(in);
        n_bounds += !in->keep;
        n_least += !in->keep && (in->most == INT32_MAX || none);
    }
    f->kept = n_drawn == FEW ? FEW_DRAWN : n_least == FEW ? FEW_LEAST : FEW_BOUNDS;
    return n_drawn == FEW || n_bounds == FEW;
}

/* False: it is no mixture of few. */
static bool take_few(struct few *f, const struct uqm_task_mix *m)
{
    if (m->n_inputs == 0 || m->n_inputs > FEW || !is_moderate(m->lambda))
        return false;
    f->lambda = m->lambda;
    f->base = m->base;
    f->scaled = false;
    for (size_t i = 0; i < FEW; i++) {
        struct uqm_task_input *in = &f->in[i];
        *in = i < m->n_inputs ? m->inputs[i] : m->inputs[0];
        if (i >= m->n_inputs) {
            in->weight = 0;
            in->ratio = 1;
        }
        if (in->x.dtype != m->base.dtype || !is_moderate(in->ratio) || !is_moderate(in->weight))
            return false;
        f->scaled = f->scaled || in->ratio != 1;
    }
    return find_kept(f) && list_divisors(f, m);
}

ALWAYS_INLINE __mmask8 few_kept_8(const struct uqm_task_input *in, __m256 x, __m256 base,
                                  enum few_kept kept, size_t e)
{
    if (kept == FEW_DRAWN)
        return (__mmask8) in->keep[e / 8];
    __m256i keys = delta_keys_8(x, base);
    __mmask8 m = _mm256_cmple_epi32_mask(_mm256_set1_epi32(in->least), keys);
    if (kept == FEW_BOUNDS)
        m = _mm256_mask_cmple_epi32_mask(m, keys, _mm256_set1_epi32(in->most));
    return m;
}

/* Of three masks as bits of a number, the table's element. */
ALWAYS_INLINE __m512i choice_of(const __mmask8 chosen[FEW])
{
    __m512i at = _mm512_maskz_mov_epi64(chosen[0], _mm512_set1_epi64(1));
    at = _mm512_mask_or_epi64(at, chosen[1], at, _mm512_set1_epi64(2));
    return _mm512_mask_or_epi64(at, chosen[2], at, _mm512_set1_epi64(4));
}

/*
 * The first elements, in eights, up to where one is not finite, or all of them; how many. dtype,
 * kept and scaled are constants. A share's sign is turned with the sum's, so that one comparison
 * tells whether it counts; a sum that is not finite shows in `seen`, whatever the mixture is.
 */
ALWAYS_INLINE size_t mix_few(double *restrict out, const struct few *f, size_t first, size_t n_elem,
                             enum uqm_dtype dtype, enum few_kept kept, bool scaled)
{
    const __m512d zero = _mm512_setzero_pd(), lambda = _mm512_set1_pd(f->lambda);
    const __m512d of_choice = _mm512_loadu_pd(f->divisors);
    const __m512d inverse = _mm512_loadu_pd(f->reciprocals);
    for (size_t e = first; e < n_elem; e += EIGHT) {
        __m256 base_f32 = stored_8((struct uqm_stored){ f->base.x, dtype }, e);
        __m512d base = _mm512_cvtps_pd(base_f32), sum = zero, mix = zero, d[FEW];
        __mmask8 chosen[FEW];
#pragma GCC unroll 3
        for (size_t i = 0; i < FEW; i++) {
            __m256 x = stored_8((struct uqm_stored){ f->in[i].x.x, dtype }, e);
            d[i] = _mm512_maskz_sub_pd(few_kept_8(&f->in[i], x, base_f32, kept, e),
                                       _mm512_cvtps_pd(x), base);
            if (scaled)
                d[i] = _mm512_mul_pd(d[i], _mm512_set1_pd(f->in[i].ratio));
            d[i] = _mm512_mul_pd(d[i], _mm512_set1_pd(f->in[i].weight));
            sum = _mm512_add_pd(sum, d[i]);
        }
        __mmask8 minority = _mm512_cmp_pd_mask(sum, zero, _CMP_LT_OQ);
#pragma GCC unroll 3
        for (size_t i = 0; i < FEW; i++) {
            __m512d turned = _mm512_mask_sub_pd(d[i], minority, zero, d[i]);
            chosen[i] = _mm512_cmp_pd_mask(turned, zero, _CMP_GT_OQ);
            mix = _mm512_mask_add_pd(mix, chosen[i], mix, d[i]);
        }
        __m512i at = choice_of(chosen);
        __m512d reciprocal = _mm512_permutexvar_pd(at, inverse);
        __m512d q = _mm512_mul_pd(mix, reciprocal);
        __m512d rest = _mm512_fnmadd_pd(q, _mm512_permutexvar_pd(at, of_choice), mix);
        mix = _mm512_fmadd_pd(rest, reciprocal, q);
        __m512d x = _mm512_add_pd(base, _mm512_mul_pd(mix, lambda));
        __m512d seen = _mm512_fmadd_pd(sum, zero, x);
        if (_mm512_cmp_pd_mask(seen, seen, _CMP_UNORD_Q))
            return e;
        _mm512_storeu_pd(out + e, x);
    }
    return n_elem;
}

static size_t mix_some(double *restrict out, const struct few *f, size_t first, size_t n_elem)
{
#define SCALED(type, kept)                                                                         \
    (f->scaled ? mix_few(out, f, first, n_elem, type, kept, true)                                  \
               : mix_few(out, f, first, n_elem, type, kept, false))
#define FOR_TYPE(type)                                                                             \
    (f->kept == FEW_DRAWN   ? SCALED(type, FEW_DRAWN)                                              \
     : f->kept == FEW_LEAST ? SCALED(type, FEW_LEAST)                                              \
                            : SCALED(type, FEW_BOUNDS))
    switch (f->base.dtype) {
    case UQM_BF16: return FOR_TYPE(UQM_BF16);
    case UQM_F16: return FOR_TYPE(UQM_F16);
    default: return FOR_TYPE(UQM_F32);
    }
#undef FOR_TYPE
#undef SCALED
}

static void elect(double *restrict out, const struct uqm_task_mix *m, size_t n_elem)
{
    struct few f;
    const bool is_few = take_few(&f, m);
    for (size_t e = 0; e < n_elem;) {
        size_t end = is_few ? mix_some(out, &f, e, n_elem) : e;
        e = is_few ? end + EIGHT : n_elem;
        if (end < n_elem)
            mix_agreeing(out, m, end, e < n_elem ? e : n_elem);
    }
}

#endif
