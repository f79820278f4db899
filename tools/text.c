#include "tools/text.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

size_t text_append(char *buf, size_t size, size_t at, const char *fmt, ...)
{
    va_list ap;
    if (at >= size)
        return at;
    va_start(ap, fmt);
    int n = vsnprintf(buf + at, size - at, fmt, ap);
    va_end(ap);
    if (n < 0)
        return at;
    size_t end = at + (size_t) n;
    return end < size ? end : size - 1;
}

static void scaled(char *buf, size_t size, uint64_t x, const char *const *units, const char *whole)
{
    double v = (double) x;
    if (x < 1000) {
        snprintf(buf, size, "%llu%s", (unsigned long long) x, whole);
        return;
    }
    size_t i = 0;
    /* 999.5 would print as 1000. */
    for (v /= 1000.0; v >= 999.5 && units[i + 1]; i++)
        v /= 1000.0;
    snprintf(buf, size, "%.*f %s", v < 9.995 ? 2 : v < 99.95 ? 1 : 0, v, units[i]);
}

void text_bytes(char *buf, size_t size, uint64_t bytes)
{
    static const char *const units[] = { "kB", "MB", "GB", "TB", "PB", NULL };
    scaled(buf, size, bytes, units, " B");
}

void text_count(char *buf, size_t size, uint64_t count)
{
    static const char *const units[] = { "k", "M", "B", "T", NULL };
    scaled(buf, size, count, units, "");
}

void text_seconds(char *buf, size_t size, double seconds)
{
    if (!(seconds >= 0.0) || seconds > 1e9) {
        snprintf(buf, size, "?");
        return;
    }
    long s = (long) (seconds + 0.5);
    if (s >= 86400)
        snprintf(buf, size, "%ld d %02ld h", s / 86400, s / 3600 % 24);
    else if (s >= 3600)
        snprintf(buf, size, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(buf, size, "%ld:%02ld", s / 60, s % 60);
}

static bool is_control(const unsigned char *s)
{
    /* C0, DEL, and C1 as UTF-8 spells it: a terminal would obey them. */
    return s[0] < 0x20 || s[0] == 0x7f || (s[0] == 0xc2 && s[1] >= 0x80 && s[1] < 0xa0);
}

char *text_printable(const char *s)
{
    char *out = malloc(4 * strlen(s) + 1), *to = out;
    if (!out)
        return NULL;
    for (const unsigned char *p = (const unsigned char *) s; *p; p++) {
        if (is_control(p))
            to += sprintf(to, "\\x%02x", *p);
        else
            *to++ = (char) *p;
    }
    *to = 0;
    return out;
}

void text_print(FILE *out, const char *s)
{
    char *text = text_printable(s);
    fputs(text ? text : "?", out);
    free(text);
}

static void take(struct table *t, char *cell)
{
    if (t->n_cells == t->room) {
        size_t room = t->room ? 2 * t->room : 64;
        char **cells = realloc(t->cells, room * sizeof *cells);
        if (cells) {
            t->cells = cells;
            t->room = room;
        }
    }
    if (!cell || t->n_cells == t->room) {
        t->failed = true;
        free(cell);
        return;
    }
    t->cells[t->n_cells++] = cell;
}

void table_init(struct table *t, const char *align, const char *const *titles)
{
    memset(t, 0, sizeof *t);
    t->align = align;
    t->n_columns = strlen(align);
    for (size_t i = 0; titles && i < t->n_columns; i++)
        take(t, strdup(titles[i]));
}

void table_cell(struct table *t, const char *fmt, ...)
{
    char *cell = NULL;
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&cell, fmt, ap) < 0)
        cell = NULL;
    va_end(ap);
    take(t, cell);
}

void table_name(struct table *t, const char *s)
{
    take(t, text_printable(s));
}

/* Characters, not bytes: continuation bytes take no room. */
static size_t width(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += (*s & 0xc0) != 0x80;
    return n;
}

static void print_cell(FILE *out, const char *s, char align, size_t column, bool last)
{
    int pad = (int) (column - width(s));
    if (align == 'r')
        fprintf(out, "%*s%s", pad, "", s);
    else if (last)
        fputs(s, out);
    else
        fprintf(out, "%s%*s", s, pad, "");
}

static void measure(size_t *widths, const struct table *t)
{
    memset(widths, 0, TABLE_MAX_COLUMNS * sizeof *widths);
    for (size_t i = 0; i < t->n_cells; i++) {
        size_t w = width(t->cells[i]), column = i % t->n_columns;
        widths[column] = w > widths[column] ? w : widths[column];
    }
}

/* Columns of a row up to its last cell that is not empty: no line ends in blanks. */
static size_t used_columns(const struct table *t, size_t row)
{
    size_t n = t->n_columns;
    while (n > 0 && !t->cells[row * t->n_columns + n - 1][0])
        n--;
    return n;
}

bool table_print(FILE *out, struct table *t, int indent)
{
    size_t widths[TABLE_MAX_COLUMNS];
    measure(widths, t);
    for (size_t row = 0; row < t->n_cells / t->n_columns; row++) {
        const size_t used = used_columns(t, row);
        for (size_t column = 0; column < used; column++) {
            fprintf(out, "%*s", column ? 2 : indent, "");
            print_cell(out, t->cells[row * t->n_columns + column], t->align[column], widths[column],
                       column + 1 == used);
        }
        fputc('\n', out);
    }
    bool ok = !t->failed;
    table_finish(t);
    return ok;
}

void table_finish(struct table *t)
{
    for (size_t i = 0; i < t->n_cells; i++)
        free(t->cells[i]);
    free(t->cells);
    memset(t, 0, sizeof *t);
}
