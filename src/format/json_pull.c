#include "src/format/json_pull.h"

#include <stdio.h>
#include <string.h>

#include "src/base/utf8.h"

bool uqm_text_is(const struct uqm_text *text, const char *s)
{
    return text->len == strlen(s) && memcmp(text->s, s, text->len) == 0;
}

int uqm_json_pull_fail(struct uqm_json_pull *r, const char *fmt, ...)
{
    char what[384];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return uqm_fail(r->err, UQM_ERR_FORMAT, "%s: byte %zu: %s", r->subject, r->at, what);
}

int uqm_json_pull_peek(struct uqm_json_pull *r)
{
    while (r->at < r->len) {
        uint8_t c = r->text[r->at];
        if (c != ' ' && c != '\t' && c != '\n' && c != '\r')
            return c;
        r->at++;
    }
    return -1;
}

/* "found x" for messages. */
static const char *found(struct uqm_json_pull *r, struct uqm_printable *buf)
{
    int c = uqm_json_pull_peek(r);
    if (c < 0)
        return "the end of the header";
    char byte = (char) c;
    return uqm_printable(buf, &byte, 1);
}

int uqm_json_pull_open(struct uqm_json_pull *r, char bracket, const char *what)
{
    struct uqm_printable p;
    if (uqm_json_pull_peek(r) != bracket)
        return uqm_json_pull_fail(r, "%s: expected %c, found %s", what, bracket, found(r, &p));
    if (r->depth == UQM_JSON_PULL_MAX_DEPTH)
        return uqm_json_pull_fail(r, "nested deeper than %d levels", UQM_JSON_PULL_MAX_DEPTH);
    r->at++;
    r->depth++;
    return UQM_OK;
}

/* 1: another item follows; 0: closed. */
static int next_item(struct uqm_json_pull *r, size_t *n, char closing)
{
    struct uqm_printable p;
    int c = uqm_json_pull_peek(r);
    if (c == closing) {
        r->at++;
        r->depth--;
        return 0;
    }
    if (*n > 0) {
        if (c != ',')
            return uqm_json_pull_fail(r, "expected , or %c, found %s", closing, found(r, &p));
        r->at++;
        if (uqm_json_pull_peek(r) == closing)
            return uqm_json_pull_fail(r, "a comma before %c", closing);
    }
    ++*n;
    return 1;
}

int uqm_json_pull_member(struct uqm_json_pull *r, size_t *n, struct uqm_text *key)
{
    struct uqm_printable p;
    int ret = next_item(r, n, '}');
    if (ret <= 0)
        return ret;
    ret = uqm_json_pull_string(r, key, "a key");
    if (ret < 0)
        return ret;
    if (uqm_json_pull_peek(r) != ':')
        return uqm_json_pull_fail(r, "expected : after a key, found %s", found(r, &p));
    r->at++;
    return 1;
}

int uqm_json_pull_element(struct uqm_json_pull *r, size_t *n)
{
    return next_item(r, n, ']');
}

static int hex4(const uint8_t *s)
{
    int v = 0;
    for (int i = 0; i < 4; i++) {
        int d = s[i] >= '0' && s[i] <= '9'   ? s[i] - '0'
                : s[i] >= 'a' && s[i] <= 'f' ? s[i] - 'a' + 10
                : s[i] >= 'A' && s[i] <= 'F' ? s[i] - 'A' + 10
                                             : -1;
        if (d < 0)
            return -1;
        v = v * 16 + d;
    }
    return v;
}

/* The four hex digits after \u, stepped over. */
static int unicode_escape(struct uqm_json_pull *r, uint32_t *out)
{
    int v = r->len - r->at >= 4 ? hex4(r->text + r->at) : -1;
    if (v < 0)
        return uqm_json_pull_fail(r, "\\u without four hexadecimal digits");
    r->at += 4;
    *out = (uint32_t) v;
    return UQM_OK;
}

static size_t put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char) c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char) (0xC0 | c >> 6);
        out[1] = (char) (0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char) (0xE0 | c >> 12);
        out[1] = (char) (0x80 | (c >> 6 & 0x3F));
        out[2] = (char) (0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char) (0xF0 | c >> 18);
    out[1] = (char) (0x80 | (c >> 12 & 0x3F));
    out[2] = (char) (0x80 | (c >> 6 & 0x3F));
    out[3] = (char) (0x80 | (c & 0x3F));
    return 4;
}

/* What follows a backslash, as UTF-8 at out (4 bytes of room). Returns the length, or < 0. */
static int escape(struct uqm_json_pull *r, char *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    uint32_t c, low;
    int ret;

    if (r->at == r->len)
        return uqm_json_pull_fail(r, "the header ends inside a string");
    uint8_t e = r->text[r->at++];
    const char *known = e ? strchr(from, e) : NULL;
    if (known) {
        *out = to[known - from];
        return 1;
    }
    if (e != 'u')
        return uqm_json_pull_fail(r, "unknown escape in a string");
    ret = unicode_escape(r, &c);
    if (ret < 0)
        return ret;
    if (c >= 0xDC00 && c <= 0xDFFF)
        return uqm_json_pull_fail(r, "a lone surrogate escape");
    if (c >= 0xD800 && c <= 0xDBFF) {
        if (r->len - r->at < 2 || r->text[r->at] != '\\' || r->text[r->at + 1] != 'u')
            return uqm_json_pull_fail(r, "a lone surrogate escape");
        r->at += 2;
        ret = unicode_escape(r, &low);
        if (ret < 0)
            return ret;
        if (low < 0xDC00 || low > 0xDFFF)
            return uqm_json_pull_fail(r, "a lone surrogate escape");
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
    }
    return (int) put_utf8(out, c);
}

/* Step over the characters of a string up to and including its closing quote. Without `out` only
 * check; with it, write what they mean (never longer than they are). */
static int string_body(struct uqm_json_pull *r, char *out, size_t *out_len)
{
    size_t o = 0;
    for (;;) {
        if (r->at == r->len)
            return uqm_json_pull_fail(r, "the header ends inside a string");
        uint8_t c = r->text[r->at];
        if (c == '"') {
            r->at++;
            *out_len = o;
            return UQM_OK;
        }
        char unescaped[4];
        const char *from = unescaped;
        size_t n;
        if (c == '\\') {
            r->at++;
            int ret = escape(r, unescaped);
            if (ret < 0)
                return ret;
            n = (size_t) ret;
        } else {
            if (c < 0x20)
                return uqm_json_pull_fail(r, "a control character 0x%02x in a string", c);
            n = uqm_utf8_len(r->text + r->at, r->len - r->at);
            if (n == 0)
                return uqm_json_pull_fail(r, "a string is not UTF-8");
            from = (const char *) r->text + r->at;
            r->at += n;
        }
        if (out)
            memcpy(out + o, from, n);
        o += n;
    }
}

int uqm_json_pull_string(struct uqm_json_pull *r, struct uqm_text *out, const char *what)
{
    struct uqm_printable p;
    if (uqm_json_pull_peek(r) != '"')
        return uqm_json_pull_fail(r, "%s: expected a string, found %s", what, found(r, &p));

    size_t start = ++r->at, len;
    int ret = string_body(r, NULL, &len);
    if (ret < 0)
        return ret;
    if (len == r->at - 1 - start) { /* every escape is longer than what it means: there are none */
        *out = (struct uqm_text){ (const char *) r->text + start, len };
        return UQM_OK;
    }
    char *copy = uqm_arena_alloc(r->arena, len + 1, 1);
    if (!copy)
        return uqm_fail(r->err, UQM_ERR_NOMEM, "%s: no memory for a string of %zu bytes",
                        r->subject, len);
    r->at = start;
    ret = string_body(r, copy, &len);
    *out = (struct uqm_text){ copy, len };
    return ret;
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

int uqm_json_pull_u64(struct uqm_json_pull *r, uint64_t *out, const char *what)
{
    struct uqm_printable p;
    int c = uqm_json_pull_peek(r);
    if (!is_digit(c))
        return uqm_json_pull_fail(r, "%s: expected an unsigned integer, found %s", what,
                                  found(r, &p));
    uint64_t v = 0;
    size_t start = r->at;
    for (; r->at < r->len && is_digit(r->text[r->at]); r->at++)
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t) (r->text[r->at] - '0'), &v))
            return uqm_json_pull_fail(r, "%s: a number above 2^64 - 1", what);
    if (r->text[start] == '0' && r->at - start > 1)
        return uqm_json_pull_fail(r, "%s: a number with a leading zero", what);
    if (r->at < r->len && strchr(".eE", r->text[r->at]) && r->text[r->at])
        return uqm_json_pull_fail(r, "%s: a number with a fraction or an exponent", what);
    *out = v;
    return UQM_OK;
}

static size_t skip_digits(struct uqm_json_pull *r)
{
    size_t start = r->at;
    while (r->at < r->len && is_digit(r->text[r->at]))
        r->at++;
    return r->at - start;
}

static bool skip_one_of(struct uqm_json_pull *r, const char *set)
{
    if (r->at == r->len || !r->text[r->at] || !strchr(set, r->text[r->at]))
        return false;
    r->at++;
    return true;
}

static int skip_number(struct uqm_json_pull *r)
{
    skip_one_of(r, "-");
    size_t start = r->at, n = skip_digits(r);
    if (n == 0 || (n > 1 && r->text[start] == '0'))
        return uqm_json_pull_fail(r, "a malformed number");
    if (skip_one_of(r, ".") && skip_digits(r) == 0)
        return uqm_json_pull_fail(r, "a malformed number");
    if (skip_one_of(r, "eE")) {
        skip_one_of(r, "+-");
        if (skip_digits(r) == 0)
            return uqm_json_pull_fail(r, "a malformed number");
    }
    return UQM_OK;
}

static int skip_literal(struct uqm_json_pull *r)
{
    static const char *const literals[] = { "true", "false", "null" };
    struct uqm_printable p;
    for (size_t k = 0; k < 3; k++) {
        size_t n = strlen(literals[k]);
        if (r->len - r->at >= n && memcmp(r->text + r->at, literals[k], n) == 0) {
            r->at += n;
            return UQM_OK;
        }
    }
    return uqm_json_pull_fail(r, "expected a value, found %s", found(r, &p));
}

/* Recursion is as deep as UQM_JSON_PULL_MAX_DEPTH lets it be. */
int uqm_json_pull_skip(struct uqm_json_pull *r)
{
    struct uqm_text text;
    size_t n = 0;
    int c = uqm_json_pull_peek(r), ret;

    if (c == '"')
        return uqm_json_pull_string(r, &text, "a value");
    if (c == '-' || is_digit(c))
        return skip_number(r);
    if (c != '{' && c != '[')
        return skip_literal(r);

    ret = uqm_json_pull_open(r, (char) c, "a value");
    while (ret >= 0) {
        ret = c == '{' ? uqm_json_pull_member(r, &n, &text) : uqm_json_pull_element(r, &n);
        if (ret <= 0)
            break;
        ret = uqm_json_pull_skip(r);
    }
    return ret;
}

int uqm_json_pull_end(struct uqm_json_pull *r)
{
    if (uqm_json_pull_peek(r) >= 0)
        return uqm_json_pull_fail(r, "text after the object");
    return UQM_OK;
}
