/*
 * uqm_unpack(): every file of an archive into a part folder, which gets its name when all of them
 * are what was packed.
 */
#include <stdlib.h>
#include <string.h>

#include "src/base/fs.h"
#include "src/format/json.h"
#include "src/pack/unpack_impl.h"

int uqm_unpack_no_memory(const struct uqm_unpack *u, struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory to unpack it", u->params->archive);
}

/* Everything that the files depend on. */
static int identify(struct uqm_job_id *id, const struct uqm_unpack *u, struct uqm_err *err)
{
    const struct uqm_archive_index *ix = uqm_archive_index(u->archive);
    struct uqm_job *job = uqm_job_create("unpack", UQM_VERSION);
    if (!job)
        return uqm_unpack_no_memory(u, err);
    uqm_job_add_file(job, uqm_archive_stored(u->archive));
    for (size_t i = 0; i < ix->n_base_files; i++)
        uqm_job_add_file(job, uqm_archive_base_file(u->archive, i));
    *id = uqm_job_id(job);
    uqm_job_destroy(&job);
    return UQM_OK;
}

static int begin(struct uqm_unpack *u, struct uqm_err *err)
{
    struct uqm_job_id job;
    const struct uqm_archive_params open = { .path = u->params->archive, .base = u->params->base };
    const struct uqm_publish_params target = { .target = u->params->out_dir, .job = &job };
    int ret = uqm_archive_open(&u->archive, u->env, &open, err);
    if (ret == UQM_OK && open.base && !uqm_archive_base(u->archive))
        ret = uqm_fail(err, UQM_ERR_ARG, "--base %s: %s was packed without a base", open.base,
                       open.path);
    if (ret == UQM_OK)
        ret = identify(&job, u, err);
    if (ret == UQM_OK)
        ret = uqm_publish_begin(&u->publish, u->env, &target, err);
    if (ret < 0)
        return ret;
    const struct uqm_archive_index *ix = uqm_archive_index(u->archive);
    for (size_t i = 0; i < ix->n_files; i++)
        u->n_bytes += ix->files[i].n_bytes;
    u->dir = uqm_publish_path(u->publish);
    u->journal = uqm_publish_journal(u->publish);
    return UQM_OK;
}

static int unpack_all(struct uqm_unpack *u, struct uqm_err *err)
{
    int ret = begin(u, err);
    if (ret == UQM_OK && !uqm_publish_is_done(u->publish)) {
        uqm_unpack_read_journal(u);
        ret = uqm_unpack_files(u, err);
        if (ret == UQM_OK) {
            ret = uqm_file_check_unchanged(uqm_archive_stored(u->archive), err);
            if (ret < 0)
                uqm_journal_spoil(u->journal);
        }
    }
    return ret == UQM_OK ? uqm_publish_commit(u->publish, err) : ret;
}

static json_t *describe(const struct uqm_unpack *u, const struct timespec *start)
{
    const struct uqm_archive_index *ix = uqm_archive_index(u->archive);
    struct uqm_env *env = u->env;
    return json_pack(
        "{s:s, s:I, s:I, s:I, s:s?, s:I, s:I, s:f, s:I, s:s, s:b, s:b}", "out", u->params->out_dir,
        "files", (json_int_t) ix->n_files, "bytes", (json_int_t) u->n_bytes, "archive_bytes",
        (json_int_t) uqm_archive_stored(u->archive)->size_bytes, "base",
        uqm_archive_base(u->archive), "bytes_read", (json_int_t) atomic_load(&env->bytes_read),
        "bytes_written", (json_int_t) atomic_load(&env->bytes_written), "seconds",
        uqm_pack_seconds_since(start), "peak_memory", (json_int_t) uqm_pack_peak_memory(), "io",
        atomic_load(&env->io_used) == UQM_IO_URING ? "uring" : "pread", "direct",
        atomic_load(&env->direct_used) != 0, "resumed", u->resumed_bytes > 0);
}

UQM_API int uqm_unpack(char **json, const struct uqm_unpack_params *params, struct uqm_err *err)
{
    struct uqm_env env;
    struct uqm_unpack u = { .env = &env, .params = params };
    struct timespec start;
    *json = NULL;
    clock_gettime(CLOCK_MONOTONIC, &start);
    int ret = uqm_check_path_text(params->out_dir, false, err);
    if (ret == UQM_OK)
        ret = uqm_env_init(&env, &params->common, err);
    if (ret == UQM_OK)
        ret = unpack_all(&u, err);
    if (ret == UQM_OK) {
        json_t *doc = describe(&u, &start);
        *json = doc ? uqm_json_dump(doc) : NULL;
        json_decref(doc);
        ret = *json ? UQM_OK : uqm_unpack_no_memory(&u, err);
    }
    if (uqm_pack_may_go_on(ret) && u.publish)
        uqm_publish_keep(u.publish);
    uqm_publish_end(&u.publish);
    uqm_archive_close(&u.archive);
    return ret;
}
