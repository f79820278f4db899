#include "src/study/html.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/utf8.h"

int uqm_html_init(struct uqm_html *h, struct uqm_err *err)
{
    *h = (struct uqm_html){ 0 };
    h->f = open_memstream(&h->text, &h->len);
    return h->f ? UQM_OK : uqm_fail_errno(err, "no memory for a page");
}

static void end_tag(struct uqm_html *h)
{
    if (h->in_tag)
        fputc('>', h->f);
    h->in_tag = false;
}

void uqm_html_open(struct uqm_html *h, const char *name)
{
    end_tag(h);
    assert(h->depth < UQM_HTML_DEPTH);
    h->open[h->depth++] = name;
    fprintf(h->f, "<%s", name);
    h->in_tag = true;
}

void uqm_html_close(struct uqm_html *h)
{
    end_tag(h);
    assert(h->depth > 0);
    const char *name = h->open[--h->depth];
    fprintf(h->f, "</%s>", name);
    /* Short lines, for those who look at the source. */
    if (!strcmp(name, "tr") || !strcmp(name, "g") || !strcmp(name, "p") || !strcmp(name, "svg") ||
        !strcmp(name, "section") || !strcmp(name, "div") || !strcmp(name, "li"))
        fputc('\n', h->f);
}

void uqm_html_end(struct uqm_html *h)
{
    assert(h->in_tag && h->depth > 0);
    h->depth--;
    h->in_tag = false;
    fputs("/>", h->f);
}

/* Whether XML may hold the character, of `len` bytes of UTF-8. */
static bool can_stand(const uint8_t *p, size_t len)
{
    if (len == 1)
        return *p >= 0x20 ? *p != 0x7f : *p == '\n' || *p == '\t';
    if (len == 2 && p[0] == 0xc2 && p[1] < 0xa0) /* C1 controls */
        return false;
    /* Direction marks could turn a line's order round for the reader: U+202A..E, U+2066..9. */
    if (len == 3 && p[0] == 0xe2 && p[1] == 0x80 && p[2] >= 0xaa && p[2] <= 0xae)
        return false;
    if (len == 3 && p[0] == 0xe2 && p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9)
        return false;
    return !(len == 3 && p[0] == 0xef && p[1] == 0xbf && p[2] >= 0xbe); /* U+FFFE, U+FFFF */
}

static void put_escaped(FILE *f, const char *text)
{
    const uint8_t *p = (const uint8_t *) text;
    size_t left = strlen(text);
    while (left > 0) {
        size_t n = uqm_utf8_len(p, left);
        if (n == 0 || !can_stand(p, n)) {
            fputs("\xef\xbf\xbd", f);
            n = n ? n : 1;
        } else if (*p == '&') {
            fputs("&amp;", f);
        } else if (*p == '<') {
            fputs("&lt;", f);
        } else if (*p == '>') {
            fputs("&gt;", f);
        } else if (*p == '"') {
            fputs("&quot;", f);
        } else {
            fwrite(p, 1, n, f);
        }
        p += n;
        left -= n;
    }
}

void uqm_html_text(struct uqm_html *h, const char *text)
{
    end_tag(h);
    put_escaped(h->f, text);
}

void uqm_html_literal(struct uqm_html *h, const char *text)
{
    end_tag(h);
    fputs(text, h->f);
}

/* printf into memory, so that it can be escaped; NULL when there is none. */
__attribute__((format(printf, 1, 0))) static char *format(const char *fmt, va_list args)
{
    char *text = NULL;
    return vasprintf(&text, fmt, args) < 0 ? NULL : text;
}

void uqm_html_textf(struct uqm_html *h, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char *text = format(fmt, args);
    va_end(args);
    uqm_html_text(h, text ? text : "?");
    free(text);
}

void uqm_html_attr(struct uqm_html *h, const char *name, const char *value)
{
    assert(h->in_tag);
    fprintf(h->f, " %s=\"", name);
    put_escaped(h->f, value);
    fputc('"', h->f);
}

void uqm_html_attrf(struct uqm_html *h, const char *name, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char *text = format(fmt, args);
    va_end(args);
    uqm_html_attr(h, name, text ? text : "?");
    free(text);
}

void uqm_html_element(struct uqm_html *h, const char *name, const char *class_name,
                      const char *text)
{
    uqm_html_open(h, name);
    if (class_name)
        uqm_html_attr(h, "class", class_name);
    uqm_html_text(h, text);
    uqm_html_close(h);
}

int uqm_html_finish(char **text, size_t *len, struct uqm_html *h, struct uqm_err *err)
{
    assert(h->depth == 0 && !h->in_tag);
    bool bad = ferror(h->f) != 0;
    bad = fclose(h->f) != 0 || bad;
    h->f = NULL;
    if (bad) {
        uqm_html_drop(h);
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for a page");
    }
    *text = h->text;
    *len = h->len;
    *h = (struct uqm_html){ 0 };
    return UQM_OK;
}

void uqm_html_drop(struct uqm_html *h)
{
    if (h->f)
        fclose(h->f);
    free(h->text);
    *h = (struct uqm_html){ 0 };
}
