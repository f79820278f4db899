#include "tools/commands.h"
#include "tools/text.h"

void print_uq(FILE *out, const json_t *r, unsigned flags)
{
    static const char *const titles[] = { "model", "data", "uq", "stderr", "samples", "skipped" };
    struct table t;
    size_t i, k;
    json_t *model, *set;

    (void) flags;
    table_init(&t, "llrrrr", titles);
    json_array_foreach (json_object_get(r, "models"), i, model) {
        json_array_foreach (json_object_get(model, "datasets"), k, set) {
            table_name(&t, get_text(model, "model"));
            table_name(&t, get_text(set, "data"));
            cell_number(&t, set, "uq", 6);
            cell_number(&t, set, "stderr", 6);
            table_cell(&t, "%llu", (unsigned long long) get_count(set, "samples"));
            table_cell(&t, "%llu", (unsigned long long) get_count(set, "skipped"));
        }
        table_name(&t, get_text(model, "model"));
        table_cell(&t, "mean");
        cell_number(&t, model, "uq", 6);
        cell_number(&t, model, "stderr", 6);
        table_cell(&t, "%s", "");
        table_cell(&t, "%s", "");
    }
    table_print(out, &t, 0);
}
