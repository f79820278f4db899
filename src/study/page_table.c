/* Tables in the page's own form: making them, and showing them with their charts. */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "src/study/chart.h"
#include "src/study/page.h"

double uqm_get_number(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    return json_is_number(v) ? json_number_value(v) : (double) NAN;
}

const char *uqm_get_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

const char *uqm_get_count(struct uqm_number_text *buf, const json_t *object, const char *key)
{
    return uqm_unit_format(buf, UQM_UNIT_COUNT, uqm_get_number(object, key));
}

json_t *uqm_number_json(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

/* --- making --- */

json_t *uqm_table_new(const char *experiment, const char *title, const char *about)
{
    return json_pack("{s:s, s:s, s:s, s:[], s:[], s:[], s:[]}", "experiment", experiment, "title",
                     title, "about", about, "columns", "rows", "charts", "notes");
}

static int append(json_t *table, const char *list, json_t *item)
{
    return json_array_append_new(json_object_get(table, list), item);
}

void uqm_table_column(json_t *table, const char *key, const char *title, const char *unit,
                      const char *error)
{
    append(table, "columns",
           json_pack("{s:s, s:s, s:s?, s:s?}", "key", key, "title", title, "unit", unit, "error",
                     error));
}

json_t *uqm_table_row(json_t *table)
{
    json_t *row = json_object();
    return append(table, "rows", row) == 0 ? row : NULL;
}

void uqm_table_note(json_t *table, const char *fmt, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, fmt);
    int n = vasprintf(&text, fmt, args);
    va_end(args);
    if (n >= 0) {
        append(table, "notes", json_string(text));
        free(text);
    }
}

void uqm_table_chart(json_t *table, const struct uqm_table_chart *c)
{
    json_t *chart = json_pack("{s:s, s:s, s:s, s:s*, s:s*, s:s*, s:b, s:b, s:I}", "title", c->title,
                              "label", c->label, "value", c->value, "error", c->error, "error_name",
                              c->error_name, "axis", c->axis, "line", c->line, "bars", c->bars,
                              "stop_row", (json_int_t) c->stop_row);
    if (c->rule_name) {
        json_object_set_new(chart, "rule", json_real(c->rule));
        json_object_set_new(chart, "rule_name", json_string(c->rule_name));
    }
    append(table, "charts", chart);
}

/* --- showing --- */

/* The column that holds a key, or NULL. */
static const json_t *column_of(const json_t *table, const char *key)
{
    size_t i;
    json_t *column;
    json_array_foreach (json_object_get(table, "columns"), i, column)
        if (!strcmp(uqm_get_text(column, "key"), key))
            return column;
    return NULL;
}

static enum uqm_unit unit_of(const json_t *table, const char *key)
{
    return uqm_unit_of(uqm_get_text(column_of(table, key), "unit"));
}

static bool is_set(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

/* A cell's text; its memory, if it needed any, is *kept. */
static const char *text_of(char **kept, const json_t *v)
{
    size_t i;
    json_t *item;
    *kept = NULL;
    if (json_is_string(v))
        return json_string_value(v);
    if (json_is_boolean(v))
        return json_is_true(v) ? "yes" : "no";
    if (json_is_integer(v)) {
        return asprintf(kept, "%lld", (long long) json_integer_value(v)) < 0 ? "?" : *kept;
    }
    if (json_is_real(v)) {
        struct uqm_number_text number;
        *kept = strdup(uqm_unit_format(&number, UQM_UNIT_NONE, json_real_value(v)));
        return *kept ? *kept : "?";
    }
    if (!json_is_array(v) || json_array_size(v) == 0)
        return "\u2013";
    size_t len = 0;
    FILE *f = open_memstream(kept, &len);
    if (!f)
        return "?";
    json_array_foreach (v, i, item) {
        char *inner = NULL;
        fprintf(f, "%s%s", i ? ", " : "", json_is_array(item) ? "[...]" : text_of(&inner, item));
        free(inner);
    }
    fclose(f);
    return *kept ? *kept : "?";
}

/* A list's names one by one: such as run from right to left keep their places. */
static void show_words(struct uqm_html *h, const json_t *v, const char *whole)
{
    size_t i;
    json_t *item;
    if (json_array_size(v) == 0) {
        uqm_html_text(h, whole);
        return;
    }
    json_array_foreach (v, i, item) {
        char *kept = NULL;
        if (i)
            uqm_html_text(h, ", ");
        uqm_html_element(h, "bdi", NULL, json_is_array(item) ? "[...]" : text_of(&kept, item));
        free(kept);
    }
}

/* Longer ones may be broken anywhere, in a column that is wide enough. */
enum { SHORT_TEXT = 14 };

static void show_cell(struct uqm_html *h, const json_t *column, const json_t *row, bool first)
{
    const char *key = uqm_get_text(column, "key"), *error_key = uqm_get_text(column, "error");
    const json_t *v = json_object_get(row, key);
    const enum uqm_unit unit = uqm_unit_of(uqm_get_text(column, "unit"));

    uqm_html_open(h, first ? "th" : "td");
    if (first)
        uqm_html_attr(h, "scope", "row");
    char *kept = NULL;
    const char *text_value = unit == UQM_UNIT_NONE ? text_of(&kept, v) : "";
    uqm_html_attr(h, "class",
                  unit != UQM_UNIT_NONE             ? "num"
                  : strlen(text_value) > SHORT_TEXT ? "text long"
                                                    : "text");
    if (json_is_number(v) && unit != UQM_UNIT_NONE) {
        struct uqm_number_text text;
        const double error = uqm_get_number(row, error_key);
        uqm_html_text(h, uqm_unit_format(&text, unit, json_number_value(v)));
        if (isfinite(error)) {
            uqm_html_open(h, "small");
            uqm_html_textf(h, " \u00b1 %s", uqm_unit_format(&text, unit, error));
            uqm_html_close(h);
        }
    } else if (unit != UQM_UNIT_NONE) {
        uqm_html_text(h, text_of(&kept, v));
    } else {
        show_words(h, v, text_value);
    }
    free(kept);
    uqm_html_close(h);
}

static size_t longest_word(const char *text)
{
    size_t longest = 0;
    while (*text) {
        const size_t n = strcspn(text, " ");
        longest = n > longest ? n : longest;
        text += n + strspn(text + n, " ");
    }
    return longest;
}

static void show_head(struct uqm_html *h, const json_t *table)
{
    size_t i;
    json_t *column;
    uqm_html_open(h, "thead");
    uqm_html_open(h, "tr");
    json_array_foreach (json_object_get(table, "columns"), i, column) {
        const enum uqm_unit unit = uqm_unit_of(uqm_get_text(column, "unit"));
        const char *title = uqm_get_text(column, "title");
        uqm_html_open(h, "th");
        uqm_html_attr(h, "scope", "col");
        const bool is_long = longest_word(title) > SHORT_TEXT;
        if (unit != UQM_UNIT_NONE)
            uqm_html_attr(h, "class", is_long ? "num long" : "num");
        else if (is_long)
            uqm_html_attr(h, "class", "long");
        uqm_html_text(h, title);
        if (uqm_unit_title(unit)[0]) {
            uqm_html_open(h, "small");
            uqm_html_textf(h, " %s", uqm_unit_title(unit));
            uqm_html_close(h);
        }
        uqm_html_close(h);
    }
    uqm_html_close(h);
    uqm_html_close(h);
}

enum { PAPER_COLUMNS = 18 }; /* more are printed smaller */

static void show_rows(struct uqm_html *h, const json_t *table)
{
    const json_t *columns = json_object_get(table, "columns");
    size_t i, k;
    json_t *row, *column;
    uqm_html_open(h, "div");
    uqm_html_attr(h, "class", "scroll");
    uqm_html_attr(h, "tabindex", "0");
    uqm_html_attr(h, "role", "region");
    uqm_html_attrf(h, "aria-label", "table: %s", uqm_get_text(table, "title"));
    uqm_html_open(h, "table");
    if (json_array_size(columns) > PAPER_COLUMNS)
        uqm_html_attr(h, "class", "many");
    show_head(h, table);
    uqm_html_open(h, "tbody");
    json_array_foreach (json_object_get(table, "rows"), i, row) {
        uqm_html_open(h, "tr");
        if (is_set(row, "selected"))
            uqm_html_attr(h, "class", "selected");
        json_array_foreach (columns, k, column)
            show_cell(h, column, row, k == 0);
        uqm_html_close(h);
    }
    uqm_html_close(h);
    uqm_html_close(h);
    uqm_html_close(h);
}

/* The labels' memory is kept[n]. */
static void show_chart(struct uqm_html *h, const json_t *table, const json_t *chart)
{
    const json_t *rows = json_object_get(table, "rows");
    const size_t n = json_array_size(rows);
    const char *value = uqm_get_text(chart, "value"), *error = uqm_get_text(chart, "error");
    const char *name = uqm_get_text(chart, "error_name"), *axis = uqm_get_text(chart, "axis");
    const char *rule_name = uqm_get_text(chart, "rule_name");
    const double stop = uqm_get_number(chart, "stop_row");
    struct uqm_chart_row *drawn = calloc(n ? n : 1, sizeof *drawn);
    char **kept = calloc(n ? n : 1, sizeof *kept);
    if (drawn && kept) {
        for (size_t i = 0; i < n; i++) {
            const json_t *row = json_array_get(rows, i);
            drawn[i] = (struct uqm_chart_row){
                .label = text_of(&kept[i], json_object_get(row, uqm_get_text(chart, "label"))),
                .value = uqm_get_number(row, value),
                .error = uqm_get_number(row, error),
                .strong = is_set(row, "selected"),
            };
        }
        const struct uqm_row_chart c = {
            .title = uqm_get_text(chart, "title"),
            .unit = unit_of(table, value),
            .axis = axis[0] ? axis : NULL,
            .error = error[0] ? (name[0] ? name : "standard error") : NULL,
            .rows = drawn,
            .n = n,
            .line = is_set(chart, "line"),
            .bars = is_set(chart, "bars"),
            .stop_row = stop >= 1 && stop <= (double) n ? (size_t) stop : 0,
            .stop = "the stop",
            .rule = uqm_get_number(chart, "rule"),
            .rule_name = rule_name[0] ? rule_name : NULL,
        };
        uqm_chart_rows(h, &c);
    }
    for (size_t i = 0; kept && i < n; i++)
        free(kept[i]);
    free(kept);
    free(drawn);
}

static void fill_heat(struct uqm_heat_chart *c, const char **rows, const char **columns,
                      double *values, const json_t *table, const json_t *heat)
{
    const char *label = uqm_get_text(heat, "label");
    size_t i, k;
    json_t *row, *key;
    json_array_foreach (json_object_get(heat, "columns"), k, key) {
        const char *name = json_string_value(key);
        columns[k] = name ? uqm_get_text(column_of(table, name), "title") : "";
        c->unit = name ? unit_of(table, name) : UQM_UNIT_NONE;
    }
    json_array_foreach (json_object_get(table, "rows"), i, row) {
        rows[i] = uqm_get_text(row, label);
        json_array_foreach (json_object_get(heat, "columns"), k, key)
            values[i * c->n_columns + k] =
                json_is_string(key) ? uqm_get_number(row, json_string_value(key)) : (double) NAN;
    }
}

static void show_heat(struct uqm_html *h, const json_t *table, const json_t *heat)
{
    struct uqm_heat_chart c = {
        .title = uqm_get_text(heat, "title"),
        .what = uqm_get_text(heat, "what"),
        .n_rows = json_array_size(json_object_get(table, "rows")),
        .n_columns = json_array_size(json_object_get(heat, "columns")),
    };
    if (c.n_rows > UQM_CHART_MAX_ROWS || c.n_columns > UQM_CHART_MAX_COLUMNS || c.n_rows == 0 ||
        c.n_columns == 0) {
        uqm_chart_heat(h, &c);
        return;
    }
    const char **rows = calloc(c.n_rows, sizeof *rows);
    const char **columns = calloc(c.n_columns, sizeof *columns);
    double *values = calloc(c.n_rows * c.n_columns, sizeof *values);
    if (rows && columns && values) {
        fill_heat(&c, rows, columns, values, table, heat);
        c.row_labels = rows;
        c.column_labels = columns;
        c.values = values;
        uqm_chart_heat(h, &c);
    }
    free(rows);
    free(columns);
    free(values);
}

static void show_paragraph(struct uqm_html *h, const char *class_name, const char *text)
{
    if (text && text[0])
        uqm_html_element(h, "p", class_name, text);
}

void uqm_page_table(struct uqm_html *h, const json_t *table)
{
    const json_t *heat = json_object_get(table, "heat");
    const json_t *charts = json_object_get(table, "charts");
    size_t i;
    json_t *item;
    show_paragraph(h, NULL, uqm_get_text(table, "about"));
    if (json_array_size(charts) > 0 || json_is_object(heat)) {
        uqm_html_open(h, "div");
        uqm_html_attr(h, "class", "charts");
        json_array_foreach (charts, i, item)
            show_chart(h, table, item);
        if (json_is_object(heat))
            show_heat(h, table, heat);
        uqm_html_close(h);
    }
    show_rows(h, table);
    json_array_foreach (json_object_get(table, "notes"), i, item)
        show_paragraph(h, "note", json_string_value(item));
}
