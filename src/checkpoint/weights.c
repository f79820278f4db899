#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "src/base/fs.h"
#include "src/checkpoint/load.h"
#include "src/checkpoint/model_file.h"
#include "src/format/json.h"
#include "src/format/safetensors.h"

enum { INDEX_CAP_BYTES = 64 << 20 };

static const struct {
    const char *index, *single, *suffix;
    enum uqm_format format;
} kinds[] = {
    { "model.safetensors.index.json", "model.safetensors", ".safetensors", UQM_FORMAT_SAFETENSORS },
    { "pytorch_model.bin.index.json", "pytorch_model.bin", ".bin", UQM_FORMAT_PYTORCH },
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

int uqm_fail_in_file(struct uqm_err *err, const struct uqm_file *file, const struct uqm_err *inner)
{
    return uqm_fail(err, inner->code, "%s: %s", file->name, inner->msg);
}

static int no_memory(const char *name, struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for the index", name);
}

/* A tensor of a shard must be where the index says. */
static int check_against_index(struct uqm_loading *ld, size_t file, const char *name,
                               struct uqm_err *err)
{
    struct uqm_printable shown;
    if (!ld->index)
        return UQM_OK;
    const struct uqm_shard_entry *e = uqm_shard_index_find(ld->index, name);
    if (!e)
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: tensor %s: the index does not name it",
                        ld->cp->files[file]->name, uqm_printable(&shown, name, strlen(name)));
    if (e->file != ld->shard)
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: tensor %s: the index says it is in %s",
                        ld->cp->files[file]->name, uqm_printable(&shown, name, strlen(name)),
                        ld->index->files[e->file]);
    ld->seen[e - ld->index->entries] = true;
    return UQM_OK;
}

static struct uqm_entry *add_entry(struct uqm_loading *ld)
{
    if (ld->n_entries == ld->cap) {
        size_t cap = ld->cap ? ld->cap * 2 : 256;
        struct uqm_entry *more = realloc(ld->entries, cap * sizeof *more);
        if (!more)
            return NULL;
        ld->entries = more;
        ld->cap = cap;
    }
    return &ld->entries[ld->n_entries++];
}

int uqm_load_tensor(struct uqm_loading *ld, size_t file, const struct uqm_found *found,
                    struct uqm_err *err)
{
    struct uqm_arena *arena = &ld->cp->arena;
    const char *where = ld->cp->files[file]->name;
    struct uqm_tensor t = { .dtype = found->dtype,
                            .rank = found->rank,
                            .n_elem = found->n_elem,
                            .n_bytes = found->n_bytes };

    int ret = check_against_index(ld, file, found->name, err);
    if (ret < 0)
        return ret;
    ld->total_bytes += found->n_bytes;

    t.name = uqm_arena_strndup(arena, found->name, strlen(found->name));
    uint64_t *shape = uqm_arena_alloc(arena, found->rank, sizeof *shape);
    if (!t.name || !shape)
        return no_memory(where, err);
    for (unsigned d = 0; d < found->rank; d++)
        shape[d] = found->shape[d];
    t.shape = shape;
    t.canonical = uqm_layout_canonical(arena, t.name, &t.part, &t.layer);
    if (!t.canonical)
        return no_memory(where, err);
    if (ld->vision_only && t.part != UQM_PART_VISION)
        return UQM_OK;

    struct uqm_entry *e = add_entry(ld);
    if (!e)
        return no_memory(where, err);
    *e = (struct uqm_entry){ t, { file, found->off_bytes, found->made } };
    return UQM_OK;
}

/* Every tensor of a parsed header, its offsets counted from the start of the file. */
static int take_safetensors(struct uqm_loading *ld, size_t file, const struct uqm_st_index *ix,
                            uint64_t data_start, struct uqm_err *err)
{
    struct uqm_file *f = ld->cp->files[file];
    if (ix->n_unknown_fields > 0) {
        int ret = uqm_warn(ld->env, err, "%s: tensor %s: unknown field, ignored (%zu such)",
                           f->name, ix->unknown_field, ix->n_unknown_fields);
        if (ret < 0)
            return ret;
    }
    for (size_t i = 0; i < ix->n_tensors; i++) {
        const struct uqm_st_tensor *t = &ix->tensors[i];
        struct uqm_found found = {
            .name = t->name,
            .dtype = t->dtype,
            .rank = t->rank,
            .shape = t->shape,
            .n_elem = t->n_elem,
            .n_bytes = t->end - t->begin,
            .off_bytes = data_start + t->begin,
        };
        int ret = uqm_load_tensor(ld, file, &found, err);
        if (ret < 0)
            return ret;
    }
    return UQM_OK;
}

static int load_safetensors(struct uqm_loading *ld, size_t file, struct uqm_err *err)
{
    struct uqm_file *f = ld->cp->files[file];
    uint8_t prefix[UQM_ST_PREFIX_BYTES] = { 0 };
    struct uqm_st_index ix = { 0 };
    struct uqm_err inner = { 0 };
    uint64_t len = 0;
    int ret;

    if (f->size_bytes >= sizeof prefix) {
        ret = uqm_file_read(f, prefix, sizeof prefix, 0, err);
        if (ret < 0)
            return ret;
    }
    if (uqm_st_header_len(&len, prefix, f->size_bytes, ld->header_cap, &inner) < 0)
        return uqm_fail_in_file(err, f, &inner);

    uint8_t *header = malloc(len);
    if (!header)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for a header of %" PRIu64 " bytes",
                        f->name, len);
    ret = uqm_file_read(f, header, len, sizeof prefix, err);
    if (ret == UQM_OK) /* tensors of a checkpoint take about as much as a tree would */
        ret = uqm_json_check_room(ld->env, (const char *) header, len, f->name, err);
    if (ret < 0)
        goto done;
    uint64_t data_start = sizeof prefix + len;
    ret = uqm_st_parse(&ix, header, len, f->size_bytes - data_start, &inner);
    if (ret < 0) {
        uqm_fail_in_file(err, f, &inner);
        goto done;
    }
    ret = take_safetensors(ld, file, &ix, data_start, err);

done:
    uqm_st_index_finish(&ix);
    free(header);
    return ret;
}

/* The file's place in the archive, or -1. */
static long find_in_archive(const struct uqm_loading *ld, const char *path)
{
    size_t n = strlen(uqm_archive_stored(ld->archive)->name);
    return uqm_archive_index_find(uqm_archive_index(ld->archive), path + n + 1);
}

/* A file by its path, which leads through ld->archive where there is one. */
static int open_file(struct uqm_file **out, struct uqm_loading *ld, const char *path,
                     struct uqm_err *err)
{
    if (!ld->archive)
        return uqm_file_open(out, ld->env, path, err);
    long i = find_in_archive(ld, path);
    if (i < 0)
        return uqm_fail(err, UQM_ERR_IO, "%s: the archive holds no such file", path);
    return uqm_archive_file(out, ld->archive, (size_t) i, err);
}

static int load_file(struct uqm_loading *ld, const char *path, enum uqm_format format,
                     struct uqm_err *err)
{
    struct uqm_checkpoint *cp = ld->cp;
    struct uqm_file **more = realloc(cp->files, (cp->n_files + 1) * sizeof *more);
    if (!more)
        return no_memory(path, err);
    cp->files = more;
    cp->files[cp->n_files] = NULL;
    int ret = open_file(&cp->files[cp->n_files], ld, path, err);
    if (ret < 0)
        return ret;
    size_t file = cp->n_files++;
    return format == UQM_FORMAT_SAFETENSORS ? load_safetensors(ld, file, err)
                                            : uqm_load_torch(ld, file, err);
}

/* Whether `path` begins with the folder `root`. */
static bool is_below(const char *path, const char *root)
{
    size_t n = strlen(root);
    return strncmp(path, root, n) == 0 && (path[n] == '/' || (n > 0 && root[n - 1] == '/'));
}

/*
 * A shard may be a symbolic link only within the folder, or as the Hugging Face cache lays models
 * out: REPO/snapshots/REVISION/shard -> REPO/blobs/HASH. So an index from a stranger cannot make us
 * read, and write into a merge, some other file of this machine.
 */
int uqm_checkpoint_check_link(const char *folder, const char *path, struct uqm_err *err)
{
    char *dir = realpath(folder, NULL), *file = realpath(path, NULL);
    char *parent = dir ? uqm_path_dir(dir) : NULL;
    char *parent_name = parent ? uqm_path_base(parent) : NULL;
    char *repo = parent ? uqm_path_dir(parent) : NULL;
    char *blobs = repo ? uqm_path_join(repo, "blobs") : NULL;
    int ret = UQM_OK;

    if (!dir || !file)
        ret = uqm_fail_errno(err, "%s", path);
    else if (!parent_name || !blobs)
        ret = no_memory(path, err);
    else if (!is_below(file, dir) &&
             !(strcmp(parent_name, "snapshots") == 0 && is_below(file, blobs)))
        ret = uqm_fail(err, UQM_ERR_FORMAT,
                       "%s: a symbolic link that leaves the model's folder, to %s; copy the file "
                       "into the folder",
                       path, file);
    free(dir);
    free(file);
    free(parent);
    free(parent_name);
    free(repo);
    free(blobs);
    return ret;
}

/* After the last shard: everything the index names was found, and its total was right. */
static int check_index_complete(struct uqm_loading *ld, const char *where, struct uqm_err *err)
{
    const struct uqm_shard_index *ix = ld->index;
    struct uqm_printable shown;

    if (ix->has_total && ix->total_bytes != ld->total_bytes) {
        int ret = uqm_warn(ld->env, err,
                           "%s: total_size is %" PRIu64 ", the tensors have %" PRIu64 " bytes",
                           where, ix->total_bytes, ld->total_bytes);
        if (ret < 0)
            return ret;
    }
    for (size_t i = 0; i < ix->n_entries; i++) {
        const struct uqm_shard_entry *e = &ix->entries[i];
        if (!ld->seen[i])
            return uqm_fail(err, UQM_ERR_FORMAT, "%s: tensor %s: not in %s", where,
                            uqm_printable(&shown, e->tensor, strlen(e->tensor)),
                            ix->files[e->file]);
    }
    return UQM_OK;
}

static int load_shards(struct uqm_loading *ld, const char *folder, const char *index_path,
                       const char *suffix, enum uqm_format format, struct uqm_err *err)
{
    struct uqm_shard_index ix = { 0 };
    char *text;
    size_t len;
    int ret = uqm_read_model_file(&text, &len, index_path, INDEX_CAP_BYTES, err);
    if (ret < 0)
        return ret;
    ret = uqm_json_check_room(ld->env, text, len, index_path, err);
    if (ret == UQM_OK)
        ret = uqm_shard_index_parse(&ix, text, len, index_path, suffix, err);
    free(text);
    if (ret < 0)
        return ret;

    ld->seen = calloc(ix.n_entries, sizeof *ld->seen);
    if (!ld->seen)
        ret = no_memory(index_path, err);
    ld->index = &ix;
    ld->total_bytes = 0;
    for (ld->shard = 0; ret >= 0 && ld->shard < ix.n_files; ld->shard++) {
        char *path = uqm_path_join(folder, ix.files[ld->shard]);
        if (!path) {
            ret = no_memory(index_path, err);
            break;
        }
        ret = ld->archive ? UQM_OK : uqm_checkpoint_check_link(folder, path, err);
        if (ret >= 0)
            ret = load_file(ld, path, format, err);
        free(path);
    }
    if (ret >= 0)
        ret = check_index_complete(ld, index_path, err);
    ld->index = NULL;
    free(ld->seen);
    ld->seen = NULL;
    uqm_shard_index_finish(&ix);
    return ret;
}

/* 1, 0, or a failure. A dangling link is there: it is an error to be told, not a file that is
 * absent. */
static int is_there(const struct uqm_loading *ld, const char *path, struct uqm_err *err)
{
    struct stat st;
    if (ld->archive)
        return find_in_archive(ld, path) >= 0;
    if (lstat(path, &st) == 0)
        return 1;
    return errno == ENOENT || errno == ENOTDIR ? 0 : uqm_fail_errno(err, "%s", path);
}

static int load_folder(struct uqm_loading *ld, const char *folder, enum uqm_format *format,
                       struct uqm_err *err)
{
    for (size_t k = 0; k < N_KINDS; k++) {
        char *index = uqm_path_join(folder, kinds[k].index);
        char *single = uqm_path_join(folder, kinds[k].single);
        int there = 0, ret = index && single ? 1 : no_memory(folder, err);
        if (ret > 0 && (there = is_there(ld, index, err)) > 0)
            ret = load_shards(ld, folder, index, kinds[k].suffix, kinds[k].format, err);
        else if (ret > 0 && there == 0 && (there = is_there(ld, single, err)) > 0)
            ret = load_file(ld, single, kinds[k].format, err);
        if (there < 0)
            ret = there;
        free(index);
        free(single);
        if (ret <= 0) {
            *format = kinds[k].format;
            return ret;
        }
    }
    return uqm_fail(err, UQM_ERR_FORMAT,
                    "%s: no weights: neither model.safetensors nor pytorch_model.bin, nor an index "
                    "(model.safetensors.index.json, pytorch_model.bin.index.json)",
                    folder);
}

/* By the ending alone: two first bytes can be made to look like anything. */
static int format_of_file(enum uqm_format *format, const char *path, struct uqm_err *err)
{
    static const struct {
        const char *suffix;
        enum uqm_format format;
    } known[] = {
        { ".safetensors", UQM_FORMAT_SAFETENSORS },
        { ".bin", UQM_FORMAT_PYTORCH },
        { ".pt", UQM_FORMAT_PYTORCH },
        { ".pth", UQM_FORMAT_PYTORCH },
        { ".ckpt", UQM_FORMAT_PYTORCH },
    };
    static const struct {
        const char *suffix, *what;
    } refused[] = {
        { ".gguf", "GGUF files (but `inspect` does)" },
        { ".h5", "Keras files" },
        { ".msgpack", "Flax files" },
        { ".onnx", "ONNX models" },
        { ".tar", "tar files" },
        { ".zip", "zip files" },
        { ".npz", "NumPy archives" },
    };
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot && i < sizeof known / sizeof *known; i++) {
        if (strcmp(dot, known[i].suffix) == 0) {
            *format = known[i].format;
            return UQM_OK;
        }
    }
    for (size_t i = 0; dot && i < sizeof refused / sizeof *refused; i++)
        if (strcmp(dot, refused[i].suffix) == 0)
            return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                            "%s: this version does not read %s; give a model folder, an archive "
                            "(.uqz) or a .safetensors, .bin, .pt or .pth file",
                            path, refused[i].what);
    return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                    "%s: not a model folder, and neither weight file nor archive by its ending "
                    "(.safetensors, .bin, .pt, .pth, .uqz)",
                    path);
}

/* An archive is read as the folder that was packed. Its files keep it open. */
static int load_archive(struct uqm_loading *ld, const char *path, enum uqm_format *format,
                        struct uqm_err *err)
{
    const struct uqm_archive_params params = { .path = path };
    int ret = uqm_archive_open(&ld->archive, ld->env, &params, err);
    if (ret == UQM_OK)
        ret = load_folder(ld, path, format, err);
    uqm_archive_close(&ld->archive);
    return ret;
}

int uqm_load_weights(struct uqm_loading *ld, const char *path, enum uqm_format *format,
                     struct uqm_err *err)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return uqm_fail_errno(err, "%s", path);
    if (S_ISDIR(st.st_mode))
        return load_folder(ld, path, format, err);
    if (uqm_archive_is_name(path))
        return load_archive(ld, path, format, err);
    int ret = format_of_file(format, path, err);
    return ret < 0 ? ret : load_file(ld, path, *format, err);
}
