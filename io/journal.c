#include "io/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "io/journal_impl.h"
#include "src/base/bytes.h"
#include "src/base/hash.h"

static const char magic[8] = "UQMJRNL\n";
enum { VERSION = 1, HASHED_HEADER_BYTES = 56 };

/* --- bytes --- */

bool uqm_journal_reader_init(struct uqm_journal_reader *reader, const void *data, size_t n_bytes,
                             const struct uqm_job_id *job)
{
    const uint8_t *p = data;
    *reader = (struct uqm_journal_reader){ .data = p, .n_bytes = n_bytes };
    if (n_bytes < UQM_JOURNAL_HEADER_BYTES || memcmp(p, magic, sizeof magic) != 0 ||
        uqm_get_u32(p + 8) != VERSION || uqm_get_u32(p + 12) != 0 ||
        memcmp(p + 16, job->bytes, sizeof job->bytes) != 0)
        return false;
    reader->seed = uqm_get_u64(p + HASHED_HEADER_BYTES);
    reader->at = UQM_JOURNAL_HEADER_BYTES;
    return reader->seed == uqm_xxh3_64(p, HASHED_HEADER_BYTES, 0);
}

bool uqm_journal_reader_next(struct uqm_journal_reader *reader, struct uqm_record *record)
{
    const uint8_t *p = reader->data + reader->at;
    size_t left = reader->n_bytes - reader->at;
    if (left < UQM_JOURNAL_RECORD_BYTES)
        return false;
    uint32_t n = uqm_get_u32(p);
    if (n > UQM_JOURNAL_MAX_PAYLOAD || n > left - UQM_JOURNAL_RECORD_BYTES ||
        uqm_get_u64(p + 8) != reader->sequence ||
        uqm_get_u64(p + 16 + n) != uqm_xxh3_64(p, 16 + (size_t) n, reader->seed))
        return false;
    *record = (struct uqm_record){ .kind = uqm_get_u32(p + 4), .n_bytes = n, .payload = p + 16 };
    reader->at += UQM_JOURNAL_RECORD_BYTES + (size_t) n;
    reader->sequence++;
    return true;
}

/* --- the file --- */

struct uqm_journal {
    char *path;
    int fd;
    bool is_new, reading, spoilt;
    struct uqm_journal_reader found; /* at: where the next record goes */
    size_t last_at;                  /* where the record read last begins */
    uint64_t n_synced;
    uint8_t *block; /* a record being written */
    size_t block_cap;
};

static int spoil(struct uqm_journal *j, int e, const char *what, struct uqm_err *err)
{
    j->spoilt = true;
    return uqm_fail_errno_of(err, e, "%s: %s", j->path, what);
}

static int write_at(struct uqm_journal *j, const uint8_t *p, size_t n, uint64_t at,
                    struct uqm_err *err)
{
    while (n > 0) {
        ssize_t done = pwrite(j->fd, p, n, (off_t) at);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return spoil(j, done < 0 ? errno : EIO, "writing it", err);
        p += done;
        n -= (size_t) done;
        at += (uint64_t) done;
    }
    return UQM_OK;
}

int uqm_journal_sync(struct uqm_journal *journal, struct uqm_err *err)
{
    if (journal->spoilt)
        return uqm_fail(err, UQM_ERR_IO, "%s: is no longer to be trusted", journal->path);
    while (fsync(journal->fd) != 0)
        if (errno != EINTR)
            return spoil(journal, errno, "syncing it to the disk", err);
    journal->n_synced = journal->found.sequence;
    return UQM_OK;
}

/* All of it; a file too large to be ours says nothing, as one that cannot be read says nothing. */
static int read_all(struct uqm_journal *j, uint8_t **data, size_t *len, struct uqm_err *err)
{
    struct stat st;
    *data = NULL;
    *len = 0;
    if (fstat(j->fd, &st) != 0)
        return uqm_fail_errno(err, "%s", j->path);
    if (!S_ISREG(st.st_mode))
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: not a regular file", j->path);
    if (st.st_size <= 0 || (uint64_t) st.st_size > UQM_JOURNAL_MAX_BYTES)
        return UQM_OK;
    *data = malloc((size_t) st.st_size);
    if (!*data)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", j->path);
    while (*len < (size_t) st.st_size) {
        ssize_t n = pread(j->fd, *data + *len, (size_t) st.st_size - *len, (off_t) *len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        *len += (size_t) n;
    }
    return UQM_OK;
}

static int begin_anew(struct uqm_journal *j, const struct uqm_job_id *job, struct uqm_err *err)
{
    uint8_t header[UQM_JOURNAL_HEADER_BYTES] = { 0 };
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    memcpy(header, magic, sizeof magic);
    uqm_put_u32(header + 8, VERSION);
    memcpy(header + 16, job->bytes, sizeof job->bytes);
    uqm_put_u64(header + 48, (uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec);
    uint64_t seed = uqm_xxh3_64(header, HASHED_HEADER_BYTES, 0);
    uqm_put_u64(header + HASHED_HEADER_BYTES, seed);

    j->is_new = true;
    j->reading = false;
    j->found = (struct uqm_journal_reader){ .at = sizeof header, .seed = seed };
    if (ftruncate(j->fd, 0) != 0)
        return uqm_fail_errno(err, "%s", j->path);
    int ret = write_at(j, header, sizeof header, 0, err);
    return ret == UQM_OK ? uqm_journal_sync(j, err) : ret;
}

int uqm_journal_open(struct uqm_journal **out, const char *path, const struct uqm_job_id *job,
                     struct uqm_err *err)
{
    uint8_t *data = NULL;
    size_t len = 0;
    struct uqm_journal *j = calloc(1, sizeof *j);
    if (!j)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", path);
    j->path = strdup(path);
    j->fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    int ret = !j->path    ? uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", path)
              : j->fd < 0 ? uqm_fail_errno(err, "%s", path)
                          : read_all(j, &data, &len, err);
    if (ret == UQM_OK && uqm_journal_reader_init(&j->found, data, len, job)) {
        struct uqm_journal_reader ahead = j->found;
        struct uqm_record record;
        while (uqm_journal_reader_next(&ahead, &record))
            ;
        j->n_synced = ahead.sequence;
        j->reading = true;
        j->last_at = j->found.at;
    } else if (ret == UQM_OK) {
        free(data);
        data = NULL;
        ret = begin_anew(j, job, err);
    }
    if (ret < 0) {
        free(data);
        j->found.data = NULL;
        uqm_journal_close(&j);
        return ret;
    }
    *out = j;
    return UQM_OK;
}

bool uqm_journal_is_new(const struct uqm_journal *journal)
{
    return journal->is_new;
}

static void forget_data(struct uqm_journal *j)
{
    free((void *) (uintptr_t) j->found.data); /* ours: read_all() allocated it */
    j->found.data = NULL;
    j->reading = false;
}

void uqm_journal_close(struct uqm_journal **journal)
{
    struct uqm_journal *j = *journal;
    if (!j)
        return;
    forget_data(j);
    if (j->fd >= 0)
        close(j->fd);
    free(j->block);
    free(j->path);
    free(j);
    *journal = NULL;
}

bool uqm_journal_read(struct uqm_journal *journal, struct uqm_record *record)
{
    size_t at;
    do {
        at = journal->found.at;
        if (!journal->reading || !uqm_journal_reader_next(&journal->found, record))
            return false;
    } while (record->kind == UQM_RECORD_PUBLISH);
    journal->last_at = at;
    return true;
}

void uqm_journal_cut(struct uqm_journal *journal)
{
    struct uqm_journal_reader again = journal->found;
    struct uqm_record record;
    if (!journal->reading)
        return;
    again.at = UQM_JOURNAL_HEADER_BYTES;
    again.sequence = 0;
    while (again.at < journal->last_at && uqm_journal_reader_next(&again, &record))
        ;
    journal->found = again;
    journal->found.n_bytes = again.at; /* nothing more to be read */
    journal->n_synced = again.sequence;
}

bool uqm_journal_find_publish(const struct uqm_journal *journal, uint64_t *inode)
{
    struct uqm_journal_reader r = journal->found;
    struct uqm_record record;
    bool found = false;
    while (journal->reading && uqm_journal_reader_next(&r, &record))
        if (record.kind == UQM_RECORD_PUBLISH && record.n_bytes == 8) {
            *inode = uqm_get_u64(record.payload);
            found = true;
        }
    return found;
}

/* --- appending --- */

static int end_reading(struct uqm_journal *j, struct uqm_err *err)
{
    if (!j->reading)
        return UQM_OK;
    forget_data(j);
    j->n_synced = j->found.sequence;
    if (ftruncate(j->fd, (off_t) j->found.at) != 0)
        return spoil(j, errno, "cutting its end off", err);
    return UQM_OK;
}

static int append(struct uqm_journal *j, uint32_t kind, const void *payload, size_t n_bytes,
                  struct uqm_err *err)
{
    if (j->spoilt)
        return uqm_fail(err, UQM_ERR_IO, "%s: is no longer to be trusted", j->path);
    size_t n = UQM_JOURNAL_RECORD_BYTES + n_bytes;
    if (n_bytes > UQM_JOURNAL_MAX_PAYLOAD || n > UQM_JOURNAL_MAX_BYTES - j->found.at)
        return uqm_fail(err, UQM_ERR_ARG, "%s: no room for a record of %zu bytes", j->path,
                        n_bytes);
    if (n > j->block_cap) {
        uint8_t *grown = realloc(j->block, n);
        if (!grown)
            return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", j->path);
        j->block = grown;
        j->block_cap = n;
    }
    int ret = end_reading(j, err);
    if (ret < 0)
        return ret;
    uqm_put_u32(j->block, (uint32_t) n_bytes);
    uqm_put_u32(j->block + 4, kind);
    uqm_put_u64(j->block + 8, j->found.sequence);
    if (n_bytes)
        memcpy(j->block + 16, payload, n_bytes);
    uqm_put_u64(j->block + 16 + n_bytes, uqm_xxh3_64(j->block, 16 + n_bytes, j->found.seed));
    ret = write_at(j, j->block, n, j->found.at, err);
    if (ret < 0)
        return ret;
    j->found.at += n;
    j->found.sequence++;
    return UQM_OK;
}

int uqm_journal_append(struct uqm_journal *journal, uint32_t kind, const void *payload,
                       size_t n_bytes, struct uqm_err *err)
{
    assert(kind != UQM_RECORD_PUBLISH);
    return append(journal, kind, payload, n_bytes, err);
}

int uqm_journal_append_publish(struct uqm_journal *journal, uint64_t inode, struct uqm_err *err)
{
    uint8_t payload[8];
    uqm_put_u64(payload, inode);
    return append(journal, UQM_RECORD_PUBLISH, payload, sizeof payload, err);
}

bool uqm_journal_is_spoilt(const struct uqm_journal *journal)
{
    return journal->spoilt;
}

void uqm_journal_spoil(struct uqm_journal *journal)
{
    journal->spoilt = true;
}

uint64_t uqm_journal_n_records(const struct uqm_journal *journal)
{
    return journal->n_synced;
}
