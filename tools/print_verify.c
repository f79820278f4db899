#include "tools/commands.h"

static void print_differences(FILE *out, const json_t *differences)
{
    static const char *const titles[] = { "file", "tensor", "bytes", "what" };
    struct table t;
    size_t i;
    json_t *d;
    table_init(&t, "llll", titles);
    json_array_foreach (differences, i, d) {
        const char *tensor = get_text(d, "tensor");
        table_name(&t, get_text(d, "file"));
        table_name(&t, tensor[0] ? tensor : "-");
        table_cell(&t, "[%llu, %llu)", (unsigned long long) get_count(d, "begin"),
                   (unsigned long long) get_count(d, "end"));
        table_name(&t, get_text(d, "what"));
    }
    table_print(out, &t, 0);
}

void print_verify(FILE *out, const json_t *r, unsigned flags)
{
    const json_t *differences = json_object_get(r, "differences");
    char bytes[32];
    (void) flags;
    if (json_array_size(differences) > 0)
        print_differences(out, differences);
    text_bytes(bytes, sizeof bytes, get_count(r, "bytes"));
    text_print(out, get_text(r, "path"));
    fprintf(out, ": %llu files, %llu tensors, %s checked: %s\n",
            (unsigned long long) get_count(r, "files_checked"),
            (unsigned long long) get_count(r, "tensors_checked"), bytes,
            !json_is_true(json_object_get(r, "ok")) ? "differs"
            : json_object_get(r, "signature")       ? "all as it was signed"
                                                    : "all as the manifest says");
}
