/*
 * What a run has done that outlasts it: records beside an unfinished output, from which the same
 * job, run again, goes on (spec formats.md 7). io/publish.h opens one in the part folder; whoever
 * builds the output decides what its records say.
 *
 * The file, all integers little-endian; hashes are XXH3-64:
 *
 *     header   "UQMJRNL\n" | u32 version | u32 0 | u8 job[32] | u64 nonce | u64 hash
 *     record   u32 length | u32 kind | u64 sequence | u8 payload[length] | u64 hash
 *
 * The header's hash is over the 56 bytes before it; a record's is over all of the record before it,
 * with the header's hash as its seed, so that no record of an older journal, left in a block of the
 * disk, is taken for one of this. Sequences count from 0.
 *
 * Invariants
 *  1. A record says only what is on the disk already: sync the data, append, sync the journal.
 *  2. Records are never changed; reading ends at the first that is short, out of sequence or whose
 *     hash is wrong, and what lies there and behind it is cut off before the next is appended.
 *  3. A journal of another job, or of none, says nothing: it is begun anew.
 *  4. A failed sync is final. The kernel may have dropped what it could not write, and the next
 * sync would succeed: the journal refuses to be used further, and the output has to go.
 *
 * Thread-safety: one thread at a time.
 */
#ifndef UQM_IO_JOURNAL_H
#define UQM_IO_JOURNAL_H

#include "src/base/err.h"

/* --- the job --- */

/* SHA-256 of everything that the output's bytes depend on. */
struct uqm_job_id {
    uint8_t bytes[32];
};

struct uqm_job;
/* `what` keeps the jobs of different commands apart: "merge", "pack". Program version and the
 * journal's own are added here. NULL: no memory. */
struct uqm_job *uqm_job_create(const char *what, const char *program_version);
/* Fields go in with their lengths: no two lists of fields are the same bytes. */
void uqm_job_add(struct uqm_job *job, const void *data, size_t n_bytes);
void uqm_job_add_text(struct uqm_job *job, const char *text); /* NULL is not "" */
void uqm_job_add_u64(struct uqm_job *job, uint64_t value);
struct uqm_file;
/* An input as it was at open: size, inode, times of its last changes. Not the device, whose number
 * may be another after a restart; nor the name, which is the caller's where the output holds it. */
void uqm_job_add_file(struct uqm_job *job, const struct uqm_file *file);
/* Ends it: destroy is all that may follow. */
struct uqm_job_id uqm_job_id(struct uqm_job *job);
void uqm_job_destroy(struct uqm_job **job);

/* --- bytes --- */

enum {
    UQM_JOURNAL_HEADER_BYTES = 64,
    UQM_JOURNAL_RECORD_BYTES = 24, /* beside the payload */
    UQM_JOURNAL_MAX_PAYLOAD = 16 << 20,
};
#define UQM_JOURNAL_MAX_BYTES ((size_t) 256 << 20)

struct uqm_record {
    uint32_t kind;
    uint32_t n_bytes;
    const uint8_t *payload; /* borrowed; any alignment */
};

/* A journal's bytes, from wherever they are. */
struct uqm_journal_reader {
    const uint8_t *data;
    size_t n_bytes, at; /* at: behind the last good record */
    uint64_t seed, sequence;
};
/* false: not a journal, or another job's. */
bool uqm_journal_reader_init(struct uqm_journal_reader *reader, const void *data, size_t n_bytes,
                             const struct uqm_job_id *job);
/* false: the end, or a record that is not good; it stays there. */
bool uqm_journal_reader_next(struct uqm_journal_reader *reader, struct uqm_record *record);

/* --- the file --- */

struct uqm_journal;

/*
 * Open `path` if it is a journal of this job, else begin one there, on the disk when this returns
 * (but for the name: sync the folder). uqm_journal_is_new() tells which.
 */
int uqm_journal_open(struct uqm_journal **out, const char *path, const struct uqm_job_id *job,
                     struct uqm_err *err);
bool uqm_journal_is_new(const struct uqm_journal *journal);
void uqm_journal_close(struct uqm_journal **journal);

/* What was found at opening, record by record; payloads are good until the first append. The kind 0
 * is io/publish.h's and does not come here. */
bool uqm_journal_read(struct uqm_journal *journal, struct uqm_record *record);
/* The record read last is of no use: it and all behind it are as if they had never been. */
void uqm_journal_cut(struct uqm_journal *journal);

/* kind > 0. At the end of what was read; what was not read by then is cut off. Not on the disk
 * before uqm_journal_sync(). */
int uqm_journal_append(struct uqm_journal *journal, uint32_t kind, const void *payload,
                       size_t n_bytes, struct uqm_err *err);
int uqm_journal_sync(struct uqm_journal *journal, struct uqm_err *err);
/* What it speaks of is not to be trusted: a sync failed, of the journal itself or, as the caller
 * says by uqm_journal_spoil(), of the output. */
bool uqm_journal_is_spoilt(const struct uqm_journal *journal);
void uqm_journal_spoil(struct uqm_journal *journal);
/* Records that a later run would find: read, or appended and synced. */
uint64_t uqm_journal_n_records(const struct uqm_journal *journal);

#endif
