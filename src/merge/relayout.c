#include "src/merge/relayout.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"

#define IMAGE "<image>"
#define PAD   "<pad>"

enum { HF_ROWS = 64 }; /* the vocabulary's are a multiple */

/* --- the model as it is --- */

struct texts {
    char *preprocessor, *processor, *tokenizer, *generation;
};

static int read_texts(struct texts *t, const struct uqm_checkpoint *cp, struct uqm_err *err)
{
    const char *home = cp->source.home;
    int ret = uqm_relayout_read(&t->preprocessor, home, "preprocessor_config.json", err);
    if (ret == UQM_OK && cp->vision_tower_path)
        ret = uqm_relayout_read(&t->preprocessor, cp->vision_tower_path, "preprocessor_config.json",
                                err);
    if (ret == UQM_OK)
        ret = uqm_relayout_read(&t->processor, home, "processor_config.json", err);
    if (ret == UQM_OK)
        ret = uqm_relayout_read(&t->tokenizer, home, "tokenizer_config.json", err);
    if (ret == UQM_OK)
        ret = uqm_relayout_read(&t->generation, home, "generation_config.json", err);
    return ret;
}

static int no_vision(const struct uqm_recipe_source *rs, struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_FORMAT,
                    "%s: no vision tower, or no config that describes it: there is no LLaVA to "
                    "convert; --vision-tower names a folder that has both",
                    rs->inputs[0].model->path);
}

/* --- the vocabulary --- */

/* The rows of the embedding, which are those of the head. */
static int count_rows(uint64_t *rows, const struct uqm_checkpoint *cp, struct uqm_err *err)
{
    *rows = 0;
    for (size_t i = 0; i < cp->source.n_tensors; i++) {
        const struct uqm_tensor *t = &cp->source.tensors[i];
        struct uqm_printable name;
        if (uqm_name_vocabulary(t->canonical, t->part) == UQM_NO_VOCABULARY || t->rank == 0)
            continue;
        if (*rows && t->shape[0] != *rows)
            return uqm_fail(
                err, UQM_ERR_FORMAT,
                "%s: tensor %s has %" PRIu64 " rows, another of its vocabulary %" PRIu64, cp->path,
                uqm_printable(&name, t->name, strlen(t->name)), t->shape[0], *rows);
        *rows = t->shape[0];
    }
    if (*rows == 0 || *rows > UQM_VOCABULARY_MOST_ID)
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: an embedding of %" PRIu64 " rows", cp->path,
                        *rows);
    return UQM_OK;
}

static bool is_text(const struct uqm_vocab_token *t, const char *text)
{
    return t->len == strlen(text) && memcmp(t->text, text, t->len) == 0;
}

/* The token's number; where the tokenizer does not know it, a new one behind all rows. */
static int add_token(uint32_t *id, struct uqm_vocab *v, const char *text, uint64_t rows,
                     struct uqm_err *err)
{
    const struct uqm_vocab_token *there = uqm_vocabulary_find(v, text, strlen(text));
    const struct uqm_vocab_token t = { text, strlen(text),
                                       (uint32_t) uqm_max_u64(rows, uqm_vocabulary_next_id(v)),
                                       true, UQM_TOKEN_SPECIAL };
    *id = there ? there->id : t.id;
    return there ? UQM_OK : uqm_vocabulary_add(v, &t, err);
}

/* Nothing but <image> and <pad> stands from <image> on: LLaVA's layout would lose it, and in
 * Hugging Face's no answer holds it. */
static int check_cut(const struct uqm_vocab *v, uint64_t image, struct uqm_err *err)
{
    for (size_t i = 0; i < v->n; i++) {
        const struct uqm_vocab_token *t = &v->v[i];
        struct uqm_printable shown;
        if (t->id < image || (t->added && (is_text(t, IMAGE) || is_text(t, PAD))))
            continue;
        return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                        "%s: token %s, %" PRIu32 ", stands behind the image token, %" PRIu64
                        ", where only <pad> and padding may",
                        v->where, uqm_printable(&shown, t->text, t->len), t->id, image);
    }
    return UQM_OK;
}

static int take_tokens(struct uqm_vocab_plan *p, const struct uqm_vocab *home, struct uqm_err *err)
{
    int ret = UQM_OK;
    p->out->file = home->file;
    p->out->where = uqm_arena_strndup(&p->out->arena, home->where, strlen(home->where));
    if (!p->out->where)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", home->where);
    for (size_t i = 0; i < home->n && ret == UQM_OK; i++)
        if (home->v[i].id < p->first_stripped)
            ret = uqm_vocabulary_add(p->out, &home->v[i], err);
    p->n_home = p->out->n;
    p->out->n_own = home->n_own; /* those that are defined beside the model as well included */
    return ret;
}

/* Which tokens the output has, and how many rows; p->n_real of them are the input's. */
static int settle_tokens(struct uqm_relayout *r, struct uqm_vocab_plan *p,
                         const struct uqm_vocab *home, uint64_t rows, struct uqm_err *err)
{
    int ret = UQM_OK;
    p->first_stripped = UINT64_MAX;
    if (!r->to_hf) {
        uint64_t image = (uint64_t) r->parsed.image_token; /* the parse sees to its range */
        p->first_stripped = image;
        p->n_real = p->n_rows = (uint32_t) uqm_min_u64(image, rows);
        r->tokens.n_rows = p->n_rows;
        ret = p->n_rows > 0
                  ? check_cut(home, image, err)
                  : uqm_fail(err, UQM_ERR_FORMAT, "%s: the image token is number 0", home->where);
        return ret == UQM_OK ? take_tokens(p, home, err) : ret;
    }
    ret = take_tokens(p, home, err);
    if (ret == UQM_OK)
        ret = add_token(&r->tokens.image, p->out, IMAGE, rows, err);
    if (ret == UQM_OK)
        ret = add_token(&r->tokens.pad, p->out, PAD, rows, err);
    if (ret == UQM_OK)
        ret = check_cut(p->out, r->tokens.image, err);
    if (ret < 0)
        return ret;
    uint64_t n = uqm_max_u64(rows, uqm_vocabulary_next_id(p->out));
    p->n_real = (uint32_t) rows;
    p->n_rows = (uint32_t) ((n + HF_ROWS - 1) / HF_ROWS * HF_ROWS);
    r->tokens.n_rows = p->n_rows;
    return UQM_OK;
}

static int own_rows(struct uqm_vocab_plan *p, struct uqm_recipe_source *rs, struct uqm_err *err)
{
    p->n_inputs = 1;
    p->changed = uqm_arena_alloc(&p->arena, p->n_home + 1, sizeof *p->changed);
    p->own = uqm_arena_alloc(&p->arena, 1, sizeof *p->own);
    p->rules = uqm_arena_alloc(&p->arena, p->n_real, sizeof *p->rules);
    if (!p->changed || !p->own || !p->rules ||
        !(p->own[0] = uqm_arena_alloc(&p->arena, p->n_real, sizeof **p->own)))
        return uqm_plan_no_memory(rs, err);
    for (uint32_t i = 0; i < p->n_real; i++)
        p->own[0][i] = (int32_t) i;
    return UQM_OK;
}

static int tell(const struct uqm_relayout *r, const struct uqm_recipe_source *rs, uint64_t rows)
{
    const char *path = rs->inputs[0].model->path;
    if (r->to_hf)
        uqm_log(rs->source.env, UQM_LOG_INFO,
                "%s: %" PRIu64 " rows of the vocabulary become %" PRIu32 ", the new ones the mean "
                "of the others; <image> is %" PRIu32 ", <pad> %" PRIu32,
                path, rows, r->tokens.n_rows, r->tokens.image, r->tokens.pad);
    else
        uqm_log(rs->source.env, UQM_LOG_INFO,
                "%s: %" PRIu64 " rows of the vocabulary become %" PRIu32 ": those of <image>, "
                "<pad> and padding are left out",
                path, rows, r->tokens.n_rows);
    return UQM_OK;
}

static int plan_vocabulary(struct uqm_vocab_plan **out, struct uqm_relayout *r,
                           struct uqm_recipe_source *rs, struct uqm_err *err)
{
    const struct uqm_checkpoint *cp = rs->inputs[0].checkpoint;
    struct uqm_vocab *home = NULL;
    struct uqm_vocab_plan *p = calloc(1, sizeof *p);
    uint64_t rows;
    *out = p;
    if (!p || !(p->out = calloc(1, sizeof *p->out)))
        return uqm_plan_no_memory(rs, err);
    p->home = cp->source.home;
    int ret = count_rows(&rows, cp, err);
    if (ret == UQM_OK)
        ret = uqm_vocabulary_read(&home, cp->source.home, err);
    if (ret == UQM_OK)
        ret = settle_tokens(r, p, home, rows, err);
    if (ret == UQM_OK)
        ret = own_rows(p, rs, err);
    uqm_vocabulary_free(&home);
    return ret == UQM_OK ? tell(r, rs, rows) : ret;
}

/* --- all of it --- */

int uqm_relayout_create(struct uqm_relayout **out, struct uqm_vocab_plan **vocab,
                        struct uqm_recipe_source *rs, enum uqm_layout to, struct uqm_err *err)
{
    const struct uqm_checkpoint *cp = rs->inputs[0].checkpoint;
    struct uqm_relayout *r = calloc(1, sizeof *r);
    struct texts t = { 0 };
    if (!r)
        return uqm_plan_no_memory(rs, err);
    r->to_hf = to == UQM_LAYOUT_LLAVA_HF;
    int ret = read_texts(&t, cp, err);
    const struct uqm_config_texts texts = {
        .where = cp->path,
        .config = cp->config_text,
        .vision_config = cp->vision_config_text,
        .preprocessor = t.preprocessor,
        .processor = t.processor,
        .tokenizer_config = t.tokenizer,
        .generation = t.generation,
    };
    if (ret == UQM_OK)
        ret = uqm_model_config_parse(&r->parsed, &texts, err);
    if (ret == UQM_OK && (!r->parsed.has_vision || !rs->inputs[0].has_vision))
        ret = no_vision(rs, err);
    if (ret == UQM_OK)
        ret = plan_vocabulary(vocab, r, rs, err);
    if (ret == UQM_OK)
        ret = (r->to_hf ? uqm_llava_config_to_hf : uqm_llava_config_to_llava)(
            &r->config, &texts, &r->parsed, &r->tokens, err);
    free(t.preprocessor);
    free(t.processor);
    free(t.tokenizer);
    free(t.generation);
    *out = r; /* and *vocab: the source's to destroy, in any case */
    return ret;
}

void uqm_relayout_destroy(struct uqm_relayout **relayout)
{
    struct uqm_relayout *r = *relayout;
    if (!r)
        return;
    free(r->config);
    free(r);
    *relayout = NULL;
}

/* --- tensors --- */

int uqm_relayout_tensors(struct uqm_recipe_source *rs, struct uqm_err *err)
{
    enum uqm_layout to = rs->relayout->to_hf ? UQM_LAYOUT_LLAVA_HF : UQM_LAYOUT_LLAVA;
    struct uqm_tensor *tensors =
        uqm_arena_alloc(&rs->arena, rs->source.n_tensors + 1, sizeof *tensors);
    size_t n = 0;
    if (!tensors)
        return uqm_plan_no_memory(rs, err);
    for (size_t i = 0; i < rs->source.n_tensors; i++) {
        struct uqm_tensor t = rs->source.tensors[i];
        struct uqm_printable shown;
        if (uqm_layout_is_buffer(t.name))
            continue; /* computed by those who need it */
        if (t.part == UQM_PART_OTHER)
            return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                            "%s: tensor %s is no part of a LLaVA that the layout %s has",
                            rs->inputs[0].model->path,
                            uqm_printable(&shown, t.name, strlen(t.name)), uqm_layout_name(to));
        t.name = uqm_layout_spell(&rs->arena, t.canonical, to);
        if (!t.name)
            return uqm_plan_no_memory(rs, err);
        tensors[n] = t;
        rs->plan[n] = rs->plan[i];
        rs->plan[n].sort_name = t.name;
        rs->plan[n++].outside = false;
    }
    rs->source.tensors = tensors;
    rs->source.n_tensors = n;
    return UQM_OK;
}
