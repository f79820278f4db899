#include "src/merge/method_ops.h"

#include <assert.h>
#include <math.h>
#include <string.h>

double uqm_job_input_param(const struct uqm_job *job, size_t input, const char *name)
{
    int i = uqm_method_param_index(job->method, name);
    assert(i >= 0);
    return job->inputs[input].params[i];
}

double uqm_job_param(const struct uqm_job *job, const char *name)
{
    int i = uqm_method_param_index(job->method, name);
    assert(i >= 0);
    return job->params[i];
}

int uqm_job_init(struct uqm_job *job, struct uqm_err *err)
{
    const struct uqm_method_ops *ops = job->ops;
    assert(job->n_elem > 0);
    job->base = -1;
    for (size_t i = 0; i < job->n_inputs; i++)
        if (job->inputs[i].is_base)
            job->base = (long) i;
    job->n_others = job->n_inputs - (job->base >= 0);
    job->result = ops->result_is_f32 && job->work != UQM_F64 ? UQM_F32 : job->work;
    int ret = ops->check ? ops->check(job, err) : UQM_OK;
    if (ret < 0)
        return ret;
    job->unit_elem = ops->unit_elem ? ops->unit_elem(job) : 1;
    assert(job->unit_elem > 0 && job->n_elem % job->unit_elem == 0);
    if (job->unit_elem > UQM_MOST_UNIT_ELEM) {
        struct uqm_printable name;
        return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                        "%s: tensor %s: %s works on rows as a whole, and more than %d elements in "
                        "one are not in this version",
                        job->where, uqm_printable(&name, job->name, strlen(job->name)),
                        job->method->name, UQM_MOST_UNIT_ELEM);
    }
    uint64_t units = UQM_BLOCK_ELEM / job->unit_elem;
    job->block_elem = job->unit_elem * (units ? units : 1);
    job->n_blocks = (job->n_elem + job->block_elem - 1) / job->block_elem;
    job->n_passes = ops->n_passes ? ops->n_passes(job) : 0;
    return UQM_OK;
}

uint64_t uqm_job_segment_end(const struct uqm_job *job, unsigned pass, unsigned segment)
{
    unsigned n = job->ops->n_segments ? job->ops->n_segments(job, pass) : 1;
    return uqm_job_segment_end_of(job, n, segment);
}

uint64_t uqm_job_segment_end_of(const struct uqm_job *job, unsigned n, unsigned segment)
{
    uint64_t q = job->n_blocks / n, r = job->n_blocks % n;
    return q * (segment + 1) + (segment + 1 < r ? segment + 1 : r);
}

/* Anywhere in its share of the tensor, or all samples could lie in the same columns of a matrix:
 * multiples of the golden ratio are spread well. */
uint64_t uqm_job_sample_at(const struct uqm_job *job, uint64_t n_samples, uint64_t sample)
{
    uint64_t share = job->n_elem / n_samples;
    uint64_t room = (share - UQM_SAMPLE_ELEM) / job->unit_elem;
    uint64_t part = (uint32_t) sample * UINT32_C(0x9E3779B9) >> 8; /* of 2^24 */
    assert(share >= UQM_SAMPLE_ELEM && job->unit_elem <= UQM_SAMPLE_ELEM);
    return sample * share + (room >> 24) * part + ((room & 0xFFFFFF) * part >> 24);
}

bool uqm_job_spreads_specials(const struct uqm_job *job)
{
    (void) job;
    return true;
}

/* --- loading --- */

static const void *element(const struct uqm_job *job, const struct uqm_span *span, size_t i,
                           size_t at)
{
    return (const char *) span->data[i] + at * (uqm_dtype_bits(job->inputs[i].dtype) / 8);
}

const void *uqm_job_stored(const struct uqm_job *job, const struct uqm_span *span, size_t i,
                           size_t at)
{
    enum uqm_dtype dtype = job->inputs[i].dtype;
    bool is_exact = dtype == job->work || job->work == UQM_F32;
    return is_exact && dtype != UQM_F64 && job->work != UQM_F64 ? element(job, span, i, at) : NULL;
}

/* x is f32(narrow(x)) in f32. */
static void round_to(const struct uqm_kernels *k, float *x, enum uqm_dtype dtype, size_t n,
                     uint16_t *half)
{
    uqm_narrow(k, half, dtype, x, n);
    uqm_widen(k, x, half, dtype, n);
}

void uqm_job_round(const struct uqm_job *job, float *x, size_t n, uint16_t *half)
{
    assert(job->work != UQM_F64);
    if (job->work != UQM_F32)
        round_to(job->kernels, x, job->work, n, half);
}

void uqm_job_load_f32(float *dst, const struct uqm_job *job, const struct uqm_span *span, size_t i,
                      size_t at, size_t n, uint16_t *half)
{
    const void *src = element(job, span, i, at);
    enum uqm_dtype dtype = job->inputs[i].dtype;
    if (dtype != UQM_F64)
        uqm_widen(job->kernels, dst, src, dtype, n);
    else /* to the narrow types by way of f32, as PyTorch casts */
        for (size_t e = 0; e < n; e++) {
            double v;
            memcpy(&v, (const char *) src + e * sizeof v, sizeof v);
            dst[e] = (float) v;
        }
    if (dtype != job->work)
        uqm_job_round(job, dst, n, half);
}

void uqm_job_load_f64(double *dst, const struct uqm_job *job, const struct uqm_span *span, size_t i,
                      size_t at, size_t n, float *wide, uint16_t *half)
{
    if (job->work == UQM_F64 && job->inputs[i].dtype == UQM_F64) {
        memcpy(dst, element(job, span, i, at), n * sizeof *dst);
        return;
    }
    const struct uqm_wide_kernels *k = job->kernels->wide;
    const void *src = element(job, span, i, at);
    enum uqm_dtype dtype = job->inputs[i].dtype;
    bool is_exact =
        dtype == job->work || job->work == UQM_F64 || (job->work == UQM_F32 && dtype != UQM_F64);
    if (is_exact && dtype == UQM_BF16) {
        k->of_bf16(dst, src, n);
        return;
    }
    if (is_exact && dtype == UQM_F32) {
        k->of_f32(dst, src, n);
        return;
    }
    if (is_exact)
        uqm_widen(job->kernels, wide, src, dtype, n);
    else
        uqm_job_load_f32(wide, job, span, i, at, n, half);
    k->of_f32(dst, wide, n);
}

/* --- storing --- */

static void *stored(const struct uqm_job *job, void *dst, size_t at)
{
    return (char *) dst + at * (uqm_dtype_bits(job->out) / 8);
}

void uqm_job_store_f32(void *dst, const struct uqm_job *job, size_t at, float *x, size_t n,
                       uint16_t *half)
{
    char *p = stored(job, dst, at);
    if (job->out == job->result) {
        uqm_narrow(job->kernels, p, job->out, x, n);
        return;
    }
    if (job->result != UQM_F32)
        round_to(job->kernels, x, job->result, n, half);
    if (job->out != UQM_F64) {
        uqm_narrow(job->kernels, p, job->out, x, n);
        return;
    }
    for (size_t e = 0; e < n; e++) {
        double v = (double) x[e];
        memcpy(p + e * sizeof v, &v, sizeof v);
    }
}

bool uqm_job_may_mix(const struct uqm_job *job)
{
    const bool rounds_once = job->result == job->out &&
                             (job->out == UQM_F16 || job->out == UQM_BF16 || job->out == UQM_F32);
    return job->numerics == UQM_NUMERICS_ACCURATE && job->work != UQM_F64 && rounds_once &&
           job->unit_elem == 1;
}

bool uqm_job_is_mix(const struct uqm_job *job, const struct uqm_mix *mix)
{
    bool stored = !mix->base || mix->base->w;
    for (size_t i = 0; i < mix->n_inputs; i++)
        stored = stored && mix->inputs[i].w;
    return uqm_job_may_mix(job) && stored && mix->n_inputs > 0 && uqm_mix_is_safe(mix);
}

void uqm_job_store_f64(void *dst, const struct uqm_job *job, size_t at, double *x, size_t n,
                       float *wide, uint16_t *half)
{
    const struct uqm_wide_kernels *k = job->kernels->wide;
    char *p = stored(job, dst, at);
    if (job->result == UQM_F64 && job->out == UQM_F64) {
        memcpy(p, x, n * sizeof *x);
        return;
    }
    if (job->result == UQM_F64 || job->result == UQM_F32) {
        k->to_f32(wide, x, n); /* the former as PyTorch casts */
    } else {                   /* to 16 bits by way of f32, rounded once */
        k->to_odd_f32(wide, x, n);
        if (job->out != job->result)
            round_to(job->kernels, wide, job->result, n, half);
    }
    if (job->out != UQM_F64) {
        uqm_narrow(job->kernels, p, job->out, wide, n);
        return;
    }
    for (size_t e = 0; e < n; e++) {
        double v = (double) wide[e];
        memcpy(p + e * sizeof v, &v, sizeof v);
    }
}
