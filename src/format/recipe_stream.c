#include "src/format/recipe_stream.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/fs.h"
#include "src/format/yaml.h"

void uqm_recipe_stream_free(struct uqm_recipe_stream **stream)
{
    struct uqm_recipe_stream *s = *stream;
    if (!s)
        return;
    for (size_t i = 0; i < s->n; i++)
        uqm_recipe_free(&s->v[i]);
    free(s->v);
    free(s);
    *stream = NULL;
}

const struct uqm_recipe *uqm_recipe_stream_find(const struct uqm_recipe_stream *stream,
                                                const char *name)
{
    for (size_t i = 0; stream && i < stream->n; i++)
        if (stream->v[i]->title && strcmp(stream->v[i]->title, name) == 0)
            return stream->v[i];
    return NULL;
}

/* --- cutting --- */

/* "---" or "..." at the start of a line ends a document, wherever it stands (YAML 1.1, 4.1.4). */
static bool is_marker(const char *line, size_t len, const char *marker)
{
    return len >= 3 && memcmp(line, marker, 3) == 0 &&
           (len == 3 || line[3] == ' ' || line[3] == '\t' || line[3] == '\r');
}

/* Nothing but white space, comments and directives. */
static bool is_empty(const char *text, size_t len)
{
    while (len > 0) {
        const char *end = memchr(text, '\n', len);
        size_t n = end ? (size_t) (end - text) : len, i = 0;
        while (i < n && strchr(" \t\r", text[i]))
            i++;
        if (i < n && text[i] != '#' && text[0] != '%' && !is_marker(text, n, "---") &&
            !is_marker(text, n, "..."))
            return false;
        if (is_marker(text, n, "---"))
            for (i = 3; i < n; i++)
                if (!strchr(" \t\r", text[i]))
                    return text[i] == '#';
        n += end != NULL;
        text += n;
        len -= n;
    }
    return true;
}

/* Bytes [begin, end) behind as many line ends as stood before them, so that lines keep their
 * numbers. */
static char *alone(size_t *len, const char *text, size_t begin, size_t end)
{
    size_t n = 0;
    for (size_t i = 0; i < begin; i++)
        n += text[i] == '\n';
    char *copy = malloc(n + end - begin + 1);
    if (!copy)
        return NULL;
    memset(copy, '\n', n);
    memcpy(copy + n, text + begin, end - begin);
    *len = n + end - begin;
    copy[*len] = '\0';
    return copy;
}

struct cutting {
    struct uqm_recipe_stream *stream;
    const char *text, *where;
    size_t len;
    uqm_recipe_warn_fn warn;
    void *warn_ctx;
};

static int no_memory(const char *where, struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", where);
}

static int add(struct cutting *c, size_t begin, size_t end, struct uqm_err *err)
{
    struct uqm_recipe_stream *s = c->stream;
    struct uqm_recipe *r = NULL;
    if (is_empty(c->text + begin, end - begin))
        return UQM_OK;
    if (s->n == UQM_RECIPE_STREAM_MOST)
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: more than the %d documents allowed", c->where,
                        UQM_RECIPE_STREAM_MOST);
    struct uqm_recipe **grown = realloc(s->v, (s->n + 1) * sizeof(struct uqm_recipe *));
    if (!grown)
        return no_memory(c->where, err);
    s->v = grown;
    size_t len = 0;
    char *copy = alone(&len, c->text, begin, end);
    int ret = copy ? uqm_recipe_parse(&r, copy, len, c->where, c->warn, c->warn_ctx, err)
                   : no_memory(c->where, err);
    free(copy);
    if (ret < 0)
        return ret;
    s->v[s->n++] = r;
    r->text = uqm_arena_strndup(&r->arena, c->text, c->len);
    r->text_len = c->len;
    if (r->title)
        r->name = r->title;
    return r->text ? UQM_OK : no_memory(c->where, err);
}

static int cut(struct cutting *c, struct uqm_err *err)
{
    size_t begin = 0, at = 0;
    int ret = UQM_OK;
    while (at < c->len && ret == UQM_OK) {
        const char *line = c->text + at, *end = memchr(line, '\n', c->len - at);
        size_t n = end ? (size_t) (end - line) : c->len - at;
        if (is_marker(line, n, "---")) {
            /* directives belong to what follows */
            if (!is_empty(c->text + begin, at - begin)) {
                ret = add(c, begin, at, err);
                begin = at;
            }
        } else if (is_marker(line, n, "...")) {
            ret = add(c, begin, at + n, err);
            begin = at + n;
        }
        at += n + (end != NULL);
    }
    return ret == UQM_OK ? add(c, begin, c->len, err) : ret;
}

/* --- what the documents are to each other --- */

static int check_names(const struct uqm_recipe_stream *s, struct uqm_err *err)
{
    const struct uqm_recipe *unnamed = NULL;
    for (size_t i = 0; i < s->n; i++) {
        const struct uqm_recipe *r = s->v[i];
        struct uqm_printable shown;
        if (r->title && uqm_recipe_stream_find(s, r->title) != r)
            return uqm_fail(err, UQM_ERR_FORMAT, "%s:%d: name: %s is the name of line %d's recipe",
                            r->where, r->title_line,
                            uqm_printable(&shown, r->title, strlen(r->title)),
                            uqm_recipe_stream_find(s, r->title)->title_line);
        if (!r->title && unnamed)
            return uqm_fail(err, UQM_ERR_FORMAT,
                            "%s:%d: a second recipe without a name (the first is in line %d); "
                            "one alone can be what is written",
                            r->where, r->line, unnamed->line);
        unnamed = r->title ? unnamed : r;
    }
    return UQM_OK;
}

static size_t index_of(const struct uqm_recipe_stream *s, const struct uqm_recipe *r)
{
    size_t i = 0;
    while (s->v[i] != r)
        i++;
    return i;
}

/* Depth first; on_way marks the recipes that are being looked into. */
static int check_cycles(const struct uqm_recipe_stream *s, size_t i, char *state,
                        struct uqm_err *err)
{
    enum { NEW, ON_WAY, DONE };
    const struct uqm_recipe *r = s->v[i];
    state[i] = ON_WAY;
    for (size_t m = 0; m < r->n_models; m++) {
        const struct uqm_recipe *inner = uqm_recipe_stream_find(s, r->models[m].path);
        size_t j = inner ? index_of(s, inner) : 0;
        if (!inner || state[j] == DONE)
            continue;
        if (state[j] == ON_WAY)
            return uqm_fail(err, UQM_ERR_FORMAT, "%s:%d: model %s: it is made of this recipe",
                            r->where, r->models[m].line, r->models[m].path);
        int ret = check_cycles(s, j, state, err);
        if (ret < 0)
            return ret;
    }
    state[i] = DONE;
    return UQM_OK;
}

static bool is_taken(const struct uqm_recipe_stream *s, size_t i)
{
    for (size_t j = 0; j < s->n && s->v[i]->title; j++)
        for (size_t m = 0; m < s->v[j]->n_models; m++)
            if (strcmp(s->v[j]->models[m].path, s->v[i]->title) == 0)
                return true;
    return false;
}

static int find_output(struct uqm_recipe_stream *s, struct uqm_err *err)
{
    size_t n = 0, free_one[2] = { 0 };
    for (size_t i = 0; i < s->n; i++) {
        if (!s->v[i]->title) {
            s->output = i;
            return UQM_OK;
        }
        if (!is_taken(s, i) && n < 2)
            free_one[n++] = i;
    }
    s->output = free_one[0];
    if (n == 2)
        return uqm_fail(err, UQM_ERR_FORMAT,
                        "%s:%d: recipes %s and %s are no inputs of another: leave out the name of "
                        "the one that is to be written",
                        s->v[free_one[1]]->where, s->v[free_one[1]]->title_line,
                        s->v[free_one[0]]->title, s->v[free_one[1]]->title);
    return UQM_OK;
}

/* The output is called as its file, whatever its own name. */
static int name_output(const struct uqm_recipe_stream *s, const char *file_name,
                       struct uqm_err *err)
{
    struct uqm_recipe *r = s->v[s->output];
    r->name = uqm_arena_strndup(&r->arena, file_name, strlen(file_name));
    return r->name ? UQM_OK : no_memory(r->where, err);
}

static int settle(struct uqm_recipe_stream *s, const char *where, struct uqm_err *err)
{
    if (s->n == 0)
        return uqm_fail(err, UQM_ERR_FORMAT, "%s:1: the document is empty", where);
    char *state = calloc(s->n, 1), *name = uqm_recipe_name_of(where);
    int ret = state && name ? check_names(s, err) : no_memory(where, err);
    for (size_t i = 0; i < s->n && ret == UQM_OK; i++)
        if (!state[i])
            ret = check_cycles(s, i, state, err);
    if (ret == UQM_OK)
        ret = find_output(s, err);
    if (ret == UQM_OK)
        ret = name_output(s, name, err);
    free(state);
    free(name);
    return ret;
}

int uqm_recipe_stream_parse(struct uqm_recipe_stream **out, const char *text, size_t len,
                            const char *where, uqm_recipe_warn_fn warn, void *warn_ctx,
                            struct uqm_err *err)
{
    struct uqm_recipe_stream *s = calloc(1, sizeof *s);
    if (!s)
        return no_memory(where, err);
    struct cutting c = { s, text, where, len, warn, warn_ctx };
    int ret = UQM_OK;
    if (len > UQM_YAML_MAX_BYTES)
        ret = uqm_fail(err, UQM_ERR_FORMAT, "%s: %zu bytes, more than the %d allowed", where, len,
                       UQM_YAML_MAX_BYTES);
    if (ret == UQM_OK)
        ret = cut(&c, err);
    if (ret == UQM_OK)
        ret = settle(s, where, err);
    if (ret < 0)
        uqm_recipe_stream_free(&s);
    else
        *out = s;
    return ret;
}

int uqm_recipe_stream_load(struct uqm_recipe_stream **out, const char *path,
                           uqm_recipe_warn_fn warn, void *warn_ctx, struct uqm_err *err)
{
    char *text;
    size_t len;
    int ret = uqm_read_file(&text, &len, path, UQM_YAML_MAX_BYTES, err);
    if (ret < 0)
        return ret;
    ret = uqm_recipe_stream_parse(out, text, len, path, warn, warn_ctx, err);
    free(text);
    return ret;
}
