#include "tests/unit/merge/method_driver.h"

#include <math.h>

#include "tests/unit/test.h"

struct drive {
    struct uqm_kernels kernels;
    struct uqm_job job;
    struct uqm_job_input inputs[8];
    double params[UQM_MOST_PARAMS], input_params[8][UQM_MOST_PARAMS];
    struct uqm_job_state state;
    void *scratch;
};

/* --- parameters --- */

static double value_of(const char *settings, const struct uqm_param_info *info, size_t model)
{
    size_t len = strlen(info->name);
    for (const char *s = settings; s && *s;) {
        if (strncmp(s, info->name, len) == 0 && s[len] == '=') {
            char *end;
            double v = strtod(s + len + 1, &end);
            while (model-- > 0 && *end == ',')
                v = strtod(end + 1, &end);
            return v;
        }
        s = strchr(s, ' ');
        s = s ? s + 1 : NULL;
    }
    return info->required ? 1 : info->def;
}

static void set_params(struct drive *v, const struct driven *d)
{
    const struct uqm_method_info *m = v->job.method;
    for (size_t p = 0; p < m->n_params; p++) {
        const struct uqm_param_info *info = &m->params[p];
        bool per_output = info->scope == UQM_PER_OUTPUT;
        v->params[p] = per_output ? value_of(d->settings, info, 0) : (double) NAN;
        for (size_t i = 0, model = 0; i < d->n_inputs; i++) {
            bool is_base = d->inputs[i].is_base;
            bool has = !per_output && (info->scope == UQM_PER_INPUT || !is_base);
            v->input_params[i][p] = has ? value_of(d->settings, info, model) : (double) NAN;
            model += !is_base;
        }
    }
}

/* --- the job --- */

static void *zeroed(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 64) / 64 * 64);
    assert_non_null(p);
    memset(p, 0, (bytes + 64) / 64 * 64);
    return p;
}

static size_t bytes_of(size_t (*bytes)(const struct uqm_job *job), const struct uqm_job *job)
{
    return bytes ? bytes(job) : 0;
}

static int init(struct drive *v, const struct driven *d, struct uqm_err *err)
{
    const struct uqm_method_info *method = uqm_method_find(d->method);
    assert_non_null(method);
    uqm_kernels_init(&v->kernels, uqm_cpu_flags());
    v->job = (struct uqm_job){
        .method = method,
        .ops = uqm_method_ops_of(method->id),
        .kernels = &v->kernels,
        .where = "recipe.yml",
        .name = "w",
        .numerics = d->numerics,
        .work = d->work,
        .out = d->out,
        .rank = d->rank,
        .shape = d->shape,
        .n_elem = 1,
        .params = v->params,
        .n_inputs = d->n_inputs,
        .inputs = v->inputs,
    };
    assert_non_null(v->job.ops);
    for (unsigned a = 0; a < d->rank; a++)
        v->job.n_elem *= d->shape[a];
    set_params(v, d);
    for (size_t i = 0; i < d->n_inputs; i++)
        v->inputs[i] = (struct uqm_job_input){ .dtype = d->inputs[i].dtype,
                                               .is_base = d->inputs[i].is_base,
                                               .params = v->input_params[i] };
    int ret = uqm_job_init(&v->job, err);
    if (ret < 0)
        return ret;
    v->state.result = zeroed(bytes_of(v->job.ops->result_bytes, &v->job));
    v->state.work = zeroed(bytes_of(v->job.ops->work_bytes, &v->job));
    v->scratch = zeroed(bytes_of(v->job.ops->scratch_bytes, &v->job));
    return UQM_OK;
}

/* Elements [first, first + n) of every input. */
static struct uqm_span span_of(const struct driven *d, const void **data, uint64_t first, size_t n)
{
    for (size_t i = 0; i < d->n_inputs; i++)
        data[i] = (const char *) d->inputs[i].data + uqm_dtype_bytes(d->inputs[i].dtype, first);
    return (struct uqm_span){ .first = first, .n_elem = n, .data = data };
}

/* --- passes --- */

static void run_blocks(struct drive *v, const struct driven *d, unsigned pass, uint64_t first,
                       uint64_t n, void *tally)
{
    const struct uqm_job *job = &v->job;
    void *partial = zeroed(bytes_of(job->ops->partial_bytes, job));
    const void *data[8];
    for (uint64_t b = first; b < first + n; b++) {
        uint64_t at = b * job->block_elem, rest = job->n_elem - at;
        size_t n_elem = (size_t) (rest < job->block_elem ? rest : job->block_elem);
        struct uqm_span span = span_of(d, data, at, n_elem);
        memset(partial, 0, bytes_of(job->ops->partial_bytes, job));
        job->ops->scan(job, &v->state, pass, &span, partial, tally, v->scratch);
        if (job->ops->fold)
            job->ops->fold(job, &v->state, pass, b, partial);
    }
    free(partial);
}

static int run_pass(struct drive *v, const struct driven *d, unsigned pass, struct uqm_err *err)
{
    const struct uqm_job *job = &v->job;
    unsigned n_segments = job->ops->n_segments ? job->ops->n_segments(job, pass) : 1;
    uint64_t first = 0, n = job->n_blocks;
    if (job->ops->pass_blocks)
        job->ops->pass_blocks(job, &v->state, pass, &first, &n);
    assert_true(pass > 0 || n == job->n_blocks);
    if (n == 0)
        return 0;
    for (unsigned s = 0; s < n_segments; s++) {
        void *tally = zeroed(bytes_of(job->ops->tally_bytes, job));
        uint64_t from = first + n * s / n_segments, to = first + n * (s + 1) / n_segments;
        run_blocks(v, d, pass, from, to - from, tally);
        if (job->ops->gather)
            job->ops->gather(job, &v->state, pass, s, tally);
        free(tally);
    }
    return job->ops->end_pass ? job->ops->end_pass(job, &v->state, pass, err) : 0;
}

static void *merge_all(struct drive *v, const struct driven *d)
{
    const struct uqm_job *job = &v->job;
    char *dst = malloc((size_t) uqm_dtype_bytes(job->out, job->n_elem) + 1);
    uint64_t step = (d->merge_elem + job->unit_elem - 1) / job->unit_elem * job->unit_elem;
    const void *data[8];
    assert_non_null(dst);
    for (uint64_t at = 0; at < job->n_elem; at += step) {
        size_t n = (size_t) (job->n_elem - at < step ? job->n_elem - at : step);
        struct uqm_span span = span_of(d, data, at, n);
        job->ops->merge(job, &v->state, dst + uqm_dtype_bytes(job->out, at), &span, v->scratch);
    }
    return dst;
}

void *drive_method(const struct driven *d, struct uqm_err *err)
{
    struct drive v = { 0 };
    void *dst = NULL;
    int ret = init(&v, d, err);
    for (unsigned pass = 0; ret == 0 && pass < v.job.n_passes; pass++)
        ret = run_pass(&v, d, pass, err);
    free(v.state.work);
    if (ret >= 0)
        dst = merge_all(&v, d);
    free(v.state.result);
    free(v.scratch);
    return dst;
}
