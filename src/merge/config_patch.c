#include "src/merge/config_patch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The text is known to be valid JSON: these walk it without checking. */

static const char *skip_space(const char *s)
{
    return s + strspn(s, " \t\r\n");
}

/* From the opening quote to behind the closing one. */
static const char *skip_string(const char *s)
{
    for (s++; *s && *s != '"'; s++)
        if (*s == '\\' && s[1])
            s++;
    return *s ? s + 1 : s;
}

static const char *skip_value(const char *s)
{
    int depth = 0;
    do {
        if (*s == '"') {
            s = skip_string(s);
            continue;
        }
        if (*s == '{' || *s == '[')
            depth++;
        else if (*s == '}' || *s == ']')
            depth--;
        else if (depth == 0) /* number or word */
            return s + strcspn(s, ",]} \t\r\n");
        s++;
    } while (*s && depth > 0);
    return s;
}

struct span {
    const char *begin, *end;
};

/* The value of a member of the object at s; begin NULL when it has none of that name. */
static struct span find_member(const char *s, const char *key)
{
    size_t len = strlen(key);
    struct span none = { NULL, NULL };
    s = skip_space(s);
    if (*s != '{')
        return none;
    for (s = skip_space(s + 1); *s == '"'; s = skip_space(s + 1)) {
        const char *name = s + 1, *after = skip_string(s);
        bool is_it = (size_t) (after - 1 - name) == len && memcmp(name, key, len) == 0;
        const char *value = skip_space(skip_space(after) + 1); /* behind the colon */
        const char *end = skip_value(value);
        if (is_it)
            return (struct span){ value, end };
        s = skip_space(end);
        if (*s != ',')
            break;
    }
    return none;
}

struct edit {
    struct span span;
    const char *text;
};

enum { MAX_EDITS = 8 };
struct edits {
    struct edit v[MAX_EDITS];
    size_t n;
};

/* Replace the value by `text` if it has the kind of value that `first` begins and is another. */
static void add(struct edits *e, const char *object, const char *key, const char *first,
                const char *text)
{
    if (!object)
        return;
    struct span s = find_member(object, key);
    size_t len = (size_t) (s.end - s.begin);
    if (!s.begin || strncmp(s.begin, first, strlen(first)) != 0)
        return;
    if (len == strlen(text) && memcmp(s.begin, text, len) == 0)
        return;
    e->v[e->n++] = (struct edit){ s, text };
}

static const char *quoted_name(enum uqm_dtype dtype)
{
    switch (dtype) {
    case UQM_F16: return "\"float16\"";
    case UQM_BF16: return "\"bfloat16\"";
    case UQM_F64: return "\"float64\"";
    default: return "\"float32\"";
    }
}

static int by_place(const void *a, const void *b)
{
    const struct edit *x = a, *y = b;
    return (x->span.begin > y->span.begin) - (x->span.begin < y->span.begin);
}

static char *apply(const char *text, struct edits *e)
{
    size_t size = strlen(text) + 1;
    for (size_t i = 0; i < e->n; i++)
        size += strlen(e->v[i].text);
    char *out = malloc(size), *o = out;
    if (!out)
        return NULL;
    qsort(e->v, e->n, sizeof *e->v, by_place);
    for (size_t i = 0; i < e->n; i++) {
        size_t keep = (size_t) (e->v[i].span.begin - text), len = strlen(e->v[i].text);
        memcpy(o, text, keep);
        memcpy(o + keep, e->v[i].text, len);
        o += keep + len;
        text = e->v[i].span.end;
    }
    memcpy(o, text, strlen(text) + 1);
    return out;
}

char *uqm_config_patch(const char *text, const struct uqm_config_change *change)
{
    static const char *const dtype_keys[] = { "torch_dtype", "dtype" };
    struct edits e = { .n = 0 };
    const char *text_config = find_member(text, "text_config").begin;
    const char *vision_config = find_member(text, "vision_config").begin;

    for (size_t i = 0; i < 2; i++) {
        add(&e, text, dtype_keys[i], "\"", quoted_name(change->dtype));
        add(&e, text_config, dtype_keys[i], "\"", quoted_name(change->dtype));
        add(&e, vision_config, dtype_keys[i], "\"", quoted_name(change->vision_dtype));
    }
    if (change->has_head) {
        add(&e, text, "tie_word_embeddings", "true", "false");
        add(&e, text_config, "tie_word_embeddings", "true", "false");
    }
    return apply(text, &e);
}
