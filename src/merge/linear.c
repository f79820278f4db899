#include "src/merge/linear.h"

#include <math.h>
#include <string.h>

#include "compute/merge_kernels.h"

/* Scratch, for one block. */
struct scratch {
    double *acc64, *wide64;
    struct uqm_linear_input *inputs; /* [n_inputs] */
    float *acc, *wide;
    uint16_t *half;
};

static size_t scratch_bytes(const struct uqm_job *job)
{
    return (size_t) job->block_elem * (8 + 8 + 4 + 4 + 2) +
           job->n_inputs * sizeof(struct uqm_linear_input);
}

static struct scratch cut(const struct uqm_job *job, void *block)
{
    size_t n = (size_t) job->block_elem;
    struct scratch s = { .inputs = block };
    char *p = (char *) (s.inputs + job->n_inputs);
    s.acc64 = (double *) (void *) p;
    s.wide64 = (double *) (void *) (p + 8 * n);
    s.acc = (float *) (void *) (p + 16 * n);
    s.wide = (float *) (void *) (p + 20 * n);
    s.half = (uint16_t *) (void *) (p + 24 * n);
    return s;
}

static void fma_any(float *acc, const struct uqm_kernels *k, const void *src, enum uqm_dtype dtype,
                    float w, size_t n)
{
    switch (dtype) {
    case UQM_F16: k->fma_f16(acc, src, w, n); break;
    case UQM_BF16: k->fma_bf16(acc, src, w, n); break;
    default: k->fma_f32(acc, src, w, n); break;
    }
}

/* As the arithmetic adds them: f32(w_1) + f32(w_2) + ... in f32. */
static float sum_f32(const struct uqm_job *job)
{
    float sum = 0;
    for (size_t i = 0; i < job->n_inputs; i++) {
        float w = (float) uqm_job_input_param(job, i, "weight");
        sum = i ? sum + w : w;
    }
    return sum;
}

static void merge_f32(const struct uqm_job *job, void *dst, const struct uqm_span *span,
                      const struct scratch *s)
{
    const struct uqm_kernels *k = job->kernels;
    size_t n = span->n_elem;
    memset(s->acc, 0, n * sizeof *s->acc);
    for (size_t i = 0; i < job->n_inputs; i++) {
        enum uqm_dtype dtype = job->inputs[i].dtype;
        float w = (float) uqm_job_input_param(job, i, "weight");
        bool exact = dtype == job->work || (job->work == UQM_F32 && dtype != UQM_F64);
        if (exact) {
            fma_any(s->acc, k, span->data[i], dtype, w, n);
            continue;
        }
        uqm_job_load_f32(s->wide, job, span, i, 0, n, s->half);
        k->fma_f32(s->acc, s->wide, w, n);
    }
    if (uqm_job_param(job, "normalize") != 0)
        k->div_f32(s->acc, sum_f32(job), n);
    uqm_job_store_f32(dst, job, 0, s->acc, n, s->half);
}

static void merge_f64(const struct uqm_job *job, void *dst, const struct uqm_span *span,
                      const struct scratch *s)
{
    size_t n = span->n_elem;
    double sum = 0;
    memset(s->acc64, 0, n * sizeof *s->acc64);
    for (size_t i = 0; i < job->n_inputs; i++) {
        double w = uqm_job_input_param(job, i, "weight");
        uqm_job_load_f64(s->wide64, job, span, i, 0, n, s->wide, s->half);
        for (size_t e = 0; e < n; e++)
            s->acc64[e] = fma(s->wide64[e], w, s->acc64[e]);
        sum += w;
    }
    if (uqm_job_param(job, "normalize") != 0)
        for (size_t e = 0; e < n; e++)
            s->acc64[e] /= sum;
    uqm_job_store_f64(dst, job, 0, s->acc64, n, s->wide, s->half);
}

/* Where elements are rounded to another type first, or are F64. */
static void sum_of_lanes(const struct uqm_job *job, const struct uqm_span *span,
                         const struct scratch *s, const struct uqm_linear_mix *mix, size_t at,
                         size_t n)
{
    const struct uqm_wide_kernels *k = job->kernels->wide;
    memset(s->acc64, 0, n * sizeof *s->acc64);
    for (size_t i = 0; i < mix->n_inputs; i++) {
        uqm_job_load_f64(s->wide64, job, span, i, at, n, s->wide, s->half);
        k->add_scaled(s->acc64, s->wide64, mix->inputs[i].weight, n);
    }
    if (mix->divisor != 1)
        k->divide(s->acc64, mix->divisor, n);
}

enum { AT_ONCE = 512 }; /* sums in f64 stay in the nearest cache */

/* Accurate: multiply, add, divide in f64, rounded once. */
static void merge_accurate(const struct uqm_job *job, void *dst, const struct uqm_span *span,
                           const struct scratch *s)
{
    struct uqm_linear_mix mix = { .n_inputs = job->n_inputs, .inputs = s->inputs, .divisor = 1 };
    double sum = 0;
    bool direct = true;
    for (size_t i = 0; i < job->n_inputs; i++) {
        double w = uqm_job_input_param(job, i, "weight");
        s->inputs[i] = (struct uqm_linear_input){ .x.dtype = job->inputs[i].dtype, .weight = w };
        direct = direct && uqm_job_stored(job, span, i, 0);
        sum += w;
    }
    if (uqm_job_param(job, "normalize") != 0)
        mix.divisor = sum;
    mix.reciprocal = uqm_quick_reciprocal(mix.divisor);
    for (size_t at = 0, n; at < span->n_elem; at += n) {
        n = span->n_elem - at < AT_ONCE ? span->n_elem - at : AT_ONCE;
        for (size_t i = 0; i < job->n_inputs && direct; i++)
            s->inputs[i].x.x = uqm_job_stored(job, span, i, at);
        if (direct)
            job->kernels->merge->linear_mix(s->acc64, &mix, n);
        else
            sum_of_lanes(job, span, s, &mix, at, n);
        uqm_job_store_f64(dst, job, at, s->acc64, n, s->wide, s->half);
    }
}

static void merge_linear(const struct uqm_job *job, const struct uqm_job_state *state, void *dst,
                         const struct uqm_span *span, void *scratch)
{
    struct scratch s = cut(job, scratch);
    (void) state;
    if (job->numerics == UQM_NUMERICS_ACCURATE)
        merge_accurate(job, dst, span, &s);
    else if (job->work == UQM_F64)
        merge_f64(job, dst, span, &s);
    else
        merge_f32(job, dst, span, &s);
}

static enum uqm_mixes mixes(const struct uqm_job *job)
{
    return uqm_job_may_mix(job) ? UQM_MIXES_SUMS : UQM_MIXES_NONE;
}

static bool as_mix(const struct uqm_job *job, const struct uqm_job_state *state,
                   const struct uqm_span *span, struct uqm_mix *mix, struct uqm_mix_input *inputs)
{
    double sum = 0;
    (void) state;
    *mix = (struct uqm_mix){ .n_inputs = job->n_inputs, .inputs = inputs, .divisor = 1 };
    for (size_t i = 0; i < job->n_inputs; i++) {
        const double w = uqm_job_input_param(job, i, "weight");
        inputs[i] = (struct uqm_mix_input){ .w = uqm_job_stored(job, span, i, 0),
                                            .dtype = job->inputs[i].dtype,
                                            .weight = w };
        sum += w;
    }
    if (uqm_job_param(job, "normalize") != 0)
        mix->divisor = sum;
    return uqm_job_is_mix(job, mix);
}

static void convert(const struct uqm_job *job, const struct uqm_job_state *state, void *dst,
                    const struct uqm_span *span, void *scratch)
{
    struct scratch s = cut(job, scratch);
    size_t n = span->n_elem;
    (void) state;
    if (job->work == UQM_F64) {
        uqm_job_load_f64(s.wide64, job, span, 0, 0, n, s.wide, s.half);
        uqm_job_store_f64(dst, job, 0, s.wide64, n, s.wide, s.half);
        return;
    }
    uqm_job_load_f32(s.wide, job, span, 0, 0, n, s.half);
    uqm_job_store_f32(dst, job, 0, s.wide, n, s.half);
}

const struct uqm_method_ops uqm_linear_ops = {
    .scratch_bytes = scratch_bytes,
    .merge = merge_linear,
    .mixes = mixes,
    .as_mix = as_mix,
    .spreads_specials = uqm_job_spreads_specials,
};

const struct uqm_method_ops uqm_convert_ops = {
    .scratch_bytes = scratch_bytes,
    .merge = convert,
};
