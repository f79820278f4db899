/* The state of one merge being written; between write.c, write_files.c and write_checks.c. */
#ifndef UQM_MERGE_WRITER_H
#define UQM_MERGE_WRITER_H

#include "io/file_hash.h"
#include "io/publish.h"
#include "src/format/manifest.h"
#include "src/merge/input_hash.h"
#include "src/merge/merge_report.h"

struct uqm_writer {
    struct uqm_env *env;
    struct uqm_threads *threads;
    struct uqm_recipe_source *rs;
    const struct uqm_recipe *recipe;
    const struct uqm_write_params *params;
    struct uqm_write_plan plan;
    unsigned *widest; /* [n_tensors] bits of the widest output of that name, so that merges that go
                         side by side cut it alike; NULL: its own */
    struct uqm_input_hash *hash;
    struct uqm_merge_report *report;
    struct uqm_publish *publish;
    const char *dir; /* the part folder */
    struct uqm_arena arena;
    struct uqm_manifest_file *files; /* written so far */
    size_t n_files, files_cap;
    struct uqm_sha256_digest *leaves; /* of their hash trees, file after file */
    size_t n_leaves, leaves_cap;
    struct uqm_manifest_tensor *tensors; /* [plan.n_order], in the order they lie on the disk */
    size_t n_tensors;
};

int uqm_writer_no_memory(const struct uqm_writer *w, struct uqm_err *err);
/* How the output folder is taken and named; job may be NULL. */
struct uqm_publish_params uqm_writer_publish_params(const struct uqm_write_params *params,
                                                    const struct uqm_job_id *job);
/* Note a finished file for the manifest. */
int uqm_writer_note(struct uqm_writer *w, const char *name, uint64_t bytes,
                    const struct uqm_file_digest *digest, struct uqm_err *err);

/* write_memory.c: tiles and buffers, for one merge or several side by side; for several, the
 * buffers that they share. */
int uqm_writers_divide_memory(struct uqm_writer *writers, size_t n, struct uqm_err *err);
int uqm_writers_share(struct uqm_share **share, struct uqm_writer *writers, size_t n,
                      struct uqm_err *err);
/* write_weights.c: all shards of all merges. */
int uqm_writers_weights(struct uqm_writer *writers, size_t n, struct uqm_err *err);
/* write_files.c: index, config.json, tokenizer and its companions, recipe, model card, report. */
int uqm_writer_small_files(struct uqm_writer *w, struct uqm_err *err);
/* Bytes that the copied files take, for the check of free space. */
uint64_t uqm_writer_copied_bytes(const struct uqm_writer *w);
int uqm_writer_manifest(struct uqm_writer *w, struct uqm_err *err);

/* write_sums.c: the table of leaves, noted as a file; and SHA256SUMS over all that are noted and
 * the manifest's text, which is written after it. */
int uqm_writer_leaves(struct uqm_writer *w, struct uqm_err *err);
int uqm_writer_sums(struct uqm_writer *w, const char *manifest, size_t len, struct uqm_err *err);

/* write_checks.c: that the target is no input's, and that the disk has room. */
int uqm_writer_check_target(const struct uqm_recipe_source *rs, const char *out_dir,
                            struct uqm_err *err);
/* *needed and *available bytes on the target's file system; UQM_ERR_IO only when it cannot be
 * asked. */
int uqm_writer_disk(uint64_t *needed, uint64_t *available, const struct uqm_writer *w,
                    struct uqm_err *err);

#endif
