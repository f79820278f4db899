#include <string.h>

#include "tools/commands.h"
#include "tools/text.h"

/* Whether any of these models or steps has its accuracy beside its uncertainty. */
static bool has_accuracy(const json_t *list)
{
    size_t i;
    json_t *item;
    json_array_foreach (list, i, item)
        if (json_object_get(item, "accuracy"))
            return true;
    return false;
}

static void print_models(FILE *out, const json_t *models)
{
    static const char *const titles[] = { "model", "uq", "stderr", "accuracy", "stderr" };
    const bool accuracy = has_accuracy(models);
    struct table t;
    size_t i;
    json_t *model;
    table_init(&t, accuracy ? "lrrrr" : "lrr", titles);
    json_array_foreach (models, i, model) {
        table_name(&t, get_text(model, "model"));
        cell_number(&t, model, "uq", 6);
        cell_number(&t, model, "stderr", 6);
        if (accuracy) {
            cell_number(&t, model, "accuracy", 4);
            cell_number(&t, model, "accuracy_stderr", 4);
        }
    }
    table_print(out, &t, 0);
}

/* What an order by accuracy goes by stands last, before its verdict. */
static void print_steps(FILE *out, const json_t *steps)
{
    static const char *const plain[] = { "step",        "added",    "uq",      "stderr",
                                         "to the best", "paired ±", "samples", "improved" };
    static const char *const guided[] = { "step",        "added",    "uq",      "stderr",
                                          "to the best", "paired ±", "samples", "accuracy",
                                          "stderr",      "improved" };
    const bool accuracy = has_accuracy(steps);
    struct table t;
    size_t i;
    json_t *step;
    table_init(&t, accuracy ? "rlrrrrrrrl" : "rlrrrrrl", accuracy ? guided : plain);
    json_array_foreach (steps, i, step) {
        table_cell(&t, "%llu", (unsigned long long) get_count(step, "step"));
        table_name(&t, get_text(step, "added"));
        cell_number(&t, step, "uq", 6);
        cell_number(&t, step, "stderr", 6);
        cell_number(&t, step, "diff", 6);
        cell_number(&t, step, "diff_stderr", 6);
        table_cell(&t, "%llu", (unsigned long long) get_count(step, "samples"));
        if (accuracy) {
            cell_number(&t, step, "accuracy", 4);
            cell_number(&t, step, "accuracy_stderr", 4);
        }
        table_cell(&t, "%s%s", json_is_true(json_object_get(step, "improved")) ? "yes" : "no",
                   json_is_true(json_object_get(step, "collapsed")) ? ", collapsed" : "");
    }
    table_print(out, &t, 0);
}

/* What a run that no step ended has seen. */
static const char *to_the_end(const json_t *steps)
{
    size_t i;
    json_t *step;
    json_array_foreach (steps, i, step)
        if (!json_is_true(json_object_get(step, "improved")))
            return "every model was taken or tried";
    if (json_array_size(steps) < 2)
        return "there is one model";
    return has_accuracy(steps) ? "the accuracy rose to the end" : "the uncertainty fell to the end";
}

static void print_list(FILE *out, const char *title, const json_t *names)
{
    size_t i;
    json_t *name;
    fprintf(out, "%s", title);
    json_array_foreach (names, i, name) {
        fputs(i ? ", " : "", out);
        text_print(out, json_string_value(name) ? json_string_value(name) : "?");
    }
    fputc('\n', out);
}

void print_select(FILE *out, const json_t *r, unsigned flags)
{
    (void) flags;
    print_models(out, json_object_get(r, "models"));
    fputc('\n', out);
    print_steps(out, json_object_get(r, "steps"));
    fputc('\n', out);

    const json_t *stop = json_object_get(r, "stopped_at");
    const char *by = get_text(r, "stopped_by");
    if (json_is_integer(stop))
        fprintf(out, "stopped at    step %lld%s\n", (long long) json_integer_value(stop),
                strcmp(by, "guard") == 0      ? ", by the guard"
                : strcmp(by, "spread") == 0   ? ", whose answers spread too little over the letters"
                : strcmp(by, "collapse") == 0 ? ", whose answers do not depend on the question"
                                              : "");
    else
        fprintf(out, "stopped at    no step: %s\n", to_the_end(json_object_get(r, "steps")));
    print_list(out, "selected      ", json_object_get(r, "selected"));
    if (get_text(r, "out")[0]) {
        fputs("written to    ", out);
        text_print(out, get_text(r, "out"));
        fputc('\n', out);
    }
    char bytes[32], seconds[32];
    text_bytes(bytes, sizeof bytes, get_count(r, "bytes_read"));
    text_seconds(seconds, sizeof seconds, get_number(r, "seconds"));
    fprintf(out, "read          %s in %s\n", bytes, seconds);
}
