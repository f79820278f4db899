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
    size_t n_said;    /* of them, how many the journal knows of */
    size_t n_resumed; /* ... and how many an interrupted run had written */
    uint64_t unsaid_bytes, said_ns;
    bool dir_changed; /* a file has come to be since the part folder was synced */
};

int uqm_writer_no_memory(const struct uqm_writer *w, struct uqm_err *err);
/* write_job.c: everything that the bytes depend on. */
int uqm_writer_job(struct uqm_job_id *out, const struct uqm_writer *w, struct uqm_err *err);

/* write_journal.c. replay: take up what an interrupted run left; the tensors it wrote are noted,
 * what else lies in the part folder is removed. forget: begin anew after all. */
int uqm_writer_replay(struct uqm_writer *w, struct uqm_err *err);
int uqm_writer_forget(struct uqm_writer *w, struct uqm_err *err);
/* Note the next tensor, with the hex digits of its XXH3-128, for manifest and journal. */
int uqm_writer_note_tensor(struct uqm_writer *w, const char *digest, struct uqm_err *err);
/* Whether the journal has waited long enough, by bytes or by time. */
bool uqm_writer_is_due(const struct uqm_writer *w);
/* Journal the tensors of the first n_whole shards, and of the next one those that end within its
 * first n_bytes: all of this is on the disk. And how far the inputs have been hashed. */
int uqm_writer_say(struct uqm_writer *w, size_t n_whole, uint64_t n_bytes, struct uqm_err *err);

/* write_resume.c: open a shard whose first n_tensors an earlier run wrote, and read them back.
 * UQM_ERR_CHECK: they are not what the journal says. */
struct uqm_sink;
int uqm_writer_reopen(struct uqm_sink **out, struct uqm_writer *w, size_t shard, size_t n_tensors,
                      struct uqm_err *err);

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
/* write_reads.c: what the merges themselves read, tensors and parts of them that several need at
 * one time counted once; the memory is divided. likely: unless a sample misleads. */
struct uqm_read_bytes {
    uint64_t likely, most;
};
int uqm_writers_read_bytes(struct uqm_read_bytes *out, const struct uqm_writer *writers, size_t n,
                           struct uqm_err *err);
/* write_weights.c: all shards of all merges. */
int uqm_writers_weights(struct uqm_writer *writers, size_t n, struct uqm_err *err);
/* write_files.c: index, config.json, tokenizer and its companions, recipe, model card, report. */
int uqm_writer_small_files(struct uqm_writer *w, struct uqm_err *err);
/* What small_files() would stumble over, known before hours of weights: files of a model that are
 * none, or links that leave its folder. */
int uqm_writer_check_files(struct uqm_writer *w, struct uqm_err *err);
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
/* What is available on a file system that does not count its space (ramfs, some network ones). */
#define UQM_DISK_UNKNOWN UINT64_MAX
/* *needed bytes of all that are not done, *available on the first target's file system; UQM_ERR_IO
 * only when it cannot be asked. */
int uqm_writers_disk(uint64_t *needed, uint64_t *available, const struct uqm_writer *writers,
                     size_t n, struct uqm_err *err);

#endif
