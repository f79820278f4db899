#include "src/study/study_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/fs.h"
#include "src/format/json.h"

enum { ENTRY_MAX_BYTES = 1 << 22 };

struct uqm_study_cache {
    const struct uqm_env *env;
    char *dir;
    int lock;      /* -1: not ours */
    json_t *known; /* name: value, of what was read or put in this run; null: damaged */
};

static int take_lock(struct uqm_study_cache *c, struct uqm_err *err)
{
    if (mkdir(c->dir, 0777) != 0 && errno != EEXIST)
        return uqm_fail_errno(err, "%s", c->dir);
    char *path = uqm_path_join(c->dir, "lock");
    if (!path)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", c->dir);
    c->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    int ret = c->lock < 0 ? uqm_fail_errno(err, "%s", path) : UQM_OK;
    if (ret == UQM_OK && flock(c->lock, LOCK_EX | LOCK_NB) != 0)
        ret = errno == EWOULDBLOCK
                  ? uqm_fail(err, UQM_ERR_ARG, "%s: another run is at work there", c->dir)
                  : uqm_fail_errno(err, "%s", path);
    free(path);
    return ret;
}

int uqm_study_cache_open(struct uqm_study_cache **out, const struct uqm_env *env, const char *dir,
                         bool write, struct uqm_err *err)
{
    struct uqm_study_cache *c = calloc(1, sizeof *c);
    if (!c)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", dir);
    c->env = env;
    c->lock = -1;
    c->dir = strdup(dir);
    c->known = json_object();
    int ret = c->dir && c->known ? UQM_OK : uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", dir);
    if (ret == UQM_OK && write)
        ret = take_lock(c, err);
    if (ret < 0)
        uqm_study_cache_close(&c);
    *out = c;
    return ret;
}

void uqm_study_cache_close(struct uqm_study_cache **cache)
{
    struct uqm_study_cache *c = *cache;
    if (!c)
        return;
    if (c->lock >= 0)
        close(c->lock);
    json_decref(c->known);
    free(c->dir);
    free(c);
    *cache = NULL;
}

/* XXH3-128 of the values' canonical text: keys sorted, no white space. */
static int digest(struct uqm_xxh3_hex *out, const json_t *a, const json_t *b, struct uqm_err *err)
{
    const json_t *both[] = { a, b };
    struct uqm_xxh3 *h = uqm_xxh3_create();
    bool ok = h != NULL;
    for (size_t i = 0; i < 2 && ok; i++) {
        if (!both[i])
            continue;
        char *text = uqm_json_dump_as(both[i], JSON_COMPACT | JSON_SORT_KEYS |
                                                   JSON_REAL_PRECISION(17) | JSON_ENCODE_ANY);
        ok = text != NULL;
        if (ok)
            uqm_xxh3_update(h, text, strlen(text) + 1);
        free(text);
    }
    if (ok)
        *out = uqm_xxh3_hex(h);
    uqm_xxh3_destroy(&h);
    return ok ? UQM_OK : uqm_fail(err, UQM_ERR_NOMEM, "no memory for a digest");
}

int uqm_study_cache_name(struct uqm_xxh3_hex *out, const json_t *key, struct uqm_err *err)
{
    return digest(out, key, NULL, err);
}

static char *path_of(const struct uqm_study_cache *c, const struct uqm_xxh3_hex *name)
{
    char *file = NULL;
    if (asprintf(&file, "%s.json", name->text) < 0)
        return NULL;
    char *path = uqm_path_join(c->dir, file);
    free(file);
    return path;
}

/* What a file says, if it says it whole and of this question. */
static json_t *read_entry(const char *path, const json_t *key)
{
    struct uqm_err ignored = { 0 };
    struct uqm_xxh3_hex found;
    json_t *root = uqm_json_load(path, ENTRY_MAX_BYTES, &ignored);
    json_t *value = json_object_get(root, "value");
    const char *sum = json_string_value(json_object_get(root, "xxh3_128"));
    const bool whole = value && sum && json_equal(json_object_get(root, "key"), key) &&
                       digest(&found, key, value, &ignored) == UQM_OK && !strcmp(found.text, sum);
    json_incref(value);
    json_decref(root);
    if (whole)
        return value;
    json_decref(value);
    return NULL;
}

const json_t *uqm_study_cache_get(struct uqm_study_cache *c, const json_t *key)
{
    struct uqm_err ignored = { 0 };
    struct uqm_xxh3_hex name;
    if (uqm_study_cache_name(&name, key, &ignored) < 0)
        return NULL;
    json_t *value = json_object_get(c->known, name.text);
    if (value)
        return json_is_null(value) ? NULL : value;
    char *path = path_of(c, &name);
    if (path && uqm_is_file(path)) {
        value = read_entry(path, key);
        if (!value)
            uqm_log(c->env, UQM_LOG_WARN, "%s: damaged, so it is found again", path);
        /* null: once warned of */
        if (json_object_set_new(c->known, name.text, value ? value : json_null()) < 0)
            value = NULL;
    }
    free(path);
    return value;
}

int uqm_study_cache_put(struct uqm_study_cache *c, const json_t *key, const json_t *value,
                        struct uqm_err *err)
{
    struct uqm_xxh3_hex name, sum;
    int ret = uqm_study_cache_name(&name, key, err);
    if (ret == UQM_OK)
        ret = digest(&sum, key, value, err);
    if (ret < 0)
        return ret;
    json_t *root = json_pack("{s:O, s:O, s:s}", "key", key, "value", value, "xxh3_128", sum.text);
    char *text = root ? uqm_json_dump(root) : NULL, *path = path_of(c, &name);
    json_decref(root);
    if (!text || !path)
        ret = uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for an answer", c->dir);
    if (ret == UQM_OK)
        ret = uqm_replace_file(path, text, strlen(text), err);
    if (ret == UQM_OK && json_object_set(c->known, name.text, (json_t *) (uintptr_t) value) < 0)
        ret = uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for an answer", c->dir);
    free(text);
    free(path);
    return ret;
}
