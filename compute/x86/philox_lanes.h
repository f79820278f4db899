/* Philox4x32-10 on LANES counters at once, as in src/base/rng.c; included after a lanes_*.h. */
#ifndef UQM_COMPUTE_PHILOX_LANES_H
#define UQM_COMPUTE_PHILOX_LANES_H

#include "src/base/rng.h"

/* The 4 LANES words of counters (first + lane, second, third, 0), in the order of counters. */
static inline void philox(vu words[4], uint32_t first, uint32_t second, uint32_t third,
                          struct uqm_rng_key key)
{
    const vu m0 = vu_set(0xD2511F53), m1 = vu_set(0xCD9E8D57);
    vu c0 = vu_add(vu_set(first), vu_iota()), c1 = vu_set(second), c2 = vu_set(third);
    vu c3 = vu_set(0);
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

#endif
