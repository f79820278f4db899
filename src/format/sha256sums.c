#include "src/format/sha256sums.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
    const struct uqm_sum *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static void print_line(FILE *f, const struct uqm_sum *sum)
{
    if (strpbrk(sum->name, "\\\n\r"))
        putc('\\', f);
    fprintf(f, "%s  ", sum->sha256);
    for (const char *p = sum->name; *p; p++)
        switch (*p) {
        case '\\': fputs("\\\\", f); break;
        case '\n': fputs("\\n", f); break;
        case '\r': fputs("\\r", f); break;
        default: putc(*p, f);
        }
    putc('\n', f);
}

char *uqm_sha256sums_dump(struct uqm_sum *sums, size_t n)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    if (!f)
        return NULL;
    if (n > 1)
        qsort(sums, n, sizeof *sums, compare);
    for (size_t i = 0; i < n; i++)
        print_line(f, &sums[i]);
    bool failed = ferror(f);
    if (fclose(f) != 0 || failed) {
        free(text);
        return NULL;
    }
    return text;
}
