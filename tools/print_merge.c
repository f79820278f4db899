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

/* A number, or a dash where there is none. */
static void number_cell(struct table *t, const json_t *row, const char *key)
{
    const json_t *v = json_object_get(row, key);
    if (json_is_real(v))
        table_cell(t, "%.6g", json_real_value(v));
    else
        table_cell(t, "-");
}

/* How far each input lies from the result, over all merged tensors. */
static void print_report(FILE *out, const json_t *report)
{
    static const char *const titles[] = { "input", "rel. L2", "max abs", "cosine",
                                          "signs", "NaN",     "infinite" };
    const json_t *row;
    size_t i;
    struct table t;
    if (!json_is_object(report))
        return;
    table_init(&t, "lrrrrrr", titles);
    json_array_foreach (json_object_get(report, "inputs"), i, row) {
        table_name(&t, get_text(row, "path"));
        number_cell(&t, row, "rel_l2");
        number_cell(&t, row, "max_abs");
        number_cell(&t, row, "cosine");
        number_cell(&t, row, "sign_agreement");
        table_cell(&t, "%llu", (unsigned long long) get_count(row, "nan"));
        table_cell(&t, "%llu", (unsigned long long) get_count(row, "inf"));
    }
    fputc('\n', out);
    table_print(out, &t, 0);
    if (get_count(report, "nan") + get_count(report, "inf") > 0)
        fprintf(out, "\nthe merge holds %llu NaN and %llu infinite elements\n",
                (unsigned long long) get_count(report, "nan"),
                (unsigned long long) get_count(report, "inf"));
}

static void print_output(FILE *out, const json_t *r)
{
    line(out, "written to", get_text(r, "out"));
    line(out, "method", get_text(r, "method"));
    fprintf(out, "%-14s%llu\n", "tensors", (unsigned long long) get_count(r, "tensors"));
}

void print_merge(FILE *out, const json_t *r, unsigned flags)
{
    const json_t *outputs = json_object_get(r, "outputs"), *one;
    size_t i;
    (void) flags;
    json_array_foreach (outputs, i, one) {
        print_output(out, one);
        print_report(out, json_object_get(one, "report"));
        fputc('\n', out);
    }
    if (!outputs)
        print_output(out, r);
    line_bytes(out, "read", get_count(r, "bytes_read"));
    line_bytes(out, "written", get_count(r, "bytes_written"));
    line_bytes(out, "peak memory", get_count(r, "peak_memory"));
    char seconds[32];
    text_seconds(seconds, sizeof seconds, get_number(r, "seconds"));
    line(out, "time", seconds);
    line(out, "io", get_text(r, "io"));
    line(out, "direct", json_is_true(json_object_get(r, "direct")) ? "on" : "off");
    if (!outputs)
        print_report(out, json_object_get(r, "report"));
}
