/* Well-formed UTF-8, by the table of RFC 3629: no overlong forms, no surrogates. */
#ifndef UQM_BASE_UTF8_H
#define UQM_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length in bytes, 1 to 4, of the character at s; 0 if it is malformed, cut off, or left is 0. */
size_t uqm_utf8_len(const uint8_t *s, size_t left);

/* Length in bytes of the white-space character at s (those of Python's str.isspace()), 0 if it is
 * another one. */
size_t uqm_utf8_space(const uint8_t *s, size_t left);

bool uqm_utf8_valid(const uint8_t *s, size_t len);

#endif
