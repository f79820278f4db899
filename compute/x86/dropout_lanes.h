/* Body of dropout; included after a lanes_*.h. Philox4x32-10 on LANES counters at once, as in
 * src/base/rng.c. */
#include "compute/tiers.h"

/* The 4 LANES words of counters (first + lane, query, head, 0), in the order of their elements. */
static inline void philox(vu words[4], uint32_t first, uint32_t query, uint32_t head,
                          struct uqm_rng_key key)
{
    const vu m0 = vu_set(0xD2511F53), m1 = vu_set(0xCD9E8D57);
    vu c0 = vu_add(vu_set(first), vu_iota()), c1 = vu_set(query), c2 = vu_set(head), c3 = vu_set(0);
    uint32_t k0 = key.k[0], k1 = key.k[1];

    for (int round = 0; round < 10; round++) {
        vu hi0, lo0, hi1, lo1;
        vu_mul_wide(&hi0, &lo0, m0, c0);
        vu_mul_wide(&hi1, &lo1, m1, c2);
        c0 = vu_xor(vu_xor(hi1, c1), vu_set(k0));
        c1 = lo1;
        c2 = vu_xor(vu_xor(hi0, c3), vu_set(k1));
        c3 = lo0;
        k0 += 0x9E3779B9;
        k1 += 0xBB67AE85;
    }
    vu_interleave(words, c0, c1, c2, c3);
}

void TIER(dropout_f32)(float *x, struct uqm_rng_key key, uint32_t head, uint32_t query,
                       uint32_t threshold, float scale, size_t n_elem)
{
    const vf s = vf_set(scale);
    const vu least = vu_set(threshold);

    for (size_t i = 0; i < n_elem; i += 4 * LANES) {
        vu words[4];
        philox(words, (uint32_t) (i / 4), query, head, key);
        for (size_t w = 0; w < 4 && i + w * LANES < n_elem; w++) {
            size_t j = i + w * LANES, n = n_elem - j < LANES ? n_elem - j : LANES;
            vf v = vf_mul(vf_load_n(x, j, n, 0), s);
            vf_store_n(x, j, n, vf_where_at_least(words[w], least, v));
        }
    }
}
