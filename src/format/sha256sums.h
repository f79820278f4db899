/* SHA256SUMS: what `sha256sum -c` reads. Pure: names and digests to text. */
#ifndef UQM_FORMAT_SHA256SUMS_H
#define UQM_FORMAT_SHA256SUMS_H

#include <stddef.h>

struct uqm_sum {
    const char *name;   /* relative to the file's folder */
    const char *sha256; /* 64 lower-case hex digits */
};

/*
 * One line each, "<digest>  <name>", sorted by the names' bytes; sorts `sums` in place. A name with
 * a backslash, a line feed or a carriage return is escaped and its line begins with a backslash, as
 * coreutils has it. malloc'ed; NULL: no memory.
 */
char *uqm_sha256sums_dump(struct uqm_sum *sums, size_t n);

#endif
