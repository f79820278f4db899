/* rd(x scale) */
#include "src/merge/methods/arith.h"
#include "src/merge/methods/methods.h"

static size_t scratch_bytes(const struct uqm_job *job)
{
    (void) job;
    return uqm_arith_bytes(1);
}

static void merge(const struct uqm_job *job, const struct uqm_job_state *state, void *dst,
                  const struct uqm_span *span, void *scratch)
{
    (void) state;
    struct uqm_arith a;
    double scale = uqm_job_input_param(job, 0, "scale");
    uqm_arith_init(&a, job, scratch);
    for (size_t at = 0; at < span->n_elem; at += UQM_CHUNK) {
        size_t n = span->n_elem - at < UQM_CHUNK ? span->n_elem - at : UQM_CHUNK;
        void *x = uqm_lane(&a, 0);
        uqm_arith_load(&a, x, span, 0, at, n);
        uqm_arith_scale(&a, x, x, scale, n);
        uqm_arith_store(&a, dst, at, x, n);
    }
}

const struct uqm_method_ops uqm_passthrough_ops = {
    .scratch_bytes = scratch_bytes,
    .merge = merge,
};
