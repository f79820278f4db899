#include "src/merge/tokenizer_files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/fs.h"
#include "src/checkpoint/model_file.h"
#include "src/format/json_edit.h"

#define TOKENIZER "tokenizer.json"
#define CONFIG    "tokenizer_config.json"
#define ADDED     "added_tokens.json"
#define TEMPLATE  "chat_template.jinja"

const struct uqm_tokenizer_file *uqm_tokenizer_files_find(const struct uqm_tokenizer_files *files,
                                                          const char *name)
{
    for (size_t i = 0; i < files->n; i++)
        if (strcmp(files->v[i].name, name) == 0)
            return &files->v[i];
    return NULL;
}

void uqm_tokenizer_files_finish(struct uqm_tokenizer_files *files)
{
    for (size_t i = 0; i < files->n; i++)
        free(files->v[i].text);
    *files = (struct uqm_tokenizer_files){ 0 };
}

/* --- one file being rewritten --- */

struct edit {
    const struct uqm_recipe_source *rs;
    const struct uqm_vocab_plan *plan;
    char *path;
    char *text; /* as it was; NULL: there was none */
    size_t len;
    char *made; /* as it becomes */
    size_t made_len;
    FILE *f;
    size_t n_items; /* written so far */
};

static int no_memory(const struct edit *e, struct uqm_err *err)
{
    return uqm_plan_no_memory(e->rs, err);
}

static int open_edit(struct edit *e, const struct uqm_recipe_source *rs, const char *home,
                     const char *name, struct uqm_err *err)
{
    *e = (struct edit){ .rs = rs, .plan = rs->vocab, .path = uqm_path_join(home, name) };
    int ret = e->path ? UQM_OK : no_memory(e, err);
    if (ret == UQM_OK)
        ret = uqm_find_own_file(home, name, err);
    if (ret > 0)
        ret = uqm_read_model_file(&e->text, &e->len, e->path, UQM_VOCABULARY_MOST_FILE, err);
    if (ret == UQM_OK && !(e->f = open_memstream(&e->made, &e->made_len)))
        ret = no_memory(e, err);
    return ret;
}

static int end_edit(struct edit *e, struct uqm_tokenizer_files *files, const char *name, int ret,
                    struct uqm_err *err)
{
    bool bad = e->f && (ferror(e->f) || fflush(e->f) != 0);
    if (e->f && fclose(e->f) != 0)
        bad = true;
    if (ret == UQM_OK && bad)
        ret = no_memory(e, err);
    if (ret == UQM_OK)
        files->v[files->n++] = (struct uqm_tokenizer_file){ name, e->made, e->made_len };
    else
        free(e->made);
    free(e->text);
    free(e->path);
    return ret;
}

/* Write bytes [begin, end) as they were. */
static void keep(struct edit *e, size_t begin, size_t end)
{
    if (end > begin)
        fwrite(e->text + begin, 1, end - begin, e->f);
}

static void separate(struct edit *e)
{
    fputs(e->n_items++ ? ",\n    " : "\n    ", e->f);
}

/* --- tokens --- */

static bool is_new(const struct uqm_vocab_plan *p, size_t i)
{
    return i >= p->n_home || p->changed[i];
}

static bool has_changes(const struct uqm_vocab_plan *p)
{
    bool any = p->out->n > p->n_home || p->first_stripped != UINT64_MAX;
    for (size_t i = 0; i < p->n_home && !any; i++)
        any = p->changed[i];
    return any;
}

static void put_switches(FILE *f, uint8_t flags)
{
    static const char *const names[] = { "single_word", "lstrip", "rstrip", "normalized",
                                         "special" };
    for (int i = 0; i < 5; i++)
        fprintf(f, ", \"%s\": %s", names[i], flags >> i & 1 ? "true" : "false");
}

/* id_in_front: as tokenizer.json has it; else under its number, as tokenizer_config.json. */
static int put_tokens(struct edit *e, bool id_in_front, struct uqm_err *err)
{
    const struct uqm_vocab_plan *p = e->plan;
    for (size_t i = 0; i < p->out->n; i++) {
        const struct uqm_vocab_token *t = &p->out->v[i];
        if (!is_new(p, i))
            continue;
        char *quoted = uqm_json_quote(t->text, t->len);
        if (!quoted)
            return no_memory(e, err);
        separate(e);
        fprintf(e->f,
                id_in_front ? "{\"id\": %" PRIu32 ", \"content\": %s"
                            : "\"%" PRIu32 "\": {\"content\": %s",
                t->id, quoted);
        put_switches(e->f, t->flags);
        fputc('}', e->f);
        free(quoted);
    }
    return UQM_OK;
}

/* {"token": number} */
static int put_numbers(struct edit *e, struct uqm_err *err)
{
    const struct uqm_vocab_plan *p = e->plan;
    for (size_t i = 0; i < p->out->n; i++) {
        char *quoted;
        if (!is_new(p, i))
            continue;
        if (!(quoted = uqm_json_quote(p->out->v[i].text, p->out->v[i].len)))
            return no_memory(e, err);
        separate(e);
        fprintf(e->f, "%s: %" PRIu32, quoted, p->out->v[i].id);
        free(quoted);
    }
    return UQM_OK;
}

/* Items of the old list stay, but for those that the output does not have or says anew. */
static int keep_by_id(void *ctx, const struct uqm_json_span *item, const char *key, size_t key_len,
                      uint64_t id, struct uqm_err *err)
{
    struct edit *e = ctx;
    (void) err;
    if (key_len > 0 && key_len < 20) { /* added_tokens_decoder: the key is the number */
        char digits[20] = { 0 };
        memcpy(digits, key, key_len);
        id = strtoull(digits, NULL, 10);
    }
    if (id != UINT64_MAX && id >= e->plan->first_stripped)
        return UQM_OK;
    separate(e);
    keep(e, item->begin, item->end);
    return UQM_OK;
}

static int keep_known(void *ctx, const struct uqm_json_span *item, const char *key, size_t key_len,
                      uint64_t id, struct uqm_err *err)
{
    struct edit *e = ctx;
    const struct uqm_vocab_token *t = uqm_vocabulary_find(e->plan->out, key, key_len);
    (void) id, (void) err;
    if (!t || is_new(e->plan, (size_t) (t - e->plan->out->v)))
        return UQM_OK;
    separate(e);
    keep(e, item->begin, item->end);
    return UQM_OK;
}

/* --- the files --- */

/* Behind the brace that opens the document. */
static size_t inside(const struct edit *e)
{
    const char *brace = memchr(e->text, '{', e->len);
    return brace ? (size_t) (brace + 1 - e->text) : 0;
}

static int rewrite_tokenizer(struct edit *e, struct uqm_err *err)
{
    struct uqm_json_span list;
    int ret = uqm_json_find(&list, NULL, e->text, e->len, "added_tokens", e->path, err);
    if (ret < 0)
        return ret;
    bool there = ret > 0 && e->text[list.begin] == '[';
    if (ret > 0 && !there)
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: added_tokens is no list", e->path);
    if (!there)
        list.begin = list.end = inside(e);
    keep(e, 0, list.begin);
    fputs(there ? "[" : "\n  \"added_tokens\": [", e->f);
    ret = there ? uqm_json_each(e->text, list, e->path, keep_by_id, e, err) : UQM_OK;
    if (ret == UQM_OK)
        ret = put_tokens(e, true, err);
    fputs(there ? "\n  ]" : "\n  ],", e->f);
    keep(e, list.end, e->len);
    return ret;
}

/* The text with one value replaced by the new list of definitions. */
static int rewrite_decoder(struct edit *e, struct uqm_err *err)
{
    struct uqm_json_span list;
    int ret = uqm_json_find(&list, NULL, e->text, e->len, "added_tokens_decoder", e->path, err);
    if (ret < 0)
        return ret;
    bool there = ret > 0 && e->text[list.begin] == '{';
    if (!there && e->plan->out->file == UQM_VOCABULARY_JSON) { /* tokenizer.json says it all */
        keep(e, 0, e->len);
        return UQM_OK;
    }
    if (!there)
        list.begin = list.end = inside(e);
    keep(e, 0, list.begin);
    fputs(there ? "{" : "\n  \"added_tokens_decoder\": {", e->f);
    ret = there ? uqm_json_each(e->text, list, e->path, keep_by_id, e, err) : UQM_OK;
    if (ret == UQM_OK)
        ret = put_tokens(e, false, err);
    fputs("\n  }", e->f);
    size_t rest = list.end + strspn(e->text + list.end, " \t\r\n");
    if (!there && e->text[rest] != '}')
        fputc(',', e->f);
    keep(e, list.end, e->len);
    return ret;
}

/* The result of one rewriting becomes the text of the next. */
static int turn(struct edit *e, struct uqm_err *err)
{
    if (fclose(e->f) != 0) {
        e->f = NULL;
        return no_memory(e, err);
    }
    free(e->text);
    e->text = e->made;
    e->len = e->made_len;
    e->made = NULL;
    e->f = open_memstream(&e->made, &e->made_len);
    return e->f ? UQM_OK : no_memory(e, err);
}

static int rewrite_config(struct edit *e, bool tokens, bool drop_template, struct uqm_err *err)
{
    struct uqm_json_span value, member;
    int ret = UQM_OK;
    if (!e->text && !(e->text = strdup("{}\n")))
        return no_memory(e, err);
    e->len = e->len ? e->len : strlen(e->text);
    if (tokens)
        ret = rewrite_decoder(e, err);
    else
        keep(e, 0, e->len);
    if (ret < 0 || !drop_template)
        return ret;
    ret = turn(e, err);
    if (ret == UQM_OK)
        ret = uqm_json_find(&value, &member, e->text, e->len, "chat_template", e->path, err);
    if (ret < 0)
        return ret;
    if (ret == 0)
        member.begin = member.end = 0;
    keep(e, 0, member.begin);
    keep(e, member.end, e->len);
    return UQM_OK;
}

static int rewrite_added(struct edit *e, struct uqm_err *err)
{
    int ret = UQM_OK;
    fputc('{', e->f);
    if (e->text) {
        struct uqm_json_span whole = { 0, e->len }, value;
        ret = uqm_json_find(&value, NULL, e->text, e->len, "", e->path, err); /* checks it all */
        if (ret >= 0)
            ret = uqm_json_each(e->text, whole, e->path, keep_known, e, err);
    }
    if (ret == UQM_OK)
        ret = put_numbers(e, err);
    fputs("\n}\n", e->f);
    return ret;
}

static int make_token_files(struct uqm_tokenizer_files *out, const struct uqm_recipe_source *rs,
                            struct uqm_err *err)
{
    struct edit e;
    bool is_json = rs->vocab->out->file == UQM_VOCABULARY_JSON;
    int ret = UQM_OK;
    if (is_json) {
        ret = open_edit(&e, rs, out->home, TOKENIZER, err);
        if (ret == UQM_OK)
            ret = rewrite_tokenizer(&e, err);
        ret = end_edit(&e, out, TOKENIZER, ret, err);
    }
    if (ret < 0)
        return ret;
    ret = open_edit(&e, rs, out->home, ADDED, err);
    if (ret == UQM_OK && is_json && !e.text) { /* it is not wanted */
        fclose(e.f);
        free(e.made);
        free(e.path);
        return UQM_OK;
    }
    if (ret == UQM_OK)
        ret = rewrite_added(&e, err);
    return end_edit(&e, out, ADDED, ret, err);
}

int uqm_tokenizer_files_make(struct uqm_tokenizer_files *out, const struct uqm_recipe_source *rs,
                             struct uqm_err *err)
{
    bool tokens = rs->vocab && has_changes(rs->vocab);
    char *template = rs->chat_template ? strdup(rs->chat_template) : NULL;
    out->home = rs->vocab ? rs->vocab->home : rs->source.home;
    int ret = UQM_OK;
    if (rs->chat_template && !template)
        return uqm_plan_no_memory(rs, err);
    if (ret == UQM_OK && template)
        out->v[out->n++] = (struct uqm_tokenizer_file){ TEMPLATE, template, strlen(template) };
    if (ret == UQM_OK && tokens)
        ret = make_token_files(out, rs, err);
    if (ret == UQM_OK && (tokens || template)) {
        struct edit e;
        ret = open_edit(&e, rs, out->home, CONFIG, err);
        if (ret == UQM_OK)
            ret = rewrite_config(&e, tokens, template != NULL, err);
        ret = end_edit(&e, out, CONFIG, ret, err);
    }
    return ret;
}
