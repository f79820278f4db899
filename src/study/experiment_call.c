/* uqm_experiment(): a study file to tables. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "src/base/fs.h"
#include "src/checkpoint/inspect.h"
#include "src/format/json.h"
#include "src/study/study_tables.h"
#include "src/study/study_write.h"
#include "src/uq/call.h"

struct experiment {
    const struct uqm_experiment_params *params;
    struct uqm_env env;
    struct uqm_study study;
    struct uqm_study_run run;
    struct uqm_study_pick pick;
    bool has_pick, by_name;
    uint64_t wanted; /* bits of the tables */
    char *cache_dir;
    json_t *tables, *left_out, *waiting;
};

static int choose_tables(struct experiment *e, struct uqm_err *err)
{
    const struct uqm_strings *only = &e->params->only;
    e->wanted = e->study.tables;
    e->by_name = e->study.tables_by_name || only->n > 0;
    if (only->n > 0)
        e->wanted = 0;
    for (size_t i = 0; i < only->n; i++) {
        const int at = uqm_study_table_find(only->v[i]);
        struct uqm_printable shown;
        if (at < 0)
            return uqm_fail(err, UQM_ERR_USAGE, "--only %s: no such table; f1, t1 to t14",
                            uqm_printable(&shown, only->v[i], strlen(only->v[i])));
        e->wanted |= (uint64_t) 1 << at;
    }
    return UQM_OK;
}

/* A table without the sets it is about: an error where it was asked for by name, else left out. */
static int drop_impossible(struct experiment *e, struct uqm_err *err)
{
    for (int i = 0; i < UQM_N_STUDY_TABLES; i++)
        for (int role = 0; role < UQM_N_ROLES; role++) {
            const struct uqm_study_table *t = &uqm_study_tables[i];
            char why[128];
            if (!(e->wanted >> i & 1) || !(t->roles >> role & 1) || e->study.n_of_role[role] > 0)
                continue;
            snprintf(why, sizeof why, "the study names no %s sets", uqm_study_role_names[role]);
            if (e->by_name)
                return uqm_fail(err, UQM_ERR_ARG, "%s: %s cannot be made: %s", e->study.path,
                                t->name, why);
            uqm_log(&e->env, UQM_LOG_WARN, "%s is left out: %s", t->name, why);
            json_array_append_new(e->left_out,
                                  json_pack("{s:s, s:s}", "name", t->name, "why", why));
            e->wanted &= ~((uint64_t) 1 << i);
        }
    return UQM_OK;
}

static int check_repeats(const struct experiment *e, struct uqm_err *err)
{
    if (e->study.repeats > 1)
        return UQM_OK;
    return uqm_warn(
        &e->env, err,
        "%s: repeats: every uncertainty will be 0, whatever the models are: each record "
        "is asked once",
        e->params->study_path);
}

/* DIR is new, empty, or a study's. */
static int take_dir(const struct experiment *e, struct uqm_err *err)
{
    const char *dir = e->params->out_dir;
    if (e->params->dry_run || uqm_is_dir(e->cache_dir))
        return UQM_OK;
    struct stat st;
    if (lstat(dir, &st) != 0)
        return errno == ENOENT ? uqm_make_dir(dir, err) : uqm_fail_errno(err, "%s", dir);
    struct dirent **names = NULL;
    int n = scandir(dir, &names, NULL, alphasort);
    if (n < 0)
        return uqm_fail_errno(err, "%s", dir);
    for (int i = 0; i < n; i++)
        free(names[i]);
    free(names);
    return n <= 2 ? UQM_OK
                  : uqm_fail(err, UQM_ERR_ARG, "%s: it exists and is no study's folder", dir);
}

static int begin(struct experiment *e, struct uqm_err *err)
{
    const struct uqm_experiment_params *p = e->params;
    int ret;
    if (!p->study_path || !p->out_dir)
        return uqm_fail(err, UQM_ERR_USAGE, "a study file and --out DIR are needed");
    if (p->common.seed)
        return uqm_fail(err, UQM_ERR_USAGE, "--seed: a study's seeds stand in its file (seeds)");
    e->tables = json_array();
    e->left_out = json_array();
    e->waiting = json_array();
    e->cache_dir = uqm_path_join(p->out_dir, "cache");
    if (!e->tables || !e->left_out || !e->waiting || !e->cache_dir)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for a study");
    if ((ret = uqm_env_init(&e->env, &p->common, err)) < 0 ||
        (ret = uqm_study_read(&e->study, p->study_path, err)) < 0 ||
        (ret = check_repeats(e, err)) < 0 || (ret = choose_tables(e, err)) < 0 ||
        (ret = drop_impossible(e, err)) < 0 || (ret = take_dir(e, err)) < 0)
        return ret;
    e->run = (struct uqm_study_run){ .study = &e->study,
                                     .common = &p->common,
                                     .env = &e->env,
                                     .dir = p->out_dir,
                                     .dry_run = p->dry_run,
                                     .ask = uqm_study_ask };
    ret = uqm_study_cache_open(&e->run.cache, &e->env, e->cache_dir, !p->dry_run, err);
    return ret < 0 ? ret : uqm_study_run_init(&e->run, err);
}

static void wait_for(struct experiment *e, const char *name)
{
    json_array_append_new(e->waiting, json_string(name));
}

/* The study's own selection comes first: it gives merges their order. */
static int select_first(struct experiment *e, struct uqm_err *err)
{
    bool needed = false;
    for (int i = 0; i < UQM_N_STUDY_TABLES; i++) {
        const bool wanted = e->wanted >> i & 1;
        needed |= wanted && uqm_study_tables[i].uses != UQM_NO_PICK;
        e->run.wants_steps |= wanted && uqm_study_tables[i].uses == UQM_ALL_STEPS;
    }
    if (!needed)
        return UQM_OK;
    int ret = uqm_study_own_pick(&e->pick, &e->run, false, err);
    e->has_pick = ret == UQM_OK;
    return ret == UQM_STUDY_WAITS ? UQM_OK : ret;
}

static int fill_table(struct experiment *e, int i, struct uqm_err *err)
{
    const struct uqm_study_table *t = &uqm_study_tables[i];
    struct uqm_study_maker m = { .run = &e->run, .pick = &e->pick, .err = err };
    if (t->uses != UQM_NO_PICK && !e->has_pick) {
        wait_for(e, t->name);
        return UQM_OK;
    }
    uqm_report(&e->env, "tables", "tables", (uint64_t) i, UQM_N_STUDY_TABLES);
    m.table = uqm_table_new(t->name, t->title, t->about);
    if (!m.table)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", t->name);
    int ret = t->fill(&m);
    if (ret == UQM_STUDY_WAITS) {
        wait_for(e, t->name);
        ret = UQM_OK;
    } else if (ret == UQM_OK) {
        json_array_append(e->tables, m.table);
    }
    json_decref(m.table);
    return ret;
}

static json_t *table_list(const struct experiment *e)
{
    json_t *list = json_array(), *table;
    size_t i;
    json_array_foreach (e->tables, i, table) {
        const char *name = uqm_get_text(table, "experiment");
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:I}", "name", name, "title", uqm_get_text(table, "title"),
                            "rows", (json_int_t) json_array_size(json_object_get(table, "rows"))));
    }
    return list;
}

static json_t *result_json(const struct experiment *e, double seconds)
{
    const struct uqm_study_run *run = &e->run;
    const size_t n = json_array_size(run->jobs);
    json_t *result = json_pack(
        "{s:o, s:o, s:o, s:O, s:{s:I, s:I, s:I}, s:f}", "out", uqm_inspect_text(e->params->out_dir),
        "study", uqm_inspect_text(e->study.name), "tables", table_list(e), "left_out", e->left_out,
        "n_jobs", "all", (json_int_t) n, "cached", (json_int_t) run->n_cached, "done",
        (json_int_t) run->n_done, "seconds", seconds);
    if (result && e->params->dry_run) {
        json_object_set(result, "jobs", run->jobs);
        json_object_set(result, "waiting", e->waiting);
    }
    return result;
}

static int run_study(struct experiment *e, struct uqm_err *err)
{
    int ret = begin(e, err);
    if (ret == UQM_OK)
        ret = select_first(e, err);
    for (int i = 0; i < UQM_N_STUDY_TABLES && ret == UQM_OK; i++)
        if (e->wanted >> i & 1)
            ret = fill_table(e, i, err);
    if (ret == UQM_OK && !e->params->dry_run)
        ret = uqm_study_write(&e->run, e->has_pick ? &e->pick : NULL, e->tables, e->left_out, err);
    return ret;
}

int uqm_experiment(char **json, const struct uqm_experiment_params *params, struct uqm_err *err)
{
    const double start = uqm_call_now();
    struct experiment *e = calloc(1, sizeof *e);
    *json = NULL;
    if (!e)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for a study");
    e->params = params;
    int ret = run_study(e, err);
    if (ret == UQM_OK) {
        json_t *result = result_json(e, uqm_call_now() - start);
        *json = result ? uqm_json_dump(result) : NULL;
        json_decref(result);
        if (!*json)
            ret = uqm_fail(err, UQM_ERR_NOMEM, "no memory for the result");
    }
    uqm_study_run_finish(&e->run);
    uqm_study_cache_close(&e->run.cache);
    uqm_study_finish(&e->study);
    json_decref(e->tables);
    json_decref(e->left_out);
    json_decref(e->waiting);
    free(e->cache_dir);
    free(e);
    return ret;
}
