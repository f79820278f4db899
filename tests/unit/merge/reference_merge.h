/*
 * What every merge method of spec merge.md 3 must compute, on whole arrays, plainly and slowly, and
 * independent of the program's arithmetic. Two evaluators:
 *
 * reference_f64.c      the formulas in double, nothing rounded on the way. Discrete choices are
 *                      made on the values that the document names: ranks and thresholds on f32(|x -
 *                      base|), f32(variance), f32(importance); of equal ones the lowest index
 *                      counts as the larger.
 * reference_mergekit.c mergekit's arithmetic, operation by operation (rules R1 to R7), sums over a
 *                      tensor accumulated in double and then rounded.
 *
 * Arrays hold doubles that are values of the working type. Every misuse is an assertion.
 */
#ifndef UQM_TESTS_REFERENCE_MERGE_H
#define UQM_TESTS_REFERENCE_MERGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/dtype.h"

enum { REF_INPUTS = 8, REF_RANK = 4 };

struct ref_input {
    const double *x; /* [n_elem] */
    double weight, density, gamma, epsilon;
    bool has_scale;
    double scale; /* passthrough */
};

struct ref_case {
    const char *method;
    enum uqm_dtype dtype; /* F16, BF16, F32, F64: the working type */
    unsigned rank;
    size_t shape[REF_RANK];
    size_t n_inputs; /* in the order of the arithmetic, the base anywhere among them */
    long base;       /* index, or -1 */
    struct ref_input in[REF_INPUTS];

    bool normalize, rescale;      /* linear, task vectors */
    bool normalize_weights;       /* multislerp */
    bool flatten, row_wise;       /* nuslerp */
    bool filter_wise;             /* model_stock */
    double lambda;                /* task vectors */
    double t;                     /* slerp, nearswap */
    double eps;                   /* multislerp */
    double tol;                   /* karcher */
    int max_iter;                 /* karcher */
    double select_topk;           /* sce */
    double ram_epsilon, r, alpha; /* ram, ramplus_tl */

    double (*draw)(void *ctx); /* uniform in [0, 1), for the random sparsifiers, in their order */
    void *draw_ctx;
};

/* The method's defaults; no inputs, no shape. */
void ref_init(struct ref_case *c, const char *method, enum uqm_dtype dtype);
size_t ref_n_elem(const struct ref_case *c);
/* The type mergekit stores when nothing else is asked for. */
enum uqm_dtype ref_result_dtype(const struct ref_case *c);

/* out: [n_elem]. false: the method refuses these numbers (multislerp's vanishing mean). */
bool ref_merge_f64(double *out, const struct ref_case *c);
/* The same, as values of ref_result_dtype(). */
bool ref_merge_mergekit(double *out, const struct ref_case *c);

/* --- shared by the two --- */

/* Which sparsifier and rules a method of the task-vector family has (spec merge.md 3.1). */
enum ref_sparsifier { REF_DENSE, REF_MAGNITUDE, REF_RANDOM, REF_OUTLIERS, REF_DELLA };
struct ref_family {
    const char *name;
    enum ref_sparsifier sparsifier;
    bool consensus, normalize, rescale;
};
/* NULL: not of the family. */
const struct ref_family *ref_family_of(const char *method);

/* One run of elements along an axis: indices first + k * stride, k < n. */
struct ref_line {
    size_t first, n, stride;
};
/* There are n_elem / shape[axis] of them. A scalar has one line of one element; flat: one line of
 * everything. */
size_t ref_n_lines(const struct ref_case *c, int axis);
struct ref_line ref_line_at(const struct ref_case *c, int axis, size_t i);
enum { REF_FLAT = -1 };
/* The axis that della's ranks run along, and the last one. */
int ref_axis_of_ranks(const struct ref_case *c);
int ref_last_axis(const struct ref_case *c);

/* order[r] = index into key[0..n) of the element of ascending rank r. Of equal keys the one with
 * the lowest index ranks highest; NaN ranks highest of all. */
void ref_rank_ascending(size_t *order, const float *key, size_t n);
/* The keep mask of magnitude (k largest) and of magnitude_outliers, whose sort keeps the order of
 * equal keys. key: |delta| as f32. */
void ref_keep_magnitude(bool *keep, const float *key, size_t n, double density);
void ref_keep_outliers(bool *keep, const float *key, size_t n, double density, double gamma);

/* Round to a type, nearest even. Values between f64 and F16 or BF16 pass through f32 first. */
double ref_round(enum uqm_dtype dtype, double v);
/* Stored bits of a value of the type. */
uint64_t ref_bits(enum uqm_dtype dtype, double v);
double ref_value(enum uqm_dtype dtype, uint64_t bits);
/* The distance from a value of the type to the next larger magnitude. */
double ref_ulp(enum uqm_dtype dtype, double v);

/* MT19937 as mergekit's CPU runs draw it (spec merge.md 2.1). */
struct ref_mt {
    uint32_t state[624];
    size_t next;
};
void ref_mt_init(struct ref_mt *mt, uint64_t seed);
uint32_t ref_mt_word(struct ref_mt *mt);
/* (word & 0xFFFFFF) * 2^-24; a draw for ref_case. */
double ref_mt_unit(void *mt);

#endif
