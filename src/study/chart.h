/*
 * Charts as inline SVG. Colours are the page's style's (classes), so that light, dark and print
 * each have their own; all are 360 units wide, what a telephone shows, and grow to half as much
 * again.
 *
 * A row chart has a label at the left of every row and a value along the horizontal axis: names of
 * any length can be read, and steps of an algorithm go down the page. What each point says in full
 * is its <title>.
 */
#ifndef UQM_STUDY_CHART_H
#define UQM_STUDY_CHART_H

#include "src/study/html.h"
#include "src/study/unit.h"

enum { UQM_CHART_MAX_ROWS = 400, UQM_CHART_MAX_COLUMNS = 40 };

struct uqm_chart_row {
    const char *label;
    double value; /* NaN: none */
    double error; /* half the bar's width; NaN or 0: no bar */
    bool strong;  /* of those that were chosen */
};

struct uqm_row_chart {
    const char *title;
    enum uqm_unit unit;
    const char *axis;  /* what the values are; NULL: the unit's name alone */
    const char *error; /* what the error bars are, for the axis; NULL: no bars */
    const struct uqm_chart_row *rows;
    size_t n;
    bool line;        /* join the values: rows are steps */
    bool bars;        /* bars from zero */
    size_t stop_row;  /* from 1; 0: none. A dashed rule before it, and ... */
    const char *stop; /* ... these words below the axis */
    double rule;      /* a value that the others are read against: a dashed rule from top to ... */
    const char *rule_name; /* ... bottom, with these words below the axis; NULL: none */
};

/* A <figure>; of more than UQM_CHART_MAX_ROWS rows, or without a value, a sentence that says so. */
void uqm_chart_rows(struct uqm_html *h, const struct uqm_row_chart *chart);

struct uqm_heat_chart {
    const char *title;
    enum uqm_unit unit;
    const char *what; /* what a cell is */
    const char *const *row_labels, *const *column_labels;
    size_t n_rows, n_columns;
    const double *values; /* [n_rows][n_columns]; NaN: none */
};
void uqm_chart_heat(struct uqm_html *h, const struct uqm_heat_chart *chart);

/* A name cut in its middle to be at most `most` hundredths of an em wide in the usual fonts, by
 * what its characters take. */
struct uqm_short_text {
    char text[256];
};
const char *uqm_shorten(struct uqm_short_text *buf, const char *name, size_t most, bool bold);

#endif
