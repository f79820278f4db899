/* What the calls of a state dict's pickle make: storages, tensors, and the dict that holds them. */
#include "src/format/pickle_machine.h"

#include <inttypes.h>
#include <stdlib.h>

#include "src/base/checked.h"

static const struct uqm_pk_value *arg(const struct uqm_pk *m, const struct uqm_pk_items *args,
                                      size_t i)
{
    return uqm_pk_at(m, args->v[i]);
}

static int wrong_argument(struct uqm_pk *m, const char *callee, const char *which,
                          enum uqm_pk_kind kind)
{
    return uqm_pk_fail(m, UQM_ERR_FORMAT, "%s: %s is %s", callee, which, uqm_pk_kind_name(kind));
}

/* A size, stride, offset or count: an int >= 0. */
static int count_of(struct uqm_pk *m, uint64_t *out, const struct uqm_pk_value *v, const char *what)
{
    if (v->kind != UQM_PK_INT)
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "%s is %s, not an int", what,
                           uqm_pk_kind_name(v->kind));
    if (v->i < 0)
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "%s is negative (%" PRId64 ")", what, v->i);
    *out = (uint64_t) v->i;
    return UQM_OK;
}

/* --- storages --- */

/* A key becomes the record data/KEY, never a path. */
static bool is_bare_key(const char *s, size_t len)
{
    if (len == 0 || len > 200 || s[0] == '.')
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = s[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              c == '_' || c == '-' || c == '.'))
            return false;
    }
    return true;
}

static int read_storage(struct uqm_pk *m, struct uqm_pk_storage *s, const struct uqm_pk_items *id)
{
    const struct uqm_pk_value *tag = arg(m, id, 0), *class = arg(m, id, 1), *key = arg(m, id, 2);
    struct uqm_printable shown;

    if (tag->kind != UQM_PK_STRING || tag->len != 7 || memcmp(tag->s, "storage", 7) != 0)
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "BINPERSID: not the id of a storage");
    if (class->kind != UQM_PK_GLOBAL || (class->global->role != UQM_PK_STORAGE_CLASS &&
                                         class->global->role != UQM_PK_UNTYPED_STORAGE))
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "BINPERSID: the storage's class is %s",
                           class->kind == UQM_PK_GLOBAL ? class->global->name
                                                        : uqm_pk_kind_name(class->kind));
    if (key->kind != UQM_PK_STRING)
        return wrong_argument(m, "BINPERSID", "the storage's key", key->kind);
    if (!is_bare_key(key->s, key->len))
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "BINPERSID: storage key \"%s\" is no record's name",
                           uqm_printable(&shown, key->s, key->len));
    s->untyped = class->global->role == UQM_PK_UNTYPED_STORAGE;
    s->dtype = class->global->dtype;
    s->key = uqm_arena_strndup(&m->arena, key->s, key->len);
    if (!s->key)
        return uqm_pk_no_memory(m);
    int ret = count_of(m, &s->n_elem, arg(m, id, 4), "the storage's number of elements");
    s->root_elem = s->n_elem;
    return ret;
}

/* None, or (key, offset, size): a part of the storage, which the file then has only once. */
static int read_view(struct uqm_pk *m, struct uqm_pk_storage *s, const struct uqm_pk_value *view)
{
    uint64_t end;
    if (view->kind == UQM_PK_NONE)
        return UQM_OK;
    if (view->kind != UQM_PK_TUPLE || view->items->n != 3 ||
        arg(m, view->items, 0)->kind != UQM_PK_STRING)
        return wrong_argument(m, "BINPERSID", "the view of the storage", view->kind);
    int ret = count_of(m, &s->first_elem, arg(m, view->items, 1), "the view's offset");
    if (ret >= 0)
        ret = count_of(m, &s->n_elem, arg(m, view->items, 2), "the view's size");
    if (ret >= 0 && (!uqm_add_u64(&end, s->first_elem, s->n_elem) || end > s->root_elem))
        ret = uqm_pk_fail(m, UQM_ERR_FORMAT,
                          "BINPERSID: a view beyond the %" PRIu64 " elements of storage %s",
                          s->root_elem, s->key);
    return ret;
}

int uqm_pk_persistent_id(struct uqm_pk *m, const struct uqm_pk_items *id)
{
    const size_t n = m->legacy ? 6 : 5;
    if (id->n != n)
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "BINPERSID on a tuple of %zu, not %zu", id->n, n);
    struct uqm_pk_storage *s = uqm_arena_alloc(&m->arena, 1, sizeof *s);
    if (!s)
        return uqm_pk_no_memory(m);
    int ret = read_storage(m, s, id);
    if (ret >= 0 && m->legacy)
        ret = read_view(m, s, arg(m, id, 5));
    if (ret < 0)
        return ret;
    s->next = m->storages;
    m->storages = s;
    return uqm_pk_push(m, (struct uqm_pk_value){ .kind = UQM_PK_STORAGE, .storage = s });
}

/* --- tensors --- */

static int counts_of_tuple(struct uqm_pk *m, const uint64_t **out, unsigned *n,
                           const struct uqm_pk_value *v, const char *what)
{
    if (v->kind != UQM_PK_TUPLE)
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "a tensor's %s is %s, not a tuple", what,
                           uqm_pk_kind_name(v->kind));
    if (v->items->n > UQM_PICKLE_MAX_RANK)
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "a tensor's %s has %zu dimensions, above %d", what,
                           v->items->n, UQM_PICKLE_MAX_RANK);
    uint64_t *counts = uqm_arena_alloc(&m->arena, v->items->n, sizeof *counts);
    if (!counts)
        return uqm_pk_no_memory(m);
    *n = (unsigned) v->items->n;
    for (unsigned d = 0; d < *n; d++) {
        int ret = count_of(m, &counts[d], arg(m, v->items, d), what);
        if (ret < 0)
            return ret;
    }
    *out = counts;
    return UQM_OK;
}

/* Elements, and whether the strides are packed; dimensions of size 1 may have any stride. */
static int measure(struct uqm_pk *m, struct uqm_pickle_tensor *t)
{
    bool contiguous = true;
    t->n_elem = 1;
    for (unsigned d = 0; d < t->rank; d++)
        if (!uqm_mul_u64(&t->n_elem, t->n_elem, t->shape[d]))
            return uqm_pk_fail(m, UQM_ERR_FORMAT, "a tensor's size has more than 2^64 elements");
    uint64_t packed = 1;
    for (unsigned d = t->rank; d-- > 0;) {
        contiguous &= t->shape[d] == 1 || t->strides[d] == packed;
        if (!uqm_mul_u64(&packed, packed, t->shape[d]))
            break; /* only where a size of 0 stands before it */
    }
    t->contiguous = contiguous || t->n_elem == 0;
    return UQM_OK;
}

/* Every element inside the storage, and no more of them than it has. */
static int check_bounds(struct uqm_pk *m, const struct uqm_pickle_tensor *t, uint64_t capacity)
{
    uint64_t last = t->offset_elem, span;
    bool fits = true;
    if (t->n_elem == 0)
        return UQM_OK;
    for (unsigned d = 0; d < t->rank; d++)
        fits = fits && uqm_mul_u64(&span, t->shape[d] - 1, t->strides[d]) &&
               uqm_add_u64(&last, last, span);
    if (!fits || last >= capacity)
        return uqm_pk_fail(m, UQM_ERR_FORMAT,
                           "a tensor's offset, size and stride reach beyond the %" PRIu64
                           " elements of storage %s",
                           capacity, t->storage);
    if (t->n_elem > capacity)
        return uqm_pk_fail(m, UQM_ERR_FORMAT,
                           "a tensor of %" PRIu64 " elements in storage %s, which has %" PRIu64,
                           t->n_elem, t->storage, capacity);
    return UQM_OK;
}

/* From here on offsets count from the storage that the file has, not from a view of it. */
static int place_in_root(struct uqm_pk *m, struct uqm_pickle_tensor *t,
                         const struct uqm_pk_storage *s)
{
    if (s->first_elem == 0 || t->n_elem == 0)
        return UQM_OK;
    if (s->untyped)
        return uqm_pk_fail(m, UQM_ERR_UNSUPPORTED, "a view of the untyped storage %s", s->key);
    t->offset_elem += s->first_elem; /* both lie inside the root */
    return UQM_OK;
}

/* Backward hooks are code: none may be there. */
static int check_hooks(struct uqm_pk *m, const struct uqm_pk_value *hooks, const char *callee)
{
    if (hooks->kind == UQM_PK_NONE || (hooks->kind == UQM_PK_ORDERED_DICT && hooks->items->n == 0))
        return UQM_OK;
    return uqm_pk_fail(m, UQM_ERR_FORMAT, "%s: the hooks are %s, not an empty OrderedDict", callee,
                       uqm_pk_kind_name(hooks->kind));
}

static int check_meta(struct uqm_pk *m, const struct uqm_pk_value *meta, const char *callee)
{
    if (meta->kind == UQM_PK_NONE || (meta->kind == UQM_PK_DICT && meta->items->n == 0))
        return UQM_OK;
    return uqm_pk_fail(m, UQM_ERR_UNSUPPORTED,
                       "%s: metadata (conjugate or negative views) is not read", callee);
}

/* The dtype a tensor has in its storage, and how many such elements the storage holds. */
static int element_type(struct uqm_pk *m, struct uqm_pickle_tensor *t, uint64_t *capacity,
                        const struct uqm_pk_storage *s, const struct uqm_pk_value *dtype)
{
    if (!dtype) {
        if (s->untyped)
            return uqm_pk_fail(m, UQM_ERR_FORMAT, "_rebuild_tensor_v2 of an untyped storage");
        t->dtype = s->dtype;
        *capacity = s->n_elem;
        if (!uqm_mul_u64(&t->storage_bytes, s->root_elem, uqm_dtype_bits(s->dtype) / 8))
            return uqm_pk_fail(m, UQM_ERR_FORMAT, "storage %s has more than 2^64 bytes", s->key);
        return UQM_OK;
    }
    if (dtype->kind != UQM_PK_GLOBAL || dtype->global->role != UQM_PK_DTYPE)
        return wrong_argument(m, "_rebuild_tensor_v3", "the dtype", dtype->kind);
    if (!s->untyped)
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "_rebuild_tensor_v3 of a typed storage");
    t->dtype = dtype->global->dtype;
    t->untyped = true;
    t->storage_bytes = s->root_elem;
    *capacity = s->n_elem / (uqm_dtype_bits(t->dtype) / 8);
    return UQM_OK;
}

/* v2: (storage, offset, size, stride, requires_grad, hooks[, meta]); v3: dtype before meta. */
static int rebuild_tensor(struct uqm_pk *m, const struct uqm_pk_items *args, bool v3)
{
    const char *callee = v3 ? "_rebuild_tensor_v3" : "_rebuild_tensor_v2";
    size_t n_needed = v3 ? 7 : 6;
    unsigned n_strides;
    uint64_t capacity = 0;
    int ret;

    if (args->n != n_needed && args->n != n_needed + 1)
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "%s with %zu arguments", callee, args->n);
    const struct uqm_pk_value *storage = arg(m, args, 0), *grad = arg(m, args, 4);
    if (storage->kind != UQM_PK_STORAGE)
        return wrong_argument(m, callee, "the storage", storage->kind);
    if (grad->kind != UQM_PK_BOOL)
        return wrong_argument(m, callee, "requires_grad", grad->kind);

    struct uqm_pickle_tensor *t = uqm_arena_alloc(&m->arena, 1, sizeof *t);
    if (!t)
        return uqm_pk_no_memory(m);
    t->storage = storage->storage->key;
    ret = element_type(m, t, &capacity, storage->storage, v3 ? arg(m, args, 6) : NULL);
    if (ret >= 0)
        ret = count_of(m, &t->offset_elem, arg(m, args, 1), "a tensor's offset");
    if (ret >= 0)
        ret = counts_of_tuple(m, &t->shape, &t->rank, arg(m, args, 2), "size");
    if (ret >= 0)
        ret = counts_of_tuple(m, &t->strides, &n_strides, arg(m, args, 3), "stride");
    if (ret >= 0 && n_strides != t->rank)
        ret = uqm_pk_fail(m, UQM_ERR_FORMAT, "a tensor has %u sizes and %u strides", t->rank,
                          n_strides);
    if (ret >= 0)
        ret = measure(m, t);
    if (ret >= 0)
        ret = check_bounds(m, t, capacity);
    if (ret >= 0)
        ret = place_in_root(m, t, storage->storage);
    if (ret >= 0)
        ret = check_hooks(m, arg(m, args, 5), callee);
    if (ret >= 0 && args->n > n_needed)
        ret = check_meta(m, arg(m, args, n_needed), callee);
    if (ret < 0)
        return ret;
    return uqm_pk_push(m, (struct uqm_pk_value){ .kind = UQM_PK_TENSOR, .tensor = t });
}

static int rebuild_parameter(struct uqm_pk *m, const struct uqm_pk_items *args)
{
    if (args->n != 3)
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "_rebuild_parameter with %zu arguments", args->n);
    const struct uqm_pk_value *tensor = arg(m, args, 0), *grad = arg(m, args, 1);
    if (tensor->kind != UQM_PK_TENSOR)
        return wrong_argument(m, "_rebuild_parameter", "the tensor", tensor->kind);
    if (grad->kind != UQM_PK_BOOL)
        return wrong_argument(m, "_rebuild_parameter", "requires_grad", grad->kind);
    int ret = check_hooks(m, arg(m, args, 2), "_rebuild_parameter");
    return ret < 0 ? ret : uqm_pk_push(m, *tensor);
}

/* torch.Size(tuple of ints), torch.device(string[, int]). */
static int make_leaf(struct uqm_pk *m, const struct uqm_pk_global *callee,
                     const struct uqm_pk_items *args)
{
    const uint64_t *counts;
    unsigned n;
    if (strcmp(callee->name, "Size") == 0 && args->n == 1) {
        int ret = counts_of_tuple(m, &counts, &n, arg(m, args, 0), "size");
        if (ret < 0)
            return ret;
    } else if (strcmp(callee->name, "device") != 0 || args->n < 1 || args->n > 2 ||
               arg(m, args, 0)->kind != UQM_PK_STRING ||
               (args->n == 2 && arg(m, args, 1)->kind != UQM_PK_INT)) {
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "%s.%s with the wrong arguments", callee->module,
                           callee->name);
    }
    return uqm_pk_push(m, (struct uqm_pk_value){ .kind = UQM_PK_LEAF });
}

static int make_ordered_dict(struct uqm_pk *m, const struct uqm_pk_items *args)
{
    if (args->n != 0)
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "OrderedDict with arguments");
    struct uqm_pk_items *items = uqm_arena_alloc(&m->arena, 1, sizeof *items);
    if (!items)
        return uqm_pk_no_memory(m);
    return uqm_pk_push(m, (struct uqm_pk_value){ .kind = UQM_PK_ORDERED_DICT, .items = items });
}

int uqm_pk_call(struct uqm_pk *m, const struct uqm_pk_global *callee,
                const struct uqm_pk_items *args)
{
    switch (callee->role) {
    case UQM_PK_CALL_ORDERED_DICT: return make_ordered_dict(m, args);
    case UQM_PK_CALL_TENSOR_V2: return rebuild_tensor(m, args, false);
    case UQM_PK_CALL_TENSOR_V3: return rebuild_tensor(m, args, true);
    case UQM_PK_CALL_PARAMETER: return rebuild_parameter(m, args);
    case UQM_PK_CALL_LEAF: return make_leaf(m, callee, args);
    case UQM_PK_STORAGE_CLASS:
    case UQM_PK_UNTYPED_STORAGE:
    case UQM_PK_DTYPE: break;
    }
    return uqm_pk_fail(m, UQM_ERR_FORMAT, "REDUCE calls %s.%s", callee->module, callee->name);
}

/* --- the state dict --- */

static bool is_dict(const struct uqm_pk_value *v)
{
    return v->kind == UQM_PK_DICT || v->kind == UQM_PK_ORDERED_DICT;
}

static size_t count_tensors(const struct uqm_pk *m, const struct uqm_pk_items *dict)
{
    size_t n = 0;
    for (size_t i = 1; i < dict->n; i += 2)
        n += arg(m, dict, i)->kind == UQM_PK_TENSOR;
    return n;
}

/* The last value under a key, as Python would have it; NULL without one. */
static const struct uqm_pk_value *member(const struct uqm_pk *m, const struct uqm_pk_items *dict,
                                         const char *key)
{
    const struct uqm_pk_value *found = NULL;
    for (size_t i = 0; i + 1 < dict->n; i += 2) {
        const struct uqm_pk_value *k = arg(m, dict, i);
        if (k->kind == UQM_PK_STRING && k->len == strlen(key) && memcmp(k->s, key, k->len) == 0)
            found = arg(m, dict, i + 1);
    }
    return found;
}

static int find_dict(struct uqm_pk *m, uqm_pk_ref root, const struct uqm_pk_items **out)
{
    static const char *const below[] = { "state_dict", "model", "module" };
    const struct uqm_pk_value *v = uqm_pk_at(m, root);

    if (!is_dict(v))
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "the file holds %s, not a dict of tensors",
                           uqm_pk_kind_name(v->kind));
    *out = v->items;
    if (count_tensors(m, *out) > 0)
        return UQM_OK;
    for (size_t k = 0; k < sizeof below / sizeof *below; k++) {
        const struct uqm_pk_value *inner = member(m, v->items, below[k]);
        if (inner && is_dict(inner) && count_tensors(m, inner->items) > 0) {
            *out = inner->items;
            return UQM_OK;
        }
    }
    return uqm_pk_fail(m, UQM_ERR_FORMAT,
                       "no tensors in the dict, nor under state_dict, model or module");
}

static int compare_names(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

static int check_names(struct uqm_pk *m, const struct uqm_state_dict *dict)
{
    struct uqm_printable shown;
    int ret = UQM_OK;
    const char **names = malloc((dict->n_tensors + 1) * sizeof(const char *));
    if (!names)
        return uqm_pk_no_memory(m);
    for (size_t i = 0; i < dict->n_tensors; i++)
        names[i] = dict->tensors[i].name;
    qsort(names, dict->n_tensors, sizeof *names, compare_names);
    for (size_t i = 1; i < dict->n_tensors && ret >= 0; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            ret = uqm_pk_fail(m, UQM_ERR_FORMAT, "tensor %s: the name is given twice",
                              uqm_printable(&shown, names[i], strlen(names[i])));
    free(names);
    return ret;
}

int uqm_pk_extract(struct uqm_pk *m, uqm_pk_ref root, struct uqm_state_dict *out)
{
    const struct uqm_pk_items *dict = NULL;
    struct uqm_printable shown;
    int ret = find_dict(m, root, &dict);
    if (ret < 0)
        return ret;

    size_t n = count_tensors(m, dict);
    out->tensors = uqm_arena_alloc(&m->arena, n, sizeof *out->tensors);
    if (!out->tensors)
        return uqm_pk_no_memory(m);
    for (size_t i = 0; i + 1 < dict->n; i += 2) {
        const struct uqm_pk_value *key = arg(m, dict, i), *v = arg(m, dict, i + 1);
        if (v->kind != UQM_PK_TENSOR) {
            out->n_skipped++;
            continue;
        }
        if (key->kind != UQM_PK_STRING)
            return uqm_pk_fail(m, UQM_ERR_FORMAT,
                               "a tensor under the key %" PRId64 ", which is no name", key->i);
        if (memchr(key->s, '\0', key->len))
            return uqm_pk_fail(m, UQM_ERR_FORMAT, "tensor %s: a NUL character in a name",
                               uqm_printable(&shown, key->s, key->len));
        struct uqm_pickle_tensor *t = &out->tensors[out->n_tensors++];
        *t = *v->tensor;
        t->name = uqm_arena_strndup(&m->arena, key->s, key->len);
        if (!t->name)
            return uqm_pk_no_memory(m);
    }
    return check_names(m, out);
}
