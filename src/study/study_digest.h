/* Digests of a study's models and data sets, by content. */
#ifndef UQM_STUDY_STUDY_DIGEST_H
#define UQM_STUDY_STUDY_DIGEST_H

#include "src/study/study_run.h"

/* Of a checkpoint folder: its parts' tensors, its configs and tokenizer. What was found is kept in
 * the cache (where `keep` says so), and holds as long as the files' sizes, inodes and times do. */
int uqm_study_model_digest(struct uqm_xxh3_hex *out, const struct uqm_common *common,
                           struct uqm_study_cache *cache, bool keep, const char *path,
                           struct uqm_err *err);

/* Of a set: its name, records, pictures, and how it is asked. */
int uqm_study_set_digest(struct uqm_study_set_info *out, struct uqm_env *env,
                         const struct uqm_study_set *set, struct uqm_err *err);

#endif
