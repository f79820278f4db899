#include "tools/commands.h"
#include "tools/text.h"

void print_devices(FILE *out, const json_t *r, unsigned flags)
{
    size_t i, k;
    json_t *device, *feature;
    (void) flags;
    json_array_foreach (json_object_get(r, "devices"), i, device) {
        char memory[32];
        text_bytes(memory, sizeof memory, get_count(device, "memory"));
        text_print(out, get_text(device, "id"));
        fputs("  ", out);
        text_print(out, get_text(device, "name"));
        fputs("\n  type      ", out);
        text_print(out, get_text(device, "type"));
        fputs("\n  driver    ", out);
        text_print(out, get_text(device, "driver"));
        fprintf(out, "\n  memory    %s\n  features  ", memory);
        json_array_foreach (json_object_get(device, "features"), k, feature) {
            fputs(k ? ", " : "", out);
            text_print(out, json_string_value(feature) ? json_string_value(feature) : "?");
        }
        fputc('\n', out);
    }
}
