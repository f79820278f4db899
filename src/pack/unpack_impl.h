/* The state of one archive being unpacked; between unpack_call.c, unpack_files.c and
 * unpack_resume.c. */
#ifndef UQM_PACK_UNPACK_IMPL_H
#define UQM_PACK_UNPACK_IMPL_H

#include "io/publish.h"
#include "io/sink.h"
#include "src/archive/archive.h"
#include "src/pack/pack_call.h"

/* Files before `file` are whole and on the disk, and so are the first n_bytes of it. */
struct uqm_unpack_reached {
    uint64_t file, n_bytes;
};

struct uqm_unpack {
    struct uqm_env *env;
    const struct uqm_unpack_params *params;
    struct uqm_archive *archive;
    struct uqm_publish *publish;
    struct uqm_journal *journal;
    const char *dir; /* the part folder */
    struct uqm_unpack_reached reached;
    struct uqm_pack_pace pace;
    uint64_t n_bytes, done_bytes; /* of all files */
    uint64_t resumed_bytes;       /* of them, written by earlier runs */
};

int uqm_unpack_no_memory(const struct uqm_unpack *u, struct uqm_err *err);

/* unpack_files.c: every file into u->dir, synced, with the folders that they lie in. */
int uqm_unpack_files(struct uqm_unpack *u, struct uqm_err *err);

/* unpack_resume.c: what the journal says was reached. */
void uqm_unpack_read_journal(struct uqm_unpack *u);
/* Open the file that an earlier run has begun, or finished, from where what lies there is that
 * of the archive: *n_bytes. 0, with no sink: there is nothing of use. */
int uqm_unpack_reopen(struct uqm_sink **out, uint64_t *n_bytes, struct uqm_unpack *u, size_t file,
                      const char *path, uint64_t sink_bytes, struct uqm_err *err);
/* Sync what the sink, of this file, has; note it. all: nothing is written to it any more. */
int uqm_unpack_note(struct uqm_unpack *u, size_t file, struct uqm_sink *sink, bool all,
                    struct uqm_err *err);
/* The files before this one are on the disk. */
int uqm_unpack_note_whole(struct uqm_unpack *u, size_t file, struct uqm_err *err);

#endif
