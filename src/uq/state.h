/*
 * What a `select` has measured so far, in one JSON file that is replaced as a whole after each
 * model and each step, so that an interrupted run goes on where it was.
 *
 * An entry is the models whose merge was measured (one: the model itself), each by a digest of what
 * it is, and a measure: a value a record and set (NaN, a record without a value, stands as null),
 * how many records of each set were asked, and the sums of their answers. The file names the job it
 * belongs to by a digest of everything else that the values depend on, so that runs over other
 * models, in another order, or with another merge method, use what is there. A file of another job,
 * or one that cannot be read, is set aside with a warning and replaced.
 */
#ifndef UQM_UQ_STATE_H
#define UQM_UQ_STATE_H

#include "src/base/env.h"
#include "src/base/hash.h"
#include "src/uq/measure.h"

struct uqm_state;

struct uqm_state_key {
    const char *kind; /* "uq", "accuracy"; of merges with what tells their rule */
    const char *const *models;
    size_t n_models;
};

/* path NULL: kept in memory only. n_records[n_sets]: the shape of every entry. UQM_ERR_IO where
 * another run has it open, which `path` + ".lock" says until the state is closed. */
int uqm_state_open(struct uqm_state **out, struct uqm_env *env, const char *path,
                   const struct uqm_xxh3_hex *job, const size_t *n_records, size_t n_sets,
                   struct uqm_err *err);
/* Say how much of what is there is of these models, by their digests, or that nothing is. */
void uqm_state_tell(const struct uqm_state *state, const struct uqm_env *env,
                    const char *const *models, size_t n);
/* Keeps the file. Takes NULL. */
void uqm_state_close(struct uqm_state **state);
/* Remove the file: the job is done. */
void uqm_state_remove(struct uqm_state *state);

/* Fill m, which has the job's shape, from an entry; false where there is none. Its means are to be
 * summarized. */
bool uqm_state_get(struct uqm_state *state, const struct uqm_state_key *key, struct uqm_measure *m);
/* Add an entry, or replace the one of this key, and write the file. */
int uqm_state_put(struct uqm_state *state, const struct uqm_state_key *key,
                  const struct uqm_measure *m, struct uqm_err *err);

#endif
