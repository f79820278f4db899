#include "src/merge/methods/sparsify.h"

#include <assert.h>
#include <math.h>

#include "src/merge/methods/draws.h"
#include "src/merge/methods/row_draws.h"

struct uqm_task_kind uqm_task_kind_of(enum uqm_method_id id)
{
    switch (id) {
    case UQM_METHOD_TASK_ARITHMETIC: return (struct uqm_task_kind){ UQM_SPARSE_NONE, false };
    case UQM_METHOD_TIES: return (struct uqm_task_kind){ UQM_SPARSE_MAGNITUDE, true };
    case UQM_METHOD_DARE_TIES: return (struct uqm_task_kind){ UQM_SPARSE_RANDOM, true };
    case UQM_METHOD_DARE_LINEAR: return (struct uqm_task_kind){ UQM_SPARSE_RANDOM, false };
    case UQM_METHOD_BREADCRUMBS: return (struct uqm_task_kind){ UQM_SPARSE_OUTLIERS, false };
    case UQM_METHOD_BREADCRUMBS_TIES: return (struct uqm_task_kind){ UQM_SPARSE_OUTLIERS, true };
    case UQM_METHOD_DELLA: return (struct uqm_task_kind){ UQM_SPARSE_RANKED, true };
    default:
        assert(id == UQM_METHOD_DELLA_LINEAR);
        return (struct uqm_task_kind){ UQM_SPARSE_RANKED, false };
    }
}

static enum uqm_sparsifier sparsifier_of(const struct uqm_job *job)
{
    return uqm_task_kind_of(job->method->id).sparsifier;
}

bool uqm_sparse_is_active(const struct uqm_job *job, size_t input)
{
    return (long) input != job->base && sparsifier_of(job) != UQM_SPARSE_NONE &&
           uqm_job_input_param(job, input, "density") < 1;
}

enum uqm_dtype uqm_sparse_type(const struct uqm_job *job)
{
    enum uqm_sparsifier s = sparsifier_of(job);
    bool random = s == UQM_SPARSE_RANDOM || s == UQM_SPARSE_RANKED;
    return random && job->work != UQM_BF16 ? UQM_F32 : job->work;
}

bool uqm_sparse_rescales(const struct uqm_job *job)
{
    if (sparsifier_of(job) == UQM_SPARSE_NONE || uqm_job_param(job, "rescale") == 0)
        return false;
    for (size_t i = 0; i < job->n_inputs; i++)
        if (uqm_sparse_is_active(job, i))
            return true;
    return false;
}

/* trunc(share * n) within [0, n]. */
static uint64_t share_of(double share, uint64_t n)
{
    double v = share * (double) n;
    return v <= 0 ? 0 : v >= (double) n ? n : (uint64_t) v;
}

void uqm_sparse_counts(uint64_t *keep, uint64_t *drop, const struct uqm_job *job, size_t input)
{
    double density = uqm_job_input_param(job, input, "density");
    uint64_t n = job->n_elem, kept = share_of(density, n);
    *drop = 0;
    if (sparsifier_of(job) == UQM_SPARSE_MAGNITUDE) {
        *keep = density > 0 && kept == 0 ? 1 : kept;
        return;
    }
    /* of the ranks in ascending order, [bottom, bottom + kept) */
    uint64_t top = share_of(uqm_job_input_param(job, input, "gamma"), n);
    uint64_t bottom = top < n - kept ? n - kept - top : 0;
    *keep = n - bottom;
    *drop = n - bottom - kept;
}

struct uqm_rank_rows uqm_rank_rows(const struct uqm_job *job)
{
    struct uqm_rank_rows r = { .m = 1, .stride = 1 };
    if (job->rank > 0)
        r.m = job->shape[job->rank > 1];
    for (unsigned d = 2; d < job->rank; d++)
        r.stride *= job->shape[d];
    return r;
}

/* --- random --- */

enum { SOME = 512 };

static void draw_uniform(uint8_t *keep, const struct uqm_job *job, const struct uqm_span *span,
                         size_t input)
{
    double density = uqm_job_input_param(job, input, "density");
    struct uqm_rng_key key = job->inputs[input].key;
    uint16_t drawn[SOME + 16];
    if (job->numerics == UQM_NUMERICS_MERGEKIT) {
        double p = uqm_draw_rounded(uqm_sparse_type(job), density);
        for (size_t e = 0; e < span->n_elem; e++)
            uqm_draw_put(keep, e, (double) span->draws[input][e] * 0x1p-24 < p);
        return;
    }
    double whole = floor(density * 65536);
    uint16_t most = (uint16_t) whole; /* 0 <= density < 1 */
    for (size_t at = 0; at < span->n_elem; at += SOME) {
        size_t n = span->n_elem - at < SOME ? span->n_elem - at : SOME;
        const uint16_t *halves = uqm_draw_halves(drawn, job, key, span->first + at, n);
        size_t left = job->kernels->merge->halves_below(keep + at / 8, halves, most, n);
        for (size_t e = 0; e < n && left > 0; e++)
            if (halves[e] == most)
                uqm_draw_put(keep, at + e,
                             uqm_draw_is_below(halves[e], key, span->first + at + e, density));
    }
}

size_t uqm_sparse_draw_bytes(const struct uqm_job *job)
{
    return sparsifier_of(job) == UQM_SPARSE_RANKED ? uqm_row_draw_bytes(job) : 0;
}

void uqm_sparse_draw(uint8_t *keep, const struct uqm_job *job, const struct uqm_span *span,
                     size_t input, const uint32_t *keys, void *scratch)
{
    if (sparsifier_of(job) == UQM_SPARSE_RANDOM)
        draw_uniform(keep, job, span, input);
    else
        uqm_row_draw(keep, job, span, input, keys, scratch);
}
