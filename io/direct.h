/* What opening a file takes beyond open(): a second descriptor of it, past the page cache. */
#ifndef UQM_IO_DIRECT_H
#define UQM_IO_DIRECT_H

#include <stdint.h>

/* Buffers and split points are aligned to this; a file system that wants more is read buffered. */
enum { UQM_DIRECT_MAX_ALIGN = 4096 };

/*
 * Open `path`, which must still be the file that `like_fd` is, with O_DIRECT and `flags` (O_RDONLY
 * or O_WRONLY). *off_align is what offsets and lengths, *mem_align what addresses must be
 * multiples of: powers of two up to UQM_DIRECT_MAX_ALIGN. Returns 0, or the errno of the refusal,
 * with *fd = -1. For reading, one block is read as a trial.
 */
int uqm_direct_open(int *fd, uint32_t *off_align, uint32_t *mem_align, const char *path, int flags,
                    int like_fd);

/*
 * Take O_NONBLOCK back, which only the opening needed (a FIFO is to be an error, not a hang): for
 * such descriptors io_uring answers EAGAIN on file systems that cannot do without waiting, and
 * overlayfs is one. -1 with errno on failure.
 */
int uqm_allow_blocking(int fd);

#endif
