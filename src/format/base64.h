/* Base64 with padding (RFC 4648, section 4), as JSON documents carry bytes. */
#ifndef UQM_FORMAT_BASE64_H
#define UQM_FORMAT_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* malloc'ed, NUL-terminated; NULL: no memory. */
char *uqm_base64_encode(const void *data, size_t len);

/* Bytes that len characters can stand for at most. */
static inline size_t uqm_base64_most(size_t len)
{
    return len / 4 * 3;
}
/* Strict: no white space, padding where it belongs and its bits zero. out: uqm_base64_most(len). */
bool uqm_base64_decode(uint8_t *out, size_t *out_len, const char *text, size_t len);

#endif
