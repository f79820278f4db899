/* Zip archives in memory, as torch.save writes them, with one thing at a time made wrong. */
#ifndef UQM_TESTS_ZIP_MAKER_H
#define UQM_TESTS_ZIP_MAKER_H

#include "src/format/torch_zip.h"
#include "tests/unit/test.h"

struct zip_maker {
    uint8_t bytes[4096], dir[2048];
    size_t n, n_dir, n_entries;
    /* what to do to the entries added from now on */
    unsigned flags, method;
    uint32_t crc_change;
    const char *local_name; /* NULL: the directory's */
    bool no_descriptor, with_zip64, bad_descriptor;
    size_t gap;
    /* what to do at the end */
    bool no_end64;
    const char *appended;
    unsigned disks;
};

static inline void zip_put(uint8_t *to, size_t *n, uint64_t v, size_t size)
{
    for (size_t i = 0; i < size; i++)
        to[(*n)++] = (uint8_t) (i < 8 ? v >> 8 * i : 0);
}

static inline void zip_put_bytes(uint8_t *to, size_t *n, const void *from, size_t len)
{
    memcpy(to + *n, from, len);
    *n += len;
}

static inline void zip_add(struct zip_maker *m, const char *name, const void *data, size_t len)
{
    size_t at = m->n;
    uint32_t crc = uqm_crc32(0, data, len) + m->crc_change;
    const char *local = m->local_name ? m->local_name : name;
    unsigned flags = m->flags ? m->flags : 0x808;

    zip_put(m->bytes, &m->n, 0x04034B50, 4);
    zip_put(m->bytes, &m->n, 0, 2);
    zip_put(m->bytes, &m->n, flags, 2);
    zip_put(m->bytes, &m->n, m->method, 2);
    zip_put(m->bytes, &m->n, 0, 16); /* time, crc, sizes: the descriptor has them */
    zip_put(m->bytes, &m->n, strlen(local), 2);
    zip_put(m->bytes, &m->n, 8, 2);
    zip_put_bytes(m->bytes, &m->n, local, strlen(local));
    zip_put_bytes(m->bytes, &m->n, "FB\4\0ZZZZ", 8);
    zip_put_bytes(m->bytes, &m->n, data, len);
    if (!m->no_descriptor) {
        zip_put(m->bytes, &m->n, 0x08074B50, 4);
        zip_put(m->bytes, &m->n, crc, 4);
        zip_put(m->bytes, &m->n, len, m->with_zip64 ? 8 : 4);
        zip_put(m->bytes, &m->n, len + m->bad_descriptor, m->with_zip64 ? 8 : 4);
    }
    m->n += m->gap;

    zip_put(m->dir, &m->n_dir, 0x02014B50, 4);
    zip_put(m->dir, &m->n_dir, 0, 4);
    zip_put(m->dir, &m->n_dir, flags, 2);
    zip_put(m->dir, &m->n_dir, m->method, 2);
    zip_put(m->dir, &m->n_dir, 0, 4);
    zip_put(m->dir, &m->n_dir, crc, 4);
    zip_put(m->dir, &m->n_dir, m->with_zip64 ? UINT32_MAX : len, 4);
    zip_put(m->dir, &m->n_dir, m->with_zip64 ? UINT32_MAX : len, 4);
    zip_put(m->dir, &m->n_dir, strlen(name), 2);
    zip_put(m->dir, &m->n_dir, m->with_zip64 ? 28 : 0, 2);
    zip_put(m->dir, &m->n_dir, 0, 8);
    zip_put(m->dir, &m->n_dir, 0, 2);
    zip_put(m->dir, &m->n_dir, m->with_zip64 ? UINT32_MAX : at, 4);
    zip_put_bytes(m->dir, &m->n_dir, name, strlen(name));
    if (m->with_zip64) {
        zip_put(m->dir, &m->n_dir, 1, 2);
        zip_put(m->dir, &m->n_dir, 24, 2);
        zip_put(m->dir, &m->n_dir, len, 8);
        zip_put(m->dir, &m->n_dir, len, 8);
        zip_put(m->dir, &m->n_dir, at, 8);
    }
    m->n_entries++;
}

static inline void zip_finish(struct zip_maker *m)
{
    size_t dir_at = m->n;
    zip_put_bytes(m->bytes, &m->n, m->dir, m->n_dir);
    size_t end64_at = m->n;
    if (!m->no_end64) {
        zip_put(m->bytes, &m->n, 0x06064B50, 4);
        zip_put(m->bytes, &m->n, 44, 8);
        zip_put(m->bytes, &m->n, 0, 4);
        zip_put(m->bytes, &m->n, m->disks, 8);
        zip_put(m->bytes, &m->n, m->n_entries, 8);
        zip_put(m->bytes, &m->n, m->n_entries, 8);
        zip_put(m->bytes, &m->n, m->n_dir, 8);
        zip_put(m->bytes, &m->n, dir_at, 8);
        zip_put(m->bytes, &m->n, 0x07064B50, 4);
        zip_put(m->bytes, &m->n, 0, 4);
        zip_put(m->bytes, &m->n, end64_at, 8);
        zip_put(m->bytes, &m->n, 1 + m->disks, 4);
    }
    zip_put(m->bytes, &m->n, 0x06054B50, 4);
    zip_put(m->bytes, &m->n, m->disks, 4);
    zip_put(m->bytes, &m->n, m->n_entries, 2);
    zip_put(m->bytes, &m->n, m->n_entries, 2);
    zip_put(m->bytes, &m->n, m->n_dir, 4);
    zip_put(m->bytes, &m->n, dir_at, 4);
    zip_put(m->bytes, &m->n, 0, 2);
    if (m->appended)
        zip_put_bytes(m->bytes, &m->n, m->appended, strlen(m->appended));
}

static inline void zip_add_usual(struct zip_maker *m)
{
    zip_add(m, "archive/data.pkl", "pickle", 6);
    zip_add(m, "archive/data/0", "zero", 4);
    zip_add(m, "archive/data/1", "one", 3);
    zip_add(m, "archive/version", "3\n", 2);
}

#endif
