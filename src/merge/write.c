#include "src/merge/write.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "src/base/checked.h"
#include "src/merge/share.h"
#include "src/merge/write_form.h"
#include "src/merge/writer.h"

int uqm_writer_no_memory(const struct uqm_writer *w, struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory to write the merge", w->params->out_dir);
}

static bool note_leaves(struct uqm_writer *w, const struct uqm_file_digest *digest)
{
    size_t n = w->n_leaves + digest->n_leaves;
    if (n > w->leaves_cap) {
        size_t cap = 2 * n;
        struct uqm_sha256_digest *grown = reallocarray(w->leaves, cap, sizeof *grown);
        if (!grown)
            return false;
        w->leaves = grown;
        w->leaves_cap = cap;
    }
    if (digest->n_leaves > 0)
        memcpy(w->leaves + w->n_leaves, digest->leaves, digest->n_leaves * sizeof *w->leaves);
    w->n_leaves = n;
    return true;
}

int uqm_writer_note(struct uqm_writer *w, const char *name, uint64_t bytes,
                    const struct uqm_file_digest *digest, struct uqm_err *err)
{
    if (w->n_files == w->files_cap) {
        size_t cap = w->files_cap ? 2 * w->files_cap : 32;
        struct uqm_manifest_file *grown = realloc(w->files, cap * sizeof *grown);
        if (!grown)
            return uqm_writer_no_memory(w, err);
        w->files = grown;
        w->files_cap = cap;
    }
    struct uqm_manifest_file *f = &w->files[w->n_files];
    f->name = uqm_arena_strndup(&w->arena, name, strlen(name));
    f->bytes = bytes;
    f->digest = uqm_arena_strndup(&w->arena, digest->sha256.text, strlen(digest->sha256.text));
    f->root = uqm_arena_strndup(&w->arena, digest->root.text, strlen(digest->root.text));
    if (!f->name || !f->digest || !f->root || !note_leaves(w, digest))
        return uqm_writer_no_memory(w, err);
    w->n_files++;
    return UQM_OK;
}

struct uqm_publish_params uqm_writer_publish_params(const struct uqm_write_params *params,
                                                    const struct uqm_job_id *job)
{
    return (struct uqm_publish_params){
        .target = params->out_dir,
        .overwrite = params->overwrite,
        .marker = UQM_MANIFEST_NAME,
        .noun = "a merge",
        .job = job,
    };
}

/* --- the whole --- */

static int check_disk(const struct uqm_writer *w, size_t n, struct uqm_err *err)
{
    uint64_t needed, available;
    int ret = uqm_writers_disk(&needed, &available, w, n, err);
    if (ret == UQM_OK && available == UQM_DISK_UNKNOWN)
        return uqm_warn(w->env, err,
                        "%s: the file system does not say how much is free; %.1f MB are needed",
                        w->params->out_dir, (double) needed / 1e6);
    if (ret < 0 || needed <= available)
        return ret;
    return uqm_fail(err, UQM_ERR_IO, "%s: needs %.1f MB on the disk, %.1f MB are free",
                    w->params->out_dir, (double) needed / 1e6, (double) available / 1e6);
}

/* with_towers: those beside the models are read too. */
static int check_inputs_unchanged(const struct uqm_recipe_source *rs, bool with_towers,
                                  struct uqm_err *err)
{
    int ret = UQM_OK;
    for (size_t k = 0; k < rs->n_inputs && ret == UQM_OK; k++) {
        const struct uqm_checkpoint *cp = rs->inputs[k].checkpoint;
        size_t n = rs->relayout || with_towers ? cp->n_files : cp->n_own_files;
        for (size_t f = 0; f < n && ret == UQM_OK; f++)
            ret = uqm_file_check_unchanged(cp->files[f], err);
        if (ret == UQM_OK && rs->inputs[k].inner)
            ret =
                check_inputs_unchanged(uqm_recipe_source_of(rs->inputs[k].inner), with_towers, err);
    }
    return ret;
}

/* Everything up to the weights. The plan is made. */
static int begin(struct uqm_writer *w, struct uqm_err *err)
{
    struct uqm_job_id job = { 0 };
    const struct uqm_publish_params publish = uqm_writer_publish_params(w->params, &job);
    int ret = uqm_writer_check_target(w->rs, w->params->out_dir, err);
    if (ret == UQM_OK)
        ret = uqm_writer_check_files(w, err);
    if (ret == UQM_OK)
        ret = uqm_writer_job(&job, w, err);
    if (ret == UQM_OK)
        ret = uqm_publish_begin(&w->publish, w->env, &publish, err);
    if (ret < 0)
        return ret;
    w->dir = uqm_publish_path(w->publish);
    w->tensors = uqm_arena_alloc(&w->arena, w->plan.n_order, sizeof *w->tensors);
    if (!w->tensors)
        return uqm_writer_no_memory(w, err);
    if (ret == UQM_OK)
        ret = uqm_input_hash_create(&w->hash, w->rs, &w->plan, w->threads, err);
    if (ret == UQM_OK)
        ret = uqm_merge_report_create(&w->report, w->rs, w->threads, w->plan.tile_bytes,
                                      w->params->report, err);
    if (ret == UQM_OK)
        ret = uqm_writer_replay(w, err);
    if (ret == UQM_OK && w->n_resumed > 0)
        uqm_log(w->env, UQM_LOG_INFO, "%s: going on from %zu of %zu tensors, left in %s",
                w->params->out_dir, w->n_resumed, w->plan.n_order, w->dir);
    return ret;
}

/* Everything behind the weights, but for the name. */
static int finish(struct uqm_writer *w, struct uqm_err *err)
{
    struct uqm_err aside = { 0 };
    int ret = uqm_input_hash_finish(w->hash, err);
    if (uqm_publish_is_done(w->publish))
        return ret; /* a later output may want the digests */
    int said = uqm_writer_say(w, w->plan.n_shards, 0, ret < 0 ? &aside : err);
    if (ret == UQM_OK)
        ret = said;
    if (ret == UQM_OK)
        ret = w->params->form ? UQM_OK : uqm_writer_small_files(w, err);
    if (ret == UQM_OK) {
        ret = check_inputs_unchanged(w->rs, w->params->form != NULL, err);
        if (ret < 0) /* it was made of two versions of them */
            uqm_journal_spoil(uqm_publish_journal(w->publish));
    }
    if (ret == UQM_OK)
        ret = uqm_writer_manifest(w, err);
    if (ret == UQM_OK)
        ret = uqm_check_cancel(w->env, err);
    return ret;
}

static int plan_all(struct uqm_writer *w, size_t n, struct uqm_err *err)
{
    int ret = UQM_OK;
    for (size_t i = 0; i < n && ret == UQM_OK; i++)
        ret = w[i].params->form
                  ? w[i].params->form->layout(w[i].params->form, &w[i].plan, w[i].rs, err)
                  : uqm_write_plan_layout(&w[i].plan, w[i].rs, w[i].params, err);
    return ret == UQM_OK ? uqm_writers_divide_memory(w, n, err) : ret;
}

/* What the same command can go on from: it was not what it was asked to do that failed, but where
 * (one of several targets is in the way), with what, or when. */
static bool may_go_on(int ret)
{
    return ret == UQM_ERR_INTERRUPTED || ret == UQM_ERR_IO || ret == UQM_ERR_NOMEM ||
           ret == UQM_ERR_ARG;
}

/* All outputs are ready and all names are free before the first is given: what is left between the
 * first and the last are renames, which the next run goes on with where they are interrupted. */
static int name_all(struct uqm_writer *w, size_t n, struct uqm_err *err)
{
    int ret = UQM_OK;
    for (size_t i = 0; i < n && ret == UQM_OK; i++)
        ret = uqm_publish_prepare(w[i].publish, err);
    for (size_t i = 0; i < n && ret == UQM_OK; i++)
        ret = uqm_publish_check_free(w[i].publish, err);
    for (size_t i = 0; i < n && ret == UQM_OK; i++)
        ret = uqm_publish_commit(w[i].publish, err);
    return ret;
}

/*
 * Whether an earlier run gave all of these outputs their names and was stopped while it removed the
 * part folders: those that are left, which are opened here, are of no use. With that, that a target
 * exists remains to be said.
 */
static bool was_tidying_up(struct uqm_writer *w, size_t n)
{
    size_t n_done = 0, n_standing = 0;
    for (size_t i = 0; i < n; i++) {
        const struct uqm_publish_params publish = uqm_writer_publish_params(w[i].params, NULL);
        struct uqm_err aside = { 0 };
        bool stands = !w[i].publish && uqm_publish_stands(&publish);
        n_standing += stands;
        if (!w[i].publish && !stands && uqm_publish_check(&publish, &aside) == UQM_ERR_ARG)
            begin(&w[i], &aside); /* with a target in its place it finds, but does not make */
        n_done += w[i].publish && uqm_publish_is_done(w[i].publish);
    }
    return n_done > 0 && n_done + n_standing == n;
}

static int write_all(struct uqm_writer *w, size_t n, struct uqm_share **share, struct uqm_err *err)
{
    int ret = plan_all(w, n, err);
    for (size_t i = 0; i < n && ret == UQM_OK; i++) {
        ret = begin(&w[i], err);
        for (size_t j = 0; j < i && ret == UQM_OK; j++)
            uqm_input_hash_borrow(w[i].hash, w[j].hash);
    }
    if (ret == UQM_OK)
        ret = check_disk(w, n, err);
    if (ret == UQM_OK && n > 1)
        ret = uqm_writers_share(share, w, n, err);
    if (ret == UQM_OK)
        ret = uqm_writers_weights(w, n, err);
    for (size_t i = 0; i < n; i++)
        w[i].rs->share = NULL;
    uqm_share_destroy(share); /* what follows has use for the memory */
    for (size_t i = 0; i < n && ret == UQM_OK; i++)
        ret = finish(&w[i], err);
    if (ret == UQM_OK)
        ret = name_all(w, n, err);
    bool keep = may_go_on(ret) && !(ret == UQM_ERR_ARG && n > 1 && was_tidying_up(w, n));
    for (size_t i = 0; i < n && keep; i++)
        if (w[i].publish)
            uqm_publish_keep(w[i].publish);
    return ret;
}

static uint64_t peak_resident_bytes(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (uint64_t) usage.ru_maxrss * 1024 : 0;
}

static double seconds_since(const struct timespec *t0)
{
    struct timespec t1;
    clock_gettime(CLOCK_MONOTONIC, &t1);
    return (double) (t1.tv_sec - t0->tv_sec) + (double) (t1.tv_nsec - t0->tv_nsec) * 1e-9;
}

/* What is said of each merge ... */
static json_t *describe_one(const struct uqm_writer *w)
{
    return json_pack("{s:s, s:s, s:I, s:o}", "out", w->params->out_dir, "method",
                     w->recipe->method->name, "tensors", (json_int_t) w->n_tensors, "report",
                     uqm_merge_report_summary(w->report));
}

/* ... and of the whole run. */
static json_t *describe_run(const struct uqm_env *env, const struct timespec *t0, bool resumed)
{
    bool uring = atomic_load(&env->io_used) == UQM_IO_URING;
    return json_pack("{s:I, s:I, s:f, s:I, s:s, s:b, s:b}", "bytes_read",
                     (json_int_t) atomic_load(&env->bytes_read), "bytes_written",
                     (json_int_t) atomic_load(&env->bytes_written), "seconds", seconds_since(t0),
                     "peak_memory", (json_int_t) peak_resident_bytes(), "io",
                     uring ? "uring" : "pread", "direct", atomic_load(&env->direct_used), "resumed",
                     resumed);
}

static json_t *describe(const struct uqm_writer *w, size_t n, bool as_list,
                        const struct timespec *t0)
{
    bool resumed = false;
    for (size_t i = 0; i < n; i++)
        resumed |= w[i].n_resumed > 0;
    json_t *run = describe_run(w[0].env, t0, resumed), *list = json_array();
    bool ok = run && list;
    for (size_t i = 0; i < n && ok; i++)
        ok = json_array_append_new(list, describe_one(&w[i])) == 0;
    if (ok && as_list)
        ok = json_object_set(run, "outputs", list) == 0;
    else if (ok)
        ok = json_object_update(run, json_array_get(list, 0)) == 0;
    json_decref(list);
    if (ok)
        return run;
    json_decref(run);
    return NULL;
}

static void finish_writer(struct uqm_writer *w)
{
    uqm_merge_report_destroy(&w->report);
    uqm_input_hash_destroy(&w->hash);
    uqm_publish_end(&w->publish);
    uqm_write_plan_finish(&w->plan);
    uqm_arena_finish(&w->arena);
    free(w->files);
    free(w->leaves);
}

int uqm_merge_write_many(json_t **result, struct uqm_env *env, struct uqm_threads *threads,
                         const struct uqm_write_job *jobs, size_t n, bool as_list,
                         struct uqm_err *err)
{
    struct timespec t0;
    struct uqm_share *share = NULL;
    struct uqm_writer *w = calloc(n, sizeof *w);
    if (!w)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory to write %zu merges", n);
    for (size_t i = 0; i < n; i++) {
        w[i] = (struct uqm_writer){
            .env = env,
            .threads = threads,
            .rs = uqm_recipe_source_of(jobs[i].source),
            .recipe = jobs[i].recipe,
            .params = &jobs[i].params,
        };
        assert(w[i].rs && w[i].rs->recipe == jobs[i].recipe);
        w[i].rs->states_once = w[i].rs->ranges_in_order = true;
    }
    clock_gettime(CLOCK_MONOTONIC, &t0);
    int ret = write_all(w, n, &share, err);
    if (ret == UQM_OK && !(*result = describe(w, n, as_list, &t0)))
        ret = uqm_writer_no_memory(&w[0], err);
    for (size_t i = n; i-- > 0;) /* a later one may read digests of an earlier one */
        finish_writer(&w[i]);
    free(w);
    return ret;
}

int uqm_merge_write(json_t **result, struct uqm_env *env, struct uqm_threads *threads,
                    struct uqm_source *source, const struct uqm_recipe *recipe,
                    const struct uqm_write_params *params, struct uqm_err *err)
{
    const struct uqm_write_job job = { source, recipe, *params };
    return uqm_merge_write_many(result, env, threads, &job, 1, false, err);
}
