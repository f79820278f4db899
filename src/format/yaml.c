#include "src/format/yaml.h"

#include <libfyaml.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/utf8.h"

struct anchor {
    const char *name;
    const struct uqm_yaml_node *node;
};

struct builder {
    struct fy_parser *parser;
    struct fy_diag *diag;
    struct uqm_arena *arena;
    const char *where;
    struct uqm_err *err;
    size_t n_nodes;
    int line; /* of the latest event that had one */
    struct anchor *anchors;
    size_t n_anchors, anchors_cap;
};

static int no_memory(struct builder *b)
{
    return uqm_fail(b->err, UQM_ERR_NOMEM, "%s: no memory for the document's tree", b->where);
}

/* An empty value ("dtype:") has no place of its own: the key's line stands for it. */
static int line_of(struct builder *b, struct fy_event *event)
{
    const struct fy_mark *mark = fy_event_start_mark(event);
    if (mark && mark->line >= 0 && mark->line < INT_MAX)
        b->line = mark->line + 1;
    return b->line;
}

/* libfyaml's first complaint, in our form. */
static int syntax_error(struct builder *b)
{
    void *prev = NULL;
    const struct fy_diag_error *e;
    while ((e = fy_diag_errors_iterate(b->diag, &prev)))
        if (e->type == FYET_ERROR) {
            struct uqm_printable p;
            return uqm_fail(b->err, UQM_ERR_FORMAT, "%s:%d: not YAML: %s", b->where,
                            e->line > 0 ? e->line : 1, uqm_printable(&p, e->msg, strlen(e->msg)));
        }
    return uqm_fail(b->err, UQM_ERR_FORMAT, "%s:1: not YAML", b->where);
}

/* The next event, or NULL with the message left. The caller frees it. */
static struct fy_event *next_event(struct builder *b)
{
    struct fy_event *event = fy_parser_parse(b->parser);
    if (!event)
        syntax_error(b);
    return event;
}

static int count_node(struct builder *b, int line)
{
    if (++b->n_nodes > UQM_YAML_MAX_NODES)
        return uqm_fail(b->err, UQM_ERR_FORMAT, "%s:%d: more than %d values", b->where, line,
                        UQM_YAML_MAX_NODES);
    return UQM_OK;
}

static int new_node(struct uqm_yaml_node **out, struct builder *b, enum uqm_yaml_kind kind,
                    int line)
{
    int ret = count_node(b, line);
    if (ret < 0)
        return ret;
    *out = uqm_arena_alloc(b->arena, 1, sizeof **out);
    if (!*out)
        return no_memory(b);
    (*out)->kind = kind;
    (*out)->line = line;
    return UQM_OK;
}

/*
 * A folded scalar's text. libfyaml 0.7.12 gives some of them with the last line missing and that
 * many bytes never written; its iterator gives the whole.
 */
static const char *folded_text(struct builder *b, struct fy_token *token, size_t *len)
{
    struct fy_token_iter *it = fy_token_iter_create(token);
    size_t n = 0;
    while (it && fy_token_iter_getc(it) >= 0)
        n++;
    fy_token_iter_destroy(it);
    it = it ? fy_token_iter_create(token) : NULL;
    char *text = it ? uqm_arena_alloc(b->arena, n + 1, 1) : NULL;
    for (size_t i = 0; text && i < n; i++)
        text[i] = (char) fy_token_iter_getc(it);
    fy_token_iter_destroy(it);
    *len = n;
    return text;
}

/* Whether a line of a folded text starts with a blank: libfyaml then folds one line break too
 * many (against the specification and PyYAML), and which were there cannot be told any more. */
static bool is_indented_within(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((text[i] == ' ' || text[i] == '\t') && (i == 0 || text[i - 1] == '\n'))
            return true;
    return false;
}

static const char *plain_text(struct builder *b, struct fy_token *token, size_t *len)
{
    const char *text = token ? fy_token_get_text(token, len) : NULL;
    if (!text)
        *len = 0;
    return uqm_arena_strndup(b->arena, text ? text : "", *len);
}

/* A token's text as a string in the arena. NULL and *ret set when it cannot be had. */
static const char *token_text(struct builder *b, struct fy_token *token, bool folded, int line,
                              int *ret)
{
    size_t len = 0;
    const char *text = folded ? folded_text(b, token, &len) : plain_text(b, token, &len);
    if (!text) {
        *ret = no_memory(b);
    } else if (memchr(text, '\0', len)) {
        *ret =
            uqm_fail(b->err, UQM_ERR_FORMAT, "%s:%d: a NUL character in a value", b->where, line);
        text = NULL;
    } else if (folded && is_indented_within(text, len)) {
        *ret = uqm_fail(b->err, UQM_ERR_UNSUPPORTED,
                        "%s:%d: a folded text (>) with lines indented more than its first; write "
                        "it with |",
                        b->where, line);
        text = NULL;
    }
    return text;
}

/* An anchor stands for its node only once that is complete: no cycles. */
static int remember(struct builder *b, const char *name, const struct uqm_yaml_node *node)
{
    if (!name)
        return UQM_OK;
    if (b->n_anchors == b->anchors_cap) {
        size_t cap = b->anchors_cap ? 2 * b->anchors_cap : 8;
        struct anchor *grown = realloc(b->anchors, cap * sizeof *grown);
        if (!grown)
            return no_memory(b);
        b->anchors = grown;
        b->anchors_cap = cap;
    }
    b->anchors[b->n_anchors++] = (struct anchor){ name, node };
    return UQM_OK;
}

static int look_up(const struct uqm_yaml_node **out, struct builder *b, struct fy_event *event)
{
    int ret = UQM_OK, line = line_of(b, event);
    const char *name = token_text(b, fy_event_get_token(event), false, line, &ret);
    if (!name)
        return ret;
    for (size_t i = b->n_anchors; i-- > 0;)
        if (strcmp(b->anchors[i].name, name) == 0) {
            *out = b->anchors[i].node;
            return UQM_OK;
        }
    struct uqm_printable p;
    return uqm_fail(b->err, UQM_ERR_FORMAT, "%s:%d: alias *%s: no finished anchor of that name",
                    b->where, line, uqm_printable(&p, name, strlen(name)));
}

/* Children of the node under construction; moved into the arena when it ends. */
struct children {
    const struct uqm_yaml_node **v;
    size_t n, cap;
};

static int push(struct builder *b, struct children *c, const struct uqm_yaml_node *node)
{
    if (c->n == c->cap) {
        size_t cap = c->cap ? 2 * c->cap : 8;
        const struct uqm_yaml_node **grown = realloc(c->v, cap * sizeof *grown);
        if (!grown)
            return no_memory(b);
        c->v = grown;
        c->cap = cap;
    }
    c->v[c->n++] = node;
    return UQM_OK;
}

static int settle(const struct uqm_yaml_node *const **out, struct builder *b,
                  const struct children *c)
{
    const struct uqm_yaml_node **v = uqm_arena_alloc(b->arena, c->n ? c->n : 1, sizeof *v);
    if (!v)
        return no_memory(b);
    if (c->n)
        memcpy(v, c->v, c->n * sizeof *v);
    *out = v;
    return UQM_OK;
}

static int build(const struct uqm_yaml_node **out, struct builder *b, struct fy_event *event,
                 int depth);

static int build_sequence(struct uqm_yaml_node *node, struct builder *b, int depth)
{
    struct children items = { 0 };
    int ret = UQM_OK;
    while (ret == UQM_OK) {
        const struct uqm_yaml_node *item;
        struct fy_event *event = next_event(b);
        if (!event) {
            ret = UQM_ERR_FORMAT;
            break;
        }
        bool end = event->type == FYET_SEQUENCE_END;
        if (!end)
            ret = build(&item, b, event, depth + 1);
        fy_parser_event_free(b->parser, event);
        if (end)
            break;
        if (ret == UQM_OK)
            ret = push(b, &items, item);
    }
    if (ret == UQM_OK)
        ret = settle(&node->items, b, &items);
    node->n = items.n;
    free(items.v);
    return ret;
}

static bool has_key(const struct children *keys, const struct uqm_yaml_node *key)
{
    for (size_t i = 0; i < keys->n; i++)
        if (strcmp(keys->v[i]->text, key->text) == 0)
            return true;
    return false;
}

static bool is_merge_key(const struct uqm_yaml_node *key)
{
    return key->kind == UQM_YAML_SCALAR && key->plain && strcmp(key->text, "<<") == 0;
}

static int too_many_keys(struct builder *b, int line)
{
    return uqm_fail(b->err, UQM_ERR_FORMAT, "%s:%d: more than %d keys in one mapping", b->where,
                    line, UQM_YAML_MAX_KEYS);
}

static int check_key(struct builder *b, const struct children *keys,
                     const struct uqm_yaml_node *key)
{
    struct uqm_printable p;
    if (key->kind != UQM_YAML_SCALAR)
        return uqm_fail(b->err, UQM_ERR_FORMAT, "%s:%d: a key must be a word", b->where, key->line);
    if (keys->n == UQM_YAML_MAX_KEYS)
        return too_many_keys(b, key->line);
    if (has_key(keys, key) || is_merge_key(key))
        return uqm_fail(b->err, UQM_ERR_FORMAT, "%s:%d: key %s stands here twice", b->where,
                        key->line, uqm_printable(&p, key->text, strlen(key->text)));
    return UQM_OK;
}

/* --- merge keys: `<<: *a`, `<<: [*a, *b]` --- */

/* The pairs of `from` whose keys are not there yet. Each counts as a value of the document: aliases
 * would else make a few lines as large as they like. */
static int take_pairs(struct children *keys, struct children *values, struct builder *b,
                      const struct uqm_yaml_node *from, int line)
{
    if (from->kind != UQM_YAML_MAPPING)
        return uqm_fail(b->err, UQM_ERR_FORMAT, "%s:%d: << takes a mapping, or a list of mappings",
                        b->where, line);
    int ret = UQM_OK;
    for (size_t i = 0; i < from->n && ret == UQM_OK; i++) {
        if (has_key(keys, from->keys[i]))
            continue;
        if (keys->n == UQM_YAML_MAX_KEYS)
            return too_many_keys(b, line);
        ret = count_node(b, line);
        if (ret == UQM_OK)
            ret = push(b, keys, from->keys[i]);
        if (ret == UQM_OK)
            ret = push(b, values, from->items[i]);
    }
    return ret;
}

/* What stands in the mapping itself goes before what `<<` brings, an earlier one of a list before
 * a later one. */
static int merge_pairs(struct children *keys, struct children *values, struct builder *b,
                       const struct uqm_yaml_node *merged, int line)
{
    if (merged->kind != UQM_YAML_SEQUENCE)
        return take_pairs(keys, values, b, merged, line);
    int ret = UQM_OK;
    for (size_t i = 0; i < merged->n && ret == UQM_OK; i++)
        ret = take_pairs(keys, values, b, merged->items[i], line);
    return ret;
}

static int build_mapping(struct uqm_yaml_node *node, struct builder *b, int depth)
{
    struct children keys = { 0 }, values = { 0 };
    const struct uqm_yaml_node *merge_key = NULL, *merged = NULL;
    int ret = UQM_OK;
    for (bool is_key = true; ret == UQM_OK; is_key = !is_key) {
        const struct uqm_yaml_node *child;
        struct fy_event *event = next_event(b);
        if (!event) {
            ret = UQM_ERR_FORMAT;
            break;
        }
        bool end = event->type == FYET_MAPPING_END;
        if (!end)
            ret = build(&child, b, event, depth + 1);
        fy_parser_event_free(b->parser, event);
        if (end)
            break;
        if (ret == UQM_OK && is_key && !merge_key && is_merge_key(child)) {
            merge_key = child;
            continue;
        }
        if (ret == UQM_OK && merge_key && !merged) {
            merged = child;
            continue;
        }
        if (ret == UQM_OK && is_key)
            ret = check_key(b, &keys, child);
        if (ret == UQM_OK)
            ret = push(b, is_key ? &keys : &values, child);
    }
    if (ret == UQM_OK && merged)
        ret = merge_pairs(&keys, &values, b, merged, merge_key->line);
    if (ret == UQM_OK)
        ret = settle(&node->keys, b, &keys);
    if (ret == UQM_OK)
        ret = settle(&node->items, b, &values);
    node->n = keys.n < values.n ? keys.n : values.n;
    free(keys.v);
    free(values.v);
    return ret;
}

static int build_scalar(struct uqm_yaml_node *node, struct builder *b, struct fy_event *event)
{
    int ret = UQM_OK;
    struct fy_token *token = event->scalar.value;
    enum fy_node_style style = token ? fy_event_get_node_style(event) : FYNS_PLAIN;
    node->text = token_text(b, token, style == FYNS_FOLDED, node->line, &ret);
    node->plain = style == FYNS_PLAIN;
    return ret;
}

static int build(const struct uqm_yaml_node **out, struct builder *b, struct fy_event *event,
                 int depth)
{
    struct uqm_yaml_node *node;
    int ret = UQM_OK, line = line_of(b, event);
    const char *anchor = NULL;

    if (event->type == FYET_ALIAS)
        return look_up(out, b, event);
    if (depth > UQM_YAML_MAX_DEPTH)
        return uqm_fail(b->err, UQM_ERR_FORMAT, "%s:%d: nested deeper than %d", b->where, line,
                        UQM_YAML_MAX_DEPTH);
    if (fy_event_get_tag_token(event))
        return uqm_fail(b->err, UQM_ERR_UNSUPPORTED, "%s:%d: tags (!) are not read", b->where,
                        line);
    if (fy_event_get_anchor_token(event)) {
        anchor = token_text(b, fy_event_get_anchor_token(event), false, line, &ret);
        if (!anchor)
            return ret;
    }
    ret = new_node(&node, b,
                   event->type == FYET_SEQUENCE_START  ? UQM_YAML_SEQUENCE
                   : event->type == FYET_MAPPING_START ? UQM_YAML_MAPPING
                                                       : UQM_YAML_SCALAR,
                   line);
    if (ret < 0)
        return ret;
    if (node->kind == UQM_YAML_SEQUENCE)
        ret = build_sequence(node, b, depth);
    else if (node->kind == UQM_YAML_MAPPING)
        ret = build_mapping(node, b, depth);
    else
        ret = build_scalar(node, b, event);
    if (ret < 0)
        return ret;
    *out = node;
    return remember(b, anchor, node);
}

/* Stream start, one document, stream end. */
static int build_document(const struct uqm_yaml_node **root, struct builder *b)
{
    bool inside = false;
    for (;;) {
        struct fy_event *event = next_event(b);
        if (!event)
            return UQM_ERR_FORMAT;
        enum fy_event_type type = event->type;
        int ret = UQM_OK;
        if (type == FYET_DOCUMENT_START && *root)
            ret =
                uqm_fail(b->err, UQM_ERR_UNSUPPORTED, "%s:%d: a second document; one recipe a file",
                         b->where, line_of(b, event));
        else if (type == FYET_DOCUMENT_START)
            inside = true;
        else if (type == FYET_DOCUMENT_END)
            inside = false;
        else if (inside)
            ret = build(root, b, event, 1);
        fy_parser_event_free(b->parser, event);
        if (ret < 0)
            return ret;
        if (type == FYET_STREAM_END)
            break;
    }
    if (!*root)
        return uqm_fail(b->err, UQM_ERR_FORMAT, "%s:1: the document is empty", b->where);
    return UQM_OK;
}

static int open_parser(struct builder *b, const char *text, size_t len)
{
    struct fy_diag_cfg diag_cfg;
    fy_diag_cfg_default(&diag_cfg);
    diag_cfg.fp = NULL;
    diag_cfg.output_fn = NULL;
    b->diag = fy_diag_create(&diag_cfg);
    if (!b->diag)
        return no_memory(b);
    fy_diag_set_collect_errors(b->diag, true);

    struct fy_parse_cfg cfg = {
        .search_path = "",
        .flags = (enum fy_parse_cfg_flags)((unsigned) FYPCF_QUIET | (unsigned) FYPCF_COLLECT_DIAG |
                                           (unsigned) FYPCF_DEFAULT_VERSION_1_1),
        .diag = b->diag,
    };
    b->parser = fy_parser_create(&cfg);
    if (!b->parser || fy_parser_set_string(b->parser, text, len) != 0)
        return no_memory(b);
    return UQM_OK;
}

/* Only what YAML calls printable: libfyaml 0.7.12 does not come back from a directive with a byte
 * that is no UTF-8 in it. */
static int check_text(const char *text, size_t len, const char *where, struct uqm_err *err)
{
    int line = 1;
    for (size_t i = 0, n; i < len; i += n) {
        const uint8_t c = (uint8_t) text[i];
        n = uqm_utf8_len((const uint8_t *) text + i, len - i);
        if (n == 0 || (c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f)
            return uqm_fail(err, UQM_ERR_FORMAT, "%s:%d: byte 0x%02x is no text in UTF-8", where,
                            line, c);
        line += c == '\n';
    }
    return UQM_OK;
}

int uqm_yaml_parse(const struct uqm_yaml_node **root, struct uqm_arena *arena, const char *text,
                   size_t len, const char *where, struct uqm_err *err)
{
    struct builder b = { .arena = arena, .where = where, .line = 1, .err = err };
    *root = NULL;
    if (len > UQM_YAML_MAX_BYTES)
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: %zu bytes, more than the %d allowed", where, len,
                        UQM_YAML_MAX_BYTES);
    if (strspn(text, " \t\r\n") == len)
        return uqm_fail(err, UQM_ERR_FORMAT, "%s:1: the document is empty", where);

    int ret = check_text(text, len, where, err);
    if (ret == UQM_OK)
        ret = open_parser(&b, text, len);
    if (ret == UQM_OK)
        ret = build_document(root, &b);
    fy_parser_destroy(b.parser);
    fy_diag_destroy(b.diag);
    free(b.anchors);
    if (ret < 0)
        *root = NULL;
    return ret;
}

const struct uqm_yaml_node *uqm_yaml_get(const struct uqm_yaml_node *mapping, const char *key)
{
    for (size_t i = 0; i < mapping->n; i++)
        if (strcmp(mapping->keys[i]->text, key) == 0) {
            const struct uqm_yaml_node *v = mapping->items[i];
            bool null = v->kind == UQM_YAML_SCALAR && uqm_yaml_type_of(v) == UQM_YAML_NULL;
            return null ? NULL : v;
        }
    return NULL;
}
