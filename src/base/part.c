#include "src/base/part.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_TRIES = 100 };

/* Whether another run holds it; else it is ours, or nobody's where there are no locks. */
static bool is_held(int fd, bool wait)
{
    int ret;
    do {
        ret = flock(fd, LOCK_EX | (wait ? 0 : LOCK_NB));
    } while (ret != 0 && errno == EINTR);
    return ret != 0 && errno == EWOULDBLOCK;
}

static bool is_named(int fd, const char *part)
{
    struct stat held, named;
    return fstat(fd, &held) == 0 && lstat(part, &named) == 0 && held.st_dev == named.st_dev &&
           held.st_ino == named.st_ino;
}

static int in_use(const char *part, const char *path, struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_IO, "%s: another run is writing it (%s is locked)", path, part);
}

int uqm_part_clear(const char *part, const char *path, bool wait, struct uqm_err *err)
{
    int bad = 0;
    int fd = open(part, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return UQM_OK;
    const bool held = fd >= 0 && is_held(fd, wait);
    /* What cannot be opened, a link or another user's file, is nobody's work. */
    if (!held && (fd < 0 || is_named(fd, part)) && unlink(part) != 0 && errno != ENOENT)
        bad = errno;
    if (fd >= 0)
        close(fd);
    if (held)
        return in_use(part, path, err);
    return bad ? uqm_fail_errno_of(err, bad, "%s", part) : UQM_OK;
}

int uqm_part_open(int *out, const char *part, const char *path, bool wait, struct uqm_err *err)
{
    *out = -1;
    for (int i = 0; i < MAX_TRIES; i++) {
        int ret = uqm_part_clear(part, path, wait, err);
        if (ret < 0)
            return ret;
        int fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (fd < 0 && errno == EEXIST)
            continue; /* another run came first */
        if (fd < 0)
            return uqm_fail_errno(err, "%s", part);
        const bool held = is_held(fd, wait);
        if (!held && is_named(fd, part)) {
            *out = fd;
            return UQM_OK;
        }
        close(fd);
        if (held)
            break;
    }
    return in_use(part, path, err);
}
