#include "src/format/base64.h"

#include <stdlib.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *uqm_base64_encode(const void *data, size_t len)
{
    const uint8_t *in = data;
    char *out = malloc((len + 2) / 3 * 4 + 1), *o = out;
    if (!out)
        return NULL;
    for (size_t i = 0; i < len; i += 3) {
        size_t left = len - i;
        uint32_t bits = (uint32_t) in[i] << 16 | (left > 1 ? (uint32_t) in[i + 1] << 8 : 0) |
                        (left > 2 ? in[i + 2] : 0);
        *o++ = alphabet[bits >> 18];
        *o++ = alphabet[bits >> 12 & 63];
        *o++ = left > 1 ? alphabet[bits >> 6 & 63] : '=';
        *o++ = left > 2 ? alphabet[bits & 63] : '=';
    }
    *o = '\0';
    return out;
}

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool uqm_base64_decode(uint8_t *out, size_t *out_len, const char *text, size_t len)
{
    size_t n = 0;
    if (len % 4 != 0)
        return false;
    for (size_t i = 0; i < len; i += 4) {
        bool last = i + 4 == len;
        size_t pad = last && text[i + 3] == '=' ? (text[i + 2] == '=' ? 2 : 1) : 0;
        uint32_t bits = 0;
        for (size_t k = 0; k < 4; k++) {
            int v = k >= 4 - pad ? 0 : value_of(text[i + k]);
            if (v < 0)
                return false;
            bits = bits << 6 | (uint32_t) v;
        }
        if ((pad == 1 && bits & 0xff) || (pad == 2 && bits & 0xffff))
            return false;
        out[n++] = (uint8_t) (bits >> 16);
        if (pad < 2)
            out[n++] = (uint8_t) (bits >> 8);
        if (pad < 1)
            out[n++] = (uint8_t) bits;
    }
    *out_len = n;
    return true;
}
