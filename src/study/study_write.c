#include "src/study/study_write.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/fs.h"
#include "src/checkpoint/inspect.h"
#include "src/format/json.h"
#include "src/study/page.h"

/* --- CSV --- */

static void put_field(FILE *f, const char *text)
{
    if (!strpbrk(text, ",\"\n\r")) {
        fputs(text, f);
        return;
    }
    fputc('"', f);
    for (; *text; text++)
        fprintf(f, *text == '"' ? "\"\"" : "%c", *text);
    fputc('"', f);
}

static void put_value(FILE *f, const json_t *v)
{
    size_t i;
    json_t *item;
    if (json_is_integer(v)) {
        fprintf(f, "%lld", (long long) json_integer_value(v));
    } else if (json_is_real(v)) {
        fprintf(f, "%.17g", json_real_value(v));
    } else if (json_is_boolean(v)) {
        fputs(json_is_true(v) ? "true" : "false", f);
    } else if (json_is_string(v)) {
        put_field(f, json_string_value(v));
    } else if (json_is_array(v)) {
        char *text = NULL;
        size_t len = 0;
        FILE *list = open_memstream(&text, &len);
        json_array_foreach (v, i, item)
            if (list)
                fprintf(list, "%s%s", i ? "+" : "",
                        json_is_string(item) ? json_string_value(item) : "");
        if (list && fclose(list) == 0)
            put_field(f, text);
        free(text);
    }
}

/* One line: the keys, or a row's values. run: the digest that stands in the last column of every
 * row, or "": none. */
static void put_line(FILE *f, const json_t *columns, const json_t *row, const char *run)
{
    size_t i;
    json_t *column;
    json_array_foreach (columns, i, column) {
        const char *keys[] = { uqm_get_text(column, "key"), uqm_get_text(column, "error") };
        for (size_t k = 0; k < 2; k++) {
            if (!keys[k][0])
                continue;
            if (i || k)
                fputc(',', f);
            if (row)
                put_value(f, json_object_get(row, keys[k]));
            else
                put_field(f, keys[k]);
        }
    }
    if (run[0]) {
        fputc(',', f);
        put_field(f, row ? run : "run");
    }
    fputc('\n', f);
}

char *uqm_study_csv(const json_t *table)
{
    const json_t *columns = json_object_get(table, "columns");
    const char *run = uqm_get_text(json_object_get(table, "run"), "digest");
    char *text = NULL;
    size_t len = 0, i;
    json_t *row;
    FILE *f = open_memstream(&text, &len);
    if (!f)
        return NULL;
    put_line(f, columns, NULL, run);
    json_array_foreach (json_object_get(table, "rows"), i, row)
        put_line(f, columns, row, run);
    bool bad = ferror(f) != 0;
    if (fclose(f) != 0 || bad) {
        free(text);
        return NULL;
    }
    return text;
}

/* --- files --- */

static int write_text(const struct uqm_study_run *run, const char *name, const char *text,
                      struct uqm_err *err)
{
    char *path = uqm_path_join(run->dir, name);
    int ret = text && path ? uqm_replace_file(path, text, strlen(text), err)
                           : uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", name);
    free(path);
    return ret;
}

static int write_json(const struct uqm_study_run *run, const char *name, const json_t *root,
                      struct uqm_err *err)
{
    char *text = root ? uqm_json_dump(root) : NULL;
    int ret = write_text(run, name, text, err);
    free(text);
    return ret;
}

/* Under `name`, "t8" or, of what belongs to it, "t8-conformal". */
static int write_csv(const struct uqm_study_run *run, const json_t *table, const char *name,
                     const char *of, struct uqm_err *err)
{
    char file[64];
    char *csv = uqm_study_csv(table);
    snprintf(file, sizeof file, "%.20s%s%.30s.csv", name, of[0] ? "-" : "", of);
    int ret = write_text(run, file, csv, err);
    free(csv);
    return ret;
}

/* What was run stands in each table, too: tables are passed on one by one. */
static int write_table(const struct uqm_study_run *run, const json_t *bare, json_t *what,
                       struct uqm_err *err)
{
    const char *name = uqm_get_text(bare, "experiment");
    json_t *table = json_copy((json_t *) (uintptr_t) bare), *more;
    char file[32];
    size_t i;
    int ret = table && json_object_set(table, "run", what) == 0
                  ? UQM_OK
                  : uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for the table", name);
    snprintf(file, sizeof file, "%.20s.json", name);
    if (ret == UQM_OK)
        ret = write_json(run, file, table, err);
    if (ret == UQM_OK)
        ret = write_csv(run, table, name, "", err);
    json_array_foreach (json_object_get(bare, "more"), i, more) {
        json_t *one = json_copy(more);
        if (ret == UQM_OK)
            ret = one && json_object_set(one, "run", what) == 0
                      ? write_csv(run, one, name, uqm_get_text(more, "experiment"), err)
                      : uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for the table", name);
        json_decref(one);
    }
    json_decref(table);
    return ret;
}

/* --- what was run --- */

static json_t *sample_json(const struct uqm_study_sample *s)
{
    return s->count       ? json_integer((json_int_t) s->count)
           : s->ratio > 0 ? json_real(s->ratio)
                          : json_null();
}

static json_t *seeds_json(const struct uqm_study *s)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < s->n_seeds; i++)
        json_array_append_new(list, json_integer((json_int_t) s->seeds[i]));
    return list;
}

static json_t *models_json(const struct uqm_study_run *run)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < run->study->n_models; i++)
        json_array_append_new(list, json_pack("{s:s, s:o, s:s}", "name", run->study->models[i].name,
                                              "path", uqm_inspect_text(run->study->models[i].path),
                                              "digest", run->models[i].text));
    return list;
}

static json_t *data_json(const struct uqm_study_run *run)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < run->study->n_sets; i++) {
        const struct uqm_study_set *set = &run->study->sets[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:I, s:s}", "name", set->name,
                                              "role", uqm_study_role_names[set->role], "path",
                                              uqm_inspect_text(set->path), "records",
                                              (json_int_t) run->sets[i].n_records, "digest",
                                              run->sets[i].digest.text));
    }
    return list;
}

static json_t *methods_json(const struct uqm_study *s)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < s->n_methods; i++) {
        json_t *params = json_object();
        for (size_t k = 0; params && k < s->methods[i].n_params; k++)
            json_object_set_new(params, s->methods[i].params[k].info->name,
                                json_real(s->methods[i].params[k].value));
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:o}", "name", s->methods[i].name, "method",
                                        s->methods[i].info->name, "parameters", params));
    }
    return list;
}

static json_t *ratios_json(const struct uqm_study *s)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < s->n_ratios; i++)
        json_array_append_new(list, json_real(s->ratios[i]));
    return list;
}

static json_t *tower_json(const struct uqm_study_run *run)
{
    return run->study->vision_tower
               ? json_pack("{s:o, s:s}", "path", uqm_inspect_text(run->study->vision_tower),
                           "digest", run->tower.text)
               : json_null();
}

/* The selection that most tables are about; null when no table needed it. */
static json_t *pick_json(const struct uqm_study_run *run, const struct uqm_study_pick *pick)
{
    json_t *order = json_array(), *selected = json_array();
    if (!pick) {
        json_decref(order);
        json_decref(selected);
        return json_null();
    }
    for (size_t i = 0; i < run->study->n_models; i++)
        json_array_append_new(order, json_string(run->study->models[pick->order[i]].name));
    for (size_t i = 0; i < pick->n_selected; i++)
        json_array_append_new(selected, json_string(run->study->models[pick->order[i]].name));
    return json_pack("{s:o, s:o, s:o}", "order", order, "stopped_at",
                     pick->stopped_at ? json_integer((json_int_t) pick->stopped_at) : json_null(),
                     "selected", selected);
}

static void setting(json_t *table, const char *name, json_t *value)
{
    json_t *row = uqm_table_row(table);
    json_object_set_new(row, "what", json_string(name));
    json_object_set_new(row, "value", value);
}

static json_t *all_records(void)
{
    return json_string("all records");
}

/* What the page shows of the index: the same values as tables. */
static json_t *settings_table(const struct uqm_study_run *run, const json_t *index)
{
    const struct uqm_study *s = run->study;
    const json_t *pick = json_object_get(index, "selection");
    json_t *table = uqm_table_new("settings", "What was run", "");
    uqm_table_column(table, "what", "setting", NULL, NULL);
    uqm_table_column(table, "value", "value", NULL, NULL);
    setting(table, "program", json_incref(json_object_get(index, "program")));
    setting(table, "study file", uqm_inspect_text(s->path));
    setting(table, "study file, XXH3-128", json_string(s->digest.text));
    setting(table, "device", json_string(run->device));
    setting(table, "seeds (the first is the study's own)", seeds_json(s));
    setting(table, "repeats J", json_integer(s->repeats));
    setting(table, "dropout", json_real(s->dropout));
    const bool all = !s->samples.count && !(s->samples.ratio > 0);
    const bool eval_all = !s->eval_samples.count && !(s->eval_samples.ratio > 0);
    setting(table, "records of each set for uncertainty",
            all ? all_records() : sample_json(&s->samples));
    setting(table, "records of each set for scores",
            eval_all ? all_records() : sample_json(&s->eval_samples));
    setting(table, "new tokens of an answer",
            s->max_new_tokens < 0 ? json_string("as each task says")
                                  : json_integer(s->max_new_tokens));
    if (s->has_base)
        setting(table, "base",
                json_pack("s++", uqm_get_text(json_object_get(index, "base"), "name"),
                          ", XXH3-128 ", run->base.text));
    if (s->vision_tower)
        setting(table, "vision tower", json_pack("s+", "XXH3-128 ", run->tower.text));
    if (json_is_object(pick)) {
        setting(table, "order of Algorithm 1", json_incref(json_object_get(pick, "order")));
        setting(table, "selected", json_incref(json_object_get(pick, "selected")));
    }
    return table;
}

/* A table straight from a list of objects. */
static json_t *list_table(const char *name, const char *title, const json_t *list,
                          const char *const (*columns)[3])
{
    size_t i;
    json_t *item;
    json_t *table = uqm_table_new(name, title, "");
    for (size_t k = 0; columns[k][0]; k++)
        uqm_table_column(table, columns[k][0], columns[k][1], columns[k][2], NULL);
    json_array_foreach (list, i, item)
        json_array_append(json_object_get(table, "rows"), item);
    return table;
}

static json_t *about_tables(const struct uqm_study_run *run, const json_t *index)
{
    static const char *const models[][3] = { { "name", "model", NULL },
                                             { "path", "path", NULL },
                                             { "digest", "XXH3-128 of its contents", NULL },
                                             { NULL, NULL, NULL } };
    static const char *const data[][3] = { { "name", "data set", NULL },
                                           { "role", "role", NULL },
                                           { "records", "records", "count" },
                                           { "path", "path", NULL },
                                           { "digest", "XXH3-128 of its contents", NULL },
                                           { NULL, NULL, NULL } };
    static const char *const left[][3] = { { "name", "table", NULL },
                                           { "why", "why", NULL },
                                           { NULL, NULL, NULL } };
    const json_t *left_out = json_object_get(index, "left_out");
    json_t *list = json_array();
    json_array_append_new(list, settings_table(run, index));
    json_array_append_new(list,
                          list_table("models", "Models", json_object_get(index, "models"), models));
    json_array_append_new(list,
                          list_table("data", "Data sets", json_object_get(index, "data"), data));
    if (json_array_size(left_out) > 0)
        json_array_append_new(list, list_table("left out", "Tables left out", left_out, left));
    return list;
}

static json_t *index_json(const struct uqm_study_run *run, const struct uqm_study_pick *pick,
                          const json_t *tables, const json_t *left_out)
{
    const struct uqm_study *s = run->study;
    json_t *list = json_array(), *table;
    size_t i;
    json_array_foreach (tables, i, table) {
        const char *name = uqm_get_text(table, "experiment");
        json_array_append_new(
            list,
            json_pack("{s:s, s:s, s:s+, s:s+, s:I}", "name", name, "title",
                      uqm_get_text(table, "title"), "json", name, ".json", "csv", name, ".csv",
                      "rows", (json_int_t) json_array_size(json_object_get(table, "rows"))));
    }
    json_t *base = s->has_base
                       ? json_pack("{s:o, s:o, s:s}", "name", uqm_inspect_text(s->base.name),
                                   "path", uqm_inspect_text(s->base.path), "digest", run->base.text)
                       : json_null();
    json_t *index = json_pack(
        "{s:o, s:s+, s:o, s:s, s:s, s:o, s:I, s:f, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
        "s:I, s:o, s:o, s:O}",
        "study", uqm_inspect_text(s->name), "program", "uqmerge ", uqm_version(), "file",
        uqm_inspect_text(s->path), "digest", s->digest.text, "device", run->device, "seeds",
        seeds_json(s), "repeats", (json_int_t) s->repeats, "dropout", s->dropout, "samples",
        sample_json(&s->samples), "eval_samples", sample_json(&s->eval_samples), "max_new_tokens",
        s->max_new_tokens < 0 ? json_string("task") : json_integer(s->max_new_tokens), "models",
        models_json(run), "base", base, "vision_tower", tower_json(run), "data", data_json(run),
        "methods", methods_json(s), "ratios", ratios_json(s), "subsets", (json_int_t) s->n_subsets,
        "selection", pick_json(run, pick), "tables", list, "left_out", left_out);
    if (index)
        json_object_set_new(index, "about", about_tables(run, index));
    return index;
}

/* --- work --- */

json_t *uqm_study_work(const struct uqm_study_run *run)
{
    json_t *work = json_array(), *job, *entry = NULL;
    size_t i, k;
    json_array_foreach (run->jobs, i, job) {
        const char *what = uqm_get_text(job, "job");
        json_array_foreach (work, k, entry)
            if (!strcmp(uqm_get_text(entry, "what"), what))
                break;
        if (k == json_array_size(work)) {
            entry = json_pack("{s:s, s:i, s:f, s:n}", "what", what, "jobs", 0, "seconds", 0.0,
                              "bytes_read");
            if (json_array_append_new(work, entry) < 0)
                break;
        }
        const double seconds = uqm_get_number(job, "seconds");
        const double read = uqm_get_number(job, "bytes_read");
        const double before = uqm_get_number(entry, "bytes_read");
        json_object_set_new(entry, "jobs",
                            json_integer((json_int_t) uqm_get_number(entry, "jobs") + 1));
        json_object_set_new(
            entry, "seconds",
            json_real(uqm_get_number(entry, "seconds") + (isfinite(seconds) ? seconds : 0)));
        if (isfinite(read))
            json_object_set_new(
                entry, "bytes_read",
                json_integer((json_int_t) ((isfinite(before) ? before : 0) + read)));
    }
    return json_pack("{s:o}", "work", work);
}

/* --- all of it --- */

/* Where things lay is not what was run: the same study has the same digest from any folder. */
static void drop_paths(json_t *what)
{
    static const char *const one[] = { "base", "vision_tower" }, *const many[] = { "models",
                                                                                   "data" };
    static const char *const names[] = { "study", "file", "file_digest" };
    size_t k;
    json_t *entry;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        json_object_del(what, names[i]);
    for (size_t i = 0; i < 2; i++) {
        json_object_del(json_object_get(what, one[i]), "path");
        json_array_foreach (json_object_get(what, many[i]), k, entry)
            json_object_del(entry, "path");
    }
}

static struct uqm_xxh3_hex digest_of(const json_t *what)
{
    json_t *bare = json_deep_copy(what);
    drop_paths(bare);
    char *text = bare ? uqm_json_dump_as(bare, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    struct uqm_xxh3 *h = text ? uqm_xxh3_create() : NULL;
    if (h)
        uqm_xxh3_update(h, text, strlen(text));
    const struct uqm_xxh3_hex hex = h ? uqm_xxh3_hex(h) : (struct uqm_xxh3_hex){ "" };
    uqm_xxh3_destroy(&h);
    free(text);
    json_decref(bare);
    return hex;
}

/* What was run, of the index, and the digest of what the tables' values depend on. NULL: no memory.
 */
static json_t *run_json(const json_t *index)
{
    static const char *const keys[] = { "study",   "program",      "file",           "digest",
                                        "device",  "seeds",        "repeats",        "dropout",
                                        "samples", "eval_samples", "max_new_tokens", "models",
                                        "base",    "vision_tower", "data",           "methods",
                                        "ratios",  "subsets" };
    json_t *what = json_object();
    bool whole = what != NULL;
    for (size_t i = 0; whole && i < sizeof keys / sizeof *keys; i++)
        whole = json_object_set(what, strcmp(keys[i], "digest") ? keys[i] : "file_digest",
                                json_object_get(index, keys[i])) == 0;
    const struct uqm_xxh3_hex hex = whole ? digest_of(what) : (struct uqm_xxh3_hex){ "" };
    if (!hex.text[0] || json_object_set_new(what, "digest", json_string(hex.text)) < 0) {
        json_decref(what);
        return NULL;
    }
    return what;
}

static bool has_table(const json_t *tables, const char *name)
{
    size_t i;
    json_t *table;
    json_array_foreach (tables, i, table)
        if (!strcmp(uqm_get_text(table, "experiment"), name))
            return true;
    return false;
}

/* Tables that earlier runs left stay, as this one may be of some (--only); a word on those of other
 * models, data or settings, which nobody should take for this study's. */
static void name_others(const struct uqm_study_run *run, const json_t *tables, const json_t *what)
{
    enum { MOST_BYTES = 1 << 26 };
    for (int i = 0; i < UQM_N_STUDY_TABLES; i++) {
        struct uqm_err ignored = { 0 };
        char file[32];
        snprintf(file, sizeof file, "%.20s.json", uqm_study_table_names[i]);
        char *path = uqm_path_join(run->dir, file);
        if (path && !has_table(tables, uqm_study_table_names[i]) && uqm_is_file(path)) {
            json_t *old = uqm_json_load(path, MOST_BYTES, &ignored);
            if (strcmp(uqm_get_text(json_object_get(old, "run"), "digest"),
                       uqm_get_text(what, "digest")) != 0)
                uqm_log(run->env, UQM_LOG_WARN,
                        "%s: of an earlier run of other models, data or settings; it is not in "
                        "the page",
                        path);
            json_decref(old);
        }
        free(path);
    }
}

static int write_page(const struct uqm_study_run *run, const json_t *index, const json_t *tables,
                      const json_t *work, struct uqm_err *err)
{
    const size_t n = json_array_size(tables) + 2;
    struct uqm_page_document *documents = calloc(n, sizeof *documents);
    char *page = NULL, *title = NULL;
    size_t len = 0;
    int ret = documents && asprintf(&title, "Study: %s", run->study->name) >= 0
                  ? UQM_OK
                  : uqm_fail(err, UQM_ERR_NOMEM, "no memory for the study's page");
    if (ret == UQM_OK) {
        documents[0] = (struct uqm_page_document){ .name = "experiment", .root = index };
        for (size_t i = 0; i + 2 < n; i++)
            documents[i + 1] =
                (struct uqm_page_document){ .name = "table", .root = json_array_get(tables, i) };
        documents[n - 1] = (struct uqm_page_document){ .name = "work", .root = work };
        ret = uqm_page_make(&page, &len, title, documents, n, err);
    }
    if (ret == UQM_OK)
        ret = write_text(run, "index.html", page, err);
    free(page);
    if (documents)
        free(title);
    free(documents);
    return ret;
}

int uqm_study_write(struct uqm_study_run *run, const struct uqm_study_pick *pick,
                    const json_t *tables, const json_t *left_out, struct uqm_err *err)
{
    json_t *index = index_json(run, pick, tables, left_out), *work = uqm_study_work(run), *table;
    json_t *what = index ? run_json(index) : NULL;
    size_t i;
    int ret = work && what && json_object_set(index, "run", json_object_get(what, "digest")) == 0
                  ? UQM_OK
                  : uqm_fail(err, UQM_ERR_NOMEM, "no memory for the study");
    json_array_foreach (tables, i, table)
        if (ret == UQM_OK)
            ret = write_table(run, table, what, err);
    if (ret == UQM_OK)
        ret = write_json(run, "work.json", work, err);
    if (ret == UQM_OK)
        ret = write_json(run, "experiment.json", index, err);
    if (ret == UQM_OK)
        ret = write_page(run, index, tables, work, err);
    if (ret == UQM_OK)
        name_others(run, tables, what);
    json_decref(what);
    json_decref(index);
    json_decref(work);
    return ret;
}
