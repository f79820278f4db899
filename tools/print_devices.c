#include "tools/commands.h"
#include "tools/text.h"

/* Whether networks run on it, and why not. */
static void print_use(FILE *out, const json_t *device)
{
    const char *reason = get_text(device, "reason");
    if (json_is_true(json_object_get(device, "auto")))
        fputs("  use       what --device auto takes\n", out);
    else if (json_object_get(device, "reason")) {
        fputs(json_is_true(json_object_get(device, "usable"))
                  ? "  use       only when it is named: "
                  : "  use       no: ",
              out);
        text_print(out, reason);
        fputc('\n', out);
    } else
        fputs("  use       when it is named\n", out);
}

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
        print_use(out, device);
    }
    if (json_object_get(r, "no_vulkan")) {
        fputs("no Vulkan: ", out);
        text_print(out, get_text(r, "no_vulkan"));
        fputc('\n', out);
    }
}
