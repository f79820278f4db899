#include "src/base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "src/base/utf8.h"

__attribute__((format(printf, 4, 0))) static int vfail(struct uqm_err *err, enum uqm_status code,
                                                       int sys_errno, const char *fmt, va_list ap)
{
    if (!err)
        return code;
    err->code = code;
    err->sys_errno = sys_errno;
    int n = vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    if (sys_errno && n >= 0 && (size_t) n < sizeof err->msg) {
        char text[128];
        snprintf(err->msg + n, sizeof err->msg - (size_t) n, ": %s",
                 strerror_r(sys_errno, text, sizeof text));
    }
    return code;
}

int(uqm_fail)(struct uqm_err *err, enum uqm_status code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vfail(err, code, 0, fmt, ap);
    va_end(ap);
    return code;
}

static enum uqm_status status_of(int sys_errno)
{
    return sys_errno == ENOMEM ? UQM_ERR_NOMEM : UQM_ERR_IO;
}

int(uqm_fail_errno)(struct uqm_err *err, const char *fmt, ...)
{
    int sys_errno = errno;
    va_list ap;
    va_start(ap, fmt);
    int ret = vfail(err, status_of(sys_errno), sys_errno, fmt, ap);
    va_end(ap);
    return ret;
}

int(uqm_fail_errno_of)(struct uqm_err *err, int sys_errno, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int ret = vfail(err, status_of(sys_errno), sys_errno, fmt, ap);
    va_end(ap);
    return ret;
}

const char *uqm_printable(struct uqm_printable *buf, const char *s, size_t len)
{
    const unsigned char *u = (const unsigned char *) s;
    const size_t max_out = sizeof buf->text - 8;
    size_t o = 0, i = 0;

    while (i < len && i < 120 && o < max_out) {
        size_t n = uqm_utf8_len(u + i, len - i);
        if (n == 0 || u[i] < 0x20 || u[i] == 0x7F || u[i] == '"' || u[i] == '\\') {
            o += (size_t) snprintf(buf->text + o, 5, "\\x%02X", u[i]);
            i++;
        } else {
            memcpy(buf->text + o, s + i, n);
            o += n;
            i += n;
        }
    }
    if (i < len) {
        memcpy(buf->text + o, "...", 3);
        o += 3;
    }
    buf->text[o] = '\0';
    return buf->text;
}
