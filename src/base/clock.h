/* A clock that only goes forward, for what is measured; nothing that is computed depends on it. */
#ifndef UQM_BASE_CLOCK_H
#define UQM_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t uqm_clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t) t.tv_sec * 1000000000u + (uint64_t) t.tv_nsec;
}

static inline double uqm_clock_s(void)
{
    return (double) uqm_clock_ns() * 1e-9;
}

#endif
