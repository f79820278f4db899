/* The length in bytes of the well-formed UTF-8 character at p, 1 to 4; 0 if there is none. */
#ifndef UQM_MODEL_UTF8_H
#define UQM_MODEL_UTF8_H

#include <stddef.h>
#include <stdint.h>

static inline size_t uqm_utf8_char(const uint8_t *p, size_t left)
{
    static const uint32_t smallest[5] = { 0, 0, 0x80, 0x800, 0x10000 };
    size_t n;
    uint32_t c;

    if (left == 0)
        return 0;
    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xc2 && p[0] < 0xe0) {
        n = 2;
        c = p[0] & 0x1fU;
    } else if (p[0] >= 0xe0 && p[0] < 0xf0) {
        n = 3;
        c = p[0] & 0x0fU;
    } else if (p[0] >= 0xf0 && p[0] < 0xf5) {
        n = 4;
        c = p[0] & 0x07U;
    } else {
        return 0;
    }
    if (n > left)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3fU);
    }
    if (c < smallest[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return 0;
    return n;
}

#endif
