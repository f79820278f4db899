/*
 * A page of HTML that is well-formed XML too, written front to back. Elements stand on a stack, so
 * that each is closed once and in order; text and attributes are escaped here, and nowhere can they
 * be put in raw. What cannot be shown (control bytes, malformed UTF-8) becomes U+FFFD.
 *
 * Errors are kept until uqm_html_finish(): the calls between need no checks.
 */
#ifndef UQM_STUDY_HTML_H
#define UQM_STUDY_HTML_H

#include <stdio.h>

#include "src/base/err.h"

enum { UQM_HTML_DEPTH = 32 };

struct uqm_html {
    FILE *f;
    char *text;
    size_t len;
    const char *open[UQM_HTML_DEPTH];
    size_t depth;
    bool in_tag; /* attributes may still come */
};

int uqm_html_init(struct uqm_html *h, struct uqm_err *err);

/* `name` is a literal and stays; attributes follow, then content, then uqm_html_close(). */
void uqm_html_open(struct uqm_html *h, const char *name);
void uqm_html_attr(struct uqm_html *h, const char *name, const char *value);
void uqm_html_attrf(struct uqm_html *h, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void uqm_html_close(struct uqm_html *h);
/* An element without content: <meta/>. Its attributes first, as after open. */
void uqm_html_end(struct uqm_html *h);

void uqm_html_text(struct uqm_html *h, const char *text);
void uqm_html_textf(struct uqm_html *h, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The program's own bytes: a style sheet. Never what was read. */
void uqm_html_literal(struct uqm_html *h, const char *text);

/* open, class (NULL: none), text, close. */
void uqm_html_element(struct uqm_html *h, const char *name, const char *class_name,
                      const char *text);

/* Everything must be closed. *text becomes the caller's. Errors: UQM_ERR_NOMEM. */
int uqm_html_finish(char **text, size_t *len, struct uqm_html *h, struct uqm_err *err);
/* Give up a page; takes a zeroed one. */
void uqm_html_drop(struct uqm_html *h);

#endif
