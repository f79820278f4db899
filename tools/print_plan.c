/* The plan of merge --dry-run. */
#include <string.h>

#include "tools/commands.h"
#include "tools/text.h"

static void print_scalar(FILE *out, const char *key, const json_t *x)
{
    if (json_is_string(x)) {
        text_print(out, json_string_value(x));
    } else if (json_is_integer(x)) {
        json_int_t n = json_integer_value(x);
        char text[32];
        fprintf(out, "%lld", (long long) n);
        if (n >= 1000 && (strstr(key, "bytes") || strstr(key, "memory") || strstr(key, "disk"))) {
            text_bytes(text, sizeof text, (uint64_t) n);
            fprintf(out, " (%s)", text);
        }
    } else if (json_is_real(x)) {
        fprintf(out, "%.6g", json_real_value(x));
    } else {
        fputs(json_is_true(x) ? "yes" : json_is_false(x) ? "no" : "-", out);
    }
}

/* One line of an object in a list: "model a, weight 1". */
static void print_entry(FILE *out, const json_t *entry)
{
    const char *key, *comma = "";
    json_t *value;
    json_object_foreach ((json_t *) (uintptr_t) entry, key, value) {
        if (json_is_object(value) || json_is_array(value))
            continue;
        fputs(comma, out);
        text_print(out, key);
        fputc(' ', out);
        print_scalar(out, key, value);
        comma = ", ";
    }
    fputc('\n', out);
}

static void print_nested(FILE *out, const json_t *value)
{
    size_t i;
    json_t *entry;
    const char *key;
    json_array_foreach (value, i, entry) {
        fputs("  ", out);
        if (json_is_object(entry)) {
            print_entry(out, entry);
        } else {
            print_scalar(out, "", entry);
            fputc('\n', out);
        }
    }
    json_object_foreach ((json_t *) (uintptr_t) value, key, entry) {
        fputs("  ", out);
        text_print(out, key);
        fputs(": ", out);
        if (json_is_object(entry)) {
            print_entry(out, entry);
        } else {
            print_scalar(out, key, entry);
            fputc('\n', out);
        }
    }
}

void print_plan(FILE *out, const json_t *r, unsigned flags)
{
    const char *key;
    json_t *value;
    (void) flags;
    json_object_foreach ((json_t *) (uintptr_t) r, key, value) {
        bool nested = json_is_object(value) || json_is_array(value);
        if (nested && json_array_size(value) == 0 && json_object_size(value) == 0)
            continue;
        text_print(out, key);
        if (nested) {
            fputs(":\n", out);
            print_nested(out, value);
        } else {
            fprintf(out, "%*s", strlen(key) < 20 ? 20 - (int) strlen(key) : 2, "");
            print_scalar(out, key, value);
            fputc('\n', out);
        }
    }
}
