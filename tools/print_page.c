#include "tools/commands.h"

void print_page(FILE *out, const json_t *r, unsigned flags)
{
    char bytes[32];
    size_t i;
    json_t *document;
    (void) flags;
    json_array_foreach (json_object_get(r, "documents"), i, document) {
        text_print(out, get_text(document, "name"));
        fputs(": ", out);
        text_print(out, get_text(document, "kind"));
        fputc('\n', out);
    }
    text_bytes(bytes, sizeof bytes, get_count(r, "bytes"));
    fputs("written to    ", out);
    text_print(out, get_text(r, "out"));
    fprintf(out, ", %s\n", bytes);
}
