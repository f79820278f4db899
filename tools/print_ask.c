#include "tools/commands.h"
#include "tools/text.h"

void print_ask(FILE *out, const json_t *r, unsigned flags)
{
    static const char *const titles[] = { "token", "id", "logit" };
    const json_t *top = json_object_get(r, "top");
    (void) flags;
    text_print(out, get_text(r, "answer"));
    fputc('\n', out);
    if (!json_is_array(top))
        return;

    struct table t;
    size_t i;
    json_t *entry;
    table_init(&t, "lrr", titles);
    json_array_foreach (top, i, entry) {
        table_name(&t, get_text(entry, "token"));
        table_cell(&t, "%lld", (long long) json_integer_value(json_object_get(entry, "id")));
        table_cell(&t, "%.4f", get_number(entry, "logit"));
    }
    fputc('\n', out);
    table_print(out, &t, 0);
}
