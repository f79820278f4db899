/* Everything beside the weights (spec merge.md 11). */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/sink.h"
#include "src/base/checked.h"
#include "src/base/fs.h"
#include "src/checkpoint/model_file.h"
#include "src/format/json.h"
#include "src/merge/relayout.h"
#include "src/merge/tokenizer_files.h"
#include "src/merge/writer.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

enum { COPY_BYTES = 64 << 10 };

static const char *const tokenizer_files[] = {
    "tokenizer_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "added_tokens.json",
    "merges.txt",
    "vocab.json",
    "chat_template.jinja",
    "chat_template.json",
};
static const char *const other_files[] = {
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
};

/* --- one file --- */

static int put(struct uqm_writer *w, const char *name, const char *text, size_t len,
               struct uqm_err *err)
{
    struct uqm_file_digest digest = { .n_leaves = 0 };
    char *path = uqm_path_join(w->dir, name);
    int ret = path ? uqm_write_file(path, text, len, err) : uqm_writer_no_memory(w, err);
    if (ret == UQM_OK)
        ret = uqm_file_hash_bytes(&digest, text, len, path, err);
    if (ret == UQM_OK) {
        atomic_fetch_add(&w->env->bytes_written, len);
        ret = uqm_writer_note(w, name, len, &digest, err);
    }
    uqm_file_digest_finish(&digest);
    free(path);
    return ret;
}

static int pour(struct uqm_sink *sink, struct uqm_file *file, struct uqm_err *err)
{
    char *block = malloc(COPY_BYTES);
    int ret = block ? UQM_OK : uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory to copy it", file->name);
    for (uint64_t at = 0; at < file->size_bytes && ret == UQM_OK;) {
        size_t n = (size_t) uqm_min_u64(COPY_BYTES, file->size_bytes - at);
        ret = uqm_file_read(file, block, n, at, err);
        if (ret == UQM_OK)
            ret = uqm_sink_write(sink, block, n, err);
        at += n;
    }
    free(block);
    return ret;
}

static int copy(struct uqm_writer *w, const char *home, const char *name, struct uqm_err *err)
{
    struct uqm_file *file = NULL;
    struct uqm_sink *sink = NULL;
    struct uqm_file_digest digest = { .n_leaves = 0 };
    char *from = uqm_path_join(home, name), *to = uqm_path_join(w->dir, name);
    int ret =
        from && to ? uqm_model_file_open(&file, w->env, from, err) : uqm_writer_no_memory(w, err);
    if (ret == UQM_OK)
        ret = uqm_sink_create(&sink, w->env, to, file->size_bytes, 2 * COPY_BYTES, err);
    if (ret == UQM_OK)
        ret = pour(sink, file, err);
    if (ret == UQM_OK)
        ret = uqm_sink_finish(sink, &digest, err);
    if (ret == UQM_OK)
        ret = uqm_file_check_unchanged(file, err);
    if (ret == UQM_OK)
        ret = uqm_writer_note(w, name, file->size_bytes, &digest, err);
    uqm_file_digest_finish(&digest);
    uqm_sink_destroy(&sink);
    uqm_file_close(&file);
    free(from);
    free(to);
    return ret;
}

/* --- which files --- */

static uint64_t size_of(const char *home, const char *name)
{
    char *path = uqm_path_join(home, name);
    uint64_t bytes = 0;
    if (path)
        uqm_find_model_file(path, &bytes, NULL);
    free(path);
    return bytes;
}

static bool is_code(const char *name)
{
    size_t n = strlen(name);
    return n > 3 && name[0] != '.' && strcmp(name + n - 3, ".py") == 0;
}

/* A file that goes along: text, or the file of that name in `home`. */
struct companion {
    const char *name, *home, *text;
    size_t text_len;
};
typedef int (*companion_fn)(struct uqm_writer *w, const struct companion *c, void *ctx,
                            struct uqm_err *err);

static int each_tokenizer_file(struct uqm_writer *w, companion_fn fn, void *ctx,
                               struct uqm_err *err)
{
    struct uqm_tokenizer_files made = { 0 };
    int ret = uqm_tokenizer_files_make(&made, w->rs, err);
    if (ret == UQM_OK && w->rs->relayout)
        ret = uqm_relayout_tokenizer(&made, w->rs, err);
    for (size_t i = 0; i < COUNT(tokenizer_files) && ret == UQM_OK; i++) {
        const struct uqm_tokenizer_file *f = uqm_tokenizer_files_find(&made, tokenizer_files[i]);
        struct companion c = { tokenizer_files[i], made.home, NULL, 0 };
        if (f) {
            c.text = f->text;
            c.text_len = f->len;
        }
        ret = f ? 1 : uqm_find_own_file(made.home, c.name, err);
        if (ret > 0)
            ret = fn(w, &c, ctx, err);
    }
    uqm_tokenizer_files_finish(&made);
    return ret;
}

static int one_companion(struct uqm_writer *w, const char *name, companion_fn fn, void *ctx,
                         struct uqm_err *err)
{
    struct companion c = { name, w->rs->source.home, NULL, 0 };
    char *made = NULL;
    int ret = w->rs->relayout ? uqm_relayout_file(&made, w->rs, name, err) : UQM_RELAYOUT_AS_IT_IS;
    if (ret == UQM_RELAYOUT_AS_IT_IS)
        ret = uqm_find_own_file(c.home, name, err);
    c.text = made;
    c.text_len = made ? strlen(made) : 0;
    if (ret > 0)
        ret = fn(w, &c, ctx, err);
    free(made);
    return ret;
}

/* fn for each file that goes along, in an order that is always the same. */
static int each_companion(struct uqm_writer *w, companion_fn fn, void *ctx, struct uqm_err *err)
{
    const char *home = w->rs->source.home;
    bool asked_for = w->rs->vocab || w->recipe->chat_template;
    int ret = UQM_OK;
    if (asked_for || !w->params->no_copy_tokenizer)
        ret = each_tokenizer_file(w, fn, ctx, err);
    for (size_t i = 0; i < COUNT(other_files) && ret == UQM_OK; i++)
        ret = one_companion(w, other_files[i], fn, ctx, err);
    struct uqm_model_files all = { 0 };
    if (ret == UQM_OK)
        ret = uqm_model_files_list(&all, home, err);
    for (size_t i = 0; i < all.n && ret == UQM_OK; i++)
        if (is_code(all.names[i]))
            ret = one_companion(w, all.names[i], fn, ctx, err);
    uqm_model_files_free(&all);
    return ret;
}

static int count_one(struct uqm_writer *w, const struct companion *c, void *ctx,
                     struct uqm_err *err)
{
    uint64_t *sum = ctx;
    (void) w, (void) err;
    *sum += c->text ? c->text_len : size_of(c->home, c->name);
    return UQM_OK;
}

static int write_one(struct uqm_writer *w, const struct companion *c, void *ctx,
                     struct uqm_err *err)
{
    (void) ctx;
    return c->text ? put(w, c->name, c->text, c->text_len, err) : copy(w, c->home, c->name, err);
}

static int pass_over(struct uqm_writer *w, const struct companion *c, void *ctx,
                     struct uqm_err *err)
{
    (void) w, (void) c, (void) ctx, (void) err;
    return UQM_OK;
}

int uqm_writer_check_files(struct uqm_writer *w, struct uqm_err *err)
{
    int ret = uqm_find_own_file(w->rs->source.home, "config.json", err);
    return ret < 0 ? ret : each_companion(w, pass_over, NULL, err);
}

uint64_t uqm_writer_copied_bytes(const struct uqm_writer *w)
{
    uint64_t sum = 0;
    struct uqm_writer look = *w;
    struct uqm_err ignored = { 0 }; /* it comes again when the files are written */
    each_companion(&look, count_one, &sum, &ignored);
    return sum;
}

/* --- parents that speak otherwise --- */

static bool same_bytes(struct uqm_file *a, struct uqm_file *b)
{
    char x[4096], y[4096];
    if (a->size_bytes != b->size_bytes)
        return false;
    for (uint64_t at = 0; at < a->size_bytes;) {
        size_t n = (size_t) uqm_min_u64(sizeof x, a->size_bytes - at);
        if (uqm_file_read(a, x, n, at, NULL) < 0 || uqm_file_read(b, y, n, at, NULL) < 0 ||
            memcmp(x, y, n) != 0)
            return false;
        at += n;
    }
    return true;
}

/* Both exist and differ. */
static bool differ(struct uqm_env *env, const char *dir_a, const char *dir_b, const char *name)
{
    char *pa = uqm_path_join(dir_a, name), *pb = uqm_path_join(dir_b, name);
    struct uqm_file *a = NULL, *b = NULL;
    bool yes = pa && pb && uqm_model_file_open(&a, env, pa, NULL) == UQM_OK &&
               uqm_model_file_open(&b, env, pb, NULL) == UQM_OK && !same_bytes(a, b);
    uqm_file_close(&a);
    uqm_file_close(&b);
    free(pa);
    free(pb);
    return yes;
}

static int warn_tokenizers(const struct uqm_writer *w, struct uqm_err *err)
{
    static const char *const names[] = { "tokenizer.model", "tokenizer.json" };
    const char *home = w->rs->source.home;
    if (w->rs->vocab)
        return UQM_OK; /* the recipe speaks of it */
    for (size_t k = 0; k < w->rs->n_inputs && !w->params->no_copy_tokenizer; k++)
        for (size_t i = 0; i < COUNT(names); i++) {
            if (k == w->rs->home ||
                !differ(w->env, home, w->rs->inputs[k].checkpoint->source.home, names[i]))
                continue;
            int ret = uqm_warn(
                w->env, err, "%s of %s differs from that of %s, which is the one that is copied",
                names[i], w->rs->inputs[k].model->path, w->rs->inputs[w->rs->home].model->path);
            if (ret < 0)
                return ret;
            break;
        }
    return UQM_OK;
}

/* --- index, config, card --- */

static int write_index(struct uqm_writer *w, struct uqm_err *err)
{
    const struct uqm_write_plan *p = &w->plan;
    if (p->n_shards < 2)
        return UQM_OK;
    const char **shard_of = calloc(w->rs->source.n_tensors, sizeof *shard_of);
    json_t *map = json_object();
    bool ok = shard_of && map;
    for (size_t s = 0; s < p->n_shards && ok; s++)
        for (size_t k = 0; k < p->shards[s].n_tensors; k++)
            shard_of[p->shards[s].tensors[k]] = p->shards[s].name;
    for (size_t i = 0; i < p->n_order && ok; i++)
        ok = json_object_set_new(map, w->rs->source.tensors[p->order[i]].name,
                                 json_string(shard_of[p->order[i]])) == 0;
    json_t *doc = ok ? json_pack("{s:{s:I}, s:O}", "metadata", "total_size",
                                 (json_int_t) p->tensor_bytes, "weight_map", map)
                     : NULL;
    char *text = doc ? uqm_json_dump(doc) : NULL;
    int ret = text ? put(w, "model.safetensors.index.json", text, strlen(text), err)
                   : uqm_writer_no_memory(w, err);
    free(text);
    free(shard_of);
    json_decref(doc);
    json_decref(map);
    return ret;
}

static int write_config(struct uqm_writer *w, struct uqm_err *err)
{
    char *text = NULL;
    int ret = uqm_plan_config(&text, w->rs, err);
    if (ret < 0)
        return ret;
    if (!text)
        return uqm_warn(w->env, err, "%s has no config.json, so the merge has none",
                        w->rs->inputs[w->rs->home].model->path);
    ret = put(w, "config.json", text, strlen(text), err);
    free(text);
    return ret;
}

/* A fence longer than any run of backquotes in the recipe. */
static void make_fence(char fence[40], const char *text)
{
    size_t longest = 2, run = 0;
    for (; *text; text++) {
        run = *text == '`' ? run + 1 : 0;
        if (run > longest)
            longest = run;
    }
    if (longest > 38)
        longest = 38;
    memset(fence, '`', longest + 1);
    fence[longest + 1] = '\0';
}

static void print_card(FILE *f, const struct uqm_writer *w, const char *title)
{
    const struct uqm_recipe *r = w->recipe;
    char fence[40];
    make_fence(fence, r->text);
    /* models are local folders here, never names on a hub: nothing to list */
    fprintf(f,
            "---\nbase_model: []\nlibrary_name: transformers\ntags:\n- mergekit\n- merge\n\n"
            "---\n# %s\n\n",
            title);
    fprintf(f, "This is a merge of pre-trained language models, made by uqmerge from a "
               "[mergekit](https://github.com/cg123/mergekit) recipe.\n\n");
    fputs("## Merge Details\n### Merge Method\n\nThis model was merged using the ", f);
    if (r->method->link)
        fprintf(f, "[%s](https://%s)", r->method->pretty, r->method->link);
    else
        fputs(r->method->pretty, f);
    fputs(" merge method", f);
    /* slerp's base is one of its two ends, and is listed with the other */
    bool apart = r->base >= 0 && r->method->id != UQM_METHOD_SLERP;
    if (apart)
        fprintf(f, " using %s as a base", r->models[r->base].path);
    fprintf(f, ".\n\n### Models Merged\n\nThe following models were included in the merge:\n");
    for (size_t k = 0; k < w->rs->n_inputs; k++)
        if (!apart || k != w->rs->home)
            fprintf(f, "* %s\n", w->rs->inputs[k].model->path);
    fprintf(f,
            "\n### Configuration\n\nThe following YAML configuration was used to produce this "
            "model:\n\n%syaml\n%s%s%s\n",
            fence, r->text, r->text_len && r->text[r->text_len - 1] == '\n' ? "" : "\n", fence);
}

static int write_card(struct uqm_writer *w, struct uqm_err *err)
{
    char *text = NULL, *title = uqm_path_base(w->params->out_dir);
    size_t len = 0;
    FILE *f = title ? open_memstream(&text, &len) : NULL;
    if (f)
        print_card(f, w, title);
    bool ok = f && !ferror(f);
    if (f && fclose(f) != 0)
        ok = false;
    int ret = ok ? put(w, "README.md", text, len, err) : uqm_writer_no_memory(w, err);
    free(text);
    free(title);
    return ret;
}

static int write_report(struct uqm_writer *w, struct uqm_err *err)
{
    json_t *doc = uqm_merge_report_document(w->report);
    char *text = doc ? uqm_json_dump(doc) : NULL;
    int ret =
        text ? put(w, UQM_REPORT_NAME, text, strlen(text), err) : uqm_writer_no_memory(w, err);
    free(text);
    json_decref(doc);
    return ret;
}

int uqm_writer_small_files(struct uqm_writer *w, struct uqm_err *err)
{
    int ret = write_index(w, err);
    if (ret == UQM_OK)
        ret = write_config(w, err);
    if (ret == UQM_OK)
        ret = warn_tokenizers(w, err);
    if (ret == UQM_OK)
        ret = each_companion(w, write_one, NULL, err);
    if (ret == UQM_OK && !w->params->no_model_card)
        ret = put(w, "mergekit_config.yml", w->recipe->text, w->recipe->text_len, err);
    if (ret == UQM_OK && !w->params->no_model_card)
        ret = write_card(w, err);
    if (ret == UQM_OK && w->params->report != UQM_REPORT_OFF)
        ret = write_report(w, err);
    return ret;
}

/* --- manifest --- */

/* Weight files, then config.json. */
static int manifest_input(struct uqm_manifest_input *out, struct uqm_writer *w,
                          const struct uqm_checkpoint *cp, const struct uqm_input_hash *hash,
                          size_t k, struct uqm_err *err)
{
    char *real = realpath(cp->path, NULL);
    out->path = real ? uqm_arena_strndup(&w->arena, real, strlen(real)) : NULL;
    free(real);
    out->files = uqm_arena_alloc(&w->arena, cp->n_own_files + 1, sizeof *out->files);
    if (!out->path || !out->files)
        return uqm_writer_no_memory(w, err);
    for (size_t f = 0; f < cp->n_own_files; f++) {
        struct uqm_xxh3_hex hex = uqm_input_hash_of(hash, k, f);
        const char *slash = strrchr(cp->files[f]->name, '/');
        out->files[out->n_files++] = (struct uqm_manifest_file){
            .name = slash ? slash + 1 : cp->files[f]->name,
            .bytes = cp->files[f]->size_bytes,
            .digest = uqm_arena_strndup(&w->arena, hex.text, strlen(hex.text)),
        };
    }
    if (cp->config_text) {
        struct uqm_xxh3 *h = uqm_xxh3_create();
        if (!h)
            return uqm_writer_no_memory(w, err);
        size_t len = strlen(cp->config_text);
        uqm_xxh3_update(h, cp->config_text, len);
        struct uqm_xxh3_hex hex = uqm_xxh3_hex(h);
        uqm_xxh3_destroy(&h);
        out->files[out->n_files++] = (struct uqm_manifest_file){
            .name = "config.json",
            .bytes = len,
            .digest = uqm_arena_strndup(&w->arena, hex.text, strlen(hex.text)),
        };
    }
    for (size_t f = 0; f < out->n_files; f++)
        if (!out->files[f].digest)
            return uqm_writer_no_memory(w, err);
    return UQM_OK;
}

/* The models on the disk, those that inner recipes are made of among them. */
static size_t count_models(const struct uqm_recipe_source *rs)
{
    size_t n = 0;
    for (size_t k = 0; k < rs->n_inputs; k++)
        n += rs->inputs[k].inner ? count_models(uqm_recipe_source_of(rs->inputs[k].inner)) : 1;
    return n;
}

/* A model that several recipes take stands once. */
static bool is_listed(const struct uqm_manifest_input *inputs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(inputs[i].path, inputs[n].path) == 0)
            return true;
    return false;
}

static int manifest_inputs(struct uqm_manifest_input *inputs, size_t *n, struct uqm_writer *w,
                           const struct uqm_recipe_source *rs, const struct uqm_input_hash *hash,
                           struct uqm_err *err)
{
    int ret = UQM_OK;
    for (size_t k = 0; k < rs->n_inputs && ret == UQM_OK; k++) {
        if (rs->inputs[k].inner) {
            ret = manifest_inputs(inputs, n, w, uqm_recipe_source_of(rs->inputs[k].inner),
                                  uqm_input_hash_inner(hash, k), err);
            continue;
        }
        inputs[*n] = (struct uqm_manifest_input){ 0 };
        ret = manifest_input(&inputs[*n], w, rs->inputs[k].checkpoint, hash, k, err);
        if (ret == UQM_OK && !is_listed(inputs, *n))
            ++*n;
    }
    return ret;
}

int uqm_writer_manifest(struct uqm_writer *w, struct uqm_err *err)
{
    size_t n_inputs = 0;
    struct uqm_manifest_input *inputs =
        uqm_arena_alloc(&w->arena, count_models(w->rs), sizeof *inputs);
    if (!inputs)
        return uqm_writer_no_memory(w, err);
    int ret = manifest_inputs(inputs, &n_inputs, w, w->rs, w->hash, err);
    if (ret == UQM_OK)
        ret = uqm_writer_leaves(w, err);
    if (ret < 0)
        return ret;
    struct uqm_manifest m = {
        .program = "uqmerge " UQM_VERSION,
        .recipe = w->recipe->text,
        .seed = w->env->seed,
        .n_inputs = n_inputs,
        .leaves_name = UQM_LEAVES_NAME,
        .n_files = w->n_files,
        .n_tensors = w->n_tensors,
        .inputs = inputs,
        .files = w->files,
        .tensors = w->tensors,
    };
    char *text = uqm_manifest_dump(&m);
    if (!text)
        return uqm_fail(err, UQM_ERR_NOMEM,
                        "%s: no memory for the manifest, or a path that is not UTF-8",
                        w->recipe->where);
    char *path = uqm_path_join(w->dir, UQM_MANIFEST_NAME);
    size_t len = strlen(text);
    ret = uqm_writer_sums(w, text, len, err);
    if (ret == UQM_OK)
        ret = path ? uqm_write_file(path, text, len, err) : uqm_writer_no_memory(w, err);
    atomic_fetch_add(&w->env->bytes_written, len);
    free(path);
    free(text);
    return ret;
}
