#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "src/base/checked.h"
#include "src/base/fs.h"
#include "src/merge/write.h"
#include "src/merge/writer.h"

enum { MANIFEST_ENTRY_BYTES = 512, SPARE_BYTES = 1 << 20 };

/* The target's absolute path; it need not exist, its folder does. malloc'ed. */
static char *absolute_target(const char *out_dir)
{
    char *parent = uqm_path_dir(out_dir), *base = uqm_path_base(out_dir);
    char *real = parent ? realpath(parent, NULL) : NULL;
    char *path = real && base ? uqm_path_join(real, base) : NULL;
    free(parent);
    free(base);
    free(real);
    return path;
}

/* Whether `path` is the folder or lies in it. */
static bool is_inside(const char *path, const char *folder)
{
    size_t n = strlen(folder);
    return strncmp(path, folder, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

/* A replaced folder is removed: nothing that the merge reads may be in it. */
static int check_path(const char *target, const char *path, const char *out_dir, const char *what,
                      struct uqm_err *err)
{
    char *real = path ? realpath(path, NULL) : NULL;
    bool inside = real && is_inside(real, target);
    free(real);
    if (inside)
        return uqm_fail(err, UQM_ERR_ARG, "%s: %s %s lies there; write somewhere else", out_dir,
                        what, path);
    return UQM_OK;
}

static int check_inputs(const char *target, const struct uqm_recipe_source *rs, const char *out_dir,
                        struct uqm_err *err)
{
    int ret = UQM_OK;
    for (size_t k = 0; k < rs->n_inputs && ret == UQM_OK; k++) {
        const struct uqm_checkpoint *cp = rs->inputs[k].checkpoint;
        ret = check_path(target, cp->path, out_dir, "the input", err);
        if (ret == UQM_OK)
            ret = check_path(target, cp->vision_tower_path, out_dir, "the vision tower", err);
        for (size_t f = 0; f < cp->n_files && ret == UQM_OK; f++)
            ret = check_path(target, cp->files[f]->name, out_dir, "the input file", err);
        if (ret == UQM_OK && rs->inputs[k].inner)
            ret = check_inputs(target, uqm_recipe_source_of(rs->inputs[k].inner), out_dir, err);
    }
    return ret;
}

int uqm_writer_check_target(const struct uqm_recipe_source *rs, const char *out_dir,
                            struct uqm_err *err)
{
    char *target = absolute_target(out_dir);
    if (!target)
        return UQM_OK; /* its folder does not exist, which publishing says better */
    int ret = check_inputs(target, rs, out_dir, err);
    if (ret == UQM_OK)
        ret = check_path(target, rs->recipe->where, out_dir, "the recipe", err);
    free(target);
    return ret;
}

int uqm_merge_check_out(struct uqm_env *env, struct uqm_source *source,
                        const struct uqm_recipe *recipe, const struct uqm_write_params *params,
                        struct uqm_err *err)
{
    struct uqm_writer w = {
        .env = env, .rs = uqm_recipe_source_of(source), .recipe = recipe, .params = params
    };
    const struct uqm_publish_params publish = uqm_writer_publish_params(params, NULL);
    int ret = uqm_publish_check(&publish, err);
    if (ret == UQM_OK)
        ret = uqm_writer_check_target(w.rs, params->out_dir, err);
    if (ret == UQM_OK)
        ret = uqm_writer_check_files(&w, err);
    uqm_arena_finish(&w.arena);
    return ret;
}

/* Of a shard that an interrupted run has begun. */
static uint64_t reserved_bytes(const struct uqm_writer *w, const struct uqm_shard_plan *shard)
{
    struct stat st;
    char *path = w->dir ? uqm_path_join(w->dir, shard->name) : NULL;
    bool there = path && lstat(path, &st) == 0;
    free(path);
    return there ? uqm_min_u64((uint64_t) st.st_blocks * 512, shard->n_bytes) : 0;
}

static uint64_t needed_bytes(const struct uqm_writer *w)
{
    uint64_t n = SPARE_BYTES + (w->params->form ? 0 : uqm_writer_copied_bytes(w)) +
                 2 * w->recipe->text_len + w->plan.n_order * (uint64_t) MANIFEST_ENTRY_BYTES;
    for (size_t s = 0; s < w->plan.n_shards; s++)
        n += w->plan.shards[s].n_bytes - reserved_bytes(w, &w->plan.shards[s]);
    return n;
}

int uqm_writers_disk(uint64_t *needed, uint64_t *available, const struct uqm_writer *writers,
                     size_t n, struct uqm_err *err)
{
    struct statvfs fs;
    char *parent = uqm_path_dir(writers[0].params->out_dir);
    if (!parent)
        return uqm_writer_no_memory(&writers[0], err);
    int bad = statvfs(parent, &fs);
    int ret = bad ? uqm_fail_errno(err, "%s", parent) : UQM_OK;
    free(parent);
    if (ret < 0)
        return ret;
    *available = fs.f_blocks > 0 ? (uint64_t) fs.f_bavail * fs.f_frsize : UQM_DISK_UNKNOWN;
    *needed = 0;
    for (size_t i = 0; i < n; i++)
        if (!writers[i].publish || !uqm_publish_is_done(writers[i].publish))
            *needed += needed_bytes(&writers[i]);
    return UQM_OK;
}
