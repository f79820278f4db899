#include "io/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/fs.h"

/* Where the file system has no nameless files: a name, dropped at once. */
static int open_and_unlink(const char *dir)
{
    char *path = uqm_path_join(dir, ".uqmerge-XXXXXX");
    if (!path) {
        errno = ENOMEM;
        return -1;
    }
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    free(path);
    return fd;
}

int uqm_scratch_init(struct uqm_scratch *out, const char *dir, uint64_t size_bytes,
                     struct uqm_err *err)
{
    const bool chosen = dir != NULL;
    if (!dir)
        dir = getenv("TMPDIR");
    if (!dir || !*dir)
        dir = "/tmp";
    *out = (struct uqm_scratch){ .fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600),
                                 .dir = strdup(dir) };
    if (out->fd < 0)
        out->fd = open_and_unlink(dir);
    if (out->fd < 0) {
        int ret = uqm_fail_errno(err, "%s: no scratch file can be made there%s", dir,
                                 chosen ? "" : " (TMPDIR says where)");
        uqm_scratch_finish(out);
        return ret;
    }
    if (!out->dir) {
        uqm_scratch_finish(out);
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", dir);
    }
    if (fallocate(out->fd, 0, 0, (off_t) size_bytes) != 0 && errno != EOPNOTSUPP &&
        errno != ENOSYS && errno != EINVAL) {
        int ret = uqm_fail_errno(err, "%s: no room for a scratch file of %llu bytes", dir,
                                 (unsigned long long) size_bytes);
        uqm_scratch_finish(out);
        return ret;
    }
    return UQM_OK;
}

void uqm_scratch_finish(struct uqm_scratch *scratch)
{
    if (scratch->fd >= 0)
        close(scratch->fd);
    free(scratch->dir);
    *scratch = (struct uqm_scratch){ .fd = -1 };
}

int uqm_scratch_write(const struct uqm_scratch *scratch, const void *data, size_t len,
                      uint64_t off_bytes, struct uqm_err *err)
{
    const char *p = data;
    while (len > 0) {
        ssize_t n = pwrite(scratch->fd, p, len, (off_t) off_bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return uqm_fail_errno(err, "%s: writing the scratch file", scratch->dir);
        p += n;
        len -= (size_t) n;
        off_bytes += (uint64_t) n;
    }
    return UQM_OK;
}

int uqm_scratch_read(const struct uqm_scratch *scratch, void *data, size_t len, uint64_t off_bytes,
                     struct uqm_err *err)
{
    char *p = data;
    while (len > 0) {
        ssize_t n = pread(scratch->fd, p, len, (off_t) off_bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return uqm_fail_errno(err, "%s: reading the scratch file", scratch->dir);
        if (n == 0)
            return uqm_fail(err, UQM_ERR_IO, "%s: the scratch file is too short", scratch->dir);
        p += n;
        len -= (size_t) n;
        off_bytes += (uint64_t) n;
    }
    return UQM_OK;
}
