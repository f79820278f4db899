/* The plan of a merge as JSON: what `merge --dry-run` prints. */
#ifndef UQM_MERGE_DRY_RUN_H
#define UQM_MERGE_DRY_RUN_H

#include "src/merge/write.h"

/* Reads and writes nothing beyond what the source's plan has read. *result is the caller's. */
int uqm_merge_dry_run(json_t **result, struct uqm_env *env, struct uqm_source *source,
                      const struct uqm_recipe *recipe, const struct uqm_write_params *params,
                      struct uqm_err *err);

#endif
