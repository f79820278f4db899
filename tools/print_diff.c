#include <string.h>

#include "tools/commands.h"
#include "tools/text.h"

static void print_names(FILE *out, const char *title, const json_t *names)
{
    size_t i;
    json_t *name;
    if (json_array_size(names) == 0)
        return;
    fprintf(out, "%s:\n", title);
    json_array_foreach (names, i, name) {
        fputs("  ", out);
        text_print(out, json_string_value(name) ? json_string_value(name) : "?");
        fputc('\n', out);
    }
}

static void cell_distance(struct table *t, const json_t *tensor, const char *key)
{
    const json_t *x = json_object_get(tensor, key);
    if (json_is_number(x))
        table_cell(t, "%.6g", json_number_value(x));
    else
        table_cell(t, "-");
}

void print_diff(FILE *out, const json_t *r, unsigned flags)
{
    static const char *const titles[] = { "tensor", "status", "rel L2", "max abs", "cosine" };
    struct table t;
    size_t i, shown = 0;
    json_t *tensor;

    table_init(&t, "llrrr", titles);
    json_array_foreach (json_object_get(r, "tensors"), i, tensor) {
        const char *status = get_text(tensor, "status");
        if (!(flags & PRINT_ALL) && strcmp(status, "identical") == 0)
            continue;
        shown++;
        table_name(&t, get_text(tensor, "name"));
        table_name(&t, status);
        cell_distance(&t, tensor, "rel_l2");
        cell_distance(&t, tensor, "max_abs");
        cell_distance(&t, tensor, "cosine");
    }
    if (shown)
        table_print(out, &t, 0);
    else
        table_finish(&t);
    print_names(out, "only in A", json_object_get(r, "only_a"));
    print_names(out, "only in B", json_object_get(r, "only_b"));
    fprintf(out, "%llu identical, %llu changed, %zu only in A, %zu only in B\n",
            (unsigned long long) get_count(r, "identical"),
            (unsigned long long) get_count(r, "changed"),
            json_array_size(json_object_get(r, "only_a")),
            json_array_size(json_object_get(r, "only_b")));
}
