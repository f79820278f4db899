#include "src/pack/pack_plan.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "src/archive/archive.h"
#include "src/base/checked.h"
#include "src/base/fs.h"

static int no_memory(const struct uqm_pack_plan *plan, struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory to plan its packing", plan->dir);
}

char *uqm_pack_plan_path(const struct uqm_pack_plan *plan, size_t file)
{
    return uqm_path_join(plan->dir, plan->index.files[file].path);
}

/* One more element at the end of an arena's list, which doubles as it fills. */
static void *add(struct uqm_arena *arena, void *list, size_t *n, size_t size)
{
    char **v = list;
    bool is_full = (*n & (*n - 1)) == 0; /* 0, and the powers of two that it was doubled to */
    if (is_full) {
        char *more = uqm_arena_alloc(arena, *n ? 2 * *n : 1, size);
        if (!more)
            return NULL;
        if (*n)
            memcpy(more, *v, *n * size);
        *v = more;
    }
    return *v + (*n)++ * size;
}

struct uqm_archive_segment *uqm_pack_add_segment(struct uqm_pack_plan *plan)
{
    struct uqm_archive_index *ix = &plan->index;
    char *list = (char *) ix->segments;
    struct uqm_archive_segment *s = add(&ix->arena, &list, &ix->n_segments, sizeof *s);
    ix->segments = (struct uqm_archive_segment *) (void *) list;
    return s;
}

struct uqm_archive_tensor *uqm_pack_add_tensor(struct uqm_pack_plan *plan)
{
    struct uqm_archive_index *ix = &plan->index;
    char *list = (char *) ix->tensors;
    struct uqm_archive_tensor *t = add(&ix->arena, &list, &ix->n_tensors, sizeof *t);
    ix->tensors = (struct uqm_archive_tensor *) (void *) list;
    return t;
}

/*
 * Small blocks are cheap to read a part of; large ones keep the index of a large archive small. By
 * the folder's size alone, so that it is the same on every machine: at most 2^17 blocks, and up to
 * 32 GiB the least there are.
 */
static uint32_t block_bytes_for(uint64_t n_bytes)
{
    uint32_t block = UQM_ARCHIVE_LEAST_BLOCK;
    while (block < UQM_ARCHIVE_MOST_BLOCK && n_bytes / block > UINT64_C(1) << 17)
        block *= 2;
    return block;
}

static int open_base(struct uqm_pack_plan *plan, const char *path, struct uqm_err *err)
{
    struct uqm_archive_index *ix = &plan->index;
    const struct uqm_checkpoint_params params = { .path = path };
    if (!uqm_is_dir(path) && !uqm_archive_is_name(path))
        return uqm_fail(err, UQM_ERR_ARG, "--delta-from %s: neither a model folder nor an archive",
                        path);
    int ret = uqm_checkpoint_open(&plan->base, plan->env, &params, err);
    if (ret < 0)
        return ret;
    plan->base_files =
        uqm_arena_alloc(&ix->arena, plan->base->n_files + 1, sizeof(struct uqm_file *));
    ix->base_files = uqm_arena_alloc(&ix->arena, plan->base->n_files + 1, sizeof *ix->base_files);
    return plan->base_files && ix->base_files ? UQM_OK : no_memory(plan, err);
}

/* Blocks follow from segments. */
static int lay_out(struct uqm_pack_plan *plan, struct uqm_err *err)
{
    struct uqm_archive_index *ix = &plan->index;
    uint64_t n_blocks = 0;
    for (size_t i = 0; i < ix->n_segments; i++) {
        struct uqm_archive_segment *s = &ix->segments[i];
        s->first_block = n_blocks;
        s->n_blocks = (s->n_bytes - 1) / ix->block_bytes + 1;
        n_blocks += s->n_blocks;
    }
    ix->n_blocks = (size_t) n_blocks;
    ix->blocks = uqm_arena_alloc(&ix->arena, ix->n_blocks + 1, sizeof *ix->blocks);
    return ix->blocks ? UQM_OK : no_memory(plan, err);
}

int uqm_pack_plan_init(struct uqm_pack_plan *plan, struct uqm_env *env, const char *dir,
                       const char *base, struct uqm_err *err)
{
    *plan = (struct uqm_pack_plan){ .env = env, .dir = dir, .index = { .base_path = "" } };
    struct uqm_archive_index *ix = &plan->index;
    if (!uqm_is_dir(dir))
        return uqm_fail(err, UQM_ERR_ARG, "%s: not a folder; pack packs model folders", dir);
    int ret = uqm_pack_list(plan, err);
    if (ret == UQM_OK && base)
        ret = open_base(plan, base, err);
    ix->block_bytes = block_bytes_for(plan->n_bytes);
    for (size_t i = 0; i < ix->n_files && ret == UQM_OK; i++)
        ret = uqm_pack_segments(plan, i, err);
    if (ret == UQM_OK && ix->n_base_files > 0) {
        ix->base_path = uqm_arena_strndup(&ix->arena, base, strlen(base));
        ret = ix->base_path ? UQM_OK : no_memory(plan, err);
    }
    if (ret == UQM_OK)
        ret = lay_out(plan, err);
    if (ret < 0)
        uqm_pack_plan_finish(plan);
    return ret;
}

void uqm_pack_plan_finish(struct uqm_pack_plan *plan)
{
    uqm_checkpoint_close(&plan->base);
    uqm_archive_index_finish(&plan->index);
    *plan = (struct uqm_pack_plan){ 0 };
}
