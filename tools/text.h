/* Text for people: sizes, times, strangers' names, tables. */
#ifndef UQM_TOOLS_TEXT_H
#define UQM_TOOLS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* printf at buf + at; never beyond size. Returns the new length. */
size_t text_append(char *buf, size_t size, size_t at, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* "13.5 GB", powers of 1000; whole bytes below 1000. */
void text_bytes(char *buf, size_t size, uint64_t bytes);
/* "6.74 B", "134 M", "512" */
void text_count(char *buf, size_t size, uint64_t count);
/* "0:41", "2:05:10", "3 d 04 h" */
void text_seconds(char *buf, size_t size, double seconds);

/* A name that may come from a stranger's file, control bytes as \xNN. The caller's, for free();
 * NULL: no memory. */
char *text_printable(const char *s);
/* Prints it. */
void text_print(FILE *out, const char *s);

/*
 * A table: cells gathered first, then printed with every column as wide as its widest cell.
 * Out of memory: rows are lost and table_print says so with false.
 */
enum { TABLE_MAX_COLUMNS = 16 };
struct table {
    size_t n_columns, n_cells, room;
    char **cells;
    const char *align; /* a letter a column: 'l' or 'r'; at most 16 */
    bool failed;
};
/* titles: n_columns strings, or NULL for none. align is borrowed. */
void table_init(struct table *t, const char *align, const char *const *titles);
void table_cell(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Cells copied as they are; control bytes as \xNN. */
void table_name(struct table *t, const char *s);
/* Prints with this indent and frees. */
bool table_print(FILE *out, struct table *t, int indent);
void table_finish(struct table *t);

#endif
