/* Files of before torch 1.6: magic, version, system, object, keys, each a pickle of its own. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "src/format/pickle_machine.h"

const uint8_t uqm_legacy_magic[UQM_LEGACY_MAGIC_BYTES] = {
    0x80, 0x02, 0x8A, 0x0A, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19, '.',
};
static const uint8_t version[] = { 0x80, 0x02, 'M', 0xE9, 0x03, '.' }; /* 1001 */

/* Each pickle has a machine of its own, with the arena and the list of storages handed on. */
static int run_next(struct uqm_pk *m, bool with_storages, uqm_pk_ref *root)
{
    uqm_pk_finish(m);
    *m = (struct uqm_pk){
        .p = m->p,
        .len = m->len,
        .at = m->at,
        .arena = m->arena,
        .err = m->err,
        .storages = m->storages,
        .legacy = true,
        .in_row = true,
    };
    const struct uqm_pk_storage *before = m->storages;
    int ret = uqm_pk_run(m, root);
    if (ret >= 0 && !with_storages && m->storages != before)
        ret = uqm_pk_fail(m, UQM_ERR_FORMAT, "a storage outside the object");
    return ret;
}

static unsigned elem_bytes_of(const struct uqm_pk_storage *s)
{
    return s->untyped ? 1 : uqm_dtype_bits(s->dtype) / 8;
}

/* By key; of one key the whole list. */
static int compare_storages(const void *a, const void *b)
{
    const struct uqm_pk_storage *const *x = a, *const *y = b;
    return strcmp((*x)->key, (*y)->key);
}

/* What is said of a storage is the same wherever it is mentioned. */
static int check_mentions(struct uqm_pk *m, const struct uqm_pk_storage **v, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (strcmp(v[i - 1]->key, v[i]->key) == 0 &&
            (v[i - 1]->root_elem != v[i]->root_elem ||
             elem_bytes_of(v[i - 1]) != elem_bytes_of(v[i])))
            return uqm_pk_fail(m, UQM_ERR_FORMAT, "storage %s is of two sizes", v[i]->key);
    return UQM_OK;
}

static int take_keys(struct uqm_legacy *out, struct uqm_pk *m, uqm_pk_ref root,
                     const struct uqm_pk_storage **v, size_t n)
{
    const struct uqm_pk_value *list = uqm_pk_at(m, root);
    bool *seen = uqm_arena_alloc(&m->arena, n + 1, sizeof *seen);
    if (list->kind != UQM_PK_LIST)
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "the keys are %s, not a list",
                           uqm_pk_kind_name(list->kind));
    out->storages = uqm_arena_alloc(&m->arena, list->items->n + 1, sizeof *out->storages);
    if (!out->storages || !seen)
        return uqm_pk_no_memory(m);
    for (size_t i = 0; i < list->items->n; i++) {
        const struct uqm_pk_value *key = uqm_pk_at(m, list->items->v[i]);
        if (key->kind != UQM_PK_STRING)
            return uqm_pk_fail(m, UQM_ERR_FORMAT, "a storage's key is %s",
                               uqm_pk_kind_name(key->kind));
        const char *text = uqm_arena_strndup(&m->arena, key->s, key->len);
        if (!text)
            return uqm_pk_no_memory(m);
        struct uqm_pk_storage wanted = { .key = text };
        const struct uqm_pk_storage *w = &wanted,
                                    **found = n > 0 ? bsearch(&w, v, n, sizeof *v, compare_storages)
                                                    : NULL;
        struct uqm_printable shown;
        while (found && found > v && strcmp(found[-1]->key, text) == 0)
            found--;
        if (!found || seen[found - v])
            return uqm_pk_fail(m, UQM_ERR_FORMAT, "key %s: no storage, or a second time",
                               uqm_printable(&shown, key->s, key->len));
        seen[found - v] = true;
        out->storages[out->n_storages++] =
            (struct uqm_legacy_storage){ (*found)->key, (*found)->root_elem,
                                         elem_bytes_of(*found) };
    }
    for (size_t i = 0; i < n; i++)
        if ((i == 0 || strcmp(v[i - 1]->key, v[i]->key) != 0) && !seen[i])
            return uqm_pk_fail(m, UQM_ERR_FORMAT, "storage %s is not among the keys", v[i]->key);
    return UQM_OK;
}

/* The list of keys, matched with the storages that the object mentions. */
static int read_keys(struct uqm_legacy *out, struct uqm_pk *m)
{
    size_t n = 0;
    uqm_pk_ref root = 0;
    int ret = run_next(m, false, &root);
    for (const struct uqm_pk_storage *s = m->storages; s; s = s->next)
        n++;
    const struct uqm_pk_storage **v = malloc((n + 1) * sizeof(struct uqm_pk_storage *));
    if (!v)
        return uqm_pk_no_memory(m);
    n = 0;
    for (const struct uqm_pk_storage *s = m->storages; s; s = s->next)
        v[n++] = s;
    qsort(v, n, sizeof *v, compare_storages);
    if (ret >= 0)
        ret = check_mentions(m, v, n);
    if (ret >= 0)
        ret = take_keys(out, m, root, v, n);
    free(v);
    return ret;
}

static int parse(struct uqm_legacy *out, struct uqm_pk *m)
{
    uqm_pk_ref root = 0;
    const size_t fixed = UQM_LEGACY_MAGIC_BYTES + sizeof version;
    if (m->len > UQM_PICKLE_MAX_BYTES)
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "%zu bytes of pickles, above the limit of %d", m->len,
                           UQM_PICKLE_MAX_BYTES);
    if (m->len < fixed || memcmp(m->p, uqm_legacy_magic, UQM_LEGACY_MAGIC_BYTES) != 0 ||
        memcmp(m->p + UQM_LEGACY_MAGIC_BYTES, version, sizeof version) != 0)
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "no legacy file of torch.save of version 1001");
    m->at = fixed;
    int ret =
        run_next(m, false, &root); /* byte order and sizes there: elements are always little */
    if (ret >= 0 && uqm_pk_at(m, root)->kind != UQM_PK_DICT)
        ret = uqm_pk_fail(m, UQM_ERR_FORMAT, "the system's description is %s",
                          uqm_pk_kind_name(uqm_pk_at(m, root)->kind));
    if (ret >= 0)
        ret = run_next(m, true, &root);
    if (ret >= 0)
        ret = uqm_pk_extract(m, root, &out->dict);
    if (ret >= 0)
        ret = read_keys(out, m);
    out->begin = m->at;
    return ret;
}

int uqm_pickle_parse_legacy(struct uqm_legacy *out, const uint8_t *head, size_t len,
                            struct uqm_err *err)
{
    struct uqm_pk m = { .p = head, .len = len, .err = err };
    struct uqm_legacy legacy = { .n_storages = 0 };
    int ret = parse(&legacy, &m);
    uqm_pk_finish(&m);
    legacy.dict.arena = m.arena;
    if (ret < 0)
        uqm_state_dict_finish(&legacy.dict);
    else
        *out = legacy;
    return ret;
}
