/* Merges of task vectors as mixtures (compute/mix.h), for somebody who makes them elsewhere: all
 * that the passes have found goes along. */
#include <math.h>

#include "src/merge/methods/task_plan.h"

enum uqm_mixes uqm_task_mixes(const struct uqm_job *job)
{
    const struct uqm_task_kind kind = uqm_task_kind_of(job->method->id);
    if (kind.sparsifier == UQM_SPARSE_RANKED || !uqm_job_may_mix(job))
        return UQM_MIXES_NONE;
    return kind.consensus ? UQM_MIXES_ELECTIONS : UQM_MIXES_SUMS;
}

static struct uqm_mix_sieve sieve_of(const struct uqm_job *job, const struct uqm_job_state *state,
                                     size_t i)
{
    struct uqm_sparse sparse;
    if (!uqm_sparse_is_active(job, i))
        return (struct uqm_mix_sieve){ .counts = UQM_MIX_ALL };
    if (job->n_passes > 0)
        sparse = ((const struct uqm_sparse *) state->result)[i];
    else
        uqm_task_start_sparse(&sparse, job, i);
    struct uqm_mix_sieve sieve = {
        .counts = uqm_task_is_drawn(job) ? UQM_MIX_DRAWN : UQM_MIX_LIMITS,
        .ratio = sparse.has_ratio ? sparse.ratio : 1,
        .keep = sparse.keep,
        .drop = sparse.drop,
    };
    if (sieve.counts == UQM_MIX_DRAWN) {
        sieve.key = job->inputs[i].key;
        sieve.density = uqm_job_input_param(job, i, "density");
    }
    return sieve;
}

/* As merge_direct() in task_vectors.c has it. */
bool uqm_task_as_mix(const struct uqm_job *job, const struct uqm_job_state *state,
                     const struct uqm_span *span, struct uqm_mix *mix, struct uqm_mix_input *inputs)
{
    const bool consensus = uqm_task_kind_of(job->method->id).consensus;
    const bool normalize = uqm_job_param(job, "normalize") != 0;
    struct uqm_mix_input *base = &inputs[job->n_inputs - 1];
    double divisor = 0;
    size_t n = 0;
    if (uqm_task_mixes(job) == UQM_MIXES_NONE)
        return false;
    for (size_t i = 0; i < job->n_inputs; i++) {
        const bool is_base = (long) i == job->base;
        struct uqm_mix_input *input = is_base ? base : &inputs[n++];
        *input = (struct uqm_mix_input){ .w = uqm_job_stored(job, span, i, 0),
                                         .dtype = job->inputs[i].dtype };
        if (is_base)
            continue;
        input->weight = uqm_job_input_param(job, i, "weight");
        input->sieve = sieve_of(job, state, i);
        divisor += input->weight;
    }
    *mix = (struct uqm_mix){
        .base = base,
        .n_inputs = n,
        .inputs = inputs,
        .divisor = consensus || !normalize || fabs(divisor) < 1e-8 ? 1 : divisor,
        .lambda = uqm_job_param(job, "lambda"),
        .consensus = consensus,
        .normalize = normalize,
        .first_elem = span->first,
    };
    return uqm_job_is_mix(job, mix);
}
