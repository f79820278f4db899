#include "io/fetch.h"

#include <errno.h>
#include <inttypes.h>

static int begin(struct uqm_fetch *f, struct uqm_io *io, void *buf, int buf_index, bool direct,
                 struct uqm_err *err)
{
    uint32_t align = direct ? f->file->off_align : 1;
    uint64_t begin = f->off_bytes & ~(uint64_t) (align - 1);
    uint64_t end = uqm_align_up(f->off_bytes + f->n_bytes, align);
    f->skip = (size_t) (f->off_bytes - begin);
    f->op = (struct uqm_op){
        .kind = UQM_OP_READ,
        .fd = direct ? f->file->direct_fd : f->file->fd,
        .buf = buf,
        .len = (size_t) (end - begin),
        .off_bytes = begin,
        .min_len = f->skip + f->n_bytes,
        .align = align,
        .buf_index = buf_index,
        .user = f,
    };
    return uqm_io_submit(io, &f->op, err);
}

int uqm_fetch_begin(struct uqm_fetch *fetch, struct uqm_io *io, void *buf, int buf_index,
                    struct uqm_err *err)
{
    return begin(fetch, io, buf, buf_index, fetch->file->direct_fd >= 0, err);
}

bool uqm_fetch_end(struct uqm_fetch *fetch, struct uqm_io *io, struct uqm_env *env,
                   struct uqm_err *failure)
{
    const struct uqm_op *op = &fetch->op;
    uint64_t end = fetch->off_bytes + fetch->n_bytes;
    failure->code = UQM_OK;
    if (op->sys_errno == EINVAL && op->align > 1 && env->direct != UQM_DIRECT_ON &&
        begin(fetch, io, op->buf, op->buf_index, false, failure) == UQM_OK)
        return false;
    if (op->sys_errno == 0) {
        atomic_fetch_add(&env->bytes_read, fetch->n_bytes);
        return true;
    }
    if (op->sys_errno == ENODATA) {
        struct stat st;
        uint64_t size = op->off_bytes + op->done;
        if (fstat(fetch->file->fd, &st) == 0 && (uint64_t) st.st_size < end)
            size = (uint64_t) st.st_size;
        uqm_file_ends_early(fetch->file, fetch->off_bytes, end, size, failure);
        return true;
    }
    uqm_fail_errno_of(failure, op->sys_errno, "%s: bytes [%" PRIu64 ", %" PRIu64 ")",
                      fetch->file->name, fetch->off_bytes, end);
    return true;
}
