/* Body of dropout; included after a lanes_*.h. */
#include "compute/tiers.h"
#include "compute/x86/philox_lanes.h"

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
