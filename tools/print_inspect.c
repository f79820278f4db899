#include "tools/commands.h"
#include "tools/text.h"

static void cell_bytes(struct table *t, uint64_t bytes)
{
    char text[32];
    text_bytes(text, sizeof text, bytes);
    table_cell(t, "%s", text);
}

static void cell_count(struct table *t, uint64_t count)
{
    char text[32];
    text_count(text, sizeof text, count);
    table_cell(t, "%s", text);
}

static void print_parts(FILE *out, const json_t *parts)
{
    static const char *const titles[] = { "part", "tensors", "parameters", "bytes", "digest" };
    static const char *const names[] = { "vision", "adapter", "language", "other" };
    struct table t;
    table_init(&t, "lrrrl", titles);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const json_t *part = json_object_get(parts, names[i]);
        if (get_count(part, "tensors") == 0)
            continue;
        table_cell(&t, "%s", names[i]);
        table_cell(&t, "%llu", (unsigned long long) get_count(part, "tensors"));
        cell_count(&t, get_count(part, "parameters"));
        cell_bytes(&t, get_count(part, "bytes"));
        table_name(&t, get_text(part, "digest"));
    }
    table_print(out, &t, 0);
}

/* "F16 3.2 MB, F32 96 B": every dtype that occurs. */
static void print_dtypes(FILE *out, const json_t *tensors)
{
    size_t i;
    json_t *tensor, *sums = json_object();
    json_array_foreach (tensors, i, tensor) {
        const char *dtype = get_text(tensor, "dtype");
        json_int_t before = json_integer_value(json_object_get(sums, dtype));
        json_object_set_new(sums, dtype,
                            json_integer(before + (json_int_t) get_count(tensor, "bytes")));
    }
    const char *dtype;
    json_t *bytes;
    const char *comma = "";
    fputs("dtypes        ", out);
    json_object_foreach (sums, dtype, bytes) {
        char text[32];
        text_bytes(text, sizeof text, (uint64_t) json_integer_value(bytes));
        fputs(comma, out);
        text_print(out, dtype);
        fprintf(out, " %s", text);
        comma = ", ";
    }
    fputc('\n', out);
    json_decref(sums);
}

static void cell_shape(struct table *t, const json_t *shape)
{
    char text[256] = "[";
    size_t n = 1, i;
    json_t *side;
    json_array_foreach (shape, i, side)
        n = text_append(text, sizeof text, n, "%s%lld", i ? ", " : "",
                        (long long) json_integer_value(side));
    text_append(text, sizeof text, n, "]");
    table_cell(t, "%s", text);
}

static void print_tensors(FILE *out, const json_t *tensors)
{
    static const char *const titles[] = { "tensor", "dtype", "shape", "file", "offset", "bytes" };
    struct table t;
    size_t i;
    json_t *tensor;
    table_init(&t, "llllrr", titles);
    json_array_foreach (tensors, i, tensor) {
        table_name(&t, get_text(tensor, "name"));
        table_name(&t, get_text(tensor, "dtype"));
        cell_shape(&t, json_object_get(tensor, "shape"));
        table_name(&t, get_text(tensor, "file"));
        table_cell(&t, "%llu", (unsigned long long) get_count(tensor, "offset"));
        table_cell(&t, "%llu", (unsigned long long) get_count(tensor, "bytes"));
    }
    fputc('\n', out);
    table_print(out, &t, 0);
}

void print_inspect(FILE *out, const json_t *r, unsigned flags)
{
    static const char *const keys[] = { "path", "format", "layout", "architecture" };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const char *text = get_text(r, keys[i]);
        if (!text[0])
            continue;
        fprintf(out, "%-14s", keys[i]);
        text_print(out, text);
        fputc('\n', out);
    }
    char parameters[32], bytes[32];
    text_count(parameters, sizeof parameters, get_count(r, "parameters"));
    text_bytes(bytes, sizeof bytes, get_count(r, "bytes"));
    fprintf(out, "parameters    %s\nbytes         %s in %zu file%s\n", parameters, bytes,
            json_array_size(json_object_get(r, "files")),
            json_array_size(json_object_get(r, "files")) == 1 ? "" : "s");
    const json_t *tensors = json_object_get(r, "tensors");
    print_dtypes(out, tensors);
    fputc('\n', out);
    print_parts(out, json_object_get(r, "parts"));
    if (flags & PRINT_TENSORS)
        print_tensors(out, tensors);
}
