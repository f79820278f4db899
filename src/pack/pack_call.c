#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "src/archive/archive.h"
#include "src/base/fs.h"
#include "src/format/json.h"
#include "src/pack/pack_call.h"
#include "src/pack/pack_write.h"

enum { MOST_SECONDS = 5 }; /* between two notes in a journal */
#define NS_A_SECOND UINT64_C(1000000000)

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t) t.tv_sec * NS_A_SECOND + (uint64_t) t.tv_nsec;
}

double uqm_pack_seconds_since(const struct timespec *start)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double) (now.tv_sec - start->tv_sec) + (double) (now.tv_nsec - start->tv_nsec) / 1e9;
}

uint64_t uqm_pack_peak_memory(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t) usage.ru_maxrss * 1024;
}

void uqm_pack_pace_set(struct uqm_pack_pace *pace, uint64_t done_bytes)
{
    *pace = (struct uqm_pack_pace){ done_bytes, now_ns() };
}

bool uqm_pack_pace_is_due(const struct uqm_pack_pace *pace, const struct uqm_env *env,
                          uint64_t done_bytes)
{
    return done_bytes - pace->bytes >= env->sync_bytes ||
           now_ns() - pace->ns >= MOST_SECONDS * NS_A_SECOND;
}

bool uqm_pack_may_go_on(int ret)
{
    return ret == UQM_ERR_INTERRUPTED || ret == UQM_ERR_IO || ret == UQM_ERR_NOMEM;
}

static int no_memory(const struct uqm_pack_params *params, struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for the result", params->archive);
}

/* The archive must not come to lie in the folder that is packed: it would be packed too. */
static int check_target(const struct uqm_pack_params *params, struct uqm_err *err)
{
    if (!uqm_archive_is_name(params->archive))
        return uqm_fail(err, UQM_ERR_USAGE, "%s: an archive's name ends in " UQM_ARCHIVE_SUFFIX,
                        params->archive);
    char *parent = uqm_path_dir(params->archive);
    char *out = parent ? realpath(parent, NULL) : NULL, *dir = realpath(params->dir, NULL);
    size_t n = dir ? strlen(dir) : 0;
    bool inside = out && dir && strncmp(out, dir, n) == 0 && (out[n] == '\0' || out[n] == '/');
    free(parent);
    free(out);
    free(dir);
    if (inside)
        return uqm_fail(err, UQM_ERR_ARG,
                        "%s: lies in the folder that is packed, %s; write it "
                        "somewhere else",
                        params->archive, params->dir);
    return UQM_OK;
}

/* Nor take the place of the base, or of an archive that this one needs: it would be of no use. */
static int check_base(const struct uqm_pack_params *params, const char *base, struct uqm_env *env,
                      struct uqm_err *err)
{
    struct uqm_archive *archive = NULL;
    const struct uqm_archive_params open = { .path = base };
    if (uqm_is_same_file(params->archive, base))
        return uqm_fail(err, UQM_ERR_ARG,
                        "%s: is what it would be packed from (--delta-from); write it somewhere "
                        "else",
                        params->archive);
    if (uqm_is_dir(base))
        return UQM_OK;
    int ret = uqm_archive_open(&archive, env, &open, err);
    const char *next = ret == UQM_OK ? uqm_archive_base(archive) : NULL;
    if (next)
        ret = check_base(params, next, env, err);
    uqm_archive_close(&archive);
    return ret;
}

static json_t *describe(const struct uqm_pack_params *params, const struct uqm_pack_plan *plan,
                        const struct uqm_pack_result *result, const struct timespec *start)
{
    const struct uqm_archive_index *ix = &plan->index;
    struct uqm_env *env = plan->env;
    double ratio = plan->n_bytes ? (double) result->archive_bytes / (double) plan->n_bytes : 1.0;
    return json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:f, s:s?, s:I, s:I, s:I, s:f, s:I, s:s, s:b, s:b}", "archive",
        params->archive, "files", (json_int_t) ix->n_files, "tensors", (json_int_t) ix->n_tensors,
        "bytes", (json_int_t) plan->n_bytes, "archive_bytes", (json_int_t) result->archive_bytes,
        "ratio", ratio, "base", ix->n_base_files ? ix->base_path : NULL, "delta_bytes",
        (json_int_t) plan->n_delta_bytes, "bytes_read", (json_int_t) atomic_load(&env->bytes_read),
        "bytes_written", (json_int_t) atomic_load(&env->bytes_written), "seconds",
        uqm_pack_seconds_since(start), "peak_memory", (json_int_t) uqm_pack_peak_memory(), "io",
        atomic_load(&env->io_used) == UQM_IO_URING ? "uring" : "pread", "direct",
        atomic_load(&env->direct_used) != 0, "resumed", result->resumed_bytes > 0);
}

/* Everything that the archive's bytes depend on. */
static int identify(struct uqm_job_id *id, const struct uqm_pack_plan *plan, struct uqm_err *err)
{
    const struct uqm_archive_index *ix = &plan->index;
    struct uqm_job *job = uqm_job_create("pack", UQM_VERSION);
    if (!job)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory to pack it", plan->dir);
    uqm_job_add_u64(job, ix->n_files);
    for (size_t i = 0; i < ix->n_files; i++) {
        const struct stat *st = &plan->stats[i];
        uqm_job_add_text(job, ix->files[i].path);
        uqm_job_add_u64(job, (uint64_t) st->st_size);
        uqm_job_add_u64(job, (uint64_t) st->st_ino);
        uqm_job_add_u64(job, ix->files[i].executable);
        uqm_job_add(job, &st->st_mtim, sizeof st->st_mtim);
        uqm_job_add(job, &st->st_ctim, sizeof st->st_ctim);
    }
    uqm_job_add_text(job, ix->base_path);
    for (size_t i = 0; i < ix->n_base_files; i++) {
        uqm_job_add_text(job, ix->base_files[i].path);
        uqm_job_add_file(job, plan->base_files[i]);
    }
    for (size_t i = 0; i < ix->n_segments; i++) {
        uqm_job_add_u64(job, ix->segments[i].n_bytes);
        uqm_job_add_u64(job, (uint64_t) ix->segments[i].words * 2 + ix->segments[i].is_delta);
    }
    *id = uqm_job_id(job);
    uqm_job_destroy(&job);
    return UQM_OK;
}

/* An earlier run came as far as naming it. */
static int take_size(struct uqm_pack_result *result, const char *path, struct uqm_err *err)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return uqm_fail_errno(err, "%s", path);
    result->archive_bytes = (uint64_t) st.st_size;
    return UQM_OK;
}

static int write_archive(struct uqm_pack_result *result, const struct uqm_pack_params *params,
                         struct uqm_pack_plan *plan, struct uqm_err *err)
{
    struct uqm_publish *publish = NULL;
    struct uqm_threads *threads = NULL;
    struct uqm_job_id job;
    const struct uqm_publish_params target = {
        .target = params->archive, .is_file = true, .overwrite = params->overwrite, .job = &job
    };
    int ret = identify(&job, plan, err);
    if (ret == UQM_OK)
        ret = uqm_publish_begin(&publish, plan->env, &target, err);
    if (ret == UQM_OK)
        ret = uqm_threads_create(&threads, plan->env->n_threads, err);
    if (ret == UQM_OK && uqm_publish_is_done(publish)) {
        ret = take_size(result, params->archive, err);
    } else if (ret == UQM_OK) {
        ret = uqm_pack_hash_base(plan, err);
        if (ret == UQM_OK)
            ret = uqm_pack_write(result, plan, publish, threads, err);
    }
    if (ret == UQM_OK)
        ret = uqm_publish_commit(publish, err);
    if (uqm_pack_may_go_on(ret) && publish)
        uqm_publish_keep(publish);
    uqm_threads_destroy(&threads);
    uqm_publish_end(&publish);
    return ret;
}

UQM_API int uqm_pack(char **json, const struct uqm_pack_params *params, struct uqm_err *err)
{
    struct uqm_env env;
    struct uqm_pack_plan plan = { 0 };
    struct uqm_pack_result result = { 0 };
    struct timespec start;
    *json = NULL;
    clock_gettime(CLOCK_MONOTONIC, &start);
    int ret = uqm_check_path_text(params->archive, false, err);
    if (ret == UQM_OK && params->delta_from)
        ret = uqm_check_path_text(params->delta_from, false, err);
    if (ret == UQM_OK)
        ret = uqm_env_init(&env, &params->common, err);
    if (ret == UQM_OK)
        ret = check_target(params, err);
    if (ret == UQM_OK)
        ret = uqm_pack_plan_init(&plan, &env, params->dir, params->delta_from, err);
    if (ret == UQM_OK && plan.index.n_base_files > 0)
        ret = check_base(params, params->delta_from, &env, err);
    if (ret == UQM_OK)
        ret = write_archive(&result, params, &plan, err);
    if (ret == UQM_OK) {
        json_t *doc = describe(params, &plan, &result, &start);
        *json = doc ? uqm_json_dump(doc) : NULL;
        json_decref(doc);
        ret = *json ? UQM_OK : no_memory(params, err);
    }
    uqm_pack_plan_finish(&plan);
    return ret;
}
