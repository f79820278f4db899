/* What a job is: io/journal.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "io/journal.h"
#include "src/base/bytes.h"
#include "src/base/hash.h"

enum { LAYOUT_VERSION = 1 }; /* of what journals say, whatever the program's version */

struct uqm_job {
    struct uqm_sha256 *sha256;
};

struct uqm_job *uqm_job_create(const char *what, const char *program_version)
{
    struct uqm_job *job = calloc(1, sizeof *job);
    if (!job)
        return NULL;
    job->sha256 = uqm_sha256_create();
    if (!job->sha256) {
        free(job);
        return NULL;
    }
    uqm_job_add_text(job, what);
    uqm_job_add_text(job, program_version);
    uqm_job_add_u64(job, LAYOUT_VERSION);
    return job;
}

void uqm_job_add(struct uqm_job *job, const void *data, size_t n_bytes)
{
    uint8_t len[8];
    uqm_put_u64(len, n_bytes);
    uqm_sha256_update(job->sha256, len, sizeof len);
    uqm_sha256_update(job->sha256, data, n_bytes);
}

void uqm_job_add_text(struct uqm_job *job, const char *text)
{
    static const uint8_t none[8] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
    if (text)
        uqm_job_add(job, text, strlen(text));
    else /* a length that no field has */
        uqm_sha256_update(job->sha256, none, sizeof none);
}

void uqm_job_add_u64(struct uqm_job *job, uint64_t value)
{
    uint8_t bytes[8];
    uqm_put_u64(bytes, value);
    uqm_job_add(job, bytes, sizeof bytes);
}

static void add_time(struct uqm_job *job, const struct timespec *t)
{
    uqm_job_add_u64(job, (uint64_t) t->tv_sec);
    uqm_job_add_u64(job, (uint64_t) t->tv_nsec);
}

void uqm_job_add_file(struct uqm_job *job, const struct uqm_file *file)
{
    uqm_job_add_u64(job, file->size_bytes);
    if (!file->ops) /* a made file's is its alone, and another in the next run */
        uqm_job_add_u64(job, (uint64_t) file->stat.st_ino);
    add_time(job, &file->stat.st_mtim);
    add_time(job, &file->stat.st_ctim);
}

struct uqm_job_id uqm_job_id(struct uqm_job *job)
{
    struct uqm_job_id id;
    struct uqm_sha256_digest digest = uqm_sha256_digest(job->sha256);
    static_assert(sizeof id.bytes == sizeof digest.bytes, "a job id is a SHA-256");
    memcpy(id.bytes, digest.bytes, sizeof id.bytes);
    return id;
}

void uqm_job_destroy(struct uqm_job **job)
{
    if (!*job)
        return;
    uqm_sha256_destroy(&(*job)->sha256);
    free(*job);
    *job = NULL;
}
