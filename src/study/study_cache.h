/*
 * What a study has found so far: a file an answer in one folder, called by the digest of what was
 * asked. The question is a JSON object of content digests and parameters, never of paths or times;
 * it stands in the file, and a checksum of question and answer does too. A file that does not hold
 * together counts as absent: the answer is found again.
 *
 * Files appear whole (fs.h), so that an interruption at any point loses only what was under way.
 */
#ifndef UQM_STUDY_STUDY_CACHE_H
#define UQM_STUDY_STUDY_CACHE_H

#include <jansson.h>

#include "src/base/env.h"
#include "src/base/hash.h"

struct uqm_study_cache;

/* The folder is made if it is not there. write: it is locked against another run as long as it is
 * open: UQM_ERR_ARG. Not write: a folder that is not there holds nothing. */
int uqm_study_cache_open(struct uqm_study_cache **out, const struct uqm_env *env, const char *dir,
                         bool write, struct uqm_err *err);
/* Takes NULL. */
void uqm_study_cache_close(struct uqm_study_cache **cache);

/* The digest that names a question. UQM_ERR_NOMEM. */
int uqm_study_cache_name(struct uqm_xxh3_hex *out, const json_t *key, struct uqm_err *err);

/* The answer, borrowed until the cache is closed; NULL where there is none. */
const json_t *uqm_study_cache_get(struct uqm_study_cache *cache, const json_t *key);
/* Keep an answer; it is borrowed. */
int uqm_study_cache_put(struct uqm_study_cache *cache, const json_t *key, const json_t *value,
                        struct uqm_err *err);

#endif
