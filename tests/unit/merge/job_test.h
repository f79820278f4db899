/* One output tensor merged from arrays in memory, by the engine that merges files. */
#ifndef UQM_TESTS_JOB_TEST_H
#define UQM_TESTS_JOB_TEST_H

#include "src/merge/exec.h"
#include "tests/unit/test.h"

enum { JOB_INPUTS = 8 };

struct job_test {
    struct uqm_job job; /* method, numerics, work, out, rank, shape, n_elem, params, n_inputs */
    struct uqm_job_input inputs[JOB_INPUTS];
    double in_params[JOB_INPUTS][UQM_MOST_PARAMS], out_params[UQM_MOST_PARAMS];
    const void *data[JOB_INPUTS];
    uint64_t shape[4];
    struct uqm_kernels kernels;
    uint64_t seed;       /* of mergekit's stream */
    bool takes_notes;    /* of what the passes find, where the method has any */
    uint64_t merge_from; /* units that are merged first, before the chunks; 0: chunks alone */
};

/* The method with its defaults and no inputs; parameters without one are NaN. */
static inline void job_begin(struct job_test *t, enum uqm_method_id id,
                             const struct uqm_method_ops *ops, enum uqm_dtype work)
{
    *t = (struct job_test){ 0 };
    uqm_kernels_init(&t->kernels, uqm_cpu_flags());
    const struct uqm_method_info *info = uqm_method_of(id);
    for (size_t i = 0; i < info->n_params; i++) {
        double def = info->params[i].required ? (double) NAN : info->params[i].def;
        t->out_params[i] = def;
        for (size_t k = 0; k < JOB_INPUTS; k++)
            t->in_params[k][i] = def;
    }
    t->job = (struct uqm_job){
        .method = info,
        .ops = ops ? ops : uqm_method_ops_of(id),
        .kernels = &t->kernels,
        .where = "test.yml",
        .name = "w",
        .work = work,
        .out = work,
        .shape = t->shape,
        .params = t->out_params,
        .inputs = t->inputs,
    };
}

static inline void job_shape(struct job_test *t, unsigned rank, const uint64_t *shape)
{
    t->job.rank = rank;
    t->job.n_elem = 1;
    for (unsigned d = 0; d < rank; d++) {
        t->shape[d] = shape[d];
        t->job.n_elem *= shape[d];
    }
}

/* Returns the input's index. */
static inline size_t job_input(struct job_test *t, const void *data, enum uqm_dtype dtype)
{
    size_t i = t->job.n_inputs++;
    assert_true(i < JOB_INPUTS);
    t->data[i] = data;
    t->inputs[i] = (struct uqm_job_input){
        .dtype = dtype,
        .params = t->in_params[i],
        .key = uqm_rng_stream(t->seed, UQM_RNG_MERGE, t->job.name, "", (uint32_t) i, 0),
    };
    return i;
}

static inline void job_set(struct job_test *t, const char *name, double value)
{
    int i = uqm_method_param_index(t->job.method, name);
    assert_true(i >= 0);
    t->out_params[i] = value;
}

static inline void job_set_input(struct job_test *t, size_t input, const char *name, double value)
{
    int i = uqm_method_param_index(t->job.method, name);
    assert_true(i >= 0);
    t->in_params[input][i] = value;
}

/* Elements [first, first + n) of every input, as the engine hands them on. */
static inline struct uqm_span job_span(const struct job_test *t, const void **data, uint64_t first,
                                       uint64_t n)
{
    for (size_t i = 0; i < t->job.n_inputs; i++)
        data[i] = (const char *) t->data[i] + first * (uqm_dtype_bits(t->inputs[i].dtype) / 8);
    return (struct uqm_span){ .first = first, .n_elem = (size_t) n, .data = data };
}

/*
 * dst = the merge, job.n_elem elements of job.out. Chunks of this many blocks are scanned, and of
 * as many merged, at a time; 0: all at once. threads may be NULL.
 */
static inline int job_run(struct job_test *t, void *dst, struct uqm_threads *threads,
                          uint64_t chunk_blocks, struct uqm_err *err)
{
    struct uqm_env *env = test_env(256 << 20, 1);
    struct uqm_exec_needs needs = { 0 };
    struct uqm_exec *x = NULL;
    struct uqm_job_state state = { 0 };
    struct uqm_pass pass;
    struct uqm_job *job = &t->job;
    const void *data[JOB_INPUTS];

    int ret = uqm_job_init(job, err);
    if (ret < 0)
        return ret;
    for (size_t i = 0, drawn = 0; i < job->n_inputs; i++) {
        t->inputs[i].n_drawn_before = drawn;
        drawn += job->ops->draws && job->ops->draws(job, i) ? job->n_elem : 0;
    }
    size_t n_threads = (size_t) uqm_threads_count(threads);
    uint64_t chunk = (chunk_blocks ? chunk_blocks : job->n_blocks) * job->block_elem;
    uint64_t first_chunk = t->merge_from ? t->merge_from * job->unit_elem : chunk;
    if (t->takes_notes && job->ops->note_bytes)
        state.notes = malloc((size_t) job->ops->note_bytes(job) + 1);
    uqm_exec_need(&needs, job, n_threads);
    assert_ok(uqm_exec_create(&x, env, threads, &needs, t->seed, err), *err);
    if (job->ops->result_bytes)
        state.result = calloc(1, job->ops->result_bytes(job) + 1);
    if (job->n_passes > 0)
        uqm_exec_begin(x, job, &state, &pass);
    while (ret == UQM_OK && job->n_passes > 0 && pass.number < job->n_passes) {
        uint64_t at = pass.first_block * job->block_elem;
        uint64_t end = at + pass.n_blocks * job->block_elem;
        end = end < job->n_elem ? end : job->n_elem;
        while (at < end) {
            uint64_t n = end - at < chunk ? end - at : chunk;
            struct uqm_span span = job_span(t, data, at, n);
            uqm_exec_scan(x, job, &state, &pass, &span);
            at += n;
        }
        ret = uqm_exec_end_pass(x, job, &state, &pass, err);
    }
    for (uint64_t at = 0, n; at < job->n_elem && ret == UQM_OK; at += n) {
        n = at == 0 ? first_chunk : chunk;
        n = job->n_elem - at < n ? job->n_elem - at : n;
        struct uqm_span span = job_span(t, data, at, n);
        uqm_exec_merge(x, job, &state, (char *) dst + at * (uqm_dtype_bits(job->out) / 8), &span);
    }
    uqm_exec_destroy(&x);
    free(state.result);
    free(state.notes);
    return ret;
}

#endif
