#include "src/merge/config_patch.h"

#include <inttypes.h>
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

struct edits {
    struct edit *v;
    size_t n, cap;
    bool out_of_memory;
    struct uqm_arena arena; /* of texts that are made */
};

static void push(struct edits *e, struct span span, const char *text)
{
    if (e->n == e->cap) {
        size_t cap = e->cap ? 2 * e->cap : 16;
        struct edit *grown = realloc(e->v, cap * sizeof *grown);
        if (!grown) {
            e->out_of_memory = true;
            return;
        }
        e->v = grown;
        e->cap = cap;
    }
    if (!text)
        e->out_of_memory = true;
    else
        e->v[e->n++] = (struct edit){ span, text };
}

static bool is_text(struct span s, const char *text)
{
    size_t len = (size_t) (s.end - s.begin);
    return len == strlen(text) && memcmp(s.begin, text, len) == 0;
}

/* Replace the value by `text` if it has the kind of value that `first` begins and is another. */
static void add(struct edits *e, const char *object, const char *key, const char *first,
                const char *text)
{
    if (!object)
        return;
    struct span s = find_member(object, key);
    if (!s.begin || strncmp(s.begin, first, strlen(first)) != 0 || is_text(s, text))
        return;
    push(e, s, text);
}

/* --- layers --- */

enum { MOST_KEYS = 4 };
static const struct {
    const char *object; /* NULL: the document itself */
    const char *keys[MOST_KEYS];
} places[][2] = {
    [UQM_CONFIG_MAIN] = { { "text_config",
                            { "num_hidden_layers", "n_layer", "n_layers", "num_layers" } },
                          { NULL, { "num_hidden_layers", "n_layer", "n_layers", "num_layers" } } },
    [UQM_CONFIG_VISION] = { { "vision_config", { "num_hidden_layers", "depth", "num_layers" } } },
    [UQM_CONFIG_ENCODER] = { { NULL, { "encoder_layers", "num_layers" } } },
    [UQM_CONFIG_DECODER] = { { NULL, { "decoder_layers", "num_decoder_layers" } } },
};

static const char *object_of(const char *text, const char *name)
{
    return name ? find_member(text, name).begin : text;
}

/* The number of layers in one place; *key: what it is called. begin NULL: it is not there. */
static struct span find_count(const char **key, const char *text, enum uqm_config_role role,
                              size_t place)
{
    const char *object = object_of(text, places[role][place].object);
    struct span none = { NULL, NULL };
    for (size_t k = 0; k < MOST_KEYS && object && places[role][place].keys[k]; k++) {
        struct span s = find_member(object, places[role][place].keys[k]);
        *key = places[role][place].keys[k];
        if (s.begin && *s.begin >= '0' && *s.begin <= '9')
            return s;
    }
    return none;
}

bool uqm_config_counts_layers(const char *text, enum uqm_config_role role)
{
    const char *key;
    return find_count(&key, text, role, 0).begin || find_count(&key, text, role, 1).begin;
}

/* Element `index` of the array at s; *n: how many there are. */
static struct span find_element(size_t *n, const char *s, uint64_t index)
{
    struct span found = { NULL, NULL };
    *n = 0;
    for (s = skip_space(s + 1); *s && *s != ']';) {
        const char *end = skip_value(s);
        if (*n == index)
            found = (struct span){ s, end };
        ++*n;
        s = skip_space(end);
        if (*s != ',')
            break;
        s = skip_space(s + 1);
    }
    return found;
}

/* The list of the output: each layer's entry from its own model's config, else from ours; our own
 * list where a layer has neither. */
static const char *rebuild_list(struct edits *e, const struct uqm_config_stack *stack,
                                const char *place, const char *key, const char *own, size_t own_len)
{
    char *text = NULL;
    size_t len = 0, n;
    bool whole = true;
    FILE *f = open_memstream(&text, &len);
    if (!f)
        return NULL;
    fputc('[', f);
    for (size_t i = 0; i < stack->n; i++) {
        const struct uqm_config_layer *l = &stack->layers[i];
        const char *object = l->config ? object_of(l->config, place) : NULL;
        const char *list = object ? find_member(object, key).begin : NULL;
        struct span s = { NULL, NULL };
        if (list && *list == '[')
            s = find_element(&n, list, l->layer);
        if (!s.begin)
            s = find_element(&n, own, l->layer);
        whole = whole && s.begin;
        if (whole)
            fprintf(f, "%s%.*s", i ? ", " : "", (int) (s.end - s.begin), s.begin);
    }
    fputc(']', f);
    bool ok = !ferror(f);
    if (fclose(f) != 0)
        ok = false;
    const char *copy = ok && whole ? uqm_arena_strndup(&e->arena, text, len)
                       : ok        ? uqm_arena_strndup(&e->arena, own, own_len)
                                   : NULL;
    free(text);
    return copy;
}

static bool is_about_layers(const char *key)
{
    static const char *const words[] = { "layer", "block", "attn", "attention", "window" };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strstr(key, words[i]))
            return true;
    return false;
}

/* Lists about layers that are as long as there were layers have one entry for each. */
static void add_lists(struct edits *e, const char *object, const char *place,
                      const struct uqm_config_stack *stack, size_t n_before)
{
    const char *s = skip_space(object);
    for (s = skip_space(s + 1); *s == '"'; s = skip_space(s + 1)) {
        const char *name = s + 1, *after = skip_string(s);
        const char *value = skip_space(skip_space(after) + 1), *end = skip_value(value);
        size_t n = 0;
        if (*value == '[' && n_before > 1)
            find_element(&n, value, 0);
        if (n == n_before && n > 1) {
            const char *key = uqm_arena_strndup(&e->arena, name, (size_t) (after - 1 - name));
            if (!key || is_about_layers(key))
                push(e, (struct span){ value, end },
                     key ? rebuild_list(e, stack, place, key, value, (size_t) (end - value))
                         : NULL);
        }
        s = skip_space(end);
        if (*s != ',')
            break;
    }
}

static void add_stack(struct edits *e, const char *text, const struct uqm_config_stack *stack)
{
    for (size_t p = 0; p < 2; p++) {
        const char *key, *place = places[stack->role][p].object;
        struct span s = find_count(&key, text, stack->role, p);
        if (!s.begin)
            continue;
        const char *number = uqm_arena_printf(&e->arena, "%zu", stack->n);
        if (!number || !is_text(s, number))
            push(e, s, number);
        add_lists(e, object_of(text, place), place, stack, strtoul(s.begin, NULL, 10));
    }
}

/* --- the vocabulary --- */

static struct span find_vocabulary(const char *text, const char *place)
{
    const char *object = object_of(text, place);
    struct span none = { NULL, NULL }, s = object ? find_member(object, "vocab_size") : none;
    return s.begin && *s.begin >= '0' && *s.begin <= '9' ? s : none;
}

bool uqm_config_has_vocabulary(const char *text)
{
    return find_vocabulary(text, NULL).begin || find_vocabulary(text, "text_config").begin;
}

static void add_vocabulary(struct edits *e, const char *text, uint64_t n)
{
    static const char *const objects[] = { NULL, "text_config" };
    for (size_t i = 0; i < 2; i++) {
        struct span s = find_vocabulary(text, objects[i]);
        if (s.begin)
            push(e, s, uqm_arena_printf(&e->arena, "%" PRIu64, n));
    }
}

/* --- the whole --- */

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
    if (e->n > 1)
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
    struct edits e = { 0 };
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
    if (change->vocab_size)
        add_vocabulary(&e, text, change->vocab_size);
    for (size_t i = 0; i < change->n_stacks; i++)
        add_stack(&e, text, &change->stacks[i]);
    char *out = e.out_of_memory ? NULL : apply(text, &e);
    free(e.v);
    uqm_arena_finish(&e.arena);
    return out;
}
