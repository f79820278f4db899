/*
 * Files that one run makes beside those that they will replace, PATH.part, and that say by their
 * lock (flock) that somebody is at work. What a killed run left is not locked any more.
 *
 * A name changes hands only under its lock: whoever holds one makes sure that the name still is of
 * what it holds, before it removes the file, and after it made it. So two runs never write one
 * file. Where a file system has no locks they are not kept apart.
 */
#ifndef UQM_BASE_PART_H
#define UQM_BASE_PART_H

#include "src/base/err.h"

/*
 * Make `part` anew, empty, open for writing, locked until *fd is closed; rename or unlink it before
 * that. path: what it will be, for messages. Another run that has it: waited for if `wait` is true
 * (for files that are written at once), else UQM_ERR_IO, "PATH: another run is writing it". On
 * failure *fd is -1.
 */
int uqm_part_open(int *fd, const char *part, const char *path, bool wait, struct uqm_err *err);

/* Remove what a killed run left. Another run that has it: as above. Nothing there is fine. */
int uqm_part_clear(const char *part, const char *path, bool wait, struct uqm_err *err);

#endif
