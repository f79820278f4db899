#include "tools/commands.h"

void print_sign(FILE *out, const json_t *r, unsigned flags)
{
    char bytes[32];
    (void) flags;
    text_bytes(bytes, sizeof bytes, get_count(r, "bytes"));
    text_print(out, get_text(r, "path"));
    fprintf(out, ": %llu files, %s signed: ", (unsigned long long) get_count(r, "files"), bytes);
    text_print(out, get_text(r, "signature"));
    fputc('\n', out);
}
