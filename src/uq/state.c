#include "src/uq/state.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/fs.h"
#include "src/base/part.h"
#include "src/format/json.h"

enum { VERSION = 2, MAX_STATE_BYTES = 1 << 30 };

struct uqm_state {
    char *path, *lock;
    int lock_fd;  /* held while the state is open: two runs would write over each other's entries */
    json_t *root; /* {"version", "job", "entries": [{"kind", "models", "values", "asked",
                     "answers"}]} */
    size_t *n_records;
    size_t n_sets;
};

static json_t *entries_of(const struct uqm_state *s)
{
    return json_object_get(s->root, "entries");
}

static json_t *names_json(const struct uqm_state_key *key)
{
    json_t *names = json_array();
    for (size_t i = 0; names && i < key->n_models; i++)
        json_array_append_new(names, json_string(key->models[i]));
    return names;
}

static bool has_key(const json_t *entry, const struct uqm_state_key *key)
{
    const char *kind = json_string_value(json_object_get(entry, "kind"));
    const json_t *names = json_object_get(entry, "models");
    if (!kind || strcmp(kind, key->kind) != 0 || json_array_size(names) != key->n_models)
        return false;
    for (size_t i = 0; i < key->n_models; i++) {
        const char *name = json_string_value(json_array_get(names, i));
        if (!name || strcmp(name, key->models[i]) != 0)
            return false;
    }
    return true;
}

static bool are_numbers(const json_t *list, size_t n, bool or_null)
{
    if (json_array_size(list) != n)
        return false;
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);
        if (!json_is_number(v) && !(or_null && json_is_null(v)))
            return false;
    }
    return true;
}

/* The file is ours, but disks and people are not: an entry has the job's shape, or the file is
 * none. */
static bool has_shape(const struct uqm_state *s, const json_t *entry)
{
    const json_t *sets = json_object_get(entry, "values");
    const json_t *answers = json_object_get(entry, "answers");
    const json_t *asked = json_object_get(entry, "asked");
    if (!json_is_string(json_object_get(entry, "kind")) ||
        !json_is_array(json_object_get(entry, "models")) || json_array_size(sets) != s->n_sets ||
        json_array_size(answers) != s->n_sets || json_array_size(asked) != s->n_sets)
        return false;
    for (size_t i = 0; i < s->n_sets; i++) {
        const json_t *n = json_array_get(asked, i);
        if (!json_is_integer(n) || json_integer_value(n) < 0 ||
            (uint64_t) json_integer_value(n) > s->n_records[i] ||
            !are_numbers(json_array_get(sets, i), s->n_records[i], true) ||
            !are_numbers(json_array_get(answers, i), UQM_N_OPTIONS, false))
            return false;
    }
    return true;
}

/* Why the file cannot be used, or NULL. */
static const char *why_not(const struct uqm_state *s, const json_t *root, const char *job)
{
    const char *its_job = json_string_value(json_object_get(root, "job"));
    if (json_integer_value(json_object_get(root, "version")) != VERSION || !its_job)
        return "it is no state of this version";
    if (strcmp(its_job, job) != 0)
        return "it belongs to another job (other data, seed or options, or an older version)";
    const json_t *entries = json_object_get(root, "entries");
    if (!json_is_array(entries))
        return "it has no entries";
    for (size_t i = 0; i < json_array_size(entries); i++)
        if (!has_shape(s, json_array_get(entries, i)))
            return "an entry does not fit the data";
    return NULL;
}

static int load(struct uqm_state *s, struct uqm_env *env, const char *job, struct uqm_err *err)
{
    if (!s->path || access(s->path, F_OK) != 0)
        return UQM_OK;
    struct uqm_err why = { 0 };
    json_t *root = uqm_json_load(s->path, MAX_STATE_BYTES, &why);
    const char *reason = root ? why_not(s, root, job) : why.msg;
    if (!root)
        return uqm_warn(env, err, "%s; not used, the run starts over", reason);
    if (reason) {
        json_decref(root);
        return uqm_warn(env, err, "%s: not used, the run starts over: %s", s->path, reason);
    }
    json_decref(s->root);
    s->root = root;
    return UQM_OK;
}

/* A lock is an empty file: no other that happens to have its name is lost. */
static int take_lock(struct uqm_state *s, struct uqm_err *err)
{
    struct stat st;
    if (lstat(s->lock, &st) == 0 && (!S_ISREG(st.st_mode) || st.st_size > 0))
        return uqm_fail(err, UQM_ERR_ARG, "%s: not a lock, so it is not replaced", s->lock);
    return uqm_part_open(&s->lock_fd, s->lock, s->path, false, err);
}

int uqm_state_open(struct uqm_state **out, struct uqm_env *env, const char *path,
                   const struct uqm_xxh3_hex *job, const size_t *n_records, size_t n_sets,
                   struct uqm_err *err)
{
    int ret = UQM_ERR_NOMEM;
    struct uqm_state *s = calloc(1, sizeof *s);
    if (!s)
        goto no_memory;
    s->lock_fd = -1;
    s->path = path ? strdup(path) : NULL;
    if (path && asprintf(&s->lock, "%s.lock", path) < 0)
        s->lock = NULL;
    s->n_records = malloc((n_sets + 1) * sizeof *s->n_records);
    s->root = json_pack("{s:i, s:s, s:[]}", "version", VERSION, "job", job->text, "entries");
    if ((path && (!s->path || !s->lock)) || !s->n_records || !s->root)
        goto no_memory;
    memcpy(s->n_records, n_records, n_sets * sizeof *n_records);
    s->n_sets = n_sets;

    ret = path ? take_lock(s, err) : UQM_OK;
    if (ret == UQM_OK)
        ret = load(s, env, job->text, err);
    if (ret < 0)
        goto fail;
    *out = s;
    return UQM_OK;

no_memory:
    uqm_fail(err, UQM_ERR_NOMEM, "no memory for the run's state");
fail:
    uqm_state_close(&s);
    return ret;
}

static bool is_among(const json_t *name, const char *const *models, size_t n)
{
    const char *text = json_string_value(name);
    for (size_t i = 0; text && i < n; i++)
        if (strcmp(text, models[i]) == 0)
            return true;
    return false;
}

void uqm_state_tell(const struct uqm_state *state, const struct uqm_env *env,
                    const char *const *models, size_t n)
{
    const json_t *entries = entries_of(state);
    const size_t n_entries = json_array_size(entries);
    size_t n_ours = 0;
    for (size_t i = 0; i < n_entries; i++) {
        const json_t *names = json_object_get(json_array_get(entries, i), "models");
        size_t k = 0;
        while (k < json_array_size(names) && is_among(json_array_get(names, k), models, n))
            k++;
        n_ours += k == json_array_size(names);
    }
    if (n_ours > 0)
        uqm_log(env, UQM_LOG_INFO, "%s: going on after %zu finished measurements", state->path,
                n_ours);
    else if (n_entries > 0)
        uqm_log(env, UQM_LOG_INFO,
                "%s: none of its %zu measurements is of these models as they are now, so all are "
                "measured: other models, files that changed since, or an older version's state",
                state->path, n_entries);
}

void uqm_state_close(struct uqm_state **state)
{
    struct uqm_state *s = *state;
    *state = NULL;
    if (!s)
        return;
    if (s->lock_fd >= 0) {
        unlink(s->lock);
        close(s->lock_fd);
    }
    json_decref(s->root);
    free(s->n_records);
    free(s->lock);
    free(s->path);
    free(s);
}

void uqm_state_remove(struct uqm_state *state)
{
    if (state->path)
        unlink(state->path);
}

static json_t *entry_of(struct uqm_state *state, const struct uqm_state_key *key)
{
    const json_t *entries = entries_of(state);
    for (size_t i = 0; i < json_array_size(entries); i++)
        if (has_key(json_array_get(entries, i), key))
            return json_array_get(entries, i);
    return NULL;
}

bool uqm_state_get(struct uqm_state *state, const struct uqm_state_key *key, struct uqm_measure *m)
{
    const json_t *entry = entry_of(state, key);
    if (!entry)
        return false;
    const json_t *sets = json_object_get(entry, "values");
    const json_t *answers = json_object_get(entry, "answers");
    const json_t *asked = json_object_get(entry, "asked");
    for (size_t k = 0; k < state->n_sets; k++) {
        for (size_t r = 0; r < state->n_records[k]; r++) {
            const json_t *v = json_array_get(json_array_get(sets, k), r);
            m->values[k][r] = json_is_null(v) ? (double) NAN : json_number_value(v);
        }
        for (size_t o = 0; o < UQM_N_OPTIONS; o++)
            m->answers[k][o] = json_number_value(json_array_get(json_array_get(answers, k), o));
        m->n_asked[k] = (size_t) json_integer_value(json_array_get(asked, k));
    }
    return true;
}

static json_t *numbers_json(const double *values, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < n; i++)
        json_array_append_new(list, uqm_measure_number(values[i]));
    return list;
}

static json_t *entry_json(const struct uqm_state *s, const struct uqm_state_key *key,
                          const struct uqm_measure *m)
{
    json_t *values = json_array(), *answers = json_array(), *asked = json_array();
    for (size_t k = 0; values && answers && asked && k < s->n_sets; k++) {
        json_array_append_new(values, numbers_json(m->values[k], s->n_records[k]));
        json_array_append_new(answers, numbers_json(m->answers[k], UQM_N_OPTIONS));
        json_array_append_new(asked, json_integer((json_int_t) m->n_asked[k]));
    }
    return json_pack("{s:s, s:o, s:o, s:o, s:o}", "kind", key->kind, "models", names_json(key),
                     "values", values, "asked", asked, "answers", answers);
}

int uqm_state_put(struct uqm_state *state, const struct uqm_state_key *key,
                  const struct uqm_measure *m, struct uqm_err *err)
{
    json_t *entry = entry_json(state, key, m), *old = entry_of(state, key);
    int bad = !entry;
    if (entry && old) {
        bad = json_object_update(old, entry) != 0;
        json_decref(entry);
    } else if (entry) {
        bad = json_array_append_new(entries_of(state), entry) != 0;
    }
    if (bad)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for the run's state");
    if (!state->path)
        return UQM_OK;
    char *text = uqm_json_dump(state->root);
    if (!text)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", state->path);
    int ret = uqm_replace_file(state->path, text, strlen(text), err);
    free(text);
    return ret;
}
