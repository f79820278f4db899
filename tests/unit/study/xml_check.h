/* Whether a text is well-formed XML as far as a page uses it: an independent reading, byte by byte.
 * Fails the test with the place and what is wrong. */
#ifndef UQM_TESTS_XML_CHECK_H
#define UQM_TESTS_XML_CHECK_H

#include <ctype.h>

#include "tests/unit/test.h"

struct xml_seen {
    size_t n_elements, n_svg, n_rows, n_scripts;
};

static inline const char *xml_entity(const char *p)
{
    static const char *const known[] = { "&amp;", "&lt;", "&gt;", "&quot;" };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strncmp(p, known[i], strlen(known[i])))
            return p + strlen(known[i]);
    fail_msg("an & that is no entity: %.40s", p);
    return p + 1;
}

static inline const char *xml_name(const char *p, char *name, size_t size)
{
    size_t n = 0;
    while (isalnum((unsigned char) *p) || *p == '-' || *p == ':') {
        assert_true(n + 1 < size);
        name[n++] = *p++;
    }
    name[n] = '\0';
    if (n == 0)
        fail_msg("no name at %.40s", p);
    return p;
}

/* A start tag, from its name; *empty: it ended with "/>". */
static inline const char *xml_tag(const char *p, bool *empty)
{
    char name[64];
    for (;;) {
        while (isspace((unsigned char) *p))
            p++;
        *empty = *p == '/';
        if (*p == '/')
            p++;
        if (*p == '>')
            return p + 1;
        assert_false(*empty);
        p = xml_name(p, name, sizeof name);
        if (strncmp(p, "=\"", 2) != 0)
            fail_msg("attribute %s without a quoted value: %.40s", name, p);
        for (p += 2; *p != '"';) {
            if (*p == '\0' || *p == '<')
                fail_msg("attribute %s does not end", name);
            p = *p == '&' ? xml_entity(p) : p + 1;
        }
        p++;
    }
}

static inline struct xml_seen xml_check(const char *text)
{
    static char stack[64][64];
    size_t depth = 0;
    struct xml_seen seen = { 0 };
    const char *p = text;
    if (!strncmp(p, "<!DOCTYPE html>", 15))
        p += 15;
    while (*p) {
        char name[64];
        bool empty;
        if (*p == '&') {
            p = xml_entity(p);
        } else if (*p != '<') {
            if ((unsigned char) *p < 0x20 && *p != '\n' && *p != '\t')
                fail_msg("control byte %d", *p);
            p++;
        } else if (p[1] == '/') {
            p = xml_name(p + 2, name, sizeof name);
            assert_int_equal(*p, '>');
            p++;
            if (depth == 0 || strcmp(stack[depth - 1], name) != 0)
                fail_msg("</%s> closes <%s>", name, depth ? stack[depth - 1] : "nothing");
            depth--;
        } else {
            p = xml_name(p + 1, name, sizeof name);
            seen.n_elements++;
            seen.n_svg += !strcmp(name, "svg");
            seen.n_rows += !strcmp(name, "tr");
            seen.n_scripts += !strcmp(name, "script");
            p = xml_tag(p, &empty);
            if (empty)
                continue;
            assert_true(depth < 64);
            strcpy(stack[depth++], name);
        }
    }
    if (depth > 0)
        fail_msg("<%s> is never closed", stack[depth - 1]);
    return seen;
}

#endif
