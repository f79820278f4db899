/*
 * What a merge writes, before it writes: which tensor lies in which shard and where, how much is
 * read, how the memory is divided. From the plan alone; dry runs print it.
 */
#ifndef UQM_MERGE_WRITE_PLAN_H
#define UQM_MERGE_WRITE_PLAN_H

#include "src/format/safetensors.h"
#include "src/merge/plan.h"
#include "src/merge/write.h"

struct uqm_shard_plan {
    const char *name; /* "model-00001-of-00002.safetensors" */
    size_t n_tensors;
    const size_t *tensors;       /* source indices, in the order of the data */
    const uint64_t *offsets;     /* from the start of the file, beside tensors */
    struct uqm_st_header header; /* its bytes */
    uint64_t n_bytes;            /* of the whole file */
    /* Of a form (write_form.h), beside tensors; NULL: the source's, and 8. What lies between two
     * tensors, or behind the last, is zeros. */
    const char *const *names;
    const uint64_t *sizes; /* bytes in the file */
    const uint64_t *units; /* elements that a tile has a whole number of, but for the last */
};

static inline uint64_t uqm_shard_tensor_bytes(const struct uqm_shard_plan *shard, size_t place,
                                              const struct uqm_source *source)
{
    return shard->sizes ? shard->sizes[place] : source->tensors[shard->tensors[place]].n_bytes;
}

struct uqm_write_plan {
    struct uqm_arena arena;
    size_t n_order;
    const size_t *order; /* source indices in the order of writing: the plan's */
    size_t n_shards;
    struct uqm_shard_plan *shards;
    uint64_t tensor_bytes;    /* of all shards, without headers */
    uint64_t read_bytes;      /* of the inputs, by the merge itself, unless a sample misleads ... */
    uint64_t most_read_bytes; /* ... and if every one does */
    uint64_t n_passes; /* how often the tensor that is read most is read, samples not counted */
    size_t tile_bytes;
    size_t least_tile_bytes; /* what a form cannot do with less than; 0: any */
    unsigned growth;         /* a tile's bytes at most become this many times as many; 0: no form */
    uint64_t stream_bytes, sink_bytes, report_bytes, form_bytes; /* memory */
    uint64_t share_bytes; /* ... of the buffers shared with other merges, in the first one's plan */
};

/* The shards alone; the memory and the reads that follow from it are settled for all merges of a
 * run at once: uqm_writers_divide_memory(). */
int uqm_write_plan_layout(struct uqm_write_plan *out, struct uqm_recipe_source *rs,
                          const struct uqm_write_params *params, struct uqm_err *err);
/* Bytes of files that n_elem elements of a part are made of; of a recipe as input, those of all of
 * its parts, each once: how often its own passes read them is not known here. */
uint64_t uqm_write_plan_part_bytes(const struct uqm_recipe_source *rs,
                                   const struct uqm_plan_part *part, uint64_t n_elem);
/* What the merge reads, tensor by tensor, once its memory is known. */
void uqm_write_plan_count_reads(struct uqm_write_plan *plan, const struct uqm_recipe_source *rs);
void uqm_write_plan_finish(struct uqm_write_plan *plan);

#endif
