#include "src/format/json_edit.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/format/json.h"
#include "src/format/json_pull.h"

static void begin(struct uqm_json_pull *r, struct uqm_arena *arena, const char *text, size_t len,
                  const char *where, struct uqm_err *err)
{
    size_t n = strlen(where);
    *r = (struct uqm_json_pull){ .text = (const uint8_t *) text, .len = len, .err = err };
    r->arena = arena;
    memcpy(r->subject, where, n < sizeof r->subject ? n : sizeof r->subject - 1);
}

int uqm_json_find(struct uqm_json_span *value, struct uqm_json_span *member, const char *text,
                  size_t len, const char *key, const char *where, struct uqm_err *err)
{
    struct uqm_arena arena = { 0 };
    struct uqm_json_pull r;
    struct uqm_text name;
    size_t n = 0, before = 0, found_at = 0;
    bool found = false, needs_comma = false;
    begin(&r, &arena, text, len, where, err);
    int ret = uqm_json_pull_open(&r, '{', "the document");
    before = r.at;
    while (ret >= 0 && (ret = uqm_json_pull_member(&r, &n, &name)) > 0) {
        uqm_json_pull_peek(&r);
        size_t at = r.at;
        if (needs_comma) { /* the first member went: so does the comma behind it */
            const char *quote = memchr(text + found_at, ',', at - found_at);
            if (member && quote)
                member->end = (size_t) (quote + 1 - text);
            needs_comma = false;
        }
        ret = uqm_json_pull_skip(&r);
        if (ret < 0)
            break;
        if (uqm_text_is(&name, key)) {
            if (found) { /* readers differ in which one they take */
                ret = uqm_json_pull_fail(&r, "%s stands there twice", key);
                break;
            }
            found = true;
            *value = (struct uqm_json_span){ at, r.at };
            if (member)
                *member = (struct uqm_json_span){ before, r.at };
            needs_comma = n == 1;
            found_at = r.at;
        }
        before = r.at;
    }
    if (ret == UQM_OK)
        ret = uqm_json_pull_end(&r);
    uqm_arena_finish(&arena);
    return ret < 0 ? ret : found;
}

/* The id of an object at r, which is stepped over; UINT64_MAX: none, or no object. */
static int read_id(uint64_t *id, struct uqm_json_pull *r)
{
    struct uqm_text key;
    size_t n = 0;
    *id = UINT64_MAX;
    if (uqm_json_pull_peek(r) != '{')
        return uqm_json_pull_skip(r);
    int ret = uqm_json_pull_open(r, '{', "an item");
    while (ret >= 0 && (ret = uqm_json_pull_member(r, &n, &key)) > 0)
        ret = uqm_text_is(&key, "id") ? uqm_json_pull_u64(r, id, "id") : uqm_json_pull_skip(r);
    return ret;
}

int uqm_json_each(const char *text, struct uqm_json_span container, const char *where,
                  uqm_json_item_fn fn, void *ctx, struct uqm_err *err)
{
    struct uqm_arena arena = { 0 };
    struct uqm_json_pull r;
    struct uqm_text key = { "", 0 };
    size_t n = 0;
    begin(&r, &arena, text, container.end, where, err);
    r.at = container.begin;
    bool is_object = uqm_json_pull_peek(&r) == '{';
    int ret = uqm_json_pull_open(&r, is_object ? '{' : '[', "a list");
    while (ret >= 0) {
        uint64_t id = UINT64_MAX;
        size_t from = r.at;
        ret = is_object ? uqm_json_pull_member(&r, &n, &key) : uqm_json_pull_element(&r, &n);
        if (ret <= 0)
            break;
        uqm_json_pull_peek(&r);
        struct uqm_json_span item = { r.at, 0 };
        if (is_object) { /* back to the key's quote, behind the comma and white space */
            item.begin = from;
            while (text[item.begin] != '"')
                item.begin++;
        }
        ret = read_id(&id, &r);
        item.end = r.at;
        if (ret == UQM_OK)
            ret = fn(ctx, &item, key.s, key.len, id, err);
    }
    uqm_arena_finish(&arena);
    return ret;
}

char *uqm_json_quote(const char *text, size_t len)
{
    json_t *s = json_stringn(text, len);
    char *quoted = s ? uqm_json_dump_as(s, JSON_ENCODE_ANY) : NULL;
    json_decref(s);
    return quoted;
}

int uqm_json_set(char **text, size_t *len, const char *key, const char *value, const char *where,
                 struct uqm_err *err)
{
    struct uqm_json_span span, member;
    int ret = uqm_json_find(&span, &member, *text, *len, key, where, err);
    if (ret < 0 || (ret == 0 && !value))
        return ret;
    char *made = NULL;
    int n;
    if (ret > 0) {
        if (!value)
            span = member;
        n = asprintf(&made, "%.*s%s%s", (int) span.begin, *text, value ? value : "",
                     *text + span.end);
    } else {
        const char *inside = *text + strcspn(*text, "{") + 1;
        bool alone = inside[strspn(inside, " \t\r\n")] == '}';
        n = asprintf(&made, "%.*s\n  \"%s\": %s%s%s", (int) (inside - *text), *text, key, value,
                     alone ? "" : ",", inside);
    }
    if (n < 0)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", where);
    free(*text);
    *text = made;
    *len = (size_t) n;
    return UQM_OK;
}
