/*
 * "Did you mean": the distance between what was typed and what there is. The recipe's reader has
 * one of its own (src/format/nearest.c): the program includes nothing of the library but
 * src/uqmerge.h, and what it suggests to a typist is judged by other limits.
 */
#include <string.h>

#include "tools/cli.h"

enum { MAX_LEN = 63 };

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

/* Optimal string alignment, three rows of the usual table. */
size_t cli_distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    if (n > MAX_LEN || m > MAX_LEN)
        return n > m ? n : m;

    size_t rows[3][MAX_LEN + 1];
    for (size_t j = 0; j <= m; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *row = rows[i % 3], *up = rows[(i + 2) % 3], *up2 = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t replace = up[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = min3(up[j] + 1, row[j - 1] + 1, replace);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                up2[j - 2] + 1 < row[j])
                row[j] = up2[j - 2] + 1;
        }
    }
    return rows[n % 3][m];
}

bool cli_is_near(size_t distance, const char *typed)
{
    size_t len = strlen(typed);
    size_t limit = len <= 3 ? 1 : len <= 6 ? 2 : 3;
    return distance <= limit;
}
