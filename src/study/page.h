/*
 * One self-contained page from result documents (docs/json.md): a table and charts for each. No
 * script, no network, no font but the reader's.
 *
 * Every document first becomes tables, in the one form that `experiment` writes too:
 *
 *     {"experiment": "t4", "title", "about",
 *      "columns": [{"key", "title", "unit", "error": key}],
 *      "rows": [{key: number | text | true | false | null | [text], "selected": true}],
 *      "charts": [{"title", "label": key, "value": key, "error": key, "error_name", "axis",
 *                  "line", "bars", "stop_row", "rule": number, "rule_name": text}],
 *      "heat": {"title", "what", "label": key, "columns": [key...]},
 *      "notes": [text...],
 *      "more": [table...]}
 *
 * A column with "error" shows the value and its error; a row key that no column has is not shown. A
 * chart's rule is a value that all others are read against. "more" are tables that belong to this
 * one, shown below it; they have none of their own.
 * Units are unit.h's. Everything may come from a stranger: what is missing or of another type shows
 * as "–".
 */
#ifndef UQM_STUDY_PAGE_H
#define UQM_STUDY_PAGE_H

#include <jansson.h>

#include "src/base/err.h"
#include "src/study/html.h"
#include "src/study/unit.h"

struct uqm_page_document {
    const char *name; /* what the page calls it; UTF-8 */
    const json_t *root;
};

enum uqm_page_kind {
    UQM_PAGE_UNKNOWN,
    UQM_PAGE_UQ,
    UQM_PAGE_SELECT,
    UQM_PAGE_EVAL,
    UQM_PAGE_DIFF,
    UQM_PAGE_MERGE,        /* what merge prints */
    UQM_PAGE_MERGE_REPORT, /* uqmerge.report.json */
    UQM_PAGE_STUDY,        /* experiment.json */
    UQM_PAGE_TABLE,        /* one of its tables */
    UQM_PAGE_WORK,         /* its work.json */
};

/* By the document's keys. */
enum uqm_page_kind uqm_page_kind_of(const json_t *root);
/* "uq", "select", ...; what the page's heading says of it */
const char *uqm_page_kind_name(enum uqm_page_kind kind);

/*
 * The whole page; *text is the caller's. `title` NULL: "uqmerge report". Documents of an unknown
 * kind are UQM_ERR_FORMAT, by name.
 */
int uqm_page_make(char **text, size_t *len, const char *title,
                  const struct uqm_page_document *documents, size_t n, struct uqm_err *err);

/* --- what the page's files share --- */

/* One table with its charts, below a heading that its title is. */
void uqm_page_table(struct uqm_html *h, const json_t *table);

/* A list of tables; NULL: no memory. */
json_t *uqm_page_tables(const struct uqm_page_document *document);
/* Distances by layer, of all diffs and merge reports among the documents together: an empty list
 * without one. */
json_t *uqm_page_layers(const struct uqm_page_document *documents, size_t n);
/* What "models" (docs/json.md, uq with --method cp) say of conformal sets, which promise to miss
 * the truth of a share `alpha` (NaN: not known): tables of each model, and of each on each set. An
 * empty list where they say nothing; NULL: no memory. */
json_t *uqm_page_conformal(const json_t *models, double alpha);
/* Where time and bytes went; an empty list where no document says. */
json_t *uqm_page_work(const struct uqm_page_document *documents, size_t n);

/* Tables in the making. Each takes over what it is given; NULL is accepted and stays NULL. */
json_t *uqm_table_new(const char *experiment, const char *title, const char *about);
void uqm_table_column(json_t *table, const char *key, const char *title, const char *unit,
                      const char *error);
/* The new row, borrowed from the table; NULL: no memory, which jansson's setters accept. */
json_t *uqm_table_row(json_t *table);
void uqm_table_note(json_t *table, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
struct uqm_table_chart {
    const char *title, *label, *value, *error, *error_name, *axis;
    bool line, bars;
    size_t stop_row;
    double rule;
    const char *rule_name; /* NULL: no rule */
};
void uqm_table_chart(json_t *table, const struct uqm_table_chart *chart);

/* null for what is no finite number. */
json_t *uqm_number_json(double v);

/* Members of a stranger's object: NaN, "" where there is none. Borrowed. */
double uqm_get_number(const json_t *object, const char *key);
const char *uqm_get_text(const json_t *object, const char *key);
/* A number of things, for a sentence; "–" where there is none. */
const char *uqm_get_count(struct uqm_number_text *buf, const json_t *object, const char *key);

extern const char uqm_page_style[];

#endif
