/*
 * The tokens' list: the pieces of tokenizer.model, behind them what other files add, and a
 * placeholder for every row of the embedding that has neither.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/fs.h"
#include "src/checkpoint/model_file.h"
#include "src/convert/gguf_export.h"
#include "src/model/spm_proto.h"
#include "src/model/vocabulary.h"

enum { MAX_MODEL_BYTES = 64 << 20 };

/* Scores of what no sentencepiece model holds: as llama.cpp's own converter gives them. */
static const float added_score = -1000, unused_score = -10000;

static int read_pieces(struct uqm_spm_model *out, struct uqm_gguf_export *x, const char *home,
                       struct uqm_err *err)
{
    char *path = uqm_path_join(home, "tokenizer.model"), *data = NULL;
    size_t len = 0;
    int ret = path ? uqm_find_model_file(path, NULL, err) : uqm_gguf_no_memory(x, err);
    if (ret == 0)
        ret = uqm_fail(err, UQM_ERR_FORMAT,
                       "%s: is missing; GGUF holds the tokenizer, which is made from it", path);
    if (ret > 0)
        ret = uqm_read_model_file(&data, &len, path, MAX_MODEL_BYTES, err);
    if (ret == UQM_OK)
        ret = uqm_spm_model_parse(out, (const uint8_t *) data, len, path, err);
    free(data);
    free(path);
    return ret;
}

static int take_pieces(struct uqm_gguf_vocab *v, struct uqm_gguf_export *x,
                       const struct uqm_spm_model *spm, const char *home, struct uqm_err *err)
{
    if (spm->n_pieces > v->n)
        return uqm_fail(err, UQM_ERR_FORMAT,
                        "%s/tokenizer.model: %" PRIu32 " pieces, but the embedding has %" PRIu32
                        " rows",
                        home, spm->n_pieces, v->n);
    for (uint32_t i = 0; i < spm->n_pieces; i++) {
        const struct uqm_spm_piece *p = &spm->pieces[i];
        v->texts[i] = uqm_arena_strndup(&x->arena, p->text, strlen(p->text));
        v->scores[i] = p->score;
        v->types[i] = p->type;
        if (!v->texts[i])
            return uqm_gguf_no_memory(x, err);
        if (p->type == UQM_SPM_UNKNOWN && v->unknown < 0)
            v->unknown = i;
    }
    v->space_prefix = spm->dummy_prefix;
    return UQM_OK;
}

/* A copy with U+2581 as the space that it stands for: user-defined tokens are matched in the text
 * itself. */
static char *plain_copy(struct uqm_gguf_export *x, const char *s, size_t len, bool spaces)
{
    char *copy = uqm_arena_strndup(&x->arena, s, len);
    size_t n = 0;
    for (size_t i = 0; copy && spaces && i <= len;) {
        if (i + 3 <= len && memcmp(s + i, "\xe2\x96\x81", 3) == 0) {
            copy[n++] = ' ';
            i += 3;
        } else {
            copy[n++] = s[i++];
        }
    }
    return copy;
}

static int take_added(struct uqm_gguf_vocab *v, struct uqm_gguf_export *x,
                      const struct uqm_vocab *vocabulary, uint32_t n_pieces, struct uqm_err *err)
{
    for (size_t i = 0; i < vocabulary->n; i++) {
        const struct uqm_vocab_token *t = &vocabulary->v[i];
        const bool special = t->flags & UQM_TOKEN_SPECIAL;
        if (t->id < n_pieces)
            continue;
        if (t->id >= v->n) {
            struct uqm_printable shown;
            int ret = uqm_warn(x->env, err,
                               "%s: token %s has number %" PRIu32 ", but the embedding %" PRIu32
                               " rows: it is left out",
                               x->in, uqm_printable(&shown, t->text, t->len), t->id, v->n);
            if (ret < 0)
                return ret;
            continue;
        }
        v->texts[t->id] = plain_copy(x, t->text, t->len, !special);
        v->scores[t->id] = added_score;
        v->types[t->id] = special ? UQM_SPM_CONTROL : UQM_SPM_USER;
        if (!v->texts[t->id])
            return uqm_gguf_no_memory(x, err);
    }
    return UQM_OK;
}

static int fill_up(struct uqm_gguf_vocab *v, struct uqm_gguf_export *x, struct uqm_err *err)
{
    for (uint32_t i = 0; i < v->n; i++) {
        if (v->texts[i])
            continue;
        v->texts[i] = uqm_arena_printf(&x->arena, "[PAD%" PRIu32 "]", i);
        v->scores[i] = unused_score;
        v->types[i] = UQM_SPM_UNUSED;
        if (!v->texts[i])
            return uqm_gguf_no_memory(x, err);
    }
    return UQM_OK;
}

/* A bool of tokenizer_config.json. */
static bool flag(const json_t *config, const char *key, bool otherwise)
{
    const json_t *v = json_object_get(config, key);
    return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

/* The token that tokenizer_config.json names, as text or as an object of an older kind. */
static int64_t find_pad(const json_t *config, const struct uqm_vocab *vocabulary, int64_t otherwise)
{
    const json_t *v = json_object_get(config, "pad_token");
    if (json_is_object(v))
        v = json_object_get(v, "content");
    const struct uqm_vocab_token *t = NULL;
    if (json_is_string(v))
        t = uqm_vocabulary_find(vocabulary, json_string_value(v), json_string_length(v));
    return t ? (int64_t) t->id : otherwise;
}

int uqm_gguf_read_vocab(struct uqm_gguf_export *x, const char *home, const json_t *config,
                        int64_t pad, struct uqm_err *err)
{
    struct uqm_gguf_vocab *v = &x->vocab;
    struct uqm_spm_model spm = { 0 };
    struct uqm_vocab *vocabulary = NULL;
    *v = (struct uqm_gguf_vocab){ .n = x->n_rows, .unknown = -1, .pad = -1 };
    v->texts = uqm_arena_alloc(&x->arena, v->n, sizeof *v->texts);
    v->scores = uqm_arena_alloc(&x->arena, v->n, sizeof *v->scores);
    v->types = uqm_arena_alloc(&x->arena, v->n, sizeof *v->types);
    int ret = v->texts && v->scores && v->types ? read_pieces(&spm, x, home, err)
                                                : uqm_gguf_no_memory(x, err);
    if (ret == UQM_OK)
        ret = take_pieces(v, x, &spm, home, err);
    if (ret == UQM_OK)
        ret = uqm_vocabulary_read(&vocabulary, home, err);
    if (ret == UQM_OK)
        ret = take_added(v, x, vocabulary, spm.n_pieces, err);
    if (ret == UQM_OK)
        ret = fill_up(v, x, err);
    if (ret == UQM_OK) {
        v->add_bos = flag(config, "add_bos_token", true);
        v->add_eos = flag(config, "add_eos_token", false);
        v->pad = find_pad(config, vocabulary, pad);
    }
    uqm_vocabulary_free(&vocabulary);
    uqm_spm_model_finish(&spm);
    return ret;
}
