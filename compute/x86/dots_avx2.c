#include "compute/x86/lanes_avx2.h"

/* With eight rows their chains alone would fill all sixteen registers. */
enum { WIDTH = 4 };
typedef struct {
    vf lo, hi;
} chains;

static inline chains chains_zero(void)
{
    return (chains){ vf_set(0), vf_set(0) };
}
static inline chains chains_fma(chains a, chains b, chains c)
{
    return (chains){ vf_fma(a.lo, b.lo, c.lo), vf_fma(a.hi, b.hi, c.hi) };
}
static inline chains chains_load(const float *p, size_t i)
{
    return (chains){ vf_load(p, i), vf_load(p, i + LANES) };
}
static inline size_t lanes_in_lo(size_t n)
{
    return n < LANES ? n : LANES;
}
static inline chains chains_load_n(const float *p, size_t i, size_t n)
{
    const size_t lo = lanes_in_lo(n);
    return (chains){ vf_load_n(p, i, lo, 0), vf_load_n(p, i + lo, n - lo, 0) };
}
static inline chains chains_of_f16(const uint16_t *p, size_t i)
{
    return (chains){ vf_of_f16(vh_load(p, i)), vf_of_f16(vh_load(p, i + LANES)) };
}
static inline chains chains_of_f16_n(const uint16_t *p, size_t i, size_t n)
{
    const size_t lo = lanes_in_lo(n);
    return (chains){ vf_of_f16(vh_load_n(p, i, lo)), vf_of_f16(vh_load_n(p, i + lo, n - lo)) };
}
static inline chains chains_of_bf16(const uint16_t *p, size_t i)
{
    return (chains){ vf_of_bf16(vh_load(p, i)), vf_of_bf16(vh_load(p, i + LANES)) };
}
static inline chains chains_of_bf16_n(const uint16_t *p, size_t i, size_t n)
{
    const size_t lo = lanes_in_lo(n);
    return (chains){ vf_of_bf16(vh_load_n(p, i, lo)), vf_of_bf16(vh_load_n(p, i + lo, n - lo)) };
}
static inline float chains_sum(chains a)
{
    return vf_sum(vf_add(a.lo, a.hi));
}

#include "compute/x86/dots_lanes.h"
