#include "src/base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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

int uqm_fail(struct uqm_err *err, enum uqm_status code, const char *fmt, ...)
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

int uqm_fail_errno(struct uqm_err *err, const char *fmt, ...)
{
    int sys_errno = errno;
    va_list ap;
    va_start(ap, fmt);
    int ret = vfail(err, status_of(sys_errno), sys_errno, fmt, ap);
    va_end(ap);
    return ret;
}

int uqm_fail_errno_of(struct uqm_err *err, int sys_errno, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int ret = vfail(err, status_of(sys_errno), sys_errno, fmt, ap);
    va_end(ap);
    return ret;
}

/* Length of the well-formed UTF-8 sequence at s, 0 if there is none. */
static size_t utf8_len(const unsigned char *s, size_t left)
{
    size_t n = s[0] < 0x80                   ? 1
               : s[0] >= 0xC2 && s[0] < 0xE0 ? 2
               : s[0] >= 0xE0 && s[0] < 0xF0 ? 3
               : s[0] >= 0xF0 && s[0] < 0xF5 ? 4
                                             : 0;
    if (n == 0 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) ||
        (s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F))
        return 0;
    return n;
}

const char *uqm_printable(struct uqm_printable *buf, const char *s, size_t len)
{
    const unsigned char *u = (const unsigned char *) s;
    const size_t max_out = sizeof buf->text - 8;
    size_t o = 0, i = 0;

    while (i < len && i < 120 && o < max_out) {
        size_t n = utf8_len(u + i, len - i);
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
