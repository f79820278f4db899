#include "src/format/torch_zip.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"
#include "src/base/utf8.h"

enum {
    END_BYTES = 22,
    LOCATOR_BYTES = 20,
    END64_BYTES = 56,
    CENTRAL_BYTES = 46,
    LOCAL_BYTES = 30,
    FLAG_DESCRIPTOR = 1 << 3,
    FLAG_UTF8 = 1 << 11,
};
#define SIG_LOCAL      0x04034B50u
#define SIG_DESCRIPTOR 0x08074B50u
#define SIG_CENTRAL    0x02014B50u
#define SIG_END64      0x06064B50u
#define SIG_LOCATOR    0x07064B50u
#define SIG_END        0x06054B50u

/* One entry of the central directory. */
struct entry {
    const char *name; /* with the root */
    size_t name_len;
    unsigned flags;
    uint32_t crc;
    uint64_t n_bytes;
    uint64_t header_at, data_at;
};

struct reader {
    const struct uqm_zip_input *in;
    struct uqm_err *err;
    uint64_t dir_at, dir_bytes, n_entries;
    struct entry *entries;
    size_t root_len; /* of entries[0].name, without the slash */
    struct uqm_torch_zip zip;
};

static uint16_t u16(const uint8_t *p)
{
    return (uint16_t) (p[0] | p[1] << 8);
}

static uint32_t u32(const uint8_t *p)
{
    return u16(p) | (uint32_t) u16(p + 2) << 16;
}

static uint64_t u64(const uint8_t *p)
{
    return u32(p) | (uint64_t) u32(p + 4) << 32;
}

__attribute__((format(printf, 3, 4), cold)) static int
fail_entry(struct reader *r, const struct entry *e, const char *fmt, ...)
{
    struct uqm_printable shown;
    char what[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return uqm_fail(r->err, UQM_ERR_FORMAT, "record %s: %s",
                    uqm_printable(&shown, e->name, e->name_len), what);
}

static int no_memory(struct reader *r)
{
    return uqm_fail(r->err, UQM_ERR_NOMEM, "no memory for the archive's directory");
}

/* A read that the file's size allows; `what` is cut off where it does not. */
static int read_at(struct reader *r, void *buf, size_t len, uint64_t at, const char *what)
{
    uint64_t end;
    if (!uqm_add_u64(&end, at, len) || end > r->in->size_bytes)
        return uqm_fail(r->err, UQM_ERR_FORMAT, "%s lies outside the file; is it cut short?", what);
    return r->in->read(r->in->ctx, buf, len, at, r->err);
}

/* --- what kind of file it is --- */

static int check_kind(struct reader *r)
{
    static const uint8_t legacy[] = { 0x80, 0x02, 0x8A, 0x0A, 0x6C, 0xFC, 0x9C, 0x46,
                                      0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19, 0x2E };
    uint8_t head[264] = { 0 };
    size_t n = (size_t) uqm_min_u64(sizeof head, r->in->size_bytes);
    int ret = read_at(r, head, n, 0, "the beginning");
    if (ret < 0)
        return ret;

    if (n >= 4 && u32(head) == SIG_LOCAL)
        return UQM_OK;
    if (n >= sizeof legacy && memcmp(head, legacy, sizeof legacy) == 0)
        return uqm_fail(r->err, UQM_ERR_UNSUPPORTED,
                        "PyTorch's legacy format, from before version 1.6, which is no archive");
    if (memcmp(head + 257, "ustar", 5) == 0)
        return uqm_fail(r->err, UQM_ERR_UNSUPPORTED,
                        "a tar archive, PyTorch's oldest format; load it there and save it again "
                        "with torch 1.6 or newer");
    return uqm_fail(r->err, UQM_ERR_FORMAT,
                    "not a zip archive as torch.save writes it (1.6 or newer)");
}

/* --- the end records --- */

/* The ZIP64 end record, whose numbers stand for those of the old one. */
static int read_end64(struct reader *r, const uint8_t *locator, const uint8_t *end,
                      uint64_t locator_at)
{
    uint8_t e[END64_BYTES];
    uint64_t at = u64(locator + 8);

    if (u32(locator + 4) != 0 || u32(locator + 16) != 1)
        return uqm_fail(r->err, UQM_ERR_FORMAT, "the archive spans several disks");
    if (locator_at < END64_BYTES || at != locator_at - END64_BYTES)
        return uqm_fail(r->err, UQM_ERR_FORMAT,
                        "the ZIP64 end record is not where its locator says");
    int ret = read_at(r, e, sizeof e, at, "the ZIP64 end record");
    if (ret < 0)
        return ret;
    if (u32(e) != SIG_END64 || u64(e + 4) != END64_BYTES - 12)
        return uqm_fail(r->err, UQM_ERR_FORMAT, "the ZIP64 end record is damaged");
    if (u32(e + 16) != 0 || u32(e + 20) != 0 || u64(e + 24) != u64(e + 32))
        return uqm_fail(r->err, UQM_ERR_FORMAT, "the archive spans several disks");

    r->n_entries = u64(e + 32);
    r->dir_bytes = u64(e + 40);
    r->dir_at = u64(e + 48);
    if ((u16(end + 10) != 0xFFFF && u16(end + 10) != r->n_entries) ||
        (u32(end + 12) != UINT32_MAX && u32(end + 12) != r->dir_bytes) ||
        (u32(end + 16) != UINT32_MAX && u32(end + 16) != r->dir_at))
        return uqm_fail(r->err, UQM_ERR_FORMAT, "the two end records contradict each other");
    return UQM_OK;
}

static int read_end(struct reader *r)
{
    uint8_t tail[LOCATOR_BYTES + END_BYTES], *end = tail + LOCATOR_BYTES;
    uint64_t size = r->in->size_bytes;
    if (size < sizeof tail)
        return uqm_fail(r->err, UQM_ERR_FORMAT, "%" PRIu64 " bytes are too few for an archive",
                        size);
    int ret = read_at(r, tail, sizeof tail, size - sizeof tail, "the end record");
    if (ret < 0)
        return ret;
    if (u32(end) != SIG_END || u16(end + 20) != 0)
        return uqm_fail(r->err, UQM_ERR_FORMAT,
                        "no end record in the last 22 bytes; the file is cut short, or something "
                        "was appended to it");
    if (u16(end + 4) != 0 || u16(end + 6) != 0 || u16(end + 8) != u16(end + 10))
        return uqm_fail(r->err, UQM_ERR_FORMAT, "the archive spans several disks");

    uint64_t dir_end = size - END_BYTES;
    if (u32(tail) == SIG_LOCATOR) {
        ret = read_end64(r, tail, end, size - sizeof tail);
        if (ret < 0)
            return ret;
        dir_end = size - sizeof tail - END64_BYTES;
    } else {
        r->n_entries = u16(end + 10);
        r->dir_bytes = u32(end + 12);
        r->dir_at = u32(end + 16);
    }
    uint64_t sum;
    if (!uqm_add_u64(&sum, r->dir_at, r->dir_bytes) || sum != dir_end)
        return uqm_fail(r->err, UQM_ERR_FORMAT,
                        "the archive's directory does not end where the end record begins");
    if (r->n_entries > UQM_ZIP_MAX_ENTRIES || r->dir_bytes > UQM_ZIP_MAX_DIRECTORY_BYTES)
        return uqm_fail(r->err, UQM_ERR_FORMAT, "a directory of %" PRIu64 " entries, above %d",
                        r->n_entries, UQM_ZIP_MAX_ENTRIES);
    if (r->n_entries == 0 || r->n_entries > r->dir_bytes / CENTRAL_BYTES)
        return uqm_fail(r->err, UQM_ERR_FORMAT,
                        "%" PRIu64 " entries in a directory of %" PRIu64 " bytes", r->n_entries,
                        r->dir_bytes);
    return UQM_OK;
}

/* --- the central directory --- */

/* The 64-bit values of extra field 1: only those whose 32-bit field is all ones, in this order. */
static int read_zip64_extra(struct reader *r, const struct entry *e, const uint8_t *extra,
                            size_t len, uint64_t *const *fields, size_t n_fields)
{
    bool seen = false;
    for (size_t at = 0; at < len;) {
        if (len - at < 4 || len - at - 4 < u16(extra + at + 2))
            return fail_entry(r, e, "a malformed extra field");
        size_t n = u16(extra + at + 2), want = 0;
        const uint8_t *p = extra + at + 4;
        at += 4 + n;
        if (u16(p - 4) != 1)
            continue;
        if (seen)
            return fail_entry(r, e, "two ZIP64 fields");
        seen = true;
        for (size_t f = 0; f < n_fields; f++) {
            if (*fields[f] != UINT32_MAX)
                continue;
            if (n - want < 8)
                return fail_entry(r, e, "a ZIP64 field that is too short");
            *fields[f] = u64(p + want);
            want += 8;
        }
        if (want != n)
            return fail_entry(r, e, "a ZIP64 field of the wrong length");
    }
    return UQM_OK;
}

/* A relative path whose components are plain. */
static const char *fault_of_name(const char *s, size_t len)
{
    if (!uqm_utf8_valid((const uint8_t *) s, len))
        return "the name is not UTF-8";
    size_t start = 0;
    for (size_t i = 0; i <= len; i++) {
        if (i < len && ((unsigned char) s[i] < 0x20 || s[i] == '\\' || s[i] == ':'))
            return "the name has a character no record's has";
        if (i < len && s[i] != '/')
            continue;
        size_t n = i - start;
        if (n == 0 || (n == 1 && s[start] == '.') ||
            (n == 2 && s[start] == '.' && s[start + 1] == '.'))
            return "the name is a path that leaves the archive";
        start = i + 1;
    }
    return memchr(s, '/', len) ? NULL : "the name has no root folder";
}

/* A record that only a TorchScript archive has. */
static bool is_of_torchscript(const struct entry *e)
{
    const char *name = strchr(e->name, '/');
    return name && (strcmp(name, "/constants.pkl") == 0 || strncmp(name, "/code/", 6) == 0);
}

static int check_entry(struct reader *r, const struct entry *e, const uint8_t *c, uint64_t packed)
{
    const char *fault = fault_of_name(e->name, e->name_len);
    if (fault)
        return fail_entry(r, e, "%s", fault);
    if (is_of_torchscript(e))
        return uqm_fail(r->err, UQM_ERR_UNSUPPORTED,
                        "a TorchScript archive, which is a program; save the model's state_dict() "
                        "instead");
    if (e->flags & 1)
        return fail_entry(r, e, "encrypted");
    if (e->flags & ~(unsigned) (FLAG_DESCRIPTOR | FLAG_UTF8))
        return fail_entry(r, e, "zip flags 0x%04x, which torch never sets", e->flags);
    if (u16(c + 10) != 0)
        return fail_entry(r, e, "compressed (method %u); torch stores its records as they are",
                          u16(c + 10));
    if (u16(c + 32) != 0 || u16(c + 34) != 0)
        return fail_entry(r, e, "a comment or another disk");
    if (packed != e->n_bytes)
        return fail_entry(r, e, "stored, but %" PRIu64 " bytes become %" PRIu64, packed,
                          e->n_bytes);
    return UQM_OK;
}

/* One entry at `c`, of which `left` bytes remain; *used of them are its own. */
static int read_central(struct reader *r, struct entry *e, const uint8_t *c, size_t left,
                        size_t *used)
{
    *e = (struct entry){ .name = "?", .name_len = 1 };
    if (left < CENTRAL_BYTES || u32(c) != SIG_CENTRAL)
        return uqm_fail(r->err, UQM_ERR_FORMAT, "the archive's directory is damaged");
    size_t n_name = u16(c + 28), n_extra = u16(c + 30);
    if (left - CENTRAL_BYTES < n_name + n_extra)
        return uqm_fail(r->err, UQM_ERR_FORMAT, "the archive's directory is damaged");
    *used = CENTRAL_BYTES + n_name + n_extra;

    e->name = uqm_arena_strndup(&r->zip.arena, (const char *) c + CENTRAL_BYTES, n_name);
    if (!e->name)
        return no_memory(r);
    e->name_len = n_name;
    e->flags = u16(c + 8);
    e->crc = u32(c + 16);
    e->n_bytes = u32(c + 24);
    e->header_at = u32(c + 42);
    uint64_t packed = u32(c + 20);
    uint64_t *const fields[] = { &e->n_bytes, &packed, &e->header_at };
    int ret = read_zip64_extra(r, e, c + CENTRAL_BYTES + n_name, n_extra, fields, 3);
    return ret < 0 ? ret : check_entry(r, e, c, packed);
}

static int read_directory(struct reader *r)
{
    size_t size = (size_t) r->dir_bytes, at = 0, used = 0;
    uint8_t *dir = malloc(size);
    r->entries = calloc((size_t) r->n_entries, sizeof *r->entries);
    if (!dir || !r->entries) {
        free(dir);
        return no_memory(r);
    }
    int ret = read_at(r, dir, size, r->dir_at, "the archive's directory");
    for (size_t i = 0; ret >= 0 && i < r->n_entries; i++) {
        ret = read_central(r, &r->entries[i], dir + at, size - at, &used);
        if (ret >= 0)
            at += used;
    }
    if (ret >= 0 && at != size)
        ret = uqm_fail(r->err, UQM_ERR_FORMAT,
                       "%zu bytes of the archive's directory belong to no entry", size - at);
    free(dir);
    return ret;
}

/* --- the local headers --- */

/* A local field says 0 (the descriptor follows), all ones (ZIP64), or what the directory says. */
static bool agrees(uint32_t local, uint64_t central)
{
    return local == 0 || local == UINT32_MAX || local == central;
}

/* Find where the data begins; everything the two headers both say must agree. */
static int read_local(struct reader *r, struct entry *e)
{
    uint8_t h[LOCAL_BYTES];
    int ret = read_at(r, h, sizeof h, e->header_at, "a record's header");
    if (ret < 0)
        return ret;
    if (u32(h) != SIG_LOCAL)
        return fail_entry(r, e, "no header where the directory says");
    size_t n_name = u16(h + 26), n_extra = u16(h + 28);
    if (u16(h + 6) != e->flags || u16(h + 8) != 0)
        return fail_entry(r, e, "the header's flags or method are not the directory's");
    if (!agrees(u32(h + 14), e->crc) || !agrees(u32(h + 18), e->n_bytes) ||
        !agrees(u32(h + 22), e->n_bytes))
        return fail_entry(r, e, "the header's size or CRC is not the directory's");
    if (n_name != e->name_len)
        return fail_entry(r, e, "the header's name is not the directory's");
    char *name = malloc(n_name + 1);
    if (!name)
        return no_memory(r);
    ret = read_at(r, name, n_name, e->header_at + LOCAL_BYTES, "a record's name");
    if (ret >= 0 && memcmp(name, e->name, n_name) != 0)
        ret = fail_entry(r, e, "the header's name is not the directory's");
    free(name);
    e->data_at = e->header_at + LOCAL_BYTES + n_name + n_extra; /* header_at is inside the file */
    return ret;
}

/* The descriptor behind an entry's data, sizes of 4 or of 8 bytes. *end is where it ends. */
static int read_descriptor(struct reader *r, const struct entry *e, uint64_t *end, uint64_t next)
{
    uint8_t d[24];
    uint64_t n = next - *end;
    if (n != 16 && n != 24)
        return fail_entry(r, e, "%" PRIu64 " bytes between it and the next record", n);
    int ret = read_at(r, d, (size_t) n, *end, "a record's descriptor");
    if (ret < 0)
        return ret;
    uint64_t packed = n == 16 ? u32(d + 8) : u64(d + 8);
    uint64_t plain = n == 16 ? u32(d + 12) : u64(d + 16);
    if (u32(d) != SIG_DESCRIPTOR || u32(d + 4) != e->crc || packed != e->n_bytes ||
        plain != e->n_bytes)
        return fail_entry(r, e, "its descriptor is not the directory's");
    *end = next;
    return UQM_OK;
}

static int compare_places(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return (x->header_at > y->header_at) - (x->header_at < y->header_at);
}

/* In file order the entries fill the file from its first byte to the directory. */
static int check_places(struct reader *r)
{
    size_t n = (size_t) r->n_entries;
    int ret = UQM_OK;

    qsort(r->entries, n, sizeof *r->entries, compare_places);
    if (r->entries[0].header_at != 0)
        return fail_entry(r, &r->entries[0], "%" PRIu64 " bytes before the first record",
                          r->entries[0].header_at);
    for (size_t i = 0; ret >= 0 && i < n; i++) {
        struct entry *e = &r->entries[i];
        uint64_t next = i + 1 < n ? r->entries[i + 1].header_at : r->dir_at, end;
        ret = read_local(r, e);
        if (ret < 0)
            return ret;
        if (!uqm_add_u64(&end, e->data_at, e->n_bytes) || end > next)
            return fail_entry(r, e, "overlaps what follows it");
        if (e->flags & FLAG_DESCRIPTOR)
            ret = read_descriptor(r, e, &end, next);
        else if (end != next)
            ret = fail_entry(r, e, "%" PRIu64 " bytes between it and the next record", next - end);
    }
    return ret;
}

/* --- the records --- */

static int compare_records(const void *a, const void *b)
{
    const struct uqm_zip_record *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* The part of the name below the one root that all entries share. */
static int below_root(struct reader *r, const char **out, const struct entry *e)
{
    const struct entry *first = &r->entries[0];
    size_t n = (size_t) ((const char *) memchr(e->name, '/', e->name_len) - e->name);
    if (e == first)
        r->root_len = n;
    if (n != r->root_len || memcmp(e->name, first->name, n) != 0)
        return fail_entry(r, e, "a second root folder in the archive");
    *out = e->name + n + 1;
    return UQM_OK;
}

static int collect_records(struct reader *r)
{
    size_t n = (size_t) r->n_entries;
    struct uqm_zip_record *records = uqm_arena_alloc(&r->zip.arena, n, sizeof *records);
    if (!records)
        return no_memory(r);
    r->zip.records = records;
    r->zip.n_records = n;
    for (size_t i = 0; i < n; i++) {
        const struct entry *e = &r->entries[i];
        records[i] = (struct uqm_zip_record){ NULL, e->data_at, e->n_bytes, e->crc };
        int ret = below_root(r, &records[i].name, e);
        if (ret < 0)
            return ret;
    }
    qsort(records, n, sizeof *records, compare_records);
    for (size_t i = 1; i < n; i++) {
        struct uqm_printable shown;
        if (compare_records(&records[i - 1], &records[i]) == 0)
            return uqm_fail(r->err, UQM_ERR_FORMAT, "record %s: the archive has two of this name",
                            uqm_printable(&shown, records[i].name, strlen(records[i].name)));
    }
    if (!uqm_torch_zip_find(&r->zip, "data.pkl"))
        return uqm_fail(r->err, UQM_ERR_FORMAT, "no record data.pkl: not a file of torch.save");
    return UQM_OK;
}

int uqm_torch_zip_open(struct uqm_torch_zip *out, const struct uqm_zip_input *input,
                       struct uqm_err *err)
{
    struct reader r = { .in = input, .err = err };
    int ret = check_kind(&r);
    if (ret >= 0)
        ret = read_end(&r);
    if (ret >= 0)
        ret = read_directory(&r);
    if (ret >= 0)
        ret = check_places(&r);
    if (ret >= 0)
        ret = collect_records(&r);
    free(r.entries);
    if (ret < 0)
        uqm_torch_zip_finish(&r.zip);
    else
        *out = r.zip;
    return ret;
}

void uqm_torch_zip_finish(struct uqm_torch_zip *zip)
{
    uqm_arena_finish(&zip->arena);
    *zip = (struct uqm_torch_zip){ 0 };
}

const struct uqm_zip_record *uqm_torch_zip_find(const struct uqm_torch_zip *zip, const char *name)
{
    struct uqm_zip_record key = { .name = name };
    return bsearch(&key, zip->records, zip->n_records, sizeof key, compare_records);
}

uint32_t uqm_crc32(uint32_t crc, const uint8_t *bytes, size_t len)
{
    uint32_t table[16]; /* of half bytes: small records only, no table to keep */
    for (uint32_t i = 0; i < 16; i++) {
        uint32_t c = i;
        for (int k = 0; k < 4; k++)
            c = c & 1 ? c >> 1 ^ 0xEDB88320u : c >> 1;
        table[i] = c;
    }
    crc = ~crc;
    for (size_t i = 0; i < len; i++) {
        crc ^= bytes[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

int uqm_torch_zip_read(uint8_t **out, const struct uqm_zip_record *record,
                       const struct uqm_zip_input *input, size_t max_bytes, struct uqm_err *err)
{
    if (record->n_bytes > max_bytes)
        return uqm_fail(err, UQM_ERR_FORMAT, "record %s: %" PRIu64 " bytes, above the limit of %zu",
                        record->name, record->n_bytes, max_bytes);
    size_t len = (size_t) record->n_bytes;
    uint8_t *bytes = malloc(len + 1);
    if (!bytes)
        return uqm_fail(err, UQM_ERR_NOMEM, "record %s: no memory for %zu bytes", record->name,
                        len);
    int ret = input->read(input->ctx, bytes, len, record->begin, err);
    if (ret >= 0 && !input->ignore_crc && uqm_crc32(0, bytes, len) != record->crc)
        ret = uqm_fail(err, UQM_ERR_FORMAT,
                       "record %s: its CRC-32 is not the one the archive gives: damaged, or "
                       "written without checksums; --ignore-crc reads it all the same",
                       record->name);
    if (ret < 0)
        free(bytes);
    else
        *out = bytes;
    return ret;
}
