#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"
#include "src/checkpoint/load.h"

enum { FIRST_HEAD_BYTES = 1 << 20 };

struct legacy_file {
    struct uqm_file *file;
    struct uqm_legacy pickles;
    uint64_t *begins;     /* [n_storages] where each one's elements begin */
    size_t *by_key;       /* [n_storages] */
    struct uqm_err inner; /* messages that lack the file's name */
};

int uqm_torch_is_legacy(bool *is, struct uqm_file *file, struct uqm_err *err)
{
    uint8_t head[UQM_LEGACY_MAGIC_BYTES];
    *is = false;
    if (file->size_bytes < sizeof head)
        return UQM_OK;
    int ret = uqm_file_read(file, head, sizeof head, 0, err);
    *is = ret == UQM_OK && memcmp(head, uqm_legacy_magic, sizeof head) == 0;
    return ret;
}

/*
 * How long the pickles are is known only at their end: a head of the file is tried, then one of
 * twice the length, until it parses or is all that there may be. inner says why the last one did
 * not. Errors of reading have the file's name, and are in *err.
 */
static int read_pickles(struct legacy_file *l, struct uqm_err *err)
{
    uint64_t most = uqm_min_u64(l->file->size_bytes, UQM_PICKLE_MAX_BYTES);
    for (uint64_t n = uqm_min_u64(most, FIRST_HEAD_BYTES);; n = uqm_min_u64(most, 2 * n)) {
        uint8_t *head = malloc((size_t) n);
        int ret =
            head ? uqm_file_read(l->file, head, (size_t) n, 0, err)
                 : uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for its pickles", l->file->name);
        if (ret < 0) {
            free(head);
            return ret;
        }
        ret = uqm_pickle_parse_legacy(&l->pickles, head, (size_t) n, &l->inner);
        free(head);
        if (ret == UQM_OK)
            return UQM_OK;
        if (n == most || ret != UQM_ERR_FORMAT)
            return uqm_fail_in_file(err, l->file, &l->inner);
    }
}

static int compare_keys(const void *a, const void *b, void *ctx)
{
    const struct legacy_file *l = ctx;
    return strcmp(l->pickles.storages[*(const size_t *) a].key,
                  l->pickles.storages[*(const size_t *) b].key);
}

/* Storage after storage to the end of the file: i64 count, the elements. */
static int find_storages(struct legacy_file *l, struct uqm_err *err)
{
    const size_t n = l->pickles.n_storages;
    uint64_t at = l->pickles.begin, bytes, end = 0, count = 0;
    l->begins = calloc(n + 1, sizeof *l->begins);
    l->by_key = calloc(n + 1, sizeof *l->by_key);
    if (!l->begins || !l->by_key)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for its storages", l->file->name);
    for (size_t i = 0; i < n; i++) {
        const struct uqm_legacy_storage *s = &l->pickles.storages[i];
        uint8_t le[8];
        if (l->file->size_bytes - at < sizeof le)
            return uqm_fail(err, UQM_ERR_FORMAT,
                            "%s: storage %s is not in the file; is it cut short?", l->file->name,
                            s->key);
        int ret = uqm_file_read(l->file, le, sizeof le, at, err);
        if (ret < 0)
            return ret;
        count = 0;
        for (size_t k = 8; k-- > 0;)
            count = count << 8 | le[k];
        if (count != s->n_elem)
            return uqm_fail(err, UQM_ERR_FORMAT,
                            "%s: storage %s has %" PRIu64 " elements, the pickle says %" PRIu64,
                            l->file->name, s->key, count, s->n_elem);
        l->begins[i] = at + sizeof le;
        l->by_key[i] = i;
        if (!uqm_mul_u64(&bytes, s->n_elem, s->elem_bytes) ||
            !uqm_add_u64(&end, l->begins[i], bytes) || end > l->file->size_bytes)
            return uqm_fail(err, UQM_ERR_FORMAT,
                            "%s: storage %s of %" PRIu64
                            " elements goes beyond the file; is it cut "
                            "short?",
                            l->file->name, s->key, count);
        at = end;
    }
    if (at != l->file->size_bytes)
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: %" PRIu64 " bytes after the last storage",
                        l->file->name, l->file->size_bytes - at);
    qsort_r(l->by_key, n, sizeof *l->by_key, compare_keys, l);
    return UQM_OK;
}

/* The pickles were checked: every storage of a tensor is among the keys. */
static uint64_t begin_of(const struct legacy_file *l, const char *key)
{
    size_t low = 0, high = l->pickles.n_storages;
    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;
        if (strcmp(l->pickles.storages[l->by_key[mid]].key, key) <= 0)
            low = mid;
        else
            high = mid;
    }
    return l->begins[l->by_key[low]];
}

static int take_tensors(struct uqm_loading *ld, size_t file, struct legacy_file *l,
                        struct uqm_err *err)
{
    const struct uqm_state_dict *dict = &l->pickles.dict;
    struct uqm_found found;
    if (dict->n_skipped > 0)
        uqm_log(ld->env, UQM_LOG_INFO, "%s: %zu entries of the state dict are no tensors, skipped",
                l->file->name, dict->n_skipped);
    for (size_t i = 0; i < dict->n_tensors; i++) {
        const struct uqm_pickle_tensor *t = &dict->tensors[i];
        /* elements are little-endian in these, whatever wrote them */
        if (uqm_torch_locate(&found, ld, file, t, begin_of(l, t->storage), false, &l->inner) < 0)
            return uqm_fail_in_file(err, l->file, &l->inner);
        int ret = uqm_load_tensor(ld, file, &found, err);
        if (ret < 0)
            return ret;
    }
    return UQM_OK;
}

int uqm_load_torch_legacy(struct uqm_loading *ld, size_t file, struct uqm_err *err)
{
    struct legacy_file l = { .file = ld->cp->files[file] };
    int ret = read_pickles(&l, err);
    if (ret == UQM_OK)
        ret = find_storages(&l, err);
    if (ret == UQM_OK)
        ret = take_tensors(ld, file, &l, err);
    uqm_state_dict_finish(&l.pickles.dict);
    free(l.begins);
    free(l.by_key);
    return ret;
}
