/*
 * A merge, planned from headers alone: what becomes of every tensor of every input. The plan is a
 * source (a recipe whose tensors are merged while they are loaded); merge_stream.c executes it.
 * Shared by the files of this folder; others hold the struct uqm_source.
 */
#ifndef UQM_MERGE_PLAN_H
#define UQM_MERGE_PLAN_H

#include "src/checkpoint/checkpoint.h"
#include "src/merge/exec.h"
#include "src/merge/open.h"
#include "src/merge/plan_names.h"

enum uqm_fate {
    UQM_FATE_MERGED, /* averaged over its parts */
    UQM_FATE_COPIED, /* one input's: vision towers that agree, or that the recipe wants copied */
    UQM_FATE_EQUAL,  /* buffers and what is no number to average: copied, and the parts must be
                        equal, which is seen while they stream by */
    UQM_N_FATES
};
const char *uqm_fate_name(enum uqm_fate fate); /* "merged", "copied", "equal" */

/* One input of a slice. */
struct uqm_plan_source {
    size_t input;
    bool is_base;
    const struct uqm_recipe_input *recipe; /* its layers and parameters */
};

/* A slice of the recipe, its models found. */
struct uqm_plan_slice {
    const struct uqm_recipe_module *module;
    const struct uqm_recipe_slice *recipe;
    bool is_first, is_last; /* of its module: what lies before and behind the layers */
    size_t n_sources;
    struct uqm_plan_source *sources; /* in the order of the arithmetic, every input once */
    bool has_base;                   /* one of the sources is */
    /* of a slice that is not whole */
    const char *prefix;             /* of its layers, canonical: "language_model.model.layers." */
    uint64_t first_layer, n_layers; /* of the output */
};

/* One input's share in an output tensor. */
struct uqm_plan_part {
    size_t input;
    const struct uqm_recipe_input *source;
    size_t tensor; /* index into that checkpoint's tensors */
    /* Not NULL: the elements are not those of the checkpoint's file but of this source's tensor. */
    struct uqm_source *source_of;
    size_t source_tensor;
    bool is_base;
    /* UQM_FATE_MERGED alone, else NULL: the values that the recipe gives this input, one for each
     * of the method's parameters, in the order of its table (uqm_method_param_index()). NaN for
     * what is not resolved here: those per output, and those of UQM_PER_OTHER for the base. */
    const double *params;
    double weight; /* the same as the params' of that name; 0 without one */
};

/* Beside source.tensors[i]. */
struct uqm_plan_tensor {
    enum uqm_fate fate;
    bool outside; /* a vision tower beside the model: in the source, not in what is written */
    bool partial; /* some input of its slice lacks it */
    enum uqm_vocabulary_role vocabulary; /* dimension 0 is the vocabulary */
    bool cut; /* the vocabulary of some part is longer: rows behind the shortest are not read */
    const struct uqm_plan_slice *slice; /* NULL: `outside`, from the one model that has it */
    double position;                    /* of its layer in the slice, 0..1 */
    long same_as;        /* the tensor, earlier in the order of writing, whose inputs, method and
                            parameters are all equal, so that it has the same bytes; -1: none */
    enum uqm_dtype work; /* the type that inputs are cast to, spec merge.md 1 */
    /* The values per output, in the order of the method's table, NaN for the others; NULL unless
     * UQM_FATE_MERGED. */
    const double *params;
    bool normalize; /* linear: the params' */
    double sum;     /* linear: of the weights, as the arithmetic sees them */
    size_t n_parts;
    struct uqm_plan_part *parts; /* in recipe order */
    const char *sort_name;       /* the greatest of the parts' names: the order of writing */
    struct uqm_job *job;         /* its arithmetic; NULL where bytes are handed on as they are */
    bool ready;                  /* the job's passes are over, state.result holds what they found */
    struct uqm_job_state state;
};

struct uqm_plan_input {
    /* Of a recipe: what its merge would be as a checkpoint, but without files. */
    struct uqm_checkpoint *checkpoint;
    struct uqm_source *inner; /* ... that recipe; NULL: the model is on the disk */
    const struct uqm_recipe_model *model;
    bool has_vision, vision_beside;
    bool has_digest;
    struct uqm_xxh3_hex digest; /* of the vision part, when has_digest */
};

/* One part of a tile as it came from the disk, for whoever wants to hash the inputs. */
enum { UQM_SEEN_NO_FILE = INT32_MAX }; /* made by another source */
struct uqm_seen {
    size_t input, file;
    uint64_t off_bytes;
    const void *data;
    size_t n_bytes;
};
/* Called from the thread that pulls the stream, in the order of reading. */
typedef void (*uqm_seen_fn)(void *ctx, const struct uqm_seen *seen, size_t n_seen);
/*
 * A run of UQM_FATE_MERGED, fresh from the arithmetic: parts[i].data holds the same elements of
 * part i of the plan's tensor, in that input's dtype, out those of the output in its own. All of it
 * is valid during the call alone. Called from the thread that pulls the stream, run by run in the
 * order of a tensor's elements.
 */
typedef void (*uqm_merged_fn)(void *ctx, const struct uqm_range *range,
                              const struct uqm_seen *parts, const void *out);

struct uqm_vocab_plan;
struct uqm_relayout;

struct uqm_recipe_source {
    struct uqm_source source; /* first */
    const struct uqm_recipe *recipe;
    struct uqm_recipe_stream *owned; /* the file it is of, when that dies with the source */
    struct uqm_arena arena;
    size_t n_inputs, home; /* home: the base, or the first model */
    struct uqm_plan_input *inputs;
    size_t *input_of; /* [recipe->n_models]: two spellings of one folder are one input */
    struct uqm_vocab_plan *vocab;  /* the output's vocabulary; NULL: rows stay what they are */
    struct uqm_source *vocab_rows; /* ... and the parts that are rebuilt to it */
    struct uqm_relayout *relayout; /* the output has another layout than the one input; or NULL */
    char *chat_template;           /* the output's, if the recipe speaks of it; else NULL */
    size_t n_slices;
    struct uqm_plan_slice *slices; /* of all modules, in the recipe's order */
    struct uqm_plan_tensor *plan;
    size_t n_order;
    size_t *order;     /* what is written, in the order of writing and of random draws: ascending by
                          sort_name (spec merge.md 7) */
    size_t max_parts;  /* of any tensor */
    unsigned widening; /* most bytes of input an element takes for one of output */
    size_t n_left_out; /* input tensors that `vision: copy` leaves unread */
    size_t n_unnamed;  /* input tensors that lie in none of the recipe's modules */
    size_t n_dropped;  /* output tensors that too few inputs have for the method */
    struct uqm_plan_layers { /* of the output where slices changed them; n 0: as they were */
        uint64_t n;
        const char *prefix; /* canonical */
    } * layers;
    size_t n_layers;           /* how many modules have sliced layers */
    uint64_t most_tower_bytes; /* as uqm_open_params has it */
    const char *vision;        /* what happens to the towers, in words; NULL: there are none */
    size_t vision_owner;       /* the input whose tower is copied; n_inputs: none, or averaged */
    uint64_t digested_bytes;   /* read for the plan */
    struct uqm_digest_cache *digests;    /* the opener's, or the one below */
    struct uqm_digest_cache own_digests; /* a tower that inputs share is read once */
    uqm_seen_fn seen;                    /* NULL, or set by the writer before it opens the stream */
    void *seen_ctx;
    uqm_merged_fn merged; /* NULL, or set like seen */
    void *merged_ctx;
    enum uqm_numerics numerics;
    struct uqm_kernels kernels;
    struct uqm_exec_needs needs; /* of all jobs */
    size_t block_bytes;          /* of one input, in a block of a job that works in whole ones */
    size_t unit_bytes;           /* of the output, in a job's unit */
    uint64_t result_bytes;       /* of all jobs' passes */
    size_t most_result_bytes;    /* of one job's */
    /* What the passes of a tensor found is forgotten when the stream goes on to another one: for
     * who asks for every tensor once. Else it stays as long as the source. */
    bool states_once;
    /* ... and for the ranges of each from its first element on, without gaps, or from anywhere
     * further back. Set by the writer before it opens the streams. */
    bool ranges_in_order;
    /* The reading buffers that several merges of one pass have in common, or NULL: set by the
     * writer before it opens the streams, as is ... */
    struct uqm_share *share;
    size_t share_piece_bytes; /* ... the size of one of them, at least; 0: as the tile says ... */
    size_t share_buffers;     /* ... how many of them this merge may count on ... */
    size_t share_parts;       /* ... when as many parts of a tensor are kept by all together */
    size_t n_inner; /* sources that parts are made by; their streams take memory beside ours */
    struct uqm_source **inner;
};

/* The recipe source that `source` is, or NULL for a checkpoint. */
struct uqm_recipe_source *uqm_recipe_source_of(struct uqm_source *source);

/* plan_inputs.c: find and open the models, settle what every slice is made of. A model's path is
 * taken as it stands, else from the recipe's folder; malloc'ed. */
int uqm_plan_find_model(char **out, const struct uqm_recipe *recipe,
                        const struct uqm_recipe_model *model, struct uqm_err *err);
int uqm_plan_open_inputs(struct uqm_recipe_source *rs, const struct uqm_open_params *params,
                         struct uqm_err *err);

/* plan_inner.c: a recipe as an input. open() sets in->inner and in->checkpoint; `named`: a recipe
 * of the same file, or NULL for the recipe file at `path`. link() has the parts of such inputs made
 * by their recipes, once all parts are known. */
int uqm_plan_inner_open(struct uqm_plan_input *in, struct uqm_recipe_source *rs, const char *path,
                        const struct uqm_recipe *named, const struct uqm_open_params *params,
                        struct uqm_err *err);
int uqm_plan_inner_link(struct uqm_recipe_source *rs, struct uqm_err *err);

/* The digest of an input's vision tower, unless it is known already. */
int uqm_plan_digest_input(struct uqm_recipe_source *rs, size_t input, struct uqm_err *err);
/* plan_vision.c: digest the towers of a whole slice and settle who gives which vision tensors. */
struct uqm_vision_plan {
    bool copy;    /* take `from`'s alone */
    bool outside; /* they stay beside the home model */
    size_t from;  /* input; meaningless when there is no vision */
};
int uqm_plan_vision(struct uqm_vision_plan *out, struct uqm_recipe_source *rs,
                    const struct uqm_plan_slice *slice, struct uqm_err *err);

/* plan_match.c: the output's tensors, each with its parts; ascending by canonical name. */
int uqm_plan_match(struct uqm_recipe_source *rs, const struct uqm_open_params *params,
                   struct uqm_err *err);

/* plan_index.c: the recipe's module that takes the tensor, or NULL. */
const struct uqm_recipe_module *uqm_plan_module_of(const struct uqm_recipe *recipe,
                                                   const struct uqm_tensor *tensor);

/* plan_parts.c: what becomes of a tensor whose parts are known: fate, shape. *dropped: too few
 * inputs have it for the method, which then does without (a warning was left). */
int uqm_plan_settle_parts(bool *dropped, struct uqm_recipe_source *rs, struct uqm_plan_tensor *pt,
                          struct uqm_tensor *t, const struct uqm_open_params *params,
                          struct uqm_err *err);

/* plan_tell.c: nothing is dropped in silence. */
int uqm_plan_tell(struct uqm_recipe_source *rs, struct uqm_err *err);
int uqm_plan_tell_dropped(const struct uqm_recipe_source *rs, const struct uqm_tensor *t,
                          const struct uqm_plan_tensor *pt, struct uqm_err *err);

/* plan_order.c: the order of writing, and tensors that equal an earlier one. */
int uqm_plan_order(struct uqm_recipe_source *rs, struct uqm_err *err);

/* plan_config.c: config.json of the output, malloc'ed; NULL: the home model has none. Warns where
 * slices changed the number of layers and the config has no key for it. */
int uqm_plan_config(char **out, const struct uqm_recipe_source *rs, struct uqm_err *err);

/* plan_weights.c: working types and the parameters' values of every tensor. */
int uqm_plan_weights(struct uqm_recipe_source *rs, struct uqm_err *err);
int uqm_plan_no_memory(const struct uqm_recipe_source *rs, struct uqm_err *err);
static inline const struct uqm_tensor *uqm_plan_part_tensor(const struct uqm_recipe_source *rs,
                                                            const struct uqm_plan_part *part)
{
    if (part->source_of)
        return &part->source_of->tensors[part->source_tensor];
    return &rs->inputs[part->input].checkpoint->source.tensors[part->tensor];
}

/* plan_jobs.c: the arithmetic of every tensor, the random numbers it draws, the memory it takes. */
int uqm_plan_jobs(struct uqm_recipe_source *rs, struct uqm_err *err);
void uqm_plan_jobs_finish(struct uqm_recipe_source *rs);

/* Whether a tensor is of a vision tower that lies beside the model. */
static inline bool uqm_plan_is_beside(const struct uqm_checkpoint *cp, size_t tensor)
{
    size_t file = cp->locations[tensor].file;
    return file >= cp->n_own_files && file != UQM_SEEN_NO_FILE;
}

/* merge_stream.c: struct uqm_source_ops.open and .min_memory of a recipe. */
int uqm_merge_stream_open(struct uqm_tile_stream **out, struct uqm_source *source,
                          struct uqm_threads *threads, size_t tile_bytes, uint64_t memory_bytes,
                          uqm_next_range_fn next, void *ctx, struct uqm_err *err);
uint64_t uqm_merge_stream_min_memory(const struct uqm_source *source, size_t tile_bytes);

#endif
