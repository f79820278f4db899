/* Elements at any address: weights lie in a file where its writer put them. */
#ifndef UQM_COMPUTE_UNALIGNED_H
#define UQM_COMPUTE_UNALIGNED_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline float uqm_get_f32(const float *p, size_t i)
{
    float v;
    memcpy(&v, (const unsigned char *) p + i * sizeof v, sizeof v);
    return v;
}

static inline void uqm_put_f32(float *p, size_t i, float v)
{
    memcpy((unsigned char *) p + i * sizeof v, &v, sizeof v);
}

static inline uint16_t uqm_get_u16(const uint16_t *p, size_t i)
{
    uint16_t v;
    memcpy(&v, (const unsigned char *) p + i * sizeof v, sizeof v);
    return v;
}

static inline void uqm_put_u16(uint16_t *p, size_t i, uint16_t v)
{
    memcpy((unsigned char *) p + i * sizeof v, &v, sizeof v);
}

#endif
