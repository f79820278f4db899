#include "tools/commands.h"
#include "tools/text.h"

void print_eval(FILE *out, const json_t *r, unsigned flags)
{
    static const char *const titles[] = { "model", "data", "metric", "value", "samples" };
    struct table t;
    size_t i, k;
    json_t *model, *set;

    (void) flags;
    table_init(&t, "lllrr", titles);
    json_array_foreach (json_object_get(r, "models"), i, model) {
        json_array_foreach (json_object_get(model, "datasets"), k, set) {
            table_name(&t, get_text(model, "model"));
            table_name(&t, get_text(set, "data"));
            table_name(&t, get_text(set, "metric"));
            cell_number(&t, set, "value", 4);
            table_cell(&t, "%llu", (unsigned long long) get_count(set, "samples"));
        }
        table_name(&t, get_text(model, "model"));
        table_cell(&t, "average");
        table_cell(&t, "%s", "");
        cell_number(&t, model, "average", 4);
        table_cell(&t, "%s", "");
    }
    table_print(out, &t, 0);
}
