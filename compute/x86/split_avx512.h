/* Keys about a threshold, sixteen at a time; included by merge_lanes.h. */
#ifndef UQM_COMPUTE_SPLIT_AVX512_H
#define UQM_COMPUTE_SPLIT_AVX512_H

enum { SPLIT_ELEM = 16 };

/* Sixteen elements at e. */
ALWAYS_INLINE __m512 stored_16(struct uqm_stored s, size_t e)
{
    const char *p = s.x;
    if (s.dtype == UQM_F32)
        return _mm512_loadu_ps(p + 4 * e);
    __m256i h = _mm256_loadu_si256((const __m256i *) (const void *) (p + 2 * e));
    if (s.dtype == UQM_F16)
        return _mm512_cvtph_ps(h);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

/* The types of both are constants where it pays. */
ALWAYS_INLINE size_t split_of(struct uqm_key_split *s, uint32_t *restrict out, struct uqm_stored x,
                              struct uqm_stored base, size_t n_elem)
{
    const __m512i low = _mm512_set1_epi32((int) s->low), size = _mm512_set1_epi32((int) s->n_keys);
    const __m512i likely = _mm512_set1_epi32((int) s->likely);
    const __m512i magnitude = _mm512_set1_epi32(INT32_MAX), one = _mm512_set1_epi32(1);
    __m512i most = _mm512_setzero_si512(), below = most, same = most;
    size_t n = 0;
    for (size_t e = 0; e < n_elem; e += SPLIT_ELEM) {
        __m512 d = _mm512_sub_ps(stored_16(x, e), stored_16(base, e));
        __m512i v = _mm512_and_si512(_mm512_castps_si512(d), magnitude);
        __mmask16 is_likely = _mm512_cmpeq_epi32_mask(v, likely);
        __mmask16 is_in = _mm512_cmplt_epu32_mask(_mm512_sub_epi32(v, low), size);
        below = _mm512_mask_add_epi32(below, _mm512_cmplt_epi32_mask(v, low), below, one);
        same = _mm512_mask_add_epi32(same, is_likely, same, one);
        most = _mm512_max_epi32(most, v);
        __mmask16 rest = _kandn_mask16(is_likely, is_in);
        if (rest) { /* few are */
            _mm512_storeu_si512(out + n, _mm512_maskz_compress_epi32(rest, v));
            n += (size_t) __builtin_popcount(rest);
        }
    }
    s->n_below = (size_t) _mm512_reduce_add_epi32(below);
    s->n_likely = (size_t) _mm512_reduce_add_epi32(same);
    s->largest = (uint32_t) _mm512_reduce_max_epi32(most);
    return n;
}

#endif
