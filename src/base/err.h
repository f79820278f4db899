/*
 * Errors: whoever detects one writes the message; everyone above cleans up and passes the
 * code on. A message is one line, "WHERE: WHAT", and ends without a full stop.
 */
#ifndef UQM_BASE_ERR_H
#define UQM_BASE_ERR_H

#include <assert.h>

#include "src/uqmerge.h"

/* Fill *err (which may be NULL) and return `code`, which is a failure's. */
int uqm_fail(struct uqm_err *err, enum uqm_status code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4), cold));

/* As uqm_fail with UQM_ERR_IO (UQM_ERR_NOMEM for ENOMEM); appends ": strerror(errno)". */
int uqm_fail_errno(struct uqm_err *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3), cold));

/* The same for an errno that came another way, e.g. as a negative result. */
int uqm_fail_errno_of(struct uqm_err *err, int sys_errno, const char *fmt, ...)
    __attribute__((format(printf, 3, 4), cold));

/* Readers of a call, compilers and analysers among them, may take it that it returns a failure. */
static inline int uqm_failure(int ret)
{
    assert(ret < 0);
    return ret;
}
#define uqm_fail(...)          uqm_failure(uqm_fail(__VA_ARGS__))
#define uqm_fail_errno(...)    uqm_failure(uqm_fail_errno(__VA_ARGS__))
#define uqm_fail_errno_of(...) uqm_failure(uqm_fail_errno_of(__VA_ARGS__))

/*
 * A stranger's name made fit for a message: control bytes, quotes, backslashes and
 * malformed UTF-8 as \xNN, cut after 120 bytes. Returns `buf`.
 */
struct uqm_printable {
    char text[256];
};
const char *uqm_printable(struct uqm_printable *buf, const char *s, size_t len);

#endif
