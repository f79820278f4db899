/* The plan of a merge as JSON: what `merge --dry-run` prints. */
#ifndef UQM_MERGE_DRY_RUN_H
#define UQM_MERGE_DRY_RUN_H

#include "src/merge/write.h"

/*
 * What uqm_merge_write_many() would do. Reads and writes nothing beyond what the sources' plans
 * have read. as_list: {"outputs": [...]} and what all take together. *result is the caller's.
 */
int uqm_merge_dry_run(json_t **result, struct uqm_env *env, const struct uqm_write_job *jobs,
                      size_t n, bool as_list, struct uqm_err *err);

#endif
