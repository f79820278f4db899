#include "src/format/manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/tree.h"
#include "src/format/json.h"

#define TAIL_BEGIN ",\n  \"xxh3_128\": \""
#define TAIL_END   "\"\n}\n"

enum { TAIL_BYTES = sizeof TAIL_BEGIN - 1 + 32 + sizeof TAIL_END - 1 };

/* --- writing --- */

/* jansson's integers are signed. */
static json_t *integer(uint64_t n)
{
    return n <= INT64_MAX ? json_integer((json_int_t) n) : json_sprintf("%" PRIu64, n);
}

static json_t *dump_file(const struct uqm_manifest_file *f, const char *digest_key)
{
    /* not "s*": that would leave a root out, too, that there was no memory for */
    if (!f->root)
        return json_pack("{s:s, s:o, s:s}", "name", f->name, "bytes", integer(f->bytes), digest_key,
                         f->digest);
    return json_pack("{s:s, s:o, s:s, s:s}", "name", f->name, "bytes", integer(f->bytes),
                     digest_key, f->digest, "tree_root", f->root);
}

/* Steals the item; false when either is missing. */
static bool append(json_t *array, json_t *item)
{
    if (array)
        return item && json_array_append_new(array, item) == 0;
    json_decref(item);
    return false;
}

static json_t *dump_inputs(const struct uqm_manifest *m)
{
    json_t *list = json_array();
    bool ok = list != NULL;
    for (size_t i = 0; i < m->n_inputs && ok; i++) {
        json_t *files = json_array();
        for (size_t f = 0; f < m->inputs[i].n_files && ok; f++)
            ok = append(files, dump_file(&m->inputs[i].files[f], "xxh3_128"));
        ok = append(list, json_pack("{s:s, s:o}", "path", m->inputs[i].path, "files", files)) && ok;
    }
    if (!ok) {
        json_decref(list);
        return NULL;
    }
    return list;
}

static json_t *dump_files(const struct uqm_manifest *m)
{
    json_t *list = json_array();
    for (size_t i = 0; i < m->n_files; i++)
        if (!append(list, dump_file(&m->files[i], "sha256"))) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *dump_tensors(const struct uqm_manifest *m)
{
    json_t *list = json_array();
    for (size_t i = 0; i < m->n_tensors; i++) {
        const struct uqm_manifest_tensor *t = &m->tensors[i];
        json_t *item = json_pack("{s:s, s:s, s:o, s:o, s:s}", "name", t->name, "file",
                                 m->files[t->file].name, "offset", integer(t->offset), "bytes",
                                 integer(t->bytes), "xxh3_128", t->digest);
        if (!append(list, item)) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static bool digest_of(struct uqm_xxh3_hex *out, const char *text, size_t len)
{
    struct uqm_xxh3 *h = uqm_xxh3_create();
    if (!h)
        return false;
    uqm_xxh3_update(h, text, len);
    *out = uqm_xxh3_hex(h);
    uqm_xxh3_destroy(&h);
    return true;
}

/* Replace the closing "\n}\n" by the digest of what stands before it. Frees `text`. */
static char *seal(char *text)
{
    struct uqm_xxh3_hex hex;
    char *sealed = NULL;
    size_t len = text ? strlen(text) : 0;
    if (len > 3 && digest_of(&hex, text, len - 3) &&
        asprintf(&sealed, "%.*s" TAIL_BEGIN "%s" TAIL_END, (int) (len - 3), text, hex.text) < 0)
        sealed = NULL;
    free(text);
    return sealed;
}

/* false: no memory. */
static bool add_tree(json_t *doc, const struct uqm_manifest *m)
{
    if (!m->leaves_name)
        return true;
    return json_object_set_new(doc, "tree",
                               json_pack("{s:i, s:s}", "chunk_bytes", UQM_TREE_CHUNK_BYTES,
                                         "leaves", m->leaves_name)) == 0;
}

char *uqm_manifest_dump(const struct uqm_manifest *m)
{
    json_t *doc = json_pack("{s:i, s:s, s:s, s:o}", "version", 1, "program", m->program, "recipe",
                            m->recipe, "seed", integer(m->seed));
    bool ok = doc && add_tree(doc, m) && json_object_set_new(doc, "inputs", dump_inputs(m)) == 0 &&
              json_object_set_new(doc, "files", dump_files(m)) == 0 &&
              json_object_set_new(doc, "tensors", dump_tensors(m)) == 0;
    char *text = ok ? uqm_json_dump(doc) : NULL;
    json_decref(doc);
    return text ? seal(text) : NULL;
}

/* --- reading --- */

static bool is_intact(const char *text, size_t len)
{
    struct uqm_xxh3_hex hex;
    if (len < TAIL_BYTES)
        return false;
    const char *tail = text + len - TAIL_BYTES;
    return memcmp(tail, TAIL_BEGIN, sizeof TAIL_BEGIN - 1) == 0 &&
           memcmp(tail + sizeof TAIL_BEGIN - 1 + 32, TAIL_END, sizeof TAIL_END - 1) == 0 &&
           digest_of(&hex, text, len - TAIL_BYTES) &&
           memcmp(tail + sizeof TAIL_BEGIN - 1, hex.text, 32) == 0;
}

struct reader {
    struct uqm_manifest *m;
    const char *where;
    struct uqm_err *err;
};

static int bad(struct reader *r, const char *list, size_t index, const char *what)
{
    return uqm_fail(r->err, UQM_ERR_FORMAT, "%s: %s[%zu]: %s", r->where, list, index, what);
}

static int no_memory(struct reader *r)
{
    return uqm_fail(r->err, UQM_ERR_NOMEM, "%s: no memory for the manifest", r->where);
}

static const char *keep(struct reader *r, const char *s)
{
    return uqm_arena_strndup(&r->m->arena, s, strlen(s));
}

static bool is_bare(const char *name)
{
    return *name && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static bool is_hex(const char *s, size_t n)
{
    return strlen(s) == n && strspn(s, "0123456789abcdef") == n;
}

static bool read_size(uint64_t *out, const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return false;
    *out = (uint64_t) json_integer_value(v);
    return true;
}

static int read_file(struct uqm_manifest_file *out, struct reader *r, const json_t *item,
                     const char *digest_key, size_t digest_len, const char *list, size_t index)
{
    const char *name = json_string_value(json_object_get(item, "name"));
    const char *digest = json_string_value(json_object_get(item, digest_key));
    if (!name || !is_bare(name))
        return bad(r, list, index, "name is not the name of a file");
    if (!digest || !is_hex(digest, digest_len))
        return bad(r, list, index, "the digest is not one");
    if (!read_size(&out->bytes, item, "bytes"))
        return bad(r, list, index, "bytes is not a size");
    const json_t *root = json_object_get(item, "tree_root");
    if (root && (!json_is_string(root) || !is_hex(json_string_value(root), 64)))
        return bad(r, list, index, "tree_root is not a digest");
    out->name = keep(r, name);
    out->digest = keep(r, digest);
    out->root = root ? keep(r, json_string_value(root)) : NULL;
    return out->name && out->digest && (!root || out->root) ? UQM_OK : no_memory(r);
}

static int compare_names(const void *a, const void *b)
{
    const struct uqm_manifest_file *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* Files sorted by name, by pointer: to find them and to see a name twice. */
static int sort_files(const struct uqm_manifest_file ***out, struct reader *r)
{
    size_t n = r->m->n_files;
    const struct uqm_manifest_file **v = uqm_arena_alloc(&r->m->arena, n + 1, sizeof(void *));
    if (!v)
        return no_memory(r);
    for (size_t i = 0; i < n; i++)
        v[i] = &r->m->files[i];
    if (n > 1)
        qsort(v, n, sizeof(void *), compare_names);
    for (size_t i = 1; i < n; i++)
        if (strcmp(v[i - 1]->name, v[i]->name) == 0)
            return bad(r, "files", (size_t) (v[i] - r->m->files), "its name stands there twice");
    *out = v;
    return UQM_OK;
}

static int read_files(struct reader *r, const json_t *list)
{
    struct uqm_manifest *m = r->m;
    m->n_files = json_array_size(list);
    m->files = uqm_arena_alloc(&m->arena, m->n_files + 1, sizeof *m->files);
    if (!m->files)
        return no_memory(r);
    for (size_t i = 0; i < m->n_files; i++) {
        int ret = read_file(&m->files[i], r, json_array_get(list, i), "sha256", 64, "files", i);
        if (ret < 0)
            return ret;
    }
    return UQM_OK;
}

/* Where the leaves are, and a root for every file but that one. */
static int read_tree(struct reader *r, const json_t *tree)
{
    struct uqm_manifest *m = r->m;
    uint64_t chunk = 0;
    if (!tree)
        return UQM_OK;
    const char *leaves = json_string_value(json_object_get(tree, "leaves"));
    if (!leaves || !is_bare(leaves))
        return uqm_fail(r->err, UQM_ERR_FORMAT, "%s: tree: leaves is not the name of a file",
                        r->where);
    if (!read_size(&chunk, tree, "chunk_bytes") || chunk != UQM_TREE_CHUNK_BYTES)
        return uqm_fail(r->err, UQM_ERR_UNSUPPORTED,
                        "%s: tree: chunk_bytes is not %d, the only size this program knows",
                        r->where, UQM_TREE_CHUNK_BYTES);
    for (size_t i = 0; i < m->n_files; i++)
        if (!m->files[i].root && strcmp(m->files[i].name, leaves) != 0)
            return bad(r, "files", i, "tree_root is missing");
    m->leaves_name = keep(r, leaves);
    return m->leaves_name ? UQM_OK : no_memory(r);
}

static int read_inputs(struct reader *r, const json_t *list)
{
    struct uqm_manifest *m = r->m;
    m->n_inputs = json_array_size(list);
    m->inputs = uqm_arena_alloc(&m->arena, m->n_inputs + 1, sizeof *m->inputs);
    if (!m->inputs)
        return no_memory(r);
    for (size_t i = 0; i < m->n_inputs; i++) {
        struct uqm_manifest_input *in = &m->inputs[i];
        const json_t *item = json_array_get(list, i), *files = json_object_get(item, "files");
        const char *path = json_string_value(json_object_get(item, "path"));
        if (!path || !*path)
            return bad(r, "inputs", i, "path is missing");
        if (!json_is_array(files))
            return bad(r, "inputs", i, "files is not a list");
        in->path = keep(r, path);
        in->n_files = json_array_size(files);
        in->files = uqm_arena_alloc(&m->arena, in->n_files + 1, sizeof *in->files);
        if (!in->path || !in->files)
            return no_memory(r);
        for (size_t f = 0; f < in->n_files; f++) {
            int ret =
                read_file(&in->files[f], r, json_array_get(files, f), "xxh3_128", 32, "inputs", i);
            if (ret < 0)
                return ret;
        }
    }
    return UQM_OK;
}

static int read_tensor(struct uqm_manifest_tensor *out, struct reader *r, const json_t *item,
                       const struct uqm_manifest_file *const *sorted, size_t index)
{
    const char *name = json_string_value(json_object_get(item, "name"));
    const char *file = json_string_value(json_object_get(item, "file"));
    const char *digest = json_string_value(json_object_get(item, "xxh3_128"));
    if (!name)
        return bad(r, "tensors", index, "name is missing");
    if (!digest || !is_hex(digest, 32))
        return bad(r, "tensors", index, "the digest is not one");
    if (!read_size(&out->offset, item, "offset") || !read_size(&out->bytes, item, "bytes"))
        return bad(r, "tensors", index, "offset or bytes is not a size");
    const struct uqm_manifest_file key = { .name = file }, *want = &key;
    const struct uqm_manifest_file *const *found =
        file ? bsearch(&want, sorted, r->m->n_files, sizeof(void *), compare_names) : NULL;
    if (!found)
        return bad(r, "tensors", index, "its file is not among the files");
    if (out->bytes > (*found)->bytes || out->offset > (*found)->bytes - out->bytes)
        return bad(r, "tensors", index, "it lies outside its file");
    out->file = (size_t) (*found - r->m->files);
    out->name = keep(r, name);
    out->digest = keep(r, digest);
    return out->name && out->digest ? UQM_OK : no_memory(r);
}

static int read_tensors(struct reader *r, const json_t *list)
{
    struct uqm_manifest *m = r->m;
    const struct uqm_manifest_file **sorted = NULL;
    int ret = sort_files(&sorted, r);
    if (ret < 0)
        return ret;
    m->n_tensors = json_array_size(list);
    m->tensors = uqm_arena_alloc(&m->arena, m->n_tensors + 1, sizeof *m->tensors);
    if (!m->tensors)
        return no_memory(r);
    for (size_t i = 0; i < m->n_tensors && ret == UQM_OK; i++)
        ret = read_tensor(&m->tensors[i], r, json_array_get(list, i), sorted, i);
    return ret;
}

static int read_document(struct reader *r, const json_t *doc)
{
    static const char *const lists[] = { "inputs", "files", "tensors" };
    const char *program = json_string_value(json_object_get(doc, "program"));
    const char *recipe = json_string_value(json_object_get(doc, "recipe"));
    const json_t *version = json_object_get(doc, "version");

    if (!json_is_integer(version))
        return uqm_fail(r->err, UQM_ERR_FORMAT, "%s: version is missing", r->where);
    if (json_integer_value(version) != 1)
        return uqm_fail(r->err, UQM_ERR_UNSUPPORTED,
                        "%s: version %" JSON_INTEGER_FORMAT "; this program reads version 1",
                        r->where, json_integer_value(version));
    for (size_t i = 0; i < 3; i++)
        if (!json_is_array(json_object_get(doc, lists[i])))
            return uqm_fail(r->err, UQM_ERR_FORMAT, "%s: %s is not a list", r->where, lists[i]);
    r->m->program = keep(r, program ? program : "");
    r->m->recipe = keep(r, recipe ? recipe : "");
    if (!r->m->program || !r->m->recipe)
        return no_memory(r);
    read_size(&r->m->seed, doc, "seed");

    int ret = read_files(r, json_object_get(doc, "files"));
    if (ret == UQM_OK)
        ret = read_tree(r, json_object_get(doc, "tree"));
    if (ret == UQM_OK)
        ret = read_inputs(r, json_object_get(doc, "inputs"));
    if (ret == UQM_OK)
        ret = read_tensors(r, json_object_get(doc, "tensors"));
    return ret;
}

int uqm_manifest_parse(struct uqm_manifest *out, bool *intact, const char *text, size_t len,
                       const char *where, struct uqm_err *err)
{
    struct uqm_manifest m = { 0 };
    struct reader r = { .m = &m, .where = where, .err = err };
    *intact = is_intact(text, len);
    json_t *doc = uqm_json_parse(text, len, where, false, err);
    if (!doc)
        return UQM_ERR_FORMAT;
    int ret = read_document(&r, doc);
    json_decref(doc);
    if (ret < 0)
        uqm_manifest_finish(&m);
    else
        *out = m;
    return ret;
}

void uqm_manifest_finish(struct uqm_manifest *manifest)
{
    uqm_arena_finish(&manifest->arena);
    *manifest = (struct uqm_manifest){ 0 };
}
