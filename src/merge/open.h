/* MODEL on the command line: a checkpoint folder, or a recipe whose weights are merged while they
 * are loaded. */
#ifndef UQM_MERGE_OPEN_H
#define UQM_MERGE_OPEN_H

#include "src/checkpoint/digest_cache.h"
#include "src/checkpoint/layout.h"
#include "src/format/recipe_stream.h"

struct uqm_open_params {
    const char *vision_tower; /* NULL: the model's own */
    bool need_vision;
    bool quiet; /* what there is to say of the vision tower has been said */
    bool allow_crimes;
    bool relayout;             /* the recipe's one input, a LLaVA, is brought into ... */
    enum uqm_layout layout;    /* ... this layout, LLAVA_HF or LLAVA, from the other */
    bool truncate_embeddings;  /* cut vocabularies to the shortest input's */
    uint64_t most_tower_bytes; /* vision towers of more than this in all are taken to agree, unread;
                                  0: no limit */
    enum uqm_numerics numerics;
    struct uqm_digest_cache *digests; /* of towers read before, or NULL; outlives what is opened */
    /* What a recipe may name beside folders: the others of its file, or NULL; and the recipe files
     * on the way to this one, so that none is made of itself. */
    const struct uqm_recipe_stream *stream;
    const struct uqm_recipe_chain *chain;
};

struct uqm_recipe_chain {
    const char *path; /* real */
    const struct uqm_recipe_chain *outer;
};

/* A folder, one weight file, or a recipe (.yml, .yaml). *out becomes the caller's. */
int uqm_model_open(struct uqm_source **out, struct uqm_env *env, const char *model,
                   const struct uqm_open_params *params, struct uqm_err *err);

/* A recipe as a source: planned from headers alone (and the vision towers' digests). The recipe
 * must outlive it. */
int uqm_recipe_open(struct uqm_source **out, struct uqm_env *env, const struct uqm_recipe *recipe,
                    const struct uqm_open_params *params, struct uqm_err *err);

/* A recipe file: of several recipes in it the one that is written, made of the others. */
int uqm_recipe_file_open(struct uqm_source **out, struct uqm_env *env, const char *path,
                         const struct uqm_open_params *params, struct uqm_err *err);
/* Whether the path is called like a recipe: .yml, .yaml. */
bool uqm_is_recipe_path(const char *path);

/* config.json of a recipe's merge, malloc'ed; NULL for a checkpoint, and where there is none. */
int uqm_source_config(char **out, struct uqm_source *source, struct uqm_err *err);

/* The digest of a source's vision part (canonical names, dtypes, shapes, bytes), so that features
 * can be shared between models. Reads the part where neither the plan nor `digests` (or NULL) knows
 * it. */
int uqm_source_vision_digest(struct uqm_xxh3_hex *out, struct uqm_source *source,
                             struct uqm_digest_cache *digests, struct uqm_err *err);

/* UQM_ERR_IO when a file that the source reads has been changed or replaced since it was opened. */
int uqm_opened_check_unchanged(struct uqm_source *source, struct uqm_err *err);

#endif
