/*
 * One range of a file, read through an engine: past the page cache where the file was opened for
 * that, and once more through it where a file system takes O_DIRECT and then refuses single extents
 * (inline, compressed). Only the stream and the maker include this.
 */
#ifndef UQM_IO_FETCH_H
#define UQM_IO_FETCH_H

#include "io/direct.h"
#include "io/engine.h"
#include "io/file.h"
#include "src/base/checked.h"

struct uqm_fetch {
    struct uqm_file *file; /* not a made one */
    uint64_t off_bytes;
    size_t n_bytes;
    void *user;
    /* once it has begun: */
    struct uqm_op op; /* user: the fetch */
    size_t skip;      /* where in the buffer the range begins */
};

/* A buffer for ranges of up to so many bytes: rounding out both ends adds at most one block to the
 * rounded length. */
static inline size_t uqm_fetch_room(size_t n_bytes)
{
    return (size_t) uqm_align_up(n_bytes, UQM_DIRECT_MAX_ALIGN) + UQM_DIRECT_MAX_ALIGN;
}

/* buf: uqm_fetch_room(n_bytes), aligned to UQM_DIRECT_MAX_ALIGN, the engine's until the end.
 * buf_index as in struct uqm_op. */
int uqm_fetch_begin(struct uqm_fetch *fetch, struct uqm_io *io, void *buf, int buf_index,
                    struct uqm_err *err);
/*
 * With fetch->op come back from uqm_io_wait(). false: it has begun once more, through the page
 * cache. true: it is over, and *failure says how; the bytes are counted.
 */
bool uqm_fetch_end(struct uqm_fetch *fetch, struct uqm_io *io, struct uqm_env *env,
                   struct uqm_err *failure);

static inline const uint8_t *uqm_fetch_data(const struct uqm_fetch *fetch)
{
    return (const uint8_t *) fetch->op.buf + fetch->skip;
}

#endif
