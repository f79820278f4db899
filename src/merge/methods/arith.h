/*
 * Arithmetic on chunks of a span's elements, one text for both numerics. Elements stand in lanes:
 * in f64 and never rounded where the numerics are accurate or the working type is F64 (`wide`),
 * else in f32, where every operation ends with a rounding to `round` (rule R1 of merge.md 1). So a
 * method written in the order of mergekit's operations is mergekit's to the bit, and the formula
 * evaluated in f64 otherwise.
 *
 * Destinations may be operands. n <= UQM_CHUNK.
 */
#ifndef UQM_MERGE_ARITH_H
#define UQM_MERGE_ARITH_H

#include "src/merge/method_ops.h"

enum { UQM_CHUNK = 512 };

struct uqm_arith {
    const struct uqm_job *job;
    bool wide;
    enum uqm_dtype round; /* the working type, unless the method sets another */
    float *narrow;        /* of one chunk, for loading and storing */
    uint16_t *half;
    char *lanes;
};

/* Of scratch, 64-byte aligned, for so many lanes. */
size_t uqm_arith_bytes(size_t n_lanes);
void uqm_arith_init(struct uqm_arith *a, const struct uqm_job *job, void *scratch);
static inline void *uqm_lane(const struct uqm_arith *a, size_t i)
{
    return a->lanes + i * UQM_CHUNK * sizeof(double);
}

/* Elements [at, at + n) of an input; the same less the base's, which stand in the lane `base`
 * (NULL: there is none). */
void uqm_arith_load(const struct uqm_arith *a, void *dst, const struct uqm_span *span, size_t input,
                    size_t at, size_t n);
void uqm_arith_offset(const struct uqm_arith *a, void *dst, const void *base,
                      const struct uqm_span *span, size_t input, size_t at, size_t n);
/* The lane x as elements [at, at + n) of dst, rounded to the result's type and the output's. x is
 * overwritten. */
void uqm_arith_store(const struct uqm_arith *a, void *dst, size_t at, void *x, size_t n);

void uqm_arith_zero(const struct uqm_arith *a, void *dst, size_t n);
void uqm_arith_add(const struct uqm_arith *a, void *dst, const void *x, const void *y, size_t n);
void uqm_arith_sub(const struct uqm_arith *a, void *dst, const void *x, const void *y, size_t n);
void uqm_arith_mul(const struct uqm_arith *a, void *dst, const void *x, const void *y, size_t n);
void uqm_arith_div(const struct uqm_arith *a, void *dst, const void *x, const void *y, size_t n);
/* x c and x / c; c is taken as f32, not rounded further (R2). */
void uqm_arith_scale(const struct uqm_arith *a, void *dst, const void *x, double c, size_t n);
void uqm_arith_divide(const struct uqm_arith *a, void *dst, const void *x, double c, size_t n);
/* 1 - x */
void uqm_arith_rest(const struct uqm_arith *a, void *dst, const void *x, size_t n);
/* sum += x, rounded to f32 alone: the terms of a sum over models (R4), to be ended by ... */
void uqm_arith_gather(const struct uqm_arith *a, void *sum, const void *x, size_t n);
/* ... this rounding. */
void uqm_arith_round(const struct uqm_arith *a, void *x, size_t n);

/* Sums in f64, unrounded. In eight interleaved parts: the order of additions is part of the result,
 * and the same everywhere. */
double uqm_arith_sum(const struct uqm_arith *a, const void *x, size_t n);
double uqm_arith_dot(const struct uqm_arith *a, const void *x, const void *y, size_t n);

/* Scalars: rounded to `round`, and to f32; untouched where wide. */
double uqm_arith_rd(const struct uqm_arith *a, double v);
double uqm_arith_f32(const struct uqm_arith *a, double v);

#endif
