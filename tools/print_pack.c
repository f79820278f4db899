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

static void line_time(FILE *out, const json_t *r)
{
    double seconds = get_number(r, "seconds");
    char rate[32], took[32];
    uint64_t bytes = get_count(r, "bytes");
    text_bytes(rate, sizeof rate, seconds > 0 ? (uint64_t) ((double) bytes / seconds) : 0);
    text_seconds(took, sizeof took, seconds);
    fprintf(out, "%-14s%s, %s/s\n", "time", took, rate);
}

void print_pack(FILE *out, const json_t *result, unsigned flags)
{
    (void) flags;
    const char *base = json_string_value(json_object_get(result, "base"));
    char packed[32];
    line(out, "written to", get_text(result, "archive"));
    fprintf(out, "%-14s%llu, with %llu tensors\n", "files",
            (unsigned long long) get_count(result, "files"),
            (unsigned long long) get_count(result, "tensors"));
    line_bytes(out, "bytes", get_count(result, "bytes"));
    text_bytes(packed, sizeof packed, get_count(result, "archive_bytes"));
    fprintf(out, "%-14s%s, %.1f %%\n", "packed", packed, 100 * get_number(result, "ratio"));
    if (base) {
        line(out, "base", base);
        line_bytes(out, "as deltas", get_count(result, "delta_bytes"));
    }
    line_time(out, result);
}

void print_unpack(FILE *out, const json_t *result, unsigned flags)
{
    (void) flags;
    line(out, "written to", get_text(result, "out"));
    fprintf(out, "%-14s%llu, each with the SHA-256 it was packed with\n", "files",
            (unsigned long long) get_count(result, "files"));
    line_bytes(out, "bytes", get_count(result, "bytes"));
    line_time(out, result);
}
