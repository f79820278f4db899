#include "src/archive/archive.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "src/archive/archive_base.h"
#include "src/archive/archive_impl.h"
#include "src/base/fs.h"

/* A chain of bases: each read of the last one's bytes goes through all of them. */
enum { MOST_BASES = 4 };

static int in_archive(struct uqm_err *err, const struct uqm_archive *a, const struct uqm_err *inner)
{
    return uqm_fail(err, inner->code, "%s: %s", a->stored->name, inner->msg);
}

/* --- opening --- */

static int read_index(struct uqm_archive *a, const struct uqm_archive_footer *footer,
                      struct uqm_err *err)
{
    struct uqm_err inner = { 0 };
    uint8_t *stored = malloc(footer->index_stored_bytes + 1), *plain = NULL;
    int ret =
        stored
            ? uqm_file_read(a->stored, stored, footer->index_stored_bytes, footer->index_off, err)
            : uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for its index of %" PRIu64 " bytes",
                       a->stored->name, footer->index_stored_bytes);
    if (ret < 0)
        goto done;
    if (uqm_xxh3_64(stored, footer->index_stored_bytes, 0) != footer->index_xxh3) {
        ret = uqm_fail(err, UQM_ERR_FORMAT, "%s: the archive's index is damaged", a->stored->name);
        goto done;
    }
    const uint8_t *bytes = stored;
    if (footer->index_packed) {
        bytes = plain = malloc(footer->index_bytes + 1);
        if (!plain) {
            ret = uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for its index", a->stored->name);
            goto done;
        }
        if (!uqm_frame_unpack(plain, footer->index_bytes, stored, footer->index_stored_bytes)) {
            ret = uqm_fail(err, UQM_ERR_FORMAT, "%s: the archive's index does not unpack",
                           a->stored->name);
            goto done;
        }
    }
    ret = uqm_archive_index_parse(&a->index, bytes, footer->index_bytes, footer->index_off, &inner);
    if (ret < 0)
        in_archive(err, a, &inner);

done:
    free(plain);
    free(stored);
    return ret;
}

static int read_ends(struct uqm_archive *a, struct uqm_err *err)
{
    uint8_t header[UQM_ARCHIVE_HEADER_BYTES], end[UQM_ARCHIVE_FOOTER_BYTES];
    struct uqm_archive_footer footer;
    struct uqm_err inner = { 0 };
    uint64_t size = a->stored->size_bytes;
    if (size < sizeof header + sizeof end)
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: %" PRIu64 " bytes are no archive",
                        a->stored->name, size);
    int ret = uqm_file_read(a->stored, header, sizeof header, 0, err);
    if (ret == UQM_OK)
        ret = uqm_file_read(a->stored, end, sizeof end, size - sizeof end, err);
    if (ret < 0)
        return ret;
    if (uqm_archive_header_check(header, &inner) < 0 ||
        uqm_archive_footer_parse(&footer, end, size, &inner) < 0)
        return in_archive(err, a, &inner);
    return read_index(a, &footer, err);
}

static int open_at_depth(struct uqm_archive **out, struct uqm_env *env,
                         const struct uqm_archive_params *params, int depth, struct uqm_err *err)
{
    struct uqm_archive *a = calloc(1, sizeof *a);
    if (!a)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", params->path);
    a->env = env;
    atomic_init(&a->n_users, 1);
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->given_back, NULL);
    int ret = uqm_file_open(&a->stored, env, params->path, err);
    if (ret == UQM_OK)
        ret = read_ends(a, err);
    if (ret == UQM_OK && a->index.n_base_files > 0 && !params->index_only) {
        if (depth >= MOST_BASES)
            ret = uqm_fail(err, UQM_ERR_UNSUPPORTED,
                           "%s: more than %d archives, each packed from the next", params->path,
                           MOST_BASES);
        else
            ret = uqm_archive_base_open(&a->base, env, params, &a->index, depth, err);
    }
    if (ret < 0)
        uqm_archive_close(&a);
    else
        *out = a;
    return ret;
}

int uqm_archive_open(struct uqm_archive **out, struct uqm_env *env,
                     const struct uqm_archive_params *params, struct uqm_err *err)
{
    return open_at_depth(out, env, params, 0, err);
}

int uqm_archive_open_base(struct uqm_archive **out, struct uqm_env *env, const char *path,
                          int depth, struct uqm_err *err)
{
    const struct uqm_archive_params params = { .path = path };
    return open_at_depth(out, env, &params, depth + 1, err);
}

void uqm_archive_close(struct uqm_archive **archive)
{
    struct uqm_archive *a = *archive;
    *archive = NULL;
    if (!a || atomic_fetch_sub(&a->n_users, 1) > 1)
        return;
    uqm_archive_base_close(&a->base);
    uqm_archive_drop_readers(a);
    uqm_archive_index_finish(&a->index);
    uqm_file_close(&a->stored);
    pthread_cond_destroy(&a->given_back);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

/* --- what it holds --- */

const struct uqm_archive_index *uqm_archive_index(const struct uqm_archive *archive)
{
    return &archive->index;
}

struct uqm_file *uqm_archive_stored(const struct uqm_archive *archive)
{
    return archive->stored;
}

const char *uqm_archive_base(const struct uqm_archive *archive)
{
    return archive->base ? archive->base->path : NULL;
}

struct uqm_file *uqm_archive_base_file(const struct uqm_archive *archive, size_t base_file)
{
    return archive->base ? archive->base->files[base_file] : NULL;
}

bool uqm_archive_is_name(const char *path)
{
    size_t n = strlen(path), k = strlen(UQM_ARCHIVE_SUFFIX);
    return n > k && strcmp(path + n - k, UQM_ARCHIVE_SUFFIX) == 0;
}

/* --- its files --- */

static int made_read(struct uqm_file *file, void *buf, size_t len, uint64_t off_bytes,
                     struct uqm_err *err)
{
    const struct uqm_archive_view *v = file->made_of;
    return uqm_archive_read(v->archive, v->file, file->name, buf, len, off_bytes, err);
}

static size_t made_part(struct uqm_file_source sources[UQM_FILE_MAX_SOURCES], size_t *n_sources,
                        struct uqm_file *file, uint64_t off_bytes, size_t len)
{
    const struct uqm_archive_view *v = file->made_of;
    return uqm_archive_part(sources, n_sources, v->archive, v->file, off_bytes, len);
}

static int made_make(struct uqm_file *file, void *buf, size_t len, uint64_t off_bytes,
                     const uint8_t *const sources[UQM_FILE_MAX_SOURCES], struct uqm_err *err)
{
    const struct uqm_archive_view *v = file->made_of;
    return uqm_archive_make(v->archive, v->file, file->name, buf, len, off_bytes, sources, err);
}

static int made_check(const struct uqm_file *file, struct uqm_err *err)
{
    const struct uqm_archive_view *v = file->made_of;
    int ret = uqm_file_check_unchanged(v->archive->stored, err);
    const struct uqm_archive_base *base = v->archive->base;
    for (size_t i = 0; base && i < v->archive->index.n_base_files && ret == UQM_OK; i++)
        ret = uqm_file_check_unchanged(base->files[i], err);
    return ret;
}

static void made_close(struct uqm_file *file)
{
    struct uqm_archive_view *v = file->made_of;
    uqm_archive_close(&v->archive);
    free(v);
}

static const struct uqm_file_ops made_ops = {
    .read = made_read,
    .part = made_part,
    .make = made_make,
    .check_unchanged = made_check,
    .close = made_close,
};

int uqm_archive_file(struct uqm_file **out, struct uqm_archive *archive, size_t file,
                     struct uqm_err *err)
{
    const struct uqm_archive_file *f = &archive->index.files[file];
    struct uqm_archive_view *v = calloc(1, sizeof *v);
    struct uqm_printable shown;
    char *name =
        uqm_path_join(archive->stored->name, uqm_printable(&shown, f->path, strlen(f->path)));
    int ret = v && name ? uqm_file_make(out, name, f->n_bytes, &made_ops, v, err)
                        : uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", archive->stored->name);
    free(name);
    if (ret < 0) {
        free(v);
        return ret;
    }
    atomic_fetch_add(&archive->n_users, 1);
    *v = (struct uqm_archive_view){ archive, file };
    (*out)->stat = archive->stored->stat;
    (*out)->stat.st_size = (off_t) f->n_bytes;
    /* two files of one archive are two files, and neither is the archive */
    uint64_t place[2] = { archive->stored->stat.st_ino, file };
    (*out)->stat.st_ino = (ino_t) uqm_xxh3_64(place, sizeof place, 0);
    return UQM_OK;
}

int uqm_archive_read_file(char **out, size_t *len, struct uqm_archive *archive, size_t file,
                          size_t max_bytes, struct uqm_err *err)
{
    const struct uqm_archive_file *f = &archive->index.files[file];
    struct uqm_file *made = NULL;
    if (f->n_bytes > max_bytes)
        return uqm_fail(err, UQM_ERR_FORMAT, "%s/%s: %" PRIu64 " bytes, more than the %zu allowed",
                        archive->stored->name, f->path, f->n_bytes, max_bytes);
    char *text = malloc((size_t) f->n_bytes + 1);
    int ret =
        text ? uqm_archive_file(&made, archive, file, err)
             : uqm_fail(err, UQM_ERR_NOMEM, "%s/%s: no memory", archive->stored->name, f->path);
    if (ret == UQM_OK)
        ret = uqm_file_read(made, text, (size_t) f->n_bytes, 0, err);
    uqm_file_close(&made);
    if (ret < 0) {
        free(text);
        return ret;
    }
    text[f->n_bytes] = '\0';
    *out = text;
    *len = (size_t) f->n_bytes;
    return UQM_OK;
}
