/* Bodies of the merge methods' kernels; included after a lanes_*.h and an eights_*.h. Whole eights
 * here, the rest element by element as the reference does. */
#include "compute/merge_scalar.h"
#include "compute/x86/philox_lanes.h"

enum { EIGHT = 8 };

static size_t whole(size_t n_elem)
{
    return n_elem / EIGHT * EIGHT;
}

/* --- magnitudes and draws --- */

static inline __m256i delta_keys_8(__m256 x, __m256 base)
{
    return _mm256_and_si256(_mm256_castps_si256(_mm256_sub_ps(x, base)),
                            _mm256_set1_epi32(0x7FFFFFFF));
}

static void delta_keys(uint32_t *restrict keys, const float *restrict x, const float *restrict base,
                       size_t n_elem)
{
    size_t e = 0;
    for (; e < whole(n_elem); e += EIGHT) {
        __m256i k = delta_keys_8(_mm256_loadu_ps(x + e), _mm256_loadu_ps(base + e));
        _mm256_storeu_si256((__m256i *) (void *) (keys + e), k);
    }
    for (; e < n_elem; e++)
        keys[e] = uqm_delta_key_1(x[e], base[e]);
}

static size_t keys_with_bits(uint32_t *restrict out, const uint32_t *restrict keys, uint32_t bits,
                             size_t n_elem)
{
    const __m256i mask = _mm256_set1_epi32((int) bits);
    size_t e = 0, n = 0;
    for (; e < whole(n_elem); e += EIGHT) {
        __m256i v = _mm256_loadu_si256((const __m256i *) (const void *) (keys + e));
        if (!_mm256_testz_si256(v, mask))
            n += uqm_merge_kernels_ref.keys_with_bits(out + n, keys + e, bits, EIGHT);
    }
    return n + uqm_merge_kernels_ref.keys_with_bits(out + n, keys + e, bits, n_elem - e);
}

static size_t keys_in_bin(uint32_t *restrict out, const uint32_t *restrict keys, uint32_t bin,
                          size_t n_elem)
{
    const __m256i bins = _mm256_set1_epi32((int) bin);
    size_t e = 0, n = 0;
    for (; e < whole(n_elem); e += EIGHT)
        n += pick_keys(out + n, keys + e, bins);
    for (; e < n_elem; e++)
        if (keys[e] >> 16 == bin)
            out[n++] = keys[e];
    return n;
}

static size_t keys_below(const uint32_t *keys, uint32_t bound, size_t n_elem)
{
    /* keys are below 2^31: bound - 1 >= key as signed numbers */
    const __m256i most = _mm256_set1_epi32((int32_t) (bound - 1));
    __m256i over = _mm256_setzero_si256();
    size_t e = 0, n = 0;
    if (bound == 0)
        return 0;
    for (; e < whole(n_elem); e += EIGHT) {
        __m256i k = _mm256_loadu_si256((const __m256i *) (const void *) (keys + e));
        over = _mm256_sub_epi32(over, _mm256_cmpgt_epi32(k, most));
    }
    uint32_t lanes[EIGHT];
    _mm256_storeu_si256((__m256i *) (void *) lanes, over);
    n = e;
    for (size_t i = 0; i < EIGHT; i++)
        n -= lanes[i];
    for (; e < n_elem; e++)
        n += keys[e] < bound;
    return n;
}

static void philox_halves(uint16_t *restrict dst, struct uqm_rng_key key, uint64_t first,
                          size_t n_blocks)
{
    size_t b = 0;
    while (b < n_blocks) {
        uint64_t at = first + b;
        if (n_blocks - b < LANES || (uint32_t) at > UINT32_MAX - LANES) {
            uqm_merge_kernels_ref.philox_halves(dst + 8 * b, key, at, 1);
            b++;
            continue;
        }
        vu words[4];
        philox(words, (uint32_t) at, (uint32_t) (at >> 32), 0, key);
        memcpy(dst + 8 * b, words, sizeof words);
        b += LANES;
    }
}

static size_t halves_below(uint8_t *restrict keep, const uint16_t *restrict halves, uint16_t limit,
                           size_t n_elem)
{
    enum { SOME = 32 };
    const __m256i bound = _mm256_set1_epi16((short) limit), one = _mm256_set1_epi8(1);
    size_t e = 0, n = 0;
    for (; e + SOME <= n_elem; e += SOME) {
        __m256i a = _mm256_loadu_si256((const __m256i *) (const void *) (halves + e));
        __m256i b = _mm256_loadu_si256((const __m256i *) (const void *) (halves + e + SOME / 2));
        /* at least `bound`: the larger of the two is the half itself */
        __m256i over_a = _mm256_cmpeq_epi16(_mm256_max_epu16(a, bound), a);
        __m256i over_b = _mm256_cmpeq_epi16(_mm256_max_epu16(b, bound), b);
        __m256i over = _mm256_permute4x64_epi64(_mm256_packs_epi16(over_a, over_b), 0xD8);
        _mm256_storeu_si256((__m256i *) (void *) (keep + e), _mm256_andnot_si256(over, one));
        __m256i same =
            _mm256_packs_epi16(_mm256_cmpeq_epi16(a, bound), _mm256_cmpeq_epi16(b, bound));
        n += (size_t) __builtin_popcount((unsigned) _mm256_movemask_epi8(same));
    }
    return n + uqm_merge_kernels_ref.halves_below(keep + e, halves + e, limit, n_elem - e);
}

/* --- weighted sums --- */

/* The eight elements at e. */
static inline wd stored_8(const struct uqm_linear_input *in, size_t e)
{
    if (in->dtype == UQM_F32)
        return wd_of_f32(
            _mm256_loadu_ps((const float *) (const void *) ((const char *) in->x + 4 * e)));
    __m128i h = _mm_loadu_si128((const __m128i *) (const void *) ((const char *) in->x + 2 * e));
    if (in->dtype == UQM_F16)
        return wd_of_f32(_mm256_cvtph_ps(h));
    return wd_of_f32(_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16)));
}

static inline wd divided_8(wd sum, const struct uqm_linear_mix *m)
{
    if (m->divisor == 1)
        return sum;
    if (m->reciprocal == 0)
        return wd_div(sum, wd_set(m->divisor));
    wd r = wd_set(m->reciprocal), q = wd_mul(sum, r);
    wd more = wd_fma(wd_fnma(q, wd_set(m->divisor), sum), r, q);
    return wd_select(wd_is_nan(more), q, more);
}

static void linear_mix(double *restrict out, const struct uqm_linear_mix *mix, size_t n_elem)
{
    size_t e = 0;
    for (; e < whole(n_elem); e += EIGHT) {
        wd sum = wd_set(0);
        for (size_t i = 0; i < mix->n_inputs; i++)
            sum = wd_add(sum, wd_mul(stored_8(&mix->inputs[i], e), wd_set(mix->inputs[i].weight)));
        wd_store(out + e, divided_8(sum, mix));
    }
    for (; e < n_elem; e++)
        out[e] = uqm_linear_mix_1(mix, e);
}

/* --- task vectors --- */

/* Of the eight elements at e of one input. */
static inline wm kept_8(const struct uqm_task_input *in, __m256 x, __m256 base, size_t e)
{
    return wm_of_keys(delta_keys_8(x, base), _mm256_set1_epi32(in->least),
                      _mm256_set1_epi32(in->most), in->keep ? in->keep + e : NULL);
}

static inline wd share_8(const struct uqm_task_input *in, __m256 base_f32, wd base, size_t e)
{
    __m256 x = _mm256_loadu_ps(in->x + e);
    wd d = wd_where(kept_8(in, x, base_f32, e), wd_sub(wd_of_f32(x), base));
    return wd_mul(wd_mul(d, wd_set(in->ratio)), wd_set(in->weight));
}

static inline wd finish_8(const struct uqm_task_mix *m, wd base, wd mix)
{
    wd out = wd_add(base, wd_mul(mix, wd_set(m->lambda)));
    return wd_select(wd_is_nan(out), wd_set((double) NAN), out);
}

static void mix_all(double *restrict out, const struct uqm_task_mix *m, size_t n_elem)
{
    const wd divisor = wd_set(m->divisor);
    for (size_t e = 0; e < n_elem; e += EIGHT) {
        __m256 base_f32 = _mm256_loadu_ps(m->base + e);
        wd base = wd_of_f32(base_f32), sum = wd_set(0);
        for (size_t i = 0; i < m->n_inputs; i++)
            sum = wd_add(sum, share_8(&m->inputs[i], base_f32, base, e));
        if (m->normalize)
            sum = wd_div(sum, divisor);
        wd_store(out + e, finish_8(m, base, sum));
    }
}

static void mix_agreeing(double *restrict out, const struct uqm_task_mix *m, size_t n_elem)
{
    const wd zero = wd_set(0), one = wd_set(1);
    for (size_t e = 0; e < n_elem; e += EIGHT) {
        __m256 base_f32 = _mm256_loadu_ps(m->base + e);
        wd base = wd_of_f32(base_f32);
        wd sum = zero, up = zero, down = zero, up_weights = zero, down_weights = zero;
        for (size_t i = 0; i < m->n_inputs; i++) {
            const struct uqm_task_input *in = &m->inputs[i];
            wd d = share_8(in, base_f32, base, e), w = wd_set(in->weight);
            wm is_up = wd_greater(d, zero), is_down = wd_less(d, zero);
            sum = wd_add(sum, d);
            up = wd_add(up, wd_where(is_up, d));
            down = wd_add(down, wd_where(is_down, d));
            up_weights = wd_add(up_weights, wd_where(is_up, w));
            down_weights = wd_add(down_weights, wd_where(is_down, w));
        }
        wm majority = wd_at_least(sum, zero);
        wd mix = wd_select(wd_is_nan(sum), sum, wd_select(majority, up, down));
        if (m->normalize) {
            wd divisor = wd_select(majority, up_weights, down_weights);
            mix = wd_div(mix, wd_select(wd_equal(divisor, zero), one, divisor));
        }
        wd_store(out + e, finish_8(m, base, mix));
    }
}

static void task_mix(double *restrict out, const struct uqm_task_mix *mix, size_t n_elem)
{
    if (mix->consensus)
        mix_agreeing(out, mix, whole(n_elem));
    else
        mix_all(out, mix, whole(n_elem));
    for (size_t e = whole(n_elem); e < n_elem; e++)
        out[e] = uqm_task_mix_1(mix, e);
}

static void task_sums(double before[UQM_SUM_PARTS], double after[UQM_SUM_PARTS],
                      const struct uqm_task_input *input, const float *base, size_t n_elem)
{
    wd b = wd_load(before), a = wd_load(after);
    size_t e = 0;
    for (; e < whole(n_elem); e += EIGHT) {
        __m256 base_f32 = _mm256_loadu_ps(base + e), x = _mm256_loadu_ps(input->x + e);
        wd d = wd_abs(wd_sub(wd_of_f32(x), wd_of_f32(base_f32)));
        b = wd_add(b, d);
        a = wd_add(a, wd_where(kept_8(input, x, base_f32, e), d));
    }
    wd_store(before, b);
    wd_store(after, a);
    for (; e < n_elem; e++)
        uqm_task_sums_1(&before[e % EIGHT], &after[e % EIGHT], input, base, e);
}

const struct uqm_merge_kernels TIER(merge_kernels) = {
    .delta_keys = delta_keys,
    .keys_with_bits = keys_with_bits,
    .keys_in_bin = keys_in_bin,
    .keys_below = keys_below,
    .philox_halves = philox_halves,
    .halves_below = halves_below,
    .linear_mix = linear_mix,
    .task_mix = task_mix,
    .task_sums = task_sums,
};
