#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/direct.h"
#include "src/base/checked.h"

static int open_past_cache(struct uqm_file *f, struct uqm_env *env, struct uqm_err *err)
{
    bool demanded = env->direct == UQM_DIRECT_ON;
    if (env->direct == UQM_DIRECT_OFF || f->size_bytes == 0)
        return UQM_OK;
    if (!demanded && f->size_bytes < UQM_DIRECT_MIN_BYTES)
        return UQM_OK;
    int e = uqm_direct_open(&f->direct_fd, &f->off_align, &f->mem_align, f->name, O_RDONLY, f->fd);
    if (e == 0) {
        atomic_store(&env->direct_used, 1);
        return UQM_OK;
    }
    f->off_align = f->mem_align = 1;
    if (demanded)
        return uqm_fail_errno_of(err, e, "--direct on: %s", f->name);
    return UQM_OK;
}

int uqm_file_open(struct uqm_file **out, struct uqm_env *env, const char *path, struct uqm_err *err)
{
    int ret;
    struct uqm_file *f = calloc(1, sizeof *f);
    if (!f)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", path);
    f->fd = f->direct_fd = -1;
    f->off_align = f->mem_align = 1;
    f->name = strdup(path);
    if (!f->name) {
        ret = uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", path);
        goto fail;
    }
    f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (f->fd < 0 || fstat(f->fd, &f->stat) != 0) {
        ret = uqm_fail_errno(err, "%s", path);
        goto fail;
    }
    if (!S_ISREG(f->stat.st_mode)) {
        ret = uqm_fail(err, UQM_ERR_FORMAT, "%s: not a regular file", path);
        goto fail;
    }
    if (uqm_allow_blocking(f->fd) != 0) {
        ret = uqm_fail_errno(err, "%s", path);
        goto fail;
    }
    f->size_bytes = (uint64_t) f->stat.st_size;
    ret = open_past_cache(f, env, err);
    if (ret < 0)
        goto fail;
    *out = f;
    return UQM_OK;

fail:
    uqm_file_close(&f);
    return ret;
}

int uqm_file_make(struct uqm_file **out, const char *name, uint64_t size_bytes,
                  const struct uqm_file_ops *ops, void *made_of, struct uqm_err *err)
{
    struct uqm_file *f = calloc(1, sizeof *f);
    char *copy = strdup(name);
    if (!f || !copy) {
        free(f);
        free(copy);
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", name);
    }
    *f = (struct uqm_file){
        .ops = ops,
        .made_of = made_of,
        .name = copy,
        .fd = -1,
        .direct_fd = -1,
        .off_align = 1,
        .mem_align = 1,
        .size_bytes = size_bytes,
    };
    *out = f;
    return UQM_OK;
}

void uqm_file_close(struct uqm_file **file)
{
    struct uqm_file *f = *file;
    if (!f)
        return;
    if (f->ops)
        f->ops->close(f);
    if (f->fd >= 0)
        close(f->fd);
    if (f->direct_fd >= 0)
        close(f->direct_fd);
    uqm_record_check_destroy(&f->records);
    free(f->name);
    free(f);
    *file = NULL;
}

int uqm_file_ends_early(const struct uqm_file *file, uint64_t off_bytes, uint64_t end,
                        uint64_t size, struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_FORMAT,
                    "%s: bytes [%" PRIu64 ", %" PRIu64 "): the file ends at %" PRIu64, file->name,
                    off_bytes, end, size);
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

int uqm_file_check_unchanged(const struct uqm_file *file, struct uqm_err *err)
{
    const struct stat *was = &file->stat;
    struct stat is;
    if (file->ops)
        return file->ops->check_unchanged(file, err);
    if (stat(file->name, &is) != 0)
        return uqm_fail_errno(err, "%s: gone since it was opened", file->name);
    if (is.st_dev != was->st_dev || is.st_ino != was->st_ino)
        return uqm_fail(err, UQM_ERR_IO, "%s: replaced by another file since it was opened",
                        file->name);
    if (is.st_size != was->st_size || !same_time(is.st_mtim, was->st_mtim) ||
        !same_time(is.st_ctim, was->st_ctim))
        return uqm_fail(err, UQM_ERR_IO, "%s: changed since it was opened", file->name);
    return UQM_OK;
}

int uqm_file_read(struct uqm_file *file, void *buf, size_t len, uint64_t off_bytes,
                  struct uqm_err *err)
{
    uint64_t end;
    if (!uqm_add_u64(&end, off_bytes, len) || end > INT64_MAX)
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: %zu bytes at %" PRIu64 ": no file has so many",
                        file->name, len, off_bytes);
    if (file->ops && end > file->size_bytes)
        return uqm_file_ends_early(file, off_bytes, end, file->size_bytes, err);
    if (file->ops)
        return file->ops->read(file, buf, len, off_bytes, err);
    size_t done = 0;
    while (done < len) {
        ssize_t n = pread(file->fd, (char *) buf + done, len - done, (off_t) (off_bytes + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return uqm_fail_errno(err, "%s: bytes [%" PRIu64 ", %" PRIu64 ")", file->name,
                                  off_bytes, end);
        if (n == 0) {
            struct stat st;
            uint64_t size = fstat(file->fd, &st) == 0 ? (uint64_t) st.st_size : off_bytes + done;
            return uqm_file_ends_early(file, off_bytes, end, size, err);
        }
        done += (size_t) n;
    }
    return UQM_OK;
}
