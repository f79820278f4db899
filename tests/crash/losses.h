/* What a power cut takes: every change that no sync has made sure of, undone. Between world.c and
 * losses.c; one thread at a time. */
#ifndef UQM_TESTS_LOSSES_H
#define UQM_TESTS_LOSSES_H

#include <sys/types.h>

#include "tests/crash/world.h"

/* Forget everything, and from now on note what is changed, or do not. */
void losses_watch(bool watch);
/* Before: bytes [off, off + n) of the file are written; its size changes. */
void losses_note_write(int fd, off_t off, size_t n);
void losses_note_size(int fd);
/* After: a name has come to be; has been changed, flags as for renameat2(). */
void losses_note_name(const char *path);
void losses_note_rename(const char *from, const char *to, unsigned flags);
/* The file's bytes and size, or the names in the folder, are on the disk. */
void losses_forget(int fd);
/* The power goes. */
_Noreturn void losses_cut(enum world_loss loss, unsigned seed);

#endif
