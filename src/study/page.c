#include "src/study/page.h"

#include <string.h>

static void meta(struct uqm_html *h, const char *key, const char *name, const char *content)
{
    uqm_html_open(h, "meta");
    uqm_html_attr(h, key, name);
    uqm_html_attr(h, "content", content);
    uqm_html_end(h);
}

static void put_head(struct uqm_html *h, const char *title)
{
    uqm_html_open(h, "head");
    uqm_html_open(h, "meta");
    uqm_html_attr(h, "charset", "utf-8");
    uqm_html_end(h);
    meta(h, "name", "viewport", "width=device-width, initial-scale=1");
    meta(h, "http-equiv", "Content-Security-Policy",
         "default-src 'none'; style-src 'unsafe-inline'");
    uqm_html_element(h, "title", NULL, title);
    uqm_html_open(h, "style");
    uqm_html_literal(h, uqm_page_style);
    uqm_html_close(h);
    uqm_html_close(h);
}

/* What a document is called: a study and a table by their own names. */
static const char *name_of(const struct uqm_page_document *d)
{
    const enum uqm_page_kind kind = uqm_page_kind_of(d->root);
    const char *own = kind == UQM_PAGE_STUDY   ? uqm_get_text(d->root, "study")
                      : kind == UQM_PAGE_TABLE ? uqm_get_text(d->root, "experiment")
                                               : "";
    return own[0] ? own : d->name;
}

static void put_link(struct uqm_html *h, const char *id, size_t number, const char *text)
{
    uqm_html_open(h, "li");
    uqm_html_open(h, "a");
    if (number)
        uqm_html_attrf(h, "href", "#%s%zu", id, number);
    else
        uqm_html_attrf(h, "href", "#%s", id);
    uqm_html_text(h, text);
    uqm_html_close(h);
    uqm_html_close(h);
}

static bool has_section(const struct uqm_page_document *d)
{
    return uqm_page_kind_of(d->root) != UQM_PAGE_WORK;
}

static void put_contents(struct uqm_html *h, const struct uqm_page_document *documents, size_t n,
                         bool layers, bool work)
{
    uqm_html_open(h, "nav");
    uqm_html_attr(h, "aria-label", "contents");
    uqm_html_open(h, "ul");
    for (size_t i = 0; i < n; i++)
        if (has_section(&documents[i]))
            put_link(h, "document", i + 1, name_of(&documents[i]));
    if (layers)
        put_link(h, "layers", 0, "distances by layer");
    if (work)
        put_link(h, "work", 0, "time and bytes");
    uqm_html_close(h);
    uqm_html_close(h);
}

static void put_tables(struct uqm_html *h, const json_t *tables)
{
    size_t i;
    json_t *table;
    json_array_foreach (tables, i, table) {
        uqm_html_element(h, "h3", NULL, uqm_get_text(table, "title"));
        uqm_page_table(h, table);
    }
}

static void put_section(struct uqm_html *h, const char *id, size_t number, const char *title,
                        const char *kind, const json_t *tables)
{
    uqm_html_open(h, "section");
    if (number)
        uqm_html_attrf(h, "id", "%s%zu", id, number);
    else
        uqm_html_attr(h, "id", id);
    uqm_html_element(h, "h2", NULL, title);
    if (kind)
        uqm_html_element(h, "p", "kind", kind);
    put_tables(h, tables);
    uqm_html_close(h);
}

static void put_diff_counts(struct uqm_html *h, const json_t *root)
{
    struct uqm_number_text identical, changed;
    uqm_html_open(h, "p");
    uqm_html_textf(h,
                   "%s tensors identical, %s changed, %zu only in the first, %zu only in the "
                   "second.",
                   uqm_get_count(&identical, root, "identical"),
                   uqm_get_count(&changed, root, "changed"),
                   json_array_size(json_object_get(root, "only_a")),
                   json_array_size(json_object_get(root, "only_b")));
    uqm_html_close(h);
}

static int put_document(struct uqm_html *h, const struct uqm_page_document *d, size_t number,
                        struct uqm_err *err)
{
    const enum uqm_page_kind kind = uqm_page_kind_of(d->root);
    json_t *tables = uqm_page_tables(d);
    if (!tables)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for its tables", d->name);
    uqm_html_open(h, "section");
    uqm_html_attrf(h, "id", "document%zu", number);
    if (kind == UQM_PAGE_TABLE) {
        uqm_html_element(h, "h2", NULL, uqm_get_text(d->root, "title"));
        uqm_page_table(h, d->root);
        put_tables(h, json_object_get(d->root, "more"));
    } else {
        uqm_html_element(h, "h2", NULL, name_of(d));
        uqm_html_element(h, "p", "kind", uqm_page_kind_name(kind));
        if (kind == UQM_PAGE_DIFF)
            put_diff_counts(h, d->root);
        put_tables(h, tables);
    }
    uqm_html_close(h);
    json_decref(tables);
    return UQM_OK;
}

static int put_body(struct uqm_html *h, const char *title,
                    const struct uqm_page_document *documents, size_t n, const json_t *layers,
                    const json_t *work, struct uqm_err *err)
{
    int ret = UQM_OK;
    uqm_html_open(h, "body");
    uqm_html_open(h, "header");
    uqm_html_element(h, "h1", NULL, title);
    uqm_html_open(h, "p");
    uqm_html_textf(h, "uqmerge %s", uqm_version());
    uqm_html_close(h);
    put_contents(h, documents, n, json_array_size(layers) > 0, json_array_size(work) > 0);
    uqm_html_close(h);
    uqm_html_open(h, "main");
    for (size_t i = 0; i < n && ret == UQM_OK; i++)
        if (has_section(&documents[i]))
            ret = put_document(h, &documents[i], i + 1, err);
    if (json_array_size(layers) > 0)
        put_section(h, "layers", 0, "Distances by layer", NULL, layers);
    if (json_array_size(work) > 0)
        put_section(h, "work", 0, "Time and bytes", NULL, work);
    if (ret == UQM_OK) {
        uqm_html_close(h);
        uqm_html_close(h);
    }
    return ret;
}

static int check_kinds(const struct uqm_page_document *documents, size_t n, struct uqm_err *err)
{
    for (size_t i = 0; i < n; i++)
        if (uqm_page_kind_of(documents[i].root) == UQM_PAGE_UNKNOWN)
            return uqm_fail(err, UQM_ERR_FORMAT,
                            "%s: not a result that a report can show; it shows what uq, select, "
                            "eval, diff, merge and experiment print, and uqmerge.report.json",
                            documents[i].name);
    return UQM_OK;
}

int uqm_page_make(char **text, size_t *len, const char *title,
                  const struct uqm_page_document *documents, size_t n, struct uqm_err *err)
{
    struct uqm_html h = { 0 };
    title = title ? title : "uqmerge report";
    int ret = check_kinds(documents, n, err);
    if (ret < 0)
        return ret;
    json_t *layers = uqm_page_layers(documents, n), *work = uqm_page_work(documents, n);
    ret = layers && work ? uqm_html_init(&h, err)
                         : uqm_fail(err, UQM_ERR_NOMEM, "no memory for a page");
    if (ret == UQM_OK) {
        uqm_html_literal(&h, "<!DOCTYPE html>\n");
        uqm_html_open(&h, "html");
        uqm_html_attr(&h, "lang", "en");
        put_head(&h, title);
        ret = put_body(&h, title, documents, n, layers, work, err);
    }
    if (ret == UQM_OK) {
        uqm_html_close(&h);
        ret = uqm_html_finish(text, len, &h, err);
    }
    uqm_html_drop(&h);
    json_decref(layers);
    json_decref(work);
    return ret;
}
