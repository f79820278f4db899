#include "src/format/shard_index.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/format/json.h"

/* NULL, or what is wrong with it. A name from a file never becomes a path. */
static const char *fault_of_file_name(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = suffix ? strlen(suffix) : 0;
    if (n == 0)
        return "is empty";
    if (strcmp(s, ".") == 0 || strcmp(s, "..") == 0)
        return "is a folder";
    for (const char *p = s; *p; p++)
        if (*p == '/' || *p == '\\' || (unsigned char) *p < 0x20)
            return "is not a bare file name";
    if (n > 255)
        return "is too long";
    if (n <= m || (m && strcmp(s + n - m, suffix) != 0))
        return "has the wrong ending";
    return NULL;
}

static int compare_entries(const void *a, const void *b)
{
    const struct uqm_shard_entry *x = a, *y = b;
    return strcmp(x->tensor, y->tensor);
}

static int compare_strings(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

static int no_memory(const char *where, struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for the index", where);
}

/* ix->files: every file once, sorted, as copies in the arena. */
static int collect_files(struct uqm_shard_index *ix, json_t *map, const char *where,
                         const char *suffix, struct uqm_err *err)
{
    struct uqm_printable shown, tensor;
    const char *name;
    json_t *value;
    size_t n = 0;

    json_object_foreach (map, name, value) {
        const char *file = json_string_value(value);
        if (!file)
            return uqm_fail(err, UQM_ERR_FORMAT, "%s: weight_map: tensor %s: no file name", where,
                            uqm_printable(&tensor, name, strlen(name)));
        const char *fault = fault_of_file_name(file, suffix);
        if (fault)
            return uqm_fail(err, UQM_ERR_FORMAT, "%s: weight_map: tensor %s: file \"%s\" %s", where,
                            uqm_printable(&tensor, name, strlen(name)),
                            uqm_printable(&shown, file, strlen(file)), fault);
        ix->files[n++] = file;
    }
    qsort(ix->files, n, sizeof *ix->files, compare_strings);
    for (size_t i = 0; i < n; i++) {
        if (ix->n_files > 0 && strcmp(ix->files[ix->n_files - 1], ix->files[i]) == 0)
            continue;
        const char *copy = uqm_arena_strndup(&ix->arena, ix->files[i], strlen(ix->files[i]));
        if (!copy)
            return no_memory(where, err);
        ix->files[ix->n_files++] = copy;
    }
    return UQM_OK;
}

static int collect_entries(struct uqm_shard_index *ix, json_t *map, const char *where,
                           struct uqm_err *err)
{
    const char *name;
    json_t *value;

    json_object_foreach (map, name, value) {
        const char *file = json_string_value(value);
        const char **at =
            bsearch(&file, ix->files, ix->n_files, sizeof *ix->files, compare_strings);
        struct uqm_shard_entry *e = &ix->entries[ix->n_entries++];
        e->file = (size_t) (at - ix->files);
        e->tensor = uqm_arena_strndup(&ix->arena, name, strlen(name));
        if (!e->tensor)
            return no_memory(where, err);
    }
    qsort(ix->entries, ix->n_entries, sizeof *ix->entries, compare_entries);
    return UQM_OK;
}

/* Old writers give a float; one that is no whole number, or negative, counts as absent. */
static void read_total(struct uqm_shard_index *ix, json_t *root)
{
    json_t *v = json_object_get(json_object_get(root, "metadata"), "total_size");
    double d = json_number_value(v);
    if (json_is_integer(v) && json_integer_value(v) >= 0) {
        ix->total_bytes = (uint64_t) json_integer_value(v);
        ix->has_total = true;
    } else if (json_is_real(v) && d >= 0 && d < 0x1p63 && d == trunc(d)) {
        ix->total_bytes = (uint64_t) d;
        ix->has_total = true;
    }
}

int uqm_shard_index_parse(struct uqm_shard_index *out, const char *text, size_t len,
                          const char *where, const char *suffix, struct uqm_err *err)
{
    struct uqm_shard_index ix = { 0 };
    json_t *root = uqm_json_parse(text, len, where, false, err);
    if (!root)
        return err && err->code == UQM_ERR_NOMEM ? UQM_ERR_NOMEM : UQM_ERR_FORMAT;

    int ret;
    json_t *map = json_object_get(root, "weight_map");
    size_t n = json_object_size(map);
    if (!json_is_object(map)) {
        ret = uqm_fail(err, UQM_ERR_FORMAT, "%s: key weight_map: %s", where,
                       map ? "is not an object" : "is missing");
        goto done;
    }
    if (n == 0) {
        ret = uqm_fail(err, UQM_ERR_FORMAT, "%s: key weight_map: names no tensor", where);
        goto done;
    }
    ix.files = uqm_arena_alloc(&ix.arena, n, sizeof *ix.files);
    ix.entries = uqm_arena_alloc(&ix.arena, n, sizeof *ix.entries);
    if (!ix.files || !ix.entries) {
        ret = no_memory(where, err);
        goto done;
    }
    ret = collect_files(&ix, map, where, suffix, err);
    if (ret >= 0)
        ret = collect_entries(&ix, map, where, err);
    if (ret >= 0)
        read_total(&ix, root);

done:
    json_decref(root);
    if (ret < 0)
        uqm_shard_index_finish(&ix);
    else
        *out = ix;
    return ret;
}

void uqm_shard_index_finish(struct uqm_shard_index *index)
{
    uqm_arena_finish(&index->arena);
    *index = (struct uqm_shard_index){ 0 };
}

const struct uqm_shard_entry *uqm_shard_index_find(const struct uqm_shard_index *index,
                                                   const char *tensor)
{
    struct uqm_shard_entry key = { .tensor = tensor };
    return bsearch(&key, index->entries, index->n_entries, sizeof key, compare_entries);
}
