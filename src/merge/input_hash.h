/*
 * XXH3-128 of the whole input files, for the manifest. A file whose tensors the merge happens to
 * read front to back is hashed as it streams by (safetensors files are laid out in the order merges
 * are written in); what is left of it, and every other file, is read once more afterwards.
 */
#ifndef UQM_MERGE_INPUT_HASH_H
#define UQM_MERGE_INPUT_HASH_H

#include "compute/threads.h"
#include "src/merge/write_plan.h"

struct uqm_input_hash;

/* The files of recipes that are inputs are hashed too, afterwards. plan NULL: all afterwards.
 * Decides from the plan which files can be hashed on the way, and listens to the source's tiles
 * until it is destroyed. threads may be NULL. */
int uqm_input_hash_create(struct uqm_input_hash **out, struct uqm_recipe_source *rs,
                          const struct uqm_write_plan *plan, struct uqm_threads *threads,
                          struct uqm_err *err);
/* Files that `other` hashes too are left to it; it outlives this one and is finished first. To be
 * called before anything is hashed. */
void uqm_input_hash_borrow(struct uqm_input_hash *hash, const struct uqm_input_hash *other);
/* Bytes that finish() will have to read. For planning and progress. */
uint64_t uqm_input_hash_left(const struct uqm_input_hash *hash);
/* Read and hash what has not streamed by. */
int uqm_input_hash_finish(struct uqm_input_hash *hash, struct uqm_err *err);
/* How far each file has come, for a later run to go on from; files that `other` hashes are left
 * out. The numbers of the files are the same in every run of the job. */
typedef int (*uqm_input_hash_save_fn)(void *ctx, size_t file, uint64_t n_bytes,
                                      const uint8_t state[UQM_XXH3_STATE_BYTES],
                                      struct uqm_err *err);
int uqm_input_hash_save(const struct uqm_input_hash *hash, uqm_input_hash_save_fn save, void *ctx,
                        struct uqm_err *err);
/* Before anything is hashed. false: no such file, or no such state; it is then hashed anew. */
bool uqm_input_hash_load(struct uqm_input_hash *hash, size_t file, uint64_t n_bytes,
                         const uint8_t state[UQM_XXH3_STATE_BYTES]);
/* Of an input that is a recipe; else NULL. */
const struct uqm_input_hash *uqm_input_hash_inner(const struct uqm_input_hash *hash, size_t input);
/* Of checkpoint->files[file], after finish. */
struct uqm_xxh3_hex uqm_input_hash_of(const struct uqm_input_hash *hash, size_t input, size_t file);
void uqm_input_hash_destroy(struct uqm_input_hash **hash);

#endif
