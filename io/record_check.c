#include "io/record_check.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"

struct record {
    char *name;
    uint64_t begin, end;
    uint32_t crc;
    uint64_t at;     /* up to where it was read in one go, or begin */
    uint32_t so_far; /* of [begin, at) */
};

struct uqm_record_check {
    struct record *records;
    size_t n, cap;
    bool sorted;
    pthread_mutex_t lock;
    uint32_t table[8][256];
};

/* table[0] is of one byte, table[k] of a byte with k zero bytes behind it. */
static void make_table(uint32_t table[8][256])
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? c >> 1 ^ 0xEDB88320u : c >> 1;
        table[0][i] = c;
    }
    for (int k = 1; k < 8; k++)
        for (int i = 0; i < 256; i++)
            table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 255];
}

/* Eight bytes at a time, each through the table of its distance from the last. */
static uint32_t crc32_of(const uint32_t t[8][256], uint32_t crc, const uint8_t *p, size_t n)
{
    crc = ~crc;
    for (; n >= 8; p += 8, n -= 8) {
        uint32_t low =
            crc ^ (p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16 | (uint32_t) p[3] << 24);
        crc = t[7][low & 255] ^ t[6][low >> 8 & 255] ^ t[5][low >> 16 & 255] ^ t[4][low >> 24] ^
              t[3][p[4]] ^ t[2][p[5]] ^ t[1][p[6]] ^ t[0][p[7]];
    }
    for (; n > 0; p++, n--)
        crc = crc >> 8 ^ t[0][(crc ^ *p) & 255];
    return ~crc;
}

int uqm_record_check_create(struct uqm_record_check **out, size_t n_records, struct uqm_err *err)
{
    struct uqm_record_check *c = calloc(1, sizeof *c);
    if (c)
        c->records = calloc(n_records + 1, sizeof *c->records);
    if (!c || !c->records) {
        free(c);
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for the records' checksums");
    }
    c->cap = n_records;
    pthread_mutex_init(&c->lock, NULL);
    make_table(c->table);
    *out = c;
    return UQM_OK;
}

int uqm_record_check_add(struct uqm_record_check *check, const char *name, uint64_t begin,
                         uint64_t n_bytes, uint32_t crc, struct uqm_err *err)
{
    if (n_bytes == 0 || check->n == check->cap)
        return UQM_OK;
    char *copy = strdup(name);
    if (!copy)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for the records' checksums");
    check->records[check->n++] = (struct record){
        .name = copy, .begin = begin, .end = begin + n_bytes, .crc = crc, .at = begin
    };
    check->sorted = false;
    return UQM_OK;
}

static int compare_places(const void *a, const void *b)
{
    const struct record *x = a, *y = b;
    return (x->begin > y->begin) - (x->begin < y->begin);
}

/* The record that holds the byte, or NULL. */
static struct record *find(struct uqm_record_check *c, uint64_t at)
{
    size_t low = 0, high = c->n;
    if (!c->sorted)
        qsort(c->records, c->n, sizeof *c->records, compare_places);
    c->sorted = true;
    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;
        if (c->records[mid].begin <= at)
            low = mid;
        else
            high = mid;
    }
    struct record *r = c->n ? &c->records[low] : NULL;
    return r && r->begin <= at && at < r->end ? r : NULL;
}

static int feed(struct uqm_record_check *c, struct record *r, const char *file_name,
                const uint8_t *bytes, size_t len, uint64_t off_bytes, struct uqm_err *err)
{
    if (off_bytes == r->begin) {
        r->at = r->begin;
        r->so_far = 0;
    }
    if (off_bytes != r->at)
        return UQM_OK;
    len = (size_t) uqm_min_u64(len, r->end - r->at);
    r->so_far = crc32_of((const uint32_t(*)[256]) c->table, r->so_far, bytes, len);
    r->at += len;
    if (r->at < r->end)
        return UQM_OK;
    r->at = r->begin;
    if (r->so_far == r->crc)
        return UQM_OK;
    struct uqm_printable shown;
    return uqm_fail(err, UQM_ERR_FORMAT,
                    "%s: record %s: its CRC-32 is not the one the archive gives: damaged, or "
                    "written without checksums; --ignore-crc reads it all the same",
                    file_name, uqm_printable(&shown, r->name, strlen(r->name)));
}

int uqm_record_check_feed(struct uqm_record_check *check, const char *file_name, const void *bytes,
                          size_t len, uint64_t off_bytes, struct uqm_err *err)
{
    int ret = UQM_OK;
    pthread_mutex_lock(&check->lock);
    struct record *r = find(check, off_bytes);
    if (r)
        ret = feed(check, r, file_name, bytes, len, off_bytes, err);
    pthread_mutex_unlock(&check->lock);
    return ret;
}

void uqm_record_check_destroy(struct uqm_record_check **check)
{
    struct uqm_record_check *c = *check;
    if (!c)
        return;
    for (size_t i = 0; i < c->n; i++)
        free(c->records[i].name);
    pthread_mutex_destroy(&c->lock);
    free(c->records);
    free(c);
    *check = NULL;
}
