/*
 * How `select` merges the first t models of its order: a method by its name, with equal weights, or
 * a recipe template, a recipe that says everything but which models.
 */
#ifndef UQM_UQ_MERGE_RULE_H
#define UQM_UQ_MERGE_RULE_H

#include <stddef.h>

#include "src/base/err.h"
#include "src/base/hash.h"
#include "src/format/method.h"

struct uqm_merge_rule {
    const struct uqm_method_info *method; /* NULL, as in a zeroed rule: linear */
    const char *base;                     /* --base, or NULL; borrowed */
    const char *path;                     /* of the template, or NULL; borrowed */
    char *text;                           /* the template */
    bool has_dtype, has_base;             /* in the template */
    bool quiet;                           /* its unknown keys have been warned of */
};

/*
 * merge: NULL ("linear"), a method's name, or a template's path (.yml, .yaml); base: --base, or
 * NULL. A template is mergekit's YAML in block style without `models`, `slices` and `modules`; its
 * `parameters` hold for every model. Refused, before anything is measured: a method that cannot
 * merge n_models, one that lacks its base or has no use for one (UQM_ERR_USAGE), a template of
 * another form (UQM_ERR_FORMAT). To be finished, whatever is returned.
 */
int uqm_merge_rule_init(struct uqm_merge_rule *out, const char *merge, const char *base,
                        size_t n_models, struct uqm_err *err);
void uqm_merge_rule_finish(struct uqm_merge_rule *rule);

/*
 * The recipe of the merge of n models as mergekit YAML; `dtype` (its mergekit name) stands in it
 * where the template says nothing, NULL: the models' own dtypes decide. The merge of one model is
 * the model itself, whatever the method. malloc'ed, NULL when out of memory.
 */
char *uqm_merge_rule_recipe(const struct uqm_merge_rule *rule, const char *const *models, size_t n,
                            const char *dtype);
/* What stands for the recipe in messages. */
const char *uqm_merge_rule_where(const struct uqm_merge_rule *rule);
/* Digest of the rule, for the state's keys: `base_files` is the base's digest, or NULL. */
int uqm_merge_rule_digest(struct uqm_xxh3_hex *out, const struct uqm_merge_rule *rule,
                          const struct uqm_xxh3_hex *base_files, struct uqm_err *err);

#endif
