#include "tools/commands.h"

static void print_jobs(FILE *out, const json_t *jobs)
{
    static const char *const titles[] = { "job", "model", "data", "seed", "" };
    struct table t;
    size_t i;
    json_t *job;
    table_init(&t, "lllrl", titles);
    json_array_foreach (jobs, i, job) {
        table_cell(&t, "%s", get_text(job, "job"));
        table_name(&t, get_text(job, "model"));
        table_name(&t, get_text(job, "data"));
        if (json_object_get(job, "seed"))
            table_cell(&t, "%llu", (unsigned long long) get_count(job, "seed"));
        else
            table_cell(&t, "%s", "");
        table_cell(&t, "%s", json_is_true(json_object_get(job, "cached")) ? "cached" : "");
    }
    table_print(out, &t, 0);
}

static void print_names(FILE *out, const char *title, const json_t *list)
{
    size_t i;
    json_t *item;
    if (json_array_size(list) == 0)
        return;
    fputs(title, out);
    json_array_foreach (list, i, item)
        fprintf(out, "%s%s", i ? ", " : "",
                json_is_string(item) ? json_string_value(item) : get_text(item, "name"));
    fputc('\n', out);
}

void print_experiment(FILE *out, const json_t *r, unsigned flags)
{
    const json_t *jobs = json_object_get(r, "jobs"), *n = json_object_get(r, "n_jobs");
    char seconds[32];
    size_t i;
    json_t *item;
    (void) flags;
    if (jobs) {
        print_jobs(out, jobs);
        fprintf(out, "\n%llu of %llu jobs are cached\n",
                (unsigned long long) get_count(n, "cached"),
                (unsigned long long) get_count(n, "all"));
        print_names(out, "tables that wait for answers, and may ask for more: ",
                    json_object_get(r, "waiting"));
        print_names(out, "tables that have all: ", json_object_get(r, "tables"));
        return;
    }
    json_array_foreach (json_object_get(r, "tables"), i, item) {
        fprintf(out, "%-4s ", get_text(item, "name"));
        text_print(out, get_text(item, "title"));
        fputc('\n', out);
    }
    json_array_foreach (json_object_get(r, "left_out"), i, item)
        fprintf(out, "%-4s left out: %s\n", get_text(item, "name"), get_text(item, "why"));
    text_seconds(seconds, sizeof seconds, get_number(r, "seconds"));
    fprintf(out, "%llu jobs, %llu of them cached, in %s\nwritten to    ",
            (unsigned long long) get_count(n, "all"), (unsigned long long) get_count(n, "cached"),
            seconds);
    text_print(out, get_text(r, "out"));
    fputc('\n', out);
}
