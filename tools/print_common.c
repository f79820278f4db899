/* Members of results, for printing. */
#include "tools/commands.h"

const char *get_text(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

double get_number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

uint64_t get_count(const json_t *object, const char *key)
{
    json_int_t x = json_integer_value(json_object_get(object, key));
    return x > 0 ? (uint64_t) x : 0;
}

void cell_number(struct table *t, const json_t *object, const char *key, int decimals)
{
    const json_t *x = json_object_get(object, key);
    if (json_is_number(x))
        table_cell(t, "%.*f", decimals, json_number_value(x));
    else
        table_cell(t, "-");
}
