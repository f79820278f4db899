/* uqm_write_report(): result documents to one page. */
#include <stdlib.h>
#include <string.h>

#include "src/base/env.h"
#include "src/base/fs.h"
#include "src/checkpoint/inspect.h"
#include "src/format/json.h"
#include "src/study/page.h"

enum { MAX_BYTES = 1 << 28, TREE_BYTES = 12 }; /* what a tree takes for a byte of a usual text */

struct report {
    struct uqm_env env;
    size_t n;
    struct uqm_page_document *documents;
    char **names;
};

/* "runs/a/select.json" is "select"; a merge's report and a diff are called as their folder is, if
 * the file's name says nothing. */
static char *name_of(const char *path)
{
    char *base = uqm_path_base(path);
    if (base && !strcmp(base, "uqmerge.report.json")) {
        char *dir = uqm_path_dir(path);
        free(base);
        base = dir ? uqm_path_base(dir) : NULL;
        free(dir);
    }
    size_t len = base ? strlen(base) : 0;
    if (len > 5 && !strcmp(base + len - 5, ".json"))
        base[len - 5] = '\0';
    if (!base)
        return NULL;
    struct uqm_printable shown;
    char *name = strdup(uqm_printable(&shown, base, strlen(base)));
    free(base);
    return name;
}

static int load(struct report *r, size_t i, const char *path, const char *text, struct uqm_err *err)
{
    const uint64_t room = uqm_budget_left(&r->env) / (TREE_BYTES + 1);
    const size_t most = room < MAX_BYTES ? (size_t) room : MAX_BYTES;
    r->names[i] = text ? strdup("select") : name_of(path);
    if (!r->names[i])
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for a report");
    char *read = NULL;
    size_t len = text ? strlen(text) : 0;
    int ret = text ? UQM_OK : uqm_read_file(&read, &len, path, most, err);
    if (ret == UQM_OK && !text)
        ret = uqm_json_check_room(&r->env, read, len, path, err);
    if (ret == UQM_OK)
        ret = uqm_budget_take(&r->env, (uint64_t) len * TREE_BYTES, "a result document", err);
    if (ret < 0) {
        free(read);
        return ret;
    }
    json_t *root = uqm_json_parse(text ? text : read, len, text ? "the result" : path, false, err);
    free(read);
    r->documents[i] = (struct uqm_page_document){ .name = r->names[i], .root = root };
    r->n = i + 1;
    return root ? UQM_OK : (int) err->code;
}

static json_t *result_json(const struct report *r, const struct uqm_report_params *p, size_t bytes)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < r->n; i++)
        json_array_append_new(
            list, json_pack("{s:o, s:o, s:s}", "name", uqm_inspect_text(r->names[i]), "path",
                            p->document ? json_null() : uqm_inspect_text(p->files.v[i]), "kind",
                            uqm_page_kind_name(uqm_page_kind_of(r->documents[i].root))));
    return json_pack("{s:o, s:I, s:o}", "out", uqm_inspect_text(p->out_path), "bytes",
                     (json_int_t) bytes, "documents", list);
}

static int check_params(const struct uqm_report_params *p, struct uqm_err *err)
{
    if (!p->out_path)
        return uqm_fail(err, UQM_ERR_USAGE, "--out FILE.html is needed");
    if (!p->check_only && (p->document != NULL) == (p->files.n > 0))
        return uqm_fail(err, UQM_ERR_USAGE, "a report is of files or of one document");
    return uqm_check_replaceable(p->out_path, "<!DOCTYPE html>", "a page", err);
}

static int make(char **json, struct report *r, const struct uqm_report_params *p,
                struct uqm_err *err)
{
    const size_t n = p->document ? 1 : p->files.n;
    char *page = NULL;
    size_t len = 0;
    int ret = uqm_env_init(&r->env, &p->common, err);
    if (ret < 0)
        return ret;
    r->documents = calloc(n, sizeof *r->documents);
    r->names = calloc(n, sizeof *r->names);
    if (!r->documents || !r->names)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for a report of %zu files", n);
    for (size_t i = 0; i < n && ret == UQM_OK; i++) {
        ret = uqm_check_cancel(&r->env, err);
        if (ret == UQM_OK)
            ret = load(r, i, p->document ? NULL : p->files.v[i], p->document, err);
    }
    if (ret == UQM_OK)
        ret = uqm_page_make(&page, &len, p->title, r->documents, n, err);
    if (ret == UQM_OK)
        ret = uqm_replace_file(p->out_path, page, len, err);
    free(page);
    if (ret < 0)
        return ret;
    json_t *result = result_json(r, p, len);
    *json = result ? uqm_json_dump(result) : NULL;
    json_decref(result);
    return *json ? UQM_OK : uqm_fail(err, UQM_ERR_NOMEM, "no memory for the result");
}

int uqm_write_report(char **json, const struct uqm_report_params *params, struct uqm_err *err)
{
    struct report r = { 0 };
    *json = NULL;
    int ret = check_params(params, err);
    if (ret == UQM_OK && !params->check_only)
        ret = make(json, &r, params, err);
    for (size_t i = 0; r.documents && i < r.n; i++)
        json_decref((json_t *) (uintptr_t) r.documents[i].root);
    for (size_t i = 0; r.names && i < (params->document ? 1 : params->files.n); i++)
        free(r.names[i]);
    free(r.names);
    free(r.documents);
    return ret;
}
