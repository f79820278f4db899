/*
 * A folder that appears whole or not at all: built as .NAME.part beside its target under a lock,
 * renamed when everything in it is on the disk (spec formats.md 7).
 */
#ifndef UQM_MERGE_PUBLISH_H
#define UQM_MERGE_PUBLISH_H

#include "src/base/env.h"

struct uqm_publish;

/*
 * Check that the target may be made (absent, or with overwrite a folder that holds a merge's
 * manifest or nothing), take the lock and an empty part folder. What an interrupted run left is
 * replaced, with an info line; a run that is still at it is UQM_ERR_IO.
 */
int uqm_publish_begin(struct uqm_publish **out, struct uqm_env *env, const char *target,
                      bool overwrite, struct uqm_err *err);
/* The same checks alone, for a dry run. */
int uqm_publish_check(const char *target, bool overwrite, struct uqm_err *err);
/* The part folder; borrowed. */
const char *uqm_publish_dir(const struct uqm_publish *publish);
/* Sync the folder, give it its name, sync its parent. Files are synced by whoever wrote them. */
int uqm_publish_commit(struct uqm_publish *publish, struct uqm_err *err);
/* Without commit: the part folder is removed. Takes NULL. */
void uqm_publish_end(struct uqm_publish **publish);

#endif
