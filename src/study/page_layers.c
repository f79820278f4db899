/* Distances by layer, from diffs and merge reports: the root of the mean square of the relative L2
 * distances of a layer's tensors, so that a layer counts by its tensors, not by its elements. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/study/page.h"

enum { MAX_COLUMNS = 64, MAX_LAYER = 9999, MAX_GROUPS = 4096 };

/* Rows in the order of the network. */
enum {
    EMBEDDING = 0,
    LAYERS = 1,
    NORM = 20000,
    HEAD,
    PROJECTOR,
    VISION = 30000,
    VISION_REST = 50000,
    OTHER
};

struct group {
    int place;
    double sum[MAX_COLUMNS]; /* of squares */
    unsigned n[MAX_COLUMNS];
};

struct grid {
    struct group *groups;
    size_t n_groups, n_columns;
    char *columns[MAX_COLUMNS];
    bool failed, too_many;
};

/* The number after "layers." (or "blocks.", "h."), or -1. */
static int layer_number(const char *name)
{
    static const char *const words[] = { "layers.", "blocks.", ".h." };
    for (size_t k = 0; k < sizeof words / sizeof *words; k++) {
        const char *at = strstr(name, words[k]);
        char *end;
        if (!at)
            continue;
        at += strlen(words[k]);
        long v = strtol(at, &end, 10);
        if (end != at && *at >= '0' && *at <= '9' && *end == '.' && v <= MAX_LAYER)
            return (int) v;
    }
    return -1;
}

static int place_of(const char *name)
{
    const int layer = layer_number(name);
    if (strstr(name, "vision"))
        return layer >= 0 ? VISION + layer : VISION_REST;
    if (layer >= 0)
        return LAYERS + layer;
    if (strstr(name, "projector"))
        return PROJECTOR;
    if (strstr(name, "embed_tokens") || strstr(name, "wte"))
        return EMBEDDING;
    if (strstr(name, "lm_head"))
        return HEAD;
    return strstr(name, "norm") ? NORM : OTHER;
}

static void place_name(char *buf, size_t size, int place)
{
    if (place >= LAYERS && place <= LAYERS + MAX_LAYER)
        snprintf(buf, size, "layer %d", place - LAYERS);
    else if (place >= VISION && place <= VISION + MAX_LAYER)
        snprintf(buf, size, "vision layer %d", place - VISION);
    else
        snprintf(buf, size, "%s",
                 place == EMBEDDING     ? "embedding"
                 : place == NORM        ? "final norm"
                 : place == HEAD        ? "head"
                 : place == PROJECTOR   ? "projector"
                 : place == VISION_REST ? "vision, rest"
                                        : "other");
}

static struct group *group_of(struct grid *g, int place)
{
    for (size_t i = 0; i < g->n_groups; i++)
        if (g->groups[i].place == place)
            return &g->groups[i];
    if (g->n_groups == MAX_GROUPS) {
        g->too_many = true;
        return NULL;
    }
    if ((g->n_groups & (g->n_groups - 1)) == 0) { /* room for a power of two */
        size_t room = g->n_groups ? 2 * g->n_groups : 1;
        struct group *more = realloc(g->groups, room * sizeof *more);
        if (!more) {
            g->failed = true;
            return NULL;
        }
        g->groups = more;
    }
    struct group *new = &g->groups[g->n_groups++];
    memset(new, 0, sizeof *new);
    new->place = place;
    return new;
}

static void add(struct grid *g, const char *name, size_t column, double rel_l2)
{
    if (!isfinite(rel_l2) || column >= g->n_columns)
        return;
    struct group *group = group_of(g, place_of(name));
    if (group) {
        group->sum[column] += rel_l2 * rel_l2;
        group->n[column]++;
    }
}

/* MAX_COLUMNS when there is no room. */
static size_t add_column(struct grid *g, const char *document, const char *what)
{
    char *title = NULL;
    if (g->n_columns == MAX_COLUMNS) {
        g->too_many = true;
        return MAX_COLUMNS;
    }
    int n = what ? asprintf(&title, "%s", what) : asprintf(&title, "%s", document);
    if (n < 0) {
        g->failed = true;
        return MAX_COLUMNS;
    }
    g->columns[g->n_columns] = title;
    return g->n_columns++;
}

static void add_diff(struct grid *g, const struct uqm_page_document *d)
{
    size_t i, column = add_column(g, d->name, NULL);
    json_t *tensor;
    json_array_foreach (json_object_get(d->root, "tensors"), i, tensor)
        add(g, uqm_get_text(tensor, "name"), column, uqm_get_number(tensor, "rel_l2"));
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static void add_merge(struct grid *g, const struct uqm_page_document *d)
{
    const size_t first = g->n_columns;
    size_t i, k;
    json_t *tensor, *input;
    json_array_foreach (json_object_get(d->root, "inputs"), i, input)
        add_column(g, d->name, last_part(uqm_get_text(input, "path")));
    json_array_foreach (json_object_get(d->root, "tensors"), i, tensor)
        json_array_foreach (json_object_get(tensor, "inputs"), k, input) {
            const double at = uqm_get_number(input, "input");
            if (at >= 0 && at < MAX_COLUMNS)
                add(g, uqm_get_text(tensor, "name"), first + (size_t) at,
                    uqm_get_number(input, "rel_l2"));
        }
}

static int by_place(const void *a, const void *b)
{
    const struct group *x = a, *y = b;
    return (x->place > y->place) - (x->place < y->place);
}

static void add_rows(json_t *table, const struct grid *g)
{
    for (size_t i = 0; i < g->n_groups; i++) {
        char label[64], key[32];
        json_t *row = uqm_table_row(table);
        place_name(label, sizeof label, g->groups[i].place);
        json_object_set_new(row, "layer", json_string(label));
        for (size_t k = 0; k < g->n_columns; k++) {
            const unsigned n = g->groups[i].n[k];
            snprintf(key, sizeof key, "c%zu", k);
            json_object_set_new(row, key,
                                uqm_number_json(n ? sqrt(g->groups[i].sum[k] / n) : (double) NAN));
        }
    }
}

static json_t *grid_table(struct grid *g)
{
    json_t *keys = json_array();
    json_t *table = uqm_table_new(
        "layers", "Distances between models, layer by layer",
        "Relative L2 distance |x \u2212 y| / |y|, root mean square over a layer's tensors: of a "
        "comparison, between its two checkpoints; of a merge, from each input to the output.");
    if (g->n_groups > 0)
        qsort(g->groups, g->n_groups, sizeof *g->groups, by_place);
    uqm_table_column(table, "layer", "layer", NULL, NULL);
    for (size_t k = 0; k < g->n_columns; k++) {
        char key[32];
        snprintf(key, sizeof key, "c%zu", k);
        uqm_table_column(table, key, g->columns[k], "number", NULL);
        json_array_append_new(keys, json_string(key));
    }
    add_rows(table, g);
    json_object_set_new(table, "heat",
                        json_pack("{s:s, s:s, s:s, s:o}", "title", "Distance by layer", "what",
                                  "relative L2", "label", "layer", "columns", keys));
    if (g->too_many)
        uqm_table_note(table, "There are more columns or layers than a page holds; the first "
                              "are shown.");
    return table;
}

json_t *uqm_page_layers(const struct uqm_page_document *documents, size_t n)
{
    struct grid g = { 0 };
    for (size_t i = 0; i < n; i++) {
        const enum uqm_page_kind kind = uqm_page_kind_of(documents[i].root);
        if (kind == UQM_PAGE_DIFF)
            add_diff(&g, &documents[i]);
        else if (kind == UQM_PAGE_MERGE_REPORT)
            add_merge(&g, &documents[i]);
    }
    json_t *tables = g.failed ? NULL : json_array();
    if (tables && g.n_columns > 0)
        json_array_append_new(tables, grid_table(&g));
    for (size_t k = 0; k < g.n_columns; k++)
        free(g.columns[k]);
    free(g.groups);
    return tables;
}
