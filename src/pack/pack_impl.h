/* The state of one archive being written; between pack_write.c and pack_batch.c. */
#ifndef UQM_PACK_PACK_IMPL_H
#define UQM_PACK_PACK_IMPL_H

#include "io/sink.h"
#include "io/stream.h"
#include "src/archive/block_codec.h"
#include "src/pack/pack_call.h"
#include "src/pack/pack_write.h"

/* A block of the plan. */
struct uqm_pack_at {
    size_t file, segment; /* segment: of the index */
    uint64_t k;           /* counted from the segment's first */
};

struct uqm_pack_block {
    struct uqm_pack_at at;
    struct uqm_view plain, base; /* base: of segments that are XORed */
    uint8_t *stored;             /* block_bytes */
    struct uqm_err failure;
};

struct uqm_pack {
    struct uqm_env *env;
    struct uqm_pack_plan *plan;
    struct uqm_threads *threads;
    struct uqm_journal *journal;     /* NULL: none */
    struct uqm_block_codec **codecs; /* one a thread */
    struct uqm_sink *sink;
    struct uqm_stream *stream;
    struct uqm_pack_at planned; /* the next block to be read */
    bool base_is_next;          /* ... of which the base's bytes come next */
    struct uqm_file **open;     /* [n_files] while their blocks are read */
    struct uqm_err plan_failure;
    struct uqm_pack_block *batch;
    size_t n_batch, most_batch;
    uint8_t *stored; /* most_batch blocks */
    size_t stored_bytes;
    /* the digest of the file that is being read, fed in order */
    struct uqm_file_hash *hash;
    size_t hash_file; /* files before it are done */
    uint64_t hash_at; /* bytes of it */
    struct uqm_err hash_failure;
    uint64_t done_bytes, out_bytes; /* of the plan's files; of the archive */
    uint64_t n_done;                /* blocks that are in the archive */
    uint64_t noted_blocks;          /* in the journal */
    size_t noted_files;             /* digests in the journal */
    struct uqm_pack_pace pace;
    uint64_t resumed_bytes; /* done_bytes of earlier runs */
};

/* Whether `at` is a block, after skipping to the next file that has one. */
bool uqm_pack_settle(const struct uqm_pack_plan *plan, struct uqm_pack_at *at);
void uqm_pack_step(const struct uqm_pack_plan *plan, struct uqm_pack_at *at);

/* pack_batch.c: the next blocks; false at the end, failures in *err. */
int uqm_pack_next_piece(void *ctx, struct uqm_piece *piece);
int uqm_pack_gather(struct uqm_pack *p, struct uqm_err *err);
int uqm_pack_encode(struct uqm_pack *p, struct uqm_err *err);
void uqm_pack_release(struct uqm_pack *p);
/* Take a file's digest into the index. */
int uqm_pack_take_digest(struct uqm_pack_plan *plan, size_t file,
                         const struct uqm_file_digest *digest, struct uqm_err *err);
/* The next bytes of a file into its digest; files come in order. */
int uqm_pack_hash_bytes(struct uqm_pack *p, size_t file, const void *data, size_t n,
                        struct uqm_err *err);
/* Files without bytes, from hash_file on: their digests. */
int uqm_pack_pass_empty(struct uqm_pack *p, struct uqm_err *err);

/* pack_resume.c: open the sink, and go on from what the journal says or begin. */
int uqm_pack_resume(struct uqm_pack *p, const char *path, uint64_t sink_bytes, struct uqm_err *err);
/* Sync, and note in the journal what is on the disk; all: nothing is written any more. */
int uqm_pack_note(struct uqm_pack *p, bool all, struct uqm_err *err);
/* Whether a journal is kept and as much was read, or so long passed, that it is time for that. */
bool uqm_pack_is_due(const struct uqm_pack *p);

#endif
