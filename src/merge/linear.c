#include "src/merge/linear.h"

#include <math.h>
#include <string.h>

struct scratch {
    double *acc64;
    float *acc;
    double *wide64;
    float *wide;
    uint16_t *half;
};

static struct scratch cut(void *block)
{
    char *p = block;
    return (struct scratch){
        .acc64 = (double *) (void *) p,
        .acc = (float *) (void *) p,
        .wide64 = (double *) (void *) (p + 8 * UQM_LINEAR_CHUNK),
        .wide = (float *) (void *) (p + 16 * UQM_LINEAR_CHUNK),
        .half = (uint16_t *) (void *) (p + 20 * UQM_LINEAR_CHUNK),
    };
}

static const void *at(const struct uqm_linear_input *in, size_t first)
{
    return (const char *) in->data + first * (uqm_dtype_bits(in->dtype) / 8);
}

/* F64 goes to the narrow types by way of f32, as the reference casts. */
static void load_f32(float *dst, const struct uqm_kernels *k, const void *src, enum uqm_dtype dtype,
                     size_t n)
{
    if (dtype != UQM_F64) {
        uqm_widen(k, dst, src, dtype, n);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        double v;
        memcpy(&v, (const char *) src + i * sizeof v, sizeof v);
        dst[i] = (float) v;
    }
}

static void load_f64(double *dst, float *wide, const struct uqm_kernels *k, const void *src,
                     enum uqm_dtype dtype, size_t n)
{
    if (dtype == UQM_F64) {
        memcpy(dst, src, n * sizeof *dst);
        return;
    }
    uqm_widen(k, wide, src, dtype, n);
    for (size_t i = 0; i < n; i++)
        dst[i] = (double) wide[i];
}

/* Round x to the working type and back. */
static void round_to(float *x, uint16_t *half, const struct uqm_kernels *k, enum uqm_dtype work,
                     size_t n)
{
    if (work == UQM_F32)
        return;
    uqm_narrow(k, half, work, x, n);
    uqm_widen(k, x, half, work, n);
}

static void store_f32(void *dst, const struct uqm_kernels *k, enum uqm_dtype out, const float *x,
                      size_t n)
{
    if (out != UQM_F64) {
        uqm_narrow(k, dst, out, x, n);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        double v = (double) x[i];
        memcpy((char *) dst + i * sizeof v, &v, sizeof v);
    }
}

static void store_f64(void *dst, float *wide, const struct uqm_kernels *k, enum uqm_dtype out,
                      const double *x, size_t n)
{
    if (out == UQM_F64) {
        memcpy(dst, x, n * sizeof *x);
        return;
    }
    for (size_t i = 0; i < n; i++)
        wide[i] = (float) x[i];
    uqm_narrow(k, dst, out, wide, n);
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

static void merge_f32(void *dst, const struct uqm_linear_job *job, size_t first, size_t n,
                      const struct scratch *s)
{
    const struct uqm_kernels *k = job->kernels;
    memset(s->acc, 0, n * sizeof *s->acc);
    for (size_t i = 0; i < job->n_inputs; i++) {
        const struct uqm_linear_input *in = &job->inputs[i];
        float w = (float) in->weight;
        bool exact = in->dtype == job->work || (job->work == UQM_F32 && in->dtype != UQM_F64);
        if (exact) {
            fma_any(s->acc, k, at(in, first), in->dtype, w, n);
            continue;
        }
        load_f32(s->wide, k, at(in, first), in->dtype, n);
        round_to(s->wide, s->half, k, job->work, n);
        k->fma_f32(s->acc, s->wide, w, n);
    }
    if (job->normalize)
        k->div_f32(s->acc, (float) job->sum, n);
    if (job->out != job->work)
        round_to(s->acc, s->half, k, job->work, n);
    store_f32(dst, k, job->out, s->acc, n);
}

static void merge_f64(void *dst, const struct uqm_linear_job *job, size_t first, size_t n,
                      const struct scratch *s)
{
    memset(s->acc64, 0, n * sizeof *s->acc64);
    for (size_t i = 0; i < job->n_inputs; i++) {
        const struct uqm_linear_input *in = &job->inputs[i];
        load_f64(s->wide64, s->wide, job->kernels, at(in, first), in->dtype, n);
        for (size_t e = 0; e < n; e++)
            s->acc64[e] = fma(s->wide64[e], in->weight, s->acc64[e]);
    }
    if (job->normalize)
        for (size_t e = 0; e < n; e++)
            s->acc64[e] /= job->sum;
    store_f64(dst, s->wide, job->kernels, job->out, s->acc64, n);
}

void uqm_linear_merge(void *dst, const struct uqm_linear_job *job, size_t first, size_t n_elem,
                      void *scratch)
{
    struct scratch s = cut(scratch);
    if (job->work == UQM_F64)
        merge_f64(dst, job, first, n_elem, &s);
    else
        merge_f32(dst, job, first, n_elem, &s);
}

void uqm_linear_convert(void *dst, const struct uqm_linear_job *job, size_t first, size_t n_elem,
                        void *scratch)
{
    struct scratch s = cut(scratch);
    const struct uqm_linear_input *in = &job->inputs[0];
    if (job->work == UQM_F64) {
        load_f64(s.wide64, s.wide, job->kernels, at(in, first), in->dtype, n_elem);
        store_f64(dst, s.wide, job->kernels, job->out, s.wide64, n_elem);
        return;
    }
    load_f32(s.wide, job->kernels, at(in, first), in->dtype, n_elem);
    round_to(s.wide, s.half, job->kernels, job->work, n_elem);
    store_f32(dst, job->kernels, job->out, s.wide, n_elem);
}
