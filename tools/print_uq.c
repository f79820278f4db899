#include <string.h>

#include "tools/commands.h"
#include "tools/text.h"

void print_uq(FILE *out, const json_t *r, unsigned flags)
{
    static const char *const titles[] = { "model",   "data",    "uq",      "stderr",
                                          "samples", "skipped", "accuracy" };
    struct table t;
    size_t i, k;
    json_t *model, *set;

    (void) flags;
    /* Conformal sets come with the accuracy of the answers that they are drawn around. */
    const bool cp = strcmp(get_text(json_object_get(r, "config"), "method"), "cp") == 0;
    table_init(&t, cp ? "llrrrrr" : "llrrrr", titles);
    json_array_foreach (json_object_get(r, "models"), i, model) {
        json_array_foreach (json_object_get(model, "datasets"), k, set) {
            table_name(&t, get_text(model, "model"));
            table_name(&t, get_text(set, "data"));
            cell_number(&t, set, "uq", 6);
            cell_number(&t, set, "stderr", 6);
            table_cell(&t, "%llu", (unsigned long long) get_count(set, "samples"));
            table_cell(&t, "%llu", (unsigned long long) get_count(set, "skipped"));
            if (cp)
                cell_number(&t, set, "accuracy", 4);
        }
        table_name(&t, get_text(model, "model"));
        table_cell(&t, "mean");
        cell_number(&t, model, "uq", 6);
        cell_number(&t, model, "stderr", 6);
        for (int blank = cp ? 3 : 2; blank > 0; blank--)
            table_cell(&t, "%s", "");
    }
    table_print(out, &t, 0);
}
