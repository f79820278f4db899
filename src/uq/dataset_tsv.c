#include "src/uq/dataset_tsv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/format/base64.h"

enum { READ_BYTES = 1 << 16, MAX_FIELD = 1 << 20, MAX_COLUMNS = 64, MAX_PICTURE = 256 << 20 };
enum { COLUMN_OTHER = -1, COLUMN_IMAGE = -2 };

/* What the columns that are read become. */
static const struct {
    const char *column, *key;
} known[] = { { "index", "id" },
              { "question", "question" },
              { "hint", "hint" },
              { "A", "A" },
              { "B", "B" },
              { "C", "C" },
              { "D", "D" },
              { "answer", "answer" },
              { "category", "category" } };
enum { N_KNOWN = sizeof known / sizeof *known };

struct reader {
    const char *path;
    FILE *file;
    struct uqm_xxh3 *hash;
    uint8_t buffer[READ_BYTES];
    size_t n, next; /* of the buffer */
    uint64_t at;    /* of the next byte in the file */
    size_t line;
    uint64_t left; /* bytes of text that may still come */
    char *field;
    size_t len, room;
    int columns[MAX_COLUMNS]; /* index into known, or what it is */
    size_t n_columns;
    struct uqm_err *err;
};

bool uqm_is_tsv_path(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot && strcmp(dot, ".tsv") == 0;
}

static int wrong(const struct reader *r, size_t line, const char *what)
{
    return uqm_fail(r->err, UQM_ERR_FORMAT, "%s:%zu: %s", r->path, line, what);
}

/* ---- bytes ---- */

/* The next byte; EOF. */
static int get(struct reader *r)
{
    if (r->next == r->n) {
        r->n = fread(r->buffer, 1, sizeof r->buffer, r->file);
        r->next = 0;
        uqm_xxh3_update(r->hash, r->buffer, r->n);
        if (r->n == 0)
            return EOF;
    }
    r->at++;
    return r->buffer[r->next++];
}

/* Only right after a get() that was not EOF. */
static void unget(struct reader *r)
{
    r->next--;
    r->at--;
}

/* ---- fields ---- */

static int put(struct reader *r, int c)
{
    if (r->len + 1 >= r->room) {
        const size_t room = r->room ? 2 * r->room : 256;
        char *grown = realloc(r->field, room);
        if (!grown)
            return uqm_fail(r->err, UQM_ERR_NOMEM, "%s: no memory for a field", r->path);
        r->field = grown;
        r->room = room;
    }
    if (r->len >= MAX_FIELD || r->left == 0)
        return wrong(r, r->line,
                     r->left ? "a field of more than 1 MiB"
                             : "the table's text does not fit the memory");
    r->left--;
    r->field[r->len++] = (char) c;
    r->field[r->len] = '\0';
    return UQM_OK;
}

/* The rest of a field in quotes; the byte behind the closing one comes next. */
static int quoted(struct reader *r)
{
    const size_t line = r->line;
    for (;;) {
        int c = get(r);
        if (c == EOF)
            return wrong(r, line, "a field in quotes does not end");
        if (c == '"') {
            c = get(r);
            if (c != '"') {
                if (c != EOF)
                    unget(r);
                return UQM_OK;
            }
        }
        r->line += c == '\n';
        int ret = c ? put(r, c) : wrong(r, r->line, "a zero byte");
        if (ret < 0)
            return ret;
    }
}

struct extent {
    uint64_t at;
    size_t n_bytes;
};

/* A picture's field: where it lies; what is short is kept as text, too. */
static int picture(struct reader *r, struct extent *extent, int *end)
{
    int c = get(r), ret = UQM_OK;
    const bool in_quotes = c == '"';
    if (in_quotes)
        c = get(r);
    const uint64_t at = c == EOF ? r->at : r->at - 1;
    uint64_t n = 0;
    for (; c != EOF && c != '\t' && c != '\n' && c != '\r' && c != '"'; c = get(r), n++)
        if (n < 20)
            ret = ret < 0 ? ret : put(r, c);
    if (ret == UQM_OK && n > MAX_PICTURE)
        ret = wrong(r, r->line, "a picture of more than 256 MiB");
    if (ret == UQM_OK && in_quotes != (c == '"'))
        ret = wrong(r, r->line, "a picture's field does not end as it begins");
    if (in_quotes && c == '"')
        c = get(r);
    *extent = (struct extent){ at, (size_t) n };
    *end = c;
    return ret;
}

/* A field, and what ended it: a tab, a line's end, EOF. */
static int field(struct reader *r, int column, struct extent *extent, int *end)
{
    int c, ret = UQM_OK;
    r->len = 0;
    if ((ret = put(r, 0)) < 0) /* so that there is a field */
        return ret;
    r->len = 0;
    r->field[0] = '\0';
    r->left++;
    if (column == COLUMN_IMAGE) {
        ret = picture(r, extent, &c);
    } else {
        c = get(r);
        if (c == '"') {
            ret = quoted(r);
            c = get(r);
        }
        for (; ret == UQM_OK && c != EOF && c != '\t' && c != '\n' && c != '\r'; c = get(r))
            ret = c ? put(r, c) : wrong(r, r->line, "a zero byte");
    }
    if (ret == UQM_OK && c == '\r' && (c = get(r)) != '\n')
        ret = wrong(r, r->line, "a carriage return that ends no line");
    *end = c;
    return ret;
}

/* ---- rows ---- */

static int column_of(const char *name)
{
    if (strcmp(name, "image") == 0)
        return COLUMN_IMAGE;
    for (int i = 0; i < N_KNOWN; i++)
        if (strcmp(name, known[i].column) == 0)
            return i;
    return COLUMN_OTHER;
}

/* A byte order mark stands before the first field, quotes and all. */
static void pass_mark(struct reader *r)
{
    static const char mark[] = "\xef\xbb\xbf";
    if (get(r) == EOF)
        return;
    unget(r); /* the buffer holds what the file begins with */
    if (r->n - r->next >= 3 && memcmp(r->buffer + r->next, mark, 3) == 0) {
        r->next += 3;
        r->at += 3;
    }
}

static int read_header(struct reader *r)
{
    int end = '\t', ret = UQM_OK;
    bool seen[N_KNOWN + 1] = { false };
    pass_mark(r);
    while (ret == UQM_OK && end == '\t') {
        if (r->n_columns == MAX_COLUMNS)
            return wrong(r, 1, "more than 64 columns");
        ret = field(r, COLUMN_OTHER, NULL, &end);
        if (ret < 0)
            return ret;
        const int column = column_of(r->field);
        r->columns[r->n_columns++] = column;
        bool *before = column == COLUMN_OTHER   ? NULL
                       : column == COLUMN_IMAGE ? &seen[N_KNOWN]
                                                : &seen[column];
        if (before && *before)
            return wrong(r, 1, "a column's name stands twice");
        if (before)
            *before = true;
    }
    r->line++;
    return seen[1] ? ret : wrong(r, 1, "no column is called question");
}

static bool is_number(const char *text)
{
    return *text && text[strspn(text, "0123456789")] == '\0' && strlen(text) < 20;
}

static int read_row(struct reader *r, json_t *row, struct extent *extent, int *end)
{
    int ret = UQM_OK;
    for (size_t i = 0; ret == UQM_OK && i < r->n_columns; i++) {
        const int column = r->columns[i];
        ret = field(r, column, extent, end);
        if (ret < 0)
            return ret;
        if (i + 1 < r->n_columns && *end != '\t')
            return wrong(r, r->line, "the row has fewer fields than the header");
        if (column == COLUMN_IMAGE && is_number(r->field) && extent->n_bytes < 20) {
            json_object_set_new(row, "picture_of", json_string(r->field));
            extent->n_bytes = 0;
        } else if (column >= 0 && r->len > 0) {
            json_t *text = json_stringn(r->field, r->len);
            if (!text)
                return wrong(r, r->line, "a field is no UTF-8");
            json_object_set_new(row, known[column].key, text);
        }
    }
    return *end == '\t' ? wrong(r, r->line, "the row has more fields than the header") : ret;
}

/* A line without a field, which is no row. */
static int pass_empty_line(struct reader *r)
{
    int end;
    r->line++;
    return field(r, COLUMN_OTHER, NULL, &end);
}

static int read_rows(struct reader *r, uqm_tsv_row_fn give, void *ctx)
{
    int ret = read_header(r), end = 0;
    while (ret == UQM_OK) {
        int c = get(r);
        if (c == EOF)
            break;
        unget(r);
        if (c == '\n' || c == '\r') {
            ret = pass_empty_line(r);
            continue;
        }
        struct extent extent = { 0 };
        const size_t line = r->line;
        json_t *row = json_object();
        ret = row ? read_row(r, row, &extent, &end)
                  : uqm_fail(r->err, UQM_ERR_NOMEM, "%s: no memory for a row", r->path);
        if (ret == UQM_OK && json_object_size(row) + extent.n_bytes > 0)
            ret = give(ctx, row, line, extent.at, extent.n_bytes);
        json_decref(row);
        r->line++;
    }
    if (ret == UQM_OK && ferror(r->file))
        ret = uqm_fail_errno_of(r->err, EIO, "%s", r->path);
    return ret;
}

int uqm_tsv_read(const char *path, uint64_t most_bytes, uqm_tsv_row_fn row, void *ctx,
                 struct uqm_xxh3_hex *digest, struct uqm_err *err)
{
    struct reader *r = calloc(1, sizeof *r);
    int ret = UQM_OK;
    if (!r)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", path);
    *r = (struct reader){ .path = path, .line = 1, .left = most_bytes, .err = err };
    r->hash = uqm_xxh3_create();
    if (!r->hash)
        ret = uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", path);
    else if (!(r->file = fopen(path, "re")))
        ret = uqm_fail_errno(err, "%s", path);
    if (ret == UQM_OK)
        ret = read_rows(r, row, ctx);
    if (ret == UQM_OK)
        *digest = uqm_xxh3_hex(r->hash);
    if (r->file)
        fclose(r->file);
    uqm_xxh3_destroy(&r->hash);
    free(r->field);
    free(r);
    return ret;
}

/* ---- pictures ---- */

int uqm_tsv_picture(uint8_t **data, size_t *len, const char *path, uint64_t at, size_t n_bytes,
                    struct uqm_err *err)
{
    FILE *file = fopen(path, "re");
    char *text = file ? malloc(n_bytes + 1) : NULL;
    int ret = UQM_OK;
    *data = file ? malloc(uqm_base64_most(n_bytes) + 1) : NULL;
    if (!file)
        ret = uqm_fail_errno(err, "%s", path);
    else if (!*data || !text)
        ret = uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for a picture", path);
    else if (at > INT64_MAX || fseeko(file, (off_t) at, SEEK_SET) != 0 ||
             fread(text, 1, n_bytes, file) != n_bytes)
        ret = uqm_fail(err, UQM_ERR_IO, "%s: the picture at byte %" PRIu64 " cannot be read", path,
                       at);
    else if (!uqm_base64_decode(*data, len, text, n_bytes))
        ret = uqm_fail(err, UQM_ERR_FORMAT, "%s: the picture at byte %" PRIu64 " is no base64",
                       path, at);
    if (file)
        fclose(file);
    free(text);
    if (ret < 0) {
        free(*data);
        *data = NULL;
    }
    return ret;
}
