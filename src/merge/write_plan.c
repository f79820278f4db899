#include "src/merge/write_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"
#include "src/merge/read_steps.h"

#define SHARD_BYTES UINT64_C(5000000000)

/* --- order and shards (spec merge.md 7, 11) --- */

/* How many of order[first...] go into one shard: at least one, no more than fit. */
static size_t shard_length(const struct uqm_write_plan *w, const struct uqm_recipe_source *rs,
                           size_t first, uint64_t limit)
{
    uint64_t bytes = 0;
    size_t i = first;
    while (i < w->n_order) {
        uint64_t n = rs->source.tensors[w->order[i]].n_bytes;
        if (i > first && (n > limit || bytes > limit - n))
            break;
        bytes = n > UINT64_MAX - bytes ? UINT64_MAX : bytes + n;
        i++;
    }
    return i - first;
}

static int plan_shard(struct uqm_shard_plan *shard, struct uqm_write_plan *w,
                      struct uqm_recipe_source *rs, const size_t *members, size_t n,
                      struct uqm_err *err)
{
    static const struct uqm_st_pair metadata = { "format", "pt" };
    struct uqm_st_tensor *st = calloc(n, sizeof *st);
    size_t *tensors = uqm_arena_alloc(&w->arena, n, sizeof *tensors);
    uint64_t *offsets = uqm_arena_alloc(&w->arena, n, sizeof *offsets);
    if (!st || !tensors || !offsets) {
        free(st);
        return uqm_plan_no_memory(rs, err);
    }
    for (size_t i = 0; i < n; i++) {
        const struct uqm_tensor *t = &rs->source.tensors[members[i]];
        st[i] = (struct uqm_st_tensor){
            .name = t->name,
            .name_len = strlen(t->name),
            .dtype = t->dtype,
            .rank = t->rank,
            .shape = t->shape,
        };
    }
    int ret = uqm_st_header_init(&shard->header, st, n, &metadata, 1, 0, err);
    for (size_t i = 0; i < n && ret == UQM_OK; i++) {
        size_t k = shard->header.order[i];
        tensors[i] = members[k];
        offsets[i] = shard->header.n_bytes + st[k].begin;
    }
    free(st);
    if (ret < 0)
        return ret;
    shard->n_tensors = n;
    shard->tensors = tensors;
    shard->offsets = offsets;
    if (!uqm_add_u64(&shard->n_bytes, shard->header.n_bytes, shard->header.data_bytes))
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: the output is too large", rs->recipe->where);
    return UQM_OK;
}

static int name_shards(struct uqm_write_plan *w, struct uqm_recipe_source *rs, struct uqm_err *err)
{
    for (size_t i = 0; i < w->n_shards; i++) {
        w->shards[i].name = w->n_shards == 1
                                ? "model.safetensors"
                                : uqm_arena_printf(&w->arena, "model-%05zu-of-%05zu.safetensors",
                                                   i + 1, w->n_shards);
        if (!w->shards[i].name)
            return uqm_plan_no_memory(rs, err);
    }
    return UQM_OK;
}

static int plan_shards(struct uqm_write_plan *w, struct uqm_recipe_source *rs, uint64_t limit,
                       struct uqm_err *err)
{
    size_t n_shards = 0;
    for (size_t i = 0; i < w->n_order; i += shard_length(w, rs, i, limit))
        n_shards++;
    w->shards = uqm_arena_alloc(&w->arena, n_shards, sizeof *w->shards);
    if (!w->shards)
        return uqm_plan_no_memory(rs, err);
    for (size_t i = 0, n; i < w->n_order; i += n) {
        n = shard_length(w, rs, i, limit);
        int ret = plan_shard(&w->shards[w->n_shards++], w, rs, w->order + i, n, err);
        if (ret < 0)
            return ret;
        w->tensor_bytes += w->shards[w->n_shards - 1].header.data_bytes;
    }
    return name_shards(w, rs, err);
}

uint64_t uqm_write_plan_part_bytes(const struct uqm_recipe_source *rs,
                                   const struct uqm_plan_part *part, uint64_t n_elem)
{
    struct uqm_source *inner = rs->inputs[part->input].inner;
    if (!inner || part->source_of != inner)
        return uqm_dtype_bytes(uqm_plan_part_tensor(rs, part)->dtype, n_elem);
    const struct uqm_recipe_source *made_by = uqm_recipe_source_of(inner);
    const struct uqm_plan_tensor *pt = &made_by->plan[part->source_tensor];
    uint64_t n = 0;
    for (size_t p = 0; p < pt->n_parts; p++)
        n += uqm_write_plan_part_bytes(made_by, &pt->parts[p], n_elem);
    return n;
}

/* What the merge reads, tensor by tensor, with the memory it has. */
void uqm_write_plan_count_reads(struct uqm_write_plan *w, const struct uqm_recipe_source *rs)
{
    struct uqm_cut cut;
    uqm_merge_stream_cut(&cut, rs, w->tile_bytes, w->stream_bytes);
    w->n_passes = 1;
    for (size_t i = 0; i < w->n_order; i++) {
        const struct uqm_plan_tensor *pt = &rs->plan[w->order[i]];
        const struct uqm_cut_reads r = uqm_cut_reads(&cut, rs, w->order[i]);
        w->n_passes = uqm_max_u64(w->n_passes, r.passes);
        for (size_t p = 0; p < pt->n_parts; p++) {
            w->read_bytes += uqm_write_plan_part_bytes(rs, &pt->parts[p], r.likely);
            w->most_read_bytes += uqm_write_plan_part_bytes(rs, &pt->parts[p], r.most);
        }
    }
}

int uqm_write_plan_layout(struct uqm_write_plan *out, struct uqm_recipe_source *rs,
                          const struct uqm_write_params *params, struct uqm_err *err)
{
    struct uqm_write_plan w = { 0 };
    int ret = UQM_OK;
    w.n_order = rs->n_order;
    w.order = rs->order;
    if (w.n_order == 0)
        ret = uqm_fail(err, UQM_ERR_FORMAT, "%s: the models have no tensors to merge",
                       rs->recipe->where);
    if (ret == UQM_OK)
        ret = plan_shards(&w, rs, params->shard_bytes ? params->shard_bytes : SHARD_BYTES, err);
    if (ret < 0)
        uqm_write_plan_finish(&w);
    else
        *out = w;
    return ret;
}

void uqm_write_plan_finish(struct uqm_write_plan *plan)
{
    for (size_t i = 0; i < plan->n_shards; i++)
        uqm_st_header_finish(&plan->shards[i].header);
    uqm_arena_finish(&plan->arena);
    *plan = (struct uqm_write_plan){ 0 };
}
