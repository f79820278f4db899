/* Little-endian integers at any address: what files are made of. */
#ifndef UQM_BASE_BYTES_H
#define UQM_BASE_BYTES_H

#include <stdint.h>

static inline void uqm_put_u32(uint8_t *p, uint32_t x)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t) (x >> 8 * i);
}

static inline void uqm_put_u64(uint8_t *p, uint64_t x)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t) (x >> 8 * i);
}

static inline uint32_t uqm_get_u32(const uint8_t *p)
{
    uint32_t x = 0;
    for (int i = 0; i < 4; i++)
        x |= (uint32_t) p[i] << 8 * i;
    return x;
}

static inline uint64_t uqm_get_u64(const uint8_t *p)
{
    uint64_t x = 0;
    for (int i = 0; i < 8; i++)
        x |= (uint64_t) p[i] << 8 * i;
    return x;
}

#endif
