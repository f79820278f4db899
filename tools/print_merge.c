#include "tools/commands.h"
#include "tools/text.h"

static void line(FILE *out, const char *title, const char *text)
{
    fprintf(out, "%-14s", title);
    text_print(out, text);
    fputc('\n', out);
}

static void line_bytes(FILE *out, const char *title, uint64_t bytes)
{
    char text[32];
    text_bytes(text, sizeof text, bytes);
    line(out, title, text);
}

void print_merge(FILE *out, const json_t *r, unsigned flags)
{
    (void) flags;
    line(out, "written to", get_text(r, "out"));
    line(out, "method", get_text(r, "method"));
    fprintf(out, "%-14s%llu\n", "tensors", (unsigned long long) get_count(r, "tensors"));
    line_bytes(out, "read", get_count(r, "bytes_read"));
    line_bytes(out, "written", get_count(r, "bytes_written"));
    line_bytes(out, "peak memory", get_count(r, "peak_memory"));
    char seconds[32];
    text_seconds(seconds, sizeof seconds, get_number(r, "seconds"));
    line(out, "time", seconds);
    line(out, "io", get_text(r, "io"));
    line(out, "direct", json_is_true(json_object_get(r, "direct")) ? "on" : "off");
}
