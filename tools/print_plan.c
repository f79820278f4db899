/* The plan of merge --dry-run. */
#include "tools/commands.h"

static void line(FILE *out, const char *title, const char *text)
{
    fprintf(out, "%-14s", title);
    text_print(out, text);
    fputc('\n', out);
}

static void line_bytes(FILE *out, const char *title, const json_t *r, const char *key)
{
    char text[32];
    text_bytes(text, sizeof text, get_count(r, key));
    line(out, title, text);
}

static void cell_bytes(struct table *t, const json_t *r)
{
    char text[32];
    text_bytes(text, sizeof text, get_count(r, "bytes"));
    table_cell(t, "%s", text);
}

static void print_parts(FILE *out, const json_t *parts)
{
    static const char *const titles[] = { "part", "tensors", "bytes", "what happens" };
    static const char *const names[] = { "vision", "adapter", "language", "other" };
    struct table t;
    table_init(&t, "lrrl", titles);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const json_t *part = json_object_get(parts, names[i]);
        table_cell(&t, "%s", names[i]);
        table_cell(&t, "%llu", (unsigned long long) get_count(part, "tensors"));
        cell_bytes(&t, part);
        table_name(&t, get_text(part, "what"));
    }
    fputc('\n', out);
    table_print(out, &t, 0);
}

static void cell_value(struct table *t, const json_t *least, const json_t *most)
{
    if (json_is_boolean(least))
        table_cell(t, "%s",
                   !json_equal(least, most) ? "true and false"
                   : json_is_true(least)    ? "true"
                                            : "false");
    else if (json_equal(least, most))
        table_cell(t, "%g", json_number_value(least));
    else
        table_cell(t, "%g to %g", json_number_value(least), json_number_value(most));
}

/* The method's parameters, of each input and of the whole. */
static void print_parameters(FILE *out, const json_t *list, const json_t *inputs)
{
    static const char *const titles[] = { "parameter", "value", "input" };
    struct table t;
    size_t i;
    json_t *one;
    table_init(&t, "lll", titles);
    json_array_foreach ((json_t *) (uintptr_t) list, i, one) {
        const json_t *input = json_object_get(one, "input");
        table_name(&t, get_text(one, "name"));
        cell_value(&t, json_object_get(one, "least"), json_object_get(one, "most"));
        table_name(
            &t, input ? get_text(json_array_get(inputs, (size_t) json_integer_value(input)), "path")
                      : "");
    }
    fputc('\n', out);
    table_print(out, &t, 0);
}

/* How many tensors of an input nothing is made of, reason by reason. */
static void print_unused(FILE *out, const json_t *inputs)
{
    size_t i, k;
    json_t *input, *one;
    json_array_foreach ((json_t *) (uintptr_t) inputs, i, input) {
        const json_t *unused = json_object_get(input, "unused");
        json_t *reasons = json_object();
        const char *why;
        json_array_foreach ((json_t *) (uintptr_t) unused, k, one)
            json_object_set_new(
                reasons, get_text(one, "why"),
                json_integer((json_int_t) get_count(reasons, get_text(one, "why")) + 1));
        json_object_foreach (reasons, why, one) {
            text_print(out, get_text(input, "path"));
            fprintf(out, ": %lld tensors are not used: ", (long long) json_integer_value(one));
            text_print(out, why);
            fputc('\n', out);
        }
        json_decref(reasons);
    }
}

static void print_inputs(FILE *out, const json_t *inputs)
{
    static const char *const titles[] = {
        "input", "layout", "architecture", "tensors", "bytes", ""
    };
    struct table t;
    size_t i;
    json_t *input;
    table_init(&t, "lllrrl", titles);
    json_array_foreach (inputs, i, input) {
        table_name(&t, get_text(input, "path"));
        table_name(&t, get_text(input, "layout"));
        table_name(&t, get_text(input, "architecture"));
        table_cell(&t, "%llu", (unsigned long long) get_count(input, "tensors"));
        cell_bytes(&t, input);
        table_cell(&t, "%s", json_is_true(json_object_get(input, "base")) ? "base" : "");
    }
    fputc('\n', out);
    table_print(out, &t, 0);
}

static void print_shards(FILE *out, const json_t *shards)
{
    static const char *const titles[] = { "shard", "tensors", "bytes" };
    struct table t;
    size_t i;
    json_t *shard;
    table_init(&t, "lrr", titles);
    json_array_foreach (shards, i, shard) {
        table_name(&t, get_text(shard, "name"));
        table_cell(&t, "%llu", (unsigned long long) get_count(shard, "tensors"));
        cell_bytes(&t, shard);
    }
    fputc('\n', out);
    table_print(out, &t, 0);
}

/* How many tensors are merged, copied and so on; what does not occur is left out. */
static void print_fates(FILE *out, const json_t *fates)
{
    const char *key, *comma = "";
    json_t *n;
    fprintf(out, "%-14s", "tensors");
    json_object_foreach ((json_t *) (uintptr_t) fates, key, n) {
        if (json_integer_value(n) == 0)
            continue;
        fprintf(out, "%s%lld ", comma, (long long) json_integer_value(n));
        text_print(out, key);
        comma = ", ";
    }
    fputc('\n', out);
}

static void print_totals(FILE *out, const json_t *r)
{
    line_bytes(out, "to read", r, "bytes_read");
    if (get_count(r, "bytes_read_most") > get_count(r, "bytes_read"))
        line_bytes(out, "... at most", r, "bytes_read_most");
    line_bytes(out, "to write", r, "bytes_write");
    line_bytes(out, "memory", r, "peak_memory");
    line_bytes(out, "disk needed", r, "disk_needed");
    if (json_is_null(json_object_get(r, "disk_free")))
        line(out, "disk free", "unknown");
    else
        line_bytes(out, "disk free", r, "disk_free");
}

static void print_one(FILE *out, const json_t *r, bool alone)
{
    line(out, "to", get_text(r, "out"));
    line(out, "method", get_text(r, "method"));
    line(out, "numerics", get_text(r, "numerics"));
    print_fates(out, json_object_get(r, "tensors_by_fate"));
    fprintf(out, "%-14s%llu\n", "passes", (unsigned long long) get_count(r, "passes"));
    if (alone)
        print_totals(out, r);
    else
        line_bytes(out, "to write", r, "bytes_write");
    print_parts(out, json_object_get(r, "parts"));
    print_parameters(out, json_object_get(r, "parameters"), json_object_get(r, "inputs"));
    print_inputs(out, json_object_get(r, "inputs"));
    print_unused(out, json_object_get(r, "inputs"));
    print_shards(out, json_object_get(r, "shards"));
}

void print_plan(FILE *out, const json_t *r, unsigned flags)
{
    const json_t *outputs = json_object_get(r, "outputs"), *one;
    size_t i;
    (void) flags;
    json_array_foreach (outputs, i, one) {
        print_one(out, one, false);
        fputc('\n', out);
    }
    if (outputs) {
        fputs("all together, what several read read once\n", out);
        print_totals(out, r);
    } else {
        print_one(out, r, true);
    }
}
