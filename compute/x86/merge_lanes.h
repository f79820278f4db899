/* Bodies of the merge methods' kernels; included after a lanes_*.h and an eights_*.h. Whole eights
 * here, the rest element by element as the reference does. */
#include "compute/merge_scalar.h"
#include "compute/x86/philox_lanes.h"

enum { EIGHT = 8 };
#define ALWAYS_INLINE static inline __attribute__((always_inline))

static size_t whole(size_t n_elem)
{
    return n_elem / EIGHT * EIGHT;
}

/* --- elements --- */

static inline __m256 bf16_8(const char *p)
{
    __m128i h = _mm_loadu_si128((const __m128i *) (const void *) p);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

/* The eight elements at e. */
static inline __m256 stored_8(struct uqm_stored s, size_t e)
{
    const char *p = s.x;
    if (s.dtype == UQM_BF16)
        return bf16_8(p + 2 * e);
    if (s.dtype == UQM_F16)
        return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *) (const void *) (p + 2 * e)));
    return _mm256_loadu_ps((const float *) (const void *) (p + 4 * e));
}

static inline __m256i keys_8(const uint32_t *keys)
{
    return _mm256_loadu_si256((const __m256i *) (const void *) keys);
}

/* --- magnitudes and draws --- */

static inline __m256i delta_keys_8(__m256 x, __m256 base)
{
    return _mm256_and_si256(_mm256_castps_si256(_mm256_sub_ps(x, base)),
                            _mm256_set1_epi32(0x7FFFFFFF));
}

static void delta_keys(uint32_t *restrict keys, struct uqm_stored x, struct uqm_stored base,
                       size_t n_elem)
{
    size_t e = 0;
    for (; e < whole(n_elem); e += EIGHT)
        _mm256_storeu_si256((__m256i *) (void *) (keys + e),
                            delta_keys_8(stored_8(x, e), stored_8(base, e)));
    for (; e < n_elem; e++)
        keys[e] = uqm_delta_key_1(uqm_stored_1(x, e), uqm_stored_1(base, e));
}

static size_t keys_with_bits(uint32_t *restrict out, const uint32_t *restrict keys, uint32_t bits,
                             size_t n_elem)
{
    const __m256i mask = _mm256_set1_epi32((int) bits), zero = _mm256_setzero_si256();
    size_t e = 0, n = 0;
    for (; e < whole(n_elem); e += EIGHT) {
        __m256i v = keys_8(keys + e);
        if (_mm256_testz_si256(v, mask)) /* of models close to their base nearly always */
            continue;
        __m256i none = _mm256_cmpeq_epi32(_mm256_and_si256(v, mask), zero);
        n += pick_lanes(out + n, v, mask_of_i32(none) ^ 0xFF);
    }
    return n + uqm_merge_kernels_ref.keys_with_bits(out + n, keys + e, bits, n_elem - e);
}

static size_t keys_within(uint32_t *restrict out, const uint32_t *restrict keys, uint32_t low,
                          uint32_t n_keys, size_t n_elem)
{
    const __m256i lows = _mm256_set1_epi32((int) low), most = _mm256_set1_epi32((int) (n_keys - 1));
    size_t e = 0, n = 0;
    for (; e < whole(n_elem); e += EIGHT) {
        __m256i v = keys_8(keys + e), at = _mm256_sub_epi32(v, lows);
        __m256i is_in = _mm256_cmpeq_epi32(_mm256_min_epu32(at, most), at);
        if (!_mm256_testz_si256(is_in, is_in)) /* few are */
            n += pick_lanes(out + n, v, mask_of_i32(is_in));
    }
    return n + uqm_merge_kernels_ref.keys_within(out + n, keys + e, low, n_keys, n_elem - e);
}

static uint32_t largest_lane(__m256i v)
{
    uint32_t lanes[EIGHT], most = 0;
    _mm256_storeu_si256((__m256i *) (void *) lanes, v);
    for (size_t i = 0; i < EIGHT; i++)
        most = lanes[i] > most ? lanes[i] : most;
    return most;
}

#ifdef HAS_MASKED_LANES
#include "compute/x86/split_avx512.h"
#else
enum { SPLIT_ELEM = EIGHT };

/* The types of both are constants where it pays. */
ALWAYS_INLINE size_t split_of(struct uqm_key_split *s, uint32_t *restrict out, struct uqm_stored x,
                              struct uqm_stored base, size_t n_elem)
{
    const __m256i low = _mm256_set1_epi32((int) s->low),
                  likely = _mm256_set1_epi32((int) s->likely);
    const __m256i end = _mm256_set1_epi32((int) (s->low + s->n_keys - 1));
    __m256i most = _mm256_setzero_si256();
    size_t n = 0;
    for (size_t e = 0; e < n_elem; e += SPLIT_ELEM) {
        __m256i v = delta_keys_8(stored_8(x, e), stored_8(base, e));
        unsigned below = mask_of_i32(_mm256_cmpgt_epi32(low, v));
        unsigned same = mask_of_i32(_mm256_cmpeq_epi32(likely, v));
        unsigned rest = mask_of_i32(_mm256_cmpgt_epi32(v, end)) | below | same;
        most = _mm256_max_epi32(most, v);
        s->n_below += (size_t) __builtin_popcount(below);
        s->n_likely += (size_t) __builtin_popcount(same);
        if (rest != 0xFF) /* few are */
            n += pick_lanes(out + n, v, ~rest & 0xFF);
    }
    s->largest = largest_lane(most);
    return n;
}
#endif

static size_t split_deltas(struct uqm_key_split *split, uint32_t *restrict out, struct uqm_stored x,
                           struct uqm_stored base, size_t n_elem)
{
    const struct uqm_stored x_bf16 = { x.x, UQM_BF16 }, base_bf16 = { base.x, UQM_BF16 };
    const size_t n_whole = n_elem / SPLIT_ELEM * SPLIT_ELEM;
    struct uqm_key_split s = { split->low, split->n_keys, split->likely, 0, 0, 0 };
    size_t n = x.dtype == UQM_BF16 && base.dtype == UQM_BF16
                   ? split_of(&s, out, x_bf16, base_bf16, n_whole)
                   : split_of(&s, out, x, base, n_whole);
    for (size_t e = n_whole; e < n_elem; e++)
        uqm_split_delta_1(&s, out, &n, uqm_delta_key_1(uqm_stored_1(x, e), uqm_stored_1(base, e)));
    *split = s;
    return n;
}

static void key_bins(uint16_t *restrict bins, const uint32_t *restrict keys, unsigned shift,
                     uint32_t low, size_t n_elem)
{
    const __m128i by = _mm_cvtsi32_si128((int) shift);
    const __m256i lows = _mm256_set1_epi32((int) low), one = _mm256_set1_epi32(1);
    size_t e = 0;
    for (; e < whole(n_elem); e += EIGHT) {
        __m256i k = keys_8(keys + e), b = _mm256_sub_epi32(_mm256_srl_epi32(k, by), lows);
        b = _mm256_max_epi32(b, _mm256_min_epi32(k, one));
        b = _mm256_permute4x64_epi64(_mm256_packus_epi32(b, b), 0x08);
        _mm_storeu_si128((__m128i *) (void *) (bins + e), _mm256_castsi256_si128(b));
    }
    for (; e < n_elem; e++)
        bins[e] = uqm_key_bin_1(keys[e], shift, low);
}

static uint32_t largest_key(const uint32_t *keys, size_t n_elem)
{
    __m256i most = _mm256_setzero_si256();
    size_t e = 0;
    for (; e < whole(n_elem); e += EIGHT)
        most = _mm256_max_epi32(most, keys_8(keys + e));
    uint32_t here = largest_lane(most);
    uint32_t rest = uqm_merge_kernels_ref.largest_key(keys + e, n_elem - e);
    return here > rest ? here : rest;
}

static size_t keys_below(const uint32_t *keys, uint32_t bound, size_t n_elem)
{
    enum { SOME = 32 };
    if (bound == 0)
        return 0;
    /* keys are below 2^31: bound - 1 >= key as signed numbers */
    size_t e = n_elem / SOME * SOME, n = count_at_most(keys, (int32_t) (bound - 1), e);
    for (; e < n_elem; e++)
        n += keys[e] < bound;
    return n;
}

static size_t bins_equal(const uint16_t *bins, uint16_t bin, size_t n_elem)
{
    enum { SOME = 64, STEP = 16 };
    const __m256i wanted = _mm256_set1_epi16((short) bin);
    size_t e = n_elem / SOME * SOME, n = count_equal(bins, bin, e);
    while (e < n_elem && n_elem >= STEP) {
        /* the last ones may have been counted: they are the lowest lanes then */
        size_t at = e + STEP <= n_elem ? e : n_elem - STEP;
        __m256i v = _mm256_loadu_si256((const __m256i *) (const void *) (bins + at));
        unsigned same = (unsigned) _mm256_movemask_epi8(_mm256_cmpeq_epi16(v, wanted));
        n += (size_t) __builtin_popcount(same >> 2 * (e - at)) / 2;
        e = at + STEP;
    }
    return n + uqm_merge_kernels_ref.bins_equal(bins + e, bin, n_elem - e);
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
    const __m256i bound = _mm256_set1_epi16((short) limit);
    size_t e = 0, n = 0;
    for (; e + SOME <= n_elem; e += SOME) {
        __m256i a = _mm256_loadu_si256((const __m256i *) (const void *) (halves + e));
        __m256i b = _mm256_loadu_si256((const __m256i *) (const void *) (halves + e + SOME / 2));
        /* at least `bound`: the larger of the two is the half itself */
        __m256i over_a = _mm256_cmpeq_epi16(_mm256_max_epu16(a, bound), a);
        __m256i over_b = _mm256_cmpeq_epi16(_mm256_max_epu16(b, bound), b);
        __m256i over = _mm256_permute4x64_epi64(_mm256_packs_epi16(over_a, over_b), 0xD8);
        uint32_t bits = ~(uint32_t) _mm256_movemask_epi8(over);
        memcpy(keep + e / 8, &bits, sizeof bits);
        __m256i same =
            _mm256_packs_epi16(_mm256_cmpeq_epi16(a, bound), _mm256_cmpeq_epi16(b, bound));
        n += (size_t) __builtin_popcount((unsigned) _mm256_movemask_epi8(same));
    }
    return n + uqm_merge_kernels_ref.halves_below(keep + e / 8, halves + e, limit, n_elem - e);
}

static size_t halves_by_bin(uint8_t *restrict keep, uint32_t *restrict at,
                            const uint16_t *restrict halves, const uint16_t *restrict bins,
                            const uint32_t *restrict limits, size_t n_elem)
{
    const __m256i iota = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    size_t e = 0, n = 0;
    for (; e < whole(n_elem); e += EIGHT) {
        __m128i h16 = _mm_loadu_si128((const __m128i *) (const void *) (halves + e));
        __m128i b16 = _mm_loadu_si128((const __m128i *) (const void *) (bins + e));
        __m256i h = _mm256_cvtepu16_epi32(h16);
        __m256i limit = _mm256_i32gather_epi32((const int *) (const void *) limits,
                                               _mm256_cvtepu16_epi32(b16), 4);
        __m256i low = _mm256_and_si256(limit, _mm256_set1_epi32(0xFFFF));
        unsigned below = mask_of_i32(_mm256_cmpgt_epi32(low, h));
        unsigned above = mask_of_i32(_mm256_cmpgt_epi32(h, _mm256_srli_epi32(limit, 16)));
        unsigned m = ~(below | above) & 0xFF;
        keep[e / 8] = (uint8_t) below;
        if (m)
            n += pick_lanes(at + n, _mm256_add_epi32(iota, _mm256_set1_epi32((int) e)), m);
    }
    if (e == n_elem)
        return n;
    size_t more = uqm_merge_kernels_ref.halves_by_bin(keep + e / 8, at + n, halves + e, bins + e,
                                                      limits, n_elem - e);
    for (size_t i = 0; i < more; i++)
        at[n + i] += (uint32_t) e;
    return n + more;
}

/* --- weighted sums --- */

/* s / divisor, as uqm_quick_reciprocal() says. */
static inline wd quick_quotient(wd s, wd divisor, wd reciprocal)
{
    wd q = wd_mul(s, reciprocal);
    wd more = wd_fma(wd_fnma(q, divisor, s), reciprocal, q);
    return wd_select(wd_is_nan(more), q, more);
}

static inline wd divided_8(wd sum, const struct uqm_linear_mix *m)
{
    if (m->divisor == 1)
        return sum;
    if (m->reciprocal == 0)
        return wd_div(sum, wd_set(m->divisor));
    return quick_quotient(sum, wd_set(m->divisor), wd_set(m->reciprocal));
}

static void linear_mix(double *restrict out, const struct uqm_linear_mix *mix, size_t n_elem)
{
    size_t e = 0;
    for (; e < whole(n_elem); e += EIGHT) {
        wd sum = wd_set(0);
        for (size_t i = 0; i < mix->n_inputs; i++)
            sum = wd_add(sum, wd_mul(wd_of_f32(stored_8(mix->inputs[i].x, e)),
                                     wd_set(mix->inputs[i].weight)));
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
                      _mm256_set1_epi32(in->most), in->keep ? in->keep + e / 8 : NULL);
}

/* Whether the mask alone decides what is kept of an input: magnitudes need not be looked at then.
 */
static inline bool is_drawn(const struct uqm_task_input *in)
{
    return in->keep && in->least <= 0 && in->most == INT32_MAX;
}

static inline wd share_8(const struct uqm_task_input *in, __m256 base_f32, wd base, size_t e)
{
    __m256 x = stored_8(in->x, e);
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
        __m256 base_f32 = stored_8(m->base, e);
        wd base = wd_of_f32(base_f32), sum = wd_set(0);
        for (size_t i = 0; i < m->n_inputs; i++)
            sum = wd_add(sum, share_8(&m->inputs[i], base_f32, base, e));
        if (m->normalize)
            sum = wd_div(sum, divisor);
        wd_store(out + e, finish_8(m, base, sum));
    }
}

static void mix_agreeing(double *restrict out, const struct uqm_task_mix *m, size_t first,
                         size_t n_elem)
{
    const wd zero = wd_set(0), one = wd_set(1);
    for (size_t e = first; e < n_elem; e += EIGHT) {
        __m256 base_f32 = stored_8(m->base, e);
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

#ifdef HAS_MASKED_LANES
#include "compute/x86/elect_avx512.h"
#else
static void elect(double *restrict out, const struct uqm_task_mix *m, size_t n_elem)
{
    mix_agreeing(out, m, 0, n_elem);
}
#endif

static void task_mix(double *restrict out, const struct uqm_task_mix *mix, size_t n_elem)
{
    if (mix->consensus)
        elect(out, mix, whole(n_elem));
    else
        mix_all(out, mix, whole(n_elem));
    for (size_t e = whole(n_elem); e < n_elem; e++)
        out[e] = uqm_task_mix_1(mix, e);
}

/* Both types and `drawn` are constants where it pays. */
ALWAYS_INLINE void sums_of(wd *before, wd *after, const struct uqm_task_input *input,
                           struct uqm_stored x_at, struct uqm_stored base, bool drawn,
                           size_t n_elem)
{
    wd b = *before, a = *after;
    for (size_t e = 0; e < n_elem; e += EIGHT) {
        __m256 base_f32 = stored_8(base, e), x = stored_8(x_at, e);
        wd d = wd_abs(wd_sub(wd_of_f32(x), wd_of_f32(base_f32)));
        wm kept = drawn ? wm_of_bits(input->keep[e / 8]) : kept_8(input, x, base_f32, e);
        b = wd_add(b, d);
        a = wd_add(a, wd_where(kept, d));
    }
    *before = b;
    *after = a;
}

static void task_sums(double before[UQM_SUM_PARTS], double after[UQM_SUM_PARTS],
                      const struct uqm_task_input *input, struct uqm_stored base, size_t n_elem)
{
    wd b = wd_load(before), a = wd_load(after);
    const struct uqm_stored x_bf16 = { input->x.x, UQM_BF16 }, base_bf16 = { base.x, UQM_BF16 };
    const bool are_bf16 = input->x.dtype == UQM_BF16 && base.dtype == UQM_BF16;
    if (is_drawn(input) && are_bf16)
        sums_of(&b, &a, input, x_bf16, base_bf16, true, whole(n_elem));
    else if (is_drawn(input))
        sums_of(&b, &a, input, input->x, base, true, whole(n_elem));
    else
        sums_of(&b, &a, input, input->x, base, false, whole(n_elem));
    wd_store(before, b);
    wd_store(after, a);
    for (size_t e = whole(n_elem); e < n_elem; e++)
        uqm_task_sums_1(&before[e % EIGHT], &after[e % EIGHT], input, base, e);
}

/* --- inner products --- */

enum { MOST_AT_ONCE = 4, MOST_PAIRS = MOST_AT_ONCE * (MOST_AT_ONCE + 1) / 2 };

ALWAYS_INLINE wd vector_8(struct uqm_stored x, struct uqm_stored base, wd b, size_t e)
{
    wd v = wd_of_f32(stored_8(x, e));
    return base.x ? wd_sub(v, b) : v;
}

static void end_products(double *g, wd sum, struct uqm_stored x, struct uqm_stored y,
                         struct uqm_stored base, size_t n_elem)
{
    double part[UQM_SUM_PARTS];
    wd_store(part, sum);
    for (size_t e = whole(n_elem); e < n_elem; e++)
        part[e % EIGHT] += uqm_gram_1(x, base, e) * uqm_gram_1(y, base, e);
    *g += uqm_add_parts(part);
}

/* All pairs of n vectors, a constant. */
ALWAYS_INLINE void gram_of(double *g, const struct uqm_stored *x, size_t n, struct uqm_stored base,
                           size_t n_elem)
{
    wd sums[MOST_PAIRS], v[MOST_AT_ONCE];
    size_t k = 0;
    for (size_t i = 0; i < n * (n + 1) / 2; i++)
        sums[i] = wd_set(0);
    for (size_t e = 0; e < whole(n_elem); e += EIGHT) {
        wd b = base.x ? wd_of_f32(stored_8(base, e)) : wd_set(0);
        for (size_t i = 0; i < n; i++)
            v[i] = vector_8(x[i], base, b, e);
        k = 0;
        for (size_t i = 0; i < n; i++)
            for (size_t j = i; j < n; j++, k++)
                sums[k] = wd_add(sums[k], wd_mul(v[i], v[j]));
    }
    k = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = i; j < n; j++, k++)
            end_products(&g[k], sums[k], x[i], x[j], base, n_elem);
}

/* One vector with the first n behind y, a constant. */
ALWAYS_INLINE void products_of(double *g, struct uqm_stored x, const struct uqm_stored *y, size_t n,
                               struct uqm_stored base, size_t n_elem)
{
    wd sums[MOST_AT_ONCE];
    for (size_t j = 0; j < n; j++)
        sums[j] = wd_set(0);
    for (size_t e = 0; e < whole(n_elem); e += EIGHT) {
        wd b = base.x ? wd_of_f32(stored_8(base, e)) : wd_set(0), v = vector_8(x, base, b, e);
        for (size_t j = 0; j < n; j++)
            sums[j] = wd_add(sums[j], wd_mul(v, vector_8(y[j], base, b, e)));
    }
    for (size_t j = 0; j < n; j++)
        end_products(&g[j], sums[j], x, y[j], base, n_elem);
}

static void gram(double *g, const struct uqm_stored *x, size_t n, struct uqm_stored base,
                 size_t n_elem)
{
    switch (n) {
    case 1: gram_of(g, x, 1, base, n_elem); return;
    case 2: gram_of(g, x, 2, base, n_elem); return;
    case 3: gram_of(g, x, 3, base, n_elem); return;
    case 4: gram_of(g, x, 4, base, n_elem); return;
    default: break;
    }
    for (size_t i = 0; i < n; i++) {
        size_t j = i;
        for (; j + MOST_AT_ONCE <= n; j += MOST_AT_ONCE, g += MOST_AT_ONCE)
            products_of(g, x[i], &x[j], MOST_AT_ONCE, base, n_elem);
        for (; j < n; j++, g++)
            products_of(g, x[i], &x[j], 1, base, n_elem);
    }
}

/* --- offsets of several models --- */

static inline wd offset_8(const struct uqm_offsets *v, wd base, size_t i, size_t e)
{
    return wd_sub(wd_of_f32(stored_8(v->x[i], e)), base);
}

static inline wm kept_bits_8(const uint8_t *keep, size_t e)
{
    const __m256i zero = _mm256_setzero_si256();
    return wm_of_keys(zero, zero, zero, keep ? keep + e / 8 : NULL);
}

static void spread_keys(uint32_t *restrict keys, const struct uqm_offsets *v, size_t n_elem)
{
    const wd n = wd_set((double) v->n_inputs);
    size_t e = 0;
    for (; e < whole(n_elem); e += EIGHT) {
        wd base = wd_of_f32(stored_8(v->base, e)), mean = wd_set(0), squares = wd_set(0);
        for (size_t i = 0; i < v->n_inputs; i++)
            mean = wd_add(mean, offset_8(v, base, i, e));
        mean = wd_div(mean, n);
        for (size_t i = 0; i < v->n_inputs; i++) {
            wd d = wd_sub(offset_8(v, base, i, e), mean);
            squares = wd_add(squares, wd_mul(d, d));
        }
        __m256 variance = f32_of_wd(wd_div(squares, n));
        __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(variance, variance, _CMP_UNORD_Q));
        __m256i k = _mm256_or_si256(_mm256_castps_si256(variance), is_nan);
        k = _mm256_and_si256(k, _mm256_set1_epi32(INT32_MAX)); /* of a NaN all bits are set */
        _mm256_storeu_si256((__m256i *) (void *) (keys + e), k);
    }
    for (; e < n_elem; e++)
        keys[e] = uqm_spread_key_1(v, e);
}

static void keys_at_least(uint8_t *restrict keep, const uint32_t *restrict keys, uint32_t least,
                          size_t n_elem)
{
    const __m256i bound = _mm256_set1_epi32((int32_t) least);
    size_t e = 0;
    for (; e < whole(n_elem); e += EIGHT)
        keep[e / 8] = (uint8_t) ~mask_of_i32(_mm256_cmpgt_epi32(bound, keys_8(keys + e)));
    uqm_merge_kernels_ref.keys_at_least(keep + e / 8, keys + e, least, n_elem - e);
}

static void offset_squares(double *sums, const struct uqm_offsets *v, size_t n_elem)
{
    for (size_t i = 0; i < v->n_inputs; i++) {
        double part[UQM_SUM_PARTS];
        wd sum = wd_set(0);
        size_t e = 0;
        for (; e < whole(n_elem); e += EIGHT) {
            wd base = wd_of_f32(stored_8(v->base, e));
            wd d = wd_where(kept_bits_8(v->keep, e), offset_8(v, base, i, e));
            sum = wd_add(sum, wd_mul(d, d));
        }
        wd_store(part, sum);
        for (; e < n_elem; e++) {
            double d = uqm_offset_1(v, i, e);
            part[e % EIGHT] += d * d;
        }
        sums[i] += uqm_add_parts(part);
    }
}

static void agreeing_mix(double *restrict out, const struct uqm_offsets *v, const double *q,
                         double least, size_t n_elem)
{
    const wd zero = wd_set(0), floor = wd_set(least);
    size_t e = 0;
    for (; e < whole(n_elem); e += EIGHT) {
        wd base = wd_of_f32(stored_8(v->base, e));
        wd sum = zero, up = zero, down = zero, up_weights = zero, down_weights = zero;
        wm kept = kept_bits_8(v->keep, e);
        for (size_t i = 0; i < v->n_inputs; i++) {
            wd d = wd_where(kept, offset_8(v, base, i, e)), w = wd_set(q[i]), t = wd_mul(d, w);
            wm is_up = wd_greater(d, zero), is_down = wd_less(d, zero);
            sum = wd_add(sum, d);
            up = wd_add(up, wd_where(is_up, t));
            down = wd_add(down, wd_where(is_down, t));
            up_weights = wd_add(up_weights, wd_where(is_up, w));
            down_weights = wd_add(down_weights, wd_where(is_down, w));
        }
        wm majority = wd_at_least(sum, zero);
        wd divisor = wd_select(majority, up_weights, down_weights);
        divisor = wd_select(wd_less(divisor, floor), floor, divisor);
        wd x = wd_add(base, wd_div(wd_select(majority, up, down), divisor));
        wd_store(out + e, wd_select(wd_is_nan(x), wd_set((double) NAN), x));
    }
    for (; e < n_elem; e++)
        out[e] = uqm_agreeing_mix_1(v, q, least, e);
}

const struct uqm_merge_kernels TIER(merge_kernels) = {
    .delta_keys = delta_keys,
    .keys_with_bits = keys_with_bits,
    .keys_within = keys_within,
    .split_deltas = split_deltas,
    .key_bins = key_bins,
    .largest_key = largest_key,
    .keys_below = keys_below,
    .bins_equal = bins_equal,
    .philox_halves = philox_halves,
    .halves_below = halves_below,
    .halves_by_bin = halves_by_bin,
    .linear_mix = linear_mix,
    .task_mix = task_mix,
    .task_sums = task_sums,
    .gram = gram,
    .spread_keys = spread_keys,
    .keys_at_least = keys_at_least,
    .offset_squares = offset_squares,
    .agreeing_mix = agreeing_mix,
};
