/*
 * A model that is about to be asked: its weights (a checkpoint's, or a merge that exists only as a
 * recipe), its config and its tokenizer.
 */
#ifndef UQM_UQ_CANDIDATE_H
#define UQM_UQ_CANDIDATE_H

#include "src/format/model_config.h"
#include "src/merge/open.h"
#include "src/model/tokenizer.h"
#include "src/uq/merge_rule.h"

struct uqm_candidate {
    struct uqm_env *env;
    struct uqm_recipe *recipe; /* of a merge of our own; else NULL */
    struct uqm_source *source;
    struct uqm_source *weights; /* what its network loads; NULL: the source. Borrowed */
    struct uqm_model_config config;
    struct uqm_tokenizer *tokenizer;
    struct uqm_digest_cache *digests; /* the opener's, or NULL */
};

/* A folder, a weight file or a recipe file, as the user named it. */
int uqm_candidate_open(struct uqm_candidate *out, struct uqm_env *env, const char *model,
                       const struct uqm_open_params *params, struct uqm_err *err);

/* The merge of n checkpoints (one: the checkpoint, as a merge of itself) as the rule says. The
 * models' common dtype is the merge's, where the rule names none. */
int uqm_candidate_open_merge(struct uqm_candidate *out, struct uqm_env *env,
                             const struct uqm_merge_rule *rule, const char *const *models, size_t n,
                             const struct uqm_open_params *params, struct uqm_err *err);
/* Its recipe; malloc'ed. */
int uqm_candidate_merge_text(char **out, struct uqm_env *env, const struct uqm_merge_rule *rule,
                             const char *const *models, size_t n,
                             const struct uqm_open_params *params, struct uqm_err *err);

/* Takes a zeroed or half-opened one. */
void uqm_candidate_close(struct uqm_candidate *candidate);

/*
 * Names of models in results: folder's or file's. Of two that share one, the later gets "#2", "#3",
 * ... names[n] become the caller's, one free() each.
 */
int uqm_candidate_names(char **names, const struct uqm_strings *models, struct uqm_err *err);

#endif
