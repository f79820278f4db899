#include "io/direct.h"

#include <errno.h>
#include <fcntl.h>
#include <stdalign.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

int uqm_allow_blocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
}

static bool same_file(int a, int b)
{
    struct stat sa, sb;
    return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_dev == sb.st_dev &&
           sa.st_ino == sb.st_ino;
}

static bool usable(uint32_t align)
{
    return align > 0 && align <= UQM_DIRECT_MAX_ALIGN && (align & (align - 1)) == 0;
}

/* What the file system says since Linux 6.1, else a page. 0, or EINVAL where it says never. */
static int find_alignment(int fd, uint32_t *off_align, uint32_t *mem_align)
{
    *off_align = *mem_align = UQM_DIRECT_MAX_ALIGN;
#ifdef STATX_DIOALIGN
    struct statx stx;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
        (stx.stx_mask & STATX_DIOALIGN)) {
        if (!usable(stx.stx_dio_offset_align) || !usable(stx.stx_dio_mem_align))
            return EINVAL;
        *off_align = stx.stx_dio_offset_align;
        *mem_align = stx.stx_dio_mem_align;
    }
#else
    (void) fd;
#endif
    return 0;
}

static int try_block(int fd, uint32_t off_align)
{
    alignas(UQM_DIRECT_MAX_ALIGN) char block[UQM_DIRECT_MAX_ALIGN];
    ssize_t n;
    do
        n = pread(fd, block, off_align, 0);
    while (n < 0 && errno == EINTR);
    return n < 0 ? errno : 0;
}

int uqm_direct_open(int *fd, uint32_t *off_align, uint32_t *mem_align, const char *path, int flags,
                    int like_fd)
{
    int e = 0;
    *fd = open(path, flags | O_DIRECT | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0)
        return errno;
    if (uqm_allow_blocking(*fd) != 0)
        e = errno;
    if (!e && !same_file(*fd, like_fd))
        e = ESTALE;
    if (!e)
        e = find_alignment(*fd, off_align, mem_align);
    if (!e && (flags & O_ACCMODE) == O_RDONLY)
        e = try_block(*fd, *off_align);
    if (e) {
        close(*fd);
        *fd = -1;
    }
    return e;
}
