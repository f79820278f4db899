/* Write a merge to disk: shards, index, config, tokenizer, recipe, model card, manifest; the folder
 * appears whole or not at all. */
#ifndef UQM_MERGE_WRITE_H
#define UQM_MERGE_WRITE_H

#include <jansson.h>

#include "compute/threads.h"
#include "src/checkpoint/source.h"
#include "src/format/recipe.h"
#include "src/uqmerge.h"

struct uqm_write_form;

struct uqm_write_params {
    const char *out_dir;
    bool overwrite;
    uint64_t shard_bytes; /* 0: 5 * 10^9 */
    bool no_copy_tokenizer, no_model_card;
    bool allow_nan; /* write elements that became NaN, and are it in no input */
    enum uqm_report_kind report;
    struct uqm_write_form *form; /* of the weights' files; no other files but the manifest are
                                    written then. NULL: safetensors, with all that goes along */
};

/* source: from uqm_recipe_open() on the same recipe. *result: the JSON of `merge`, the caller's. */
int uqm_merge_write(json_t **result, struct uqm_env *env, struct uqm_threads *threads,
                    struct uqm_source *source, const struct uqm_recipe *recipe,
                    const struct uqm_write_params *params, struct uqm_err *err);

/* Whether uqm_merge_write() would refuse the place or the models' files that go along, which a
 * caller with hours of other work before it wants to know first. UQM_ERR_ARG: the place. */
int uqm_merge_check_out(struct uqm_env *env, struct uqm_source *source,
                        const struct uqm_recipe *recipe, const struct uqm_write_params *params,
                        struct uqm_err *err);

struct uqm_write_job {
    struct uqm_source *source; /* as above */
    const struct uqm_recipe *recipe;
    struct uqm_write_params params;
};
/*
 * Several merges in one pass: what several of them read is read once, as far as memory goes. They
 * get their names at the end, when all are whole and all names are free; where that is interrupted
 * between two names the next run gives the rest. as_list: the JSON of several, also for one.
 */
int uqm_merge_write_many(json_t **result, struct uqm_env *env, struct uqm_threads *threads,
                         const struct uqm_write_job *jobs, size_t n, bool as_list,
                         struct uqm_err *err);

#endif
