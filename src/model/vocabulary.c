#include "src/model/vocabulary.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/fs.h"
#include "src/checkpoint/model_file.h"
#include "src/format/json_pull.h"
#include "src/model/spm_proto.h"

/* --- the table --- */

static int no_memory(const struct uqm_vocab *v, struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for the vocabulary", v->where);
}

static uint64_t hash(const char *s, size_t len)
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char) s[i]) * UINT64_C(1099511628211);
    return h ^ h >> 32;
}

static uint32_t *slot_of(const struct uqm_vocab *v, const char *text, size_t len)
{
    size_t i = (size_t) hash(text, len) & (v->n_slots - 1);
    while (v->slots[i]) {
        const struct uqm_vocab_token *t = &v->v[v->slots[i] - 1];
        if (t->len == len && memcmp(t->text, text, len) == 0)
            break;
        i = (i + 1) & (v->n_slots - 1);
    }
    return &v->slots[i];
}

const struct uqm_vocab_token *uqm_vocabulary_find(const struct uqm_vocab *vocabulary,
                                                  const char *text, size_t len)
{
    if (vocabulary->n_slots == 0)
        return NULL;
    uint32_t slot = *slot_of(vocabulary, text, len);
    return slot ? &vocabulary->v[slot - 1] : NULL;
}

/* Room for one more, the table at most half full. */
static bool grow(struct uqm_vocab *v)
{
    if (2 * (v->n + 1) <= v->n_slots)
        return true;
    size_t n_slots = v->n_slots ? 2 * v->n_slots : 1024;
    uint32_t *slots = calloc(n_slots, sizeof *slots);
    struct uqm_vocab_token *tokens = realloc(v->v, n_slots / 2 * sizeof *tokens);
    if (tokens)
        v->v = tokens;
    if (!slots || !tokens) {
        free(slots);
        return false;
    }
    free(v->slots);
    v->slots = slots;
    v->n_slots = n_slots;
    for (size_t i = 0; i < v->n; i++)
        *slot_of(v, v->v[i].text, v->v[i].len) = (uint32_t) i + 1;
    return true;
}

int uqm_vocabulary_add(struct uqm_vocab *vocabulary, const struct uqm_vocab_token *token,
                       struct uqm_err *err)
{
    struct uqm_printable shown;
    if (token->id >= UQM_VOCABULARY_MOST_ID)
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: token %s: number %" PRIu32 " is above %d",
                        vocabulary->where, uqm_printable(&shown, token->text, token->len),
                        token->id, UQM_VOCABULARY_MOST_ID);
    if (!grow(vocabulary))
        return no_memory(vocabulary, err);
    uint32_t *slot = slot_of(vocabulary, token->text, token->len);
    if (*slot) {
        struct uqm_vocab_token *there = &vocabulary->v[*slot - 1];
        if (!token->added)
            return uqm_fail(err, UQM_ERR_FORMAT, "%s: token %s stands there twice",
                            vocabulary->where, uqm_printable(&shown, token->text, token->len));
        there->id = token->id;
        there->added = true;
        there->flags = token->flags;
        return UQM_OK;
    }
    struct uqm_vocab_token copy = *token;
    copy.text = uqm_arena_strndup(&vocabulary->arena, token->text, token->len);
    if (!copy.text)
        return no_memory(vocabulary, err);
    vocabulary->v[vocabulary->n++] = copy;
    *slot = (uint32_t) vocabulary->n;
    vocabulary->n_own += !token->added;
    return UQM_OK;
}

uint32_t uqm_vocabulary_next_id(const struct uqm_vocab *vocabulary)
{
    uint32_t next = vocabulary->n_own;
    for (size_t i = 0; i < vocabulary->n; i++)
        if (vocabulary->v[i].added && vocabulary->v[i].id >= next)
            next = vocabulary->v[i].id + 1;
    return next;
}

void uqm_vocabulary_free(struct uqm_vocab **vocabulary)
{
    struct uqm_vocab *v = *vocabulary;
    if (!v)
        return;
    free(v->v);
    free(v->slots);
    uqm_arena_finish(&v->arena);
    free(v);
    *vocabulary = NULL;
}

/* --- JSON --- */

struct reader {
    struct uqm_vocab *v;
    struct uqm_json_pull json;
    struct uqm_arena arena; /* unescaped strings, until the file is read */
};

static int add(struct reader *r, const struct uqm_text *text, uint64_t id, bool added,
               uint8_t flags)
{
    struct uqm_printable shown;
    if (id >= UQM_VOCABULARY_MOST_ID)
        return uqm_json_pull_fail(&r->json, "token %s: number %" PRIu64 " is above %d",
                                  uqm_printable(&shown, text->s, text->len), id,
                                  UQM_VOCABULARY_MOST_ID);
    const struct uqm_vocab_token token = { text->s, text->len, (uint32_t) id, added, flags };
    return uqm_vocabulary_add(r->v, &token, r->json.err);
}

/* {"token": number, ...} */
static int read_numbers(struct reader *r, bool added)
{
    struct uqm_text key;
    uint64_t id;
    size_t n = 0;
    int ret = uqm_json_pull_open(&r->json, '{', "the vocabulary");
    while (ret >= 0 && (ret = uqm_json_pull_member(&r->json, &n, &key)) > 0) {
        ret = uqm_json_pull_u64(&r->json, &id, "a token's number");
        const struct uqm_vocab_token *there = uqm_vocabulary_find(r->v, key.s, key.len);
        if (ret == UQM_OK && !(added && there)) /* what is known is not told anew */
            ret = add(r, &key, id, added, UQM_TOKEN_NORMALIZED);
    }
    return ret;
}

/* Unigram: [["token", score], ...], numbered as they come. */
static int read_pieces(struct reader *r)
{
    size_t n = 0, m;
    int ret = uqm_json_pull_open(&r->json, '[', "the vocabulary");
    while (ret >= 0 && (ret = uqm_json_pull_element(&r->json, &n)) > 0) {
        struct uqm_text text = { 0 };
        ret = uqm_json_pull_open(&r->json, '[', "a token and its score");
        m = 0;
        while (ret >= 0 && (ret = uqm_json_pull_element(&r->json, &m)) > 0)
            ret = m == 1 ? uqm_json_pull_string(&r->json, &text, "a token")
                         : uqm_json_pull_skip(&r->json);
        if (ret == UQM_OK && m == 0)
            ret = uqm_json_pull_fail(&r->json, "a token is missing");
        if (ret == UQM_OK)
            ret = add(r, &text, n - 1, false, 0);
    }
    return ret;
}

static int read_model(struct reader *r)
{
    struct uqm_text key;
    size_t n = 0;
    bool has = false;
    int ret = uqm_json_pull_open(&r->json, '{', "model");
    while (ret >= 0 && (ret = uqm_json_pull_member(&r->json, &n, &key)) > 0) {
        if (!uqm_text_is(&key, "vocab")) {
            ret = uqm_json_pull_skip(&r->json);
            continue;
        }
        has = true;
        ret = uqm_json_pull_peek(&r->json) == '[' ? read_pieces(r) : read_numbers(r, false);
    }
    if (ret == UQM_OK && !has)
        ret = uqm_json_pull_fail(&r->json, "model has no vocab");
    return ret;
}

static int read_switch(struct reader *r, uint8_t *flags, uint8_t flag)
{
    int c = uqm_json_pull_peek(&r->json);
    if (c != 't' && c != 'f')
        return uqm_json_pull_fail(&r->json, "true or false is wanted");
    *flags = (uint8_t) (c == 't' ? *flags | flag : *flags & ~flag);
    return uqm_json_pull_skip(&r->json);
}

/* The definition of an added token. */
struct definition {
    struct uqm_text text;
    uint64_t id;
    bool has_text, has_id;
    uint8_t flags;
};

static int read_definition(struct reader *r, struct definition *d)
{
    static const struct {
        const char *key;
        uint8_t flag;
    } switches[] = { { "single_word", UQM_TOKEN_SINGLE_WORD },
                     { "lstrip", UQM_TOKEN_LSTRIP },
                     { "rstrip", UQM_TOKEN_RSTRIP },
                     { "normalized", UQM_TOKEN_NORMALIZED },
                     { "special", UQM_TOKEN_SPECIAL } };
    struct uqm_text key;
    size_t n = 0;
    int ret = uqm_json_pull_open(&r->json, '{', "an added token");
    while (ret >= 0 && (ret = uqm_json_pull_member(&r->json, &n, &key)) > 0) {
        size_t s = 0;
        while (s < 5 && !uqm_text_is(&key, switches[s].key))
            s++;
        if (s < 5) {
            ret = read_switch(r, &d->flags, switches[s].flag);
        } else if (uqm_text_is(&key, "content")) {
            ret = uqm_json_pull_string(&r->json, &d->text, "content");
            d->has_text = true;
        } else if (uqm_text_is(&key, "id")) {
            ret = uqm_json_pull_u64(&r->json, &d->id, "id");
            d->has_id = true;
        } else {
            ret = uqm_json_pull_skip(&r->json);
        }
    }
    if (ret == UQM_OK && !d->has_text)
        ret = uqm_json_pull_fail(&r->json, "an added token without content");
    return ret;
}

static int read_added(struct reader *r)
{
    size_t n = 0;
    int ret = uqm_json_pull_open(&r->json, '[', "added_tokens");
    while (ret >= 0 && (ret = uqm_json_pull_element(&r->json, &n)) > 0) {
        struct definition d = { 0 };
        ret = read_definition(r, &d);
        if (ret == UQM_OK && !d.has_id)
            ret = uqm_json_pull_fail(&r->json, "an added token without id");
        if (ret == UQM_OK)
            ret = add(r, &d.text, d.id, true, d.flags);
    }
    return ret;
}

/* tokenizer.json; the added tokens, which may stand first, are read behind the model's own. */
static int read_fast(struct reader *r)
{
    struct uqm_text key;
    size_t n = 0, added_at = 0;
    bool has_model = false;
    int ret = uqm_json_pull_open(&r->json, '{', "the tokenizer");
    while (ret >= 0 && (ret = uqm_json_pull_member(&r->json, &n, &key)) > 0) {
        if (uqm_text_is(&key, "model")) {
            has_model = true;
            ret = read_model(r);
            continue;
        }
        uqm_json_pull_peek(&r->json); /* steps over white space */
        if (uqm_text_is(&key, "added_tokens"))
            added_at = r->json.at;
        ret = uqm_json_pull_skip(&r->json);
    }
    if (ret == UQM_OK)
        ret = uqm_json_pull_end(&r->json);
    if (ret == UQM_OK && !has_model)
        ret = uqm_json_pull_fail(&r->json, "it has no model");
    if (ret < 0 || added_at == 0)
        return ret;
    r->json.at = added_at;
    return uqm_json_pull_peek(&r->json) == 'n' ? UQM_OK : read_added(r);
}

/* tokenizer_config.json: {"added_tokens_decoder": {"32000": {"content": ...}}}. */
static int read_decoder(struct reader *r)
{
    struct uqm_text key;
    size_t n = 0;
    int ret = uqm_json_pull_open(&r->json, '{', "added_tokens_decoder");
    while (ret >= 0 && (ret = uqm_json_pull_member(&r->json, &n, &key)) > 0) {
        struct definition d = { 0 };
        char *end;
        if (key.len == 0 || key.s[0] < '0' || key.s[0] > '9')
            return uqm_json_pull_fail(&r->json, "added_tokens_decoder has a key that is no number");
        char digits[24] = { 0 };
        memcpy(digits, key.s, key.len < sizeof digits ? key.len : sizeof digits - 1);
        d.id = strtoull(digits, &end, 10);
        ret = *end
                  ? uqm_json_pull_fail(&r->json, "added_tokens_decoder has a key that is no number")
                  : read_definition(r, &d);
        if (ret < 0)
            return ret;
        const struct uqm_vocab_token *there = uqm_vocabulary_find(r->v, d.text.s, d.text.len);
        if (there && there->added)
            continue;
        ret = add(r, &d.text, there ? there->id : d.id, true, d.flags);
    }
    return ret;
}

static int read_config(struct reader *r)
{
    struct uqm_text key;
    size_t n = 0;
    int ret = uqm_json_pull_open(&r->json, '{', "the configuration");
    while (ret >= 0 && (ret = uqm_json_pull_member(&r->json, &n, &key)) > 0)
        ret = uqm_text_is(&key, "added_tokens_decoder") && uqm_json_pull_peek(&r->json) == '{'
                  ? read_decoder(r)
                  : uqm_json_pull_skip(&r->json);
    return ret;
}

static int read_added_numbers(struct reader *r)
{
    return read_numbers(r, true);
}
static int read_own_numbers(struct reader *r)
{
    return read_numbers(r, false);
}

/* --- files --- */

/* 1: read; 0: there is no such file. */
static int read_json(struct uqm_vocab *v, const char *dir, const char *name,
                     int (*read)(struct reader *), bool is_main, struct uqm_err *err)
{
    char *path = uqm_path_join(dir, name), *text = NULL;
    size_t len;
    int ret = path ? uqm_find_model_file(path, NULL, err) : no_memory(v, err);
    if (ret <= 0) {
        free(path);
        return ret;
    }
    ret = UQM_OK;
    if (ret == UQM_OK && is_main && !(v->where = uqm_arena_strndup(&v->arena, path, strlen(path))))
        ret = no_memory(v, err);
    if (ret == UQM_OK)
        ret = uqm_read_model_file(&text, &len, path, UQM_VOCABULARY_MOST_FILE, err);
    if (ret == UQM_OK) {
        struct reader r = { .v = v };
        r.json = (struct uqm_json_pull){ .text = (const uint8_t *) text, .len = len, .err = err };
        r.json.arena = &r.arena;
        size_t n = strlen(path);
        n = n < sizeof r.json.subject ? n : sizeof r.json.subject - 1;
        memcpy(r.json.subject, path, n);
        ret = read(&r);
        uqm_arena_finish(&r.arena);
    }
    free(text);
    free(path);
    return ret < 0 ? ret : 1;
}

static int read_spm(struct uqm_vocab *v, const char *dir, struct uqm_err *err)
{
    char *path = uqm_path_join(dir, "tokenizer.model"), *data = NULL;
    struct uqm_spm_model model = { 0 };
    size_t len;
    int ret = path ? uqm_find_model_file(path, NULL, err) : no_memory(v, err);
    if (ret <= 0) {
        free(path);
        return ret;
    }
    ret = UQM_OK;
    if (ret == UQM_OK && !(v->where = uqm_arena_strndup(&v->arena, path, strlen(path))))
        ret = no_memory(v, err);
    if (ret == UQM_OK)
        ret = uqm_read_model_file(&data, &len, path, UQM_VOCABULARY_MOST_FILE, err);
    if (ret == UQM_OK)
        ret = uqm_spm_model_parse(&model, (const uint8_t *) data, len, path, err);
    for (uint32_t i = 0; i < model.n_pieces && ret == UQM_OK; i++) {
        const char *text = model.pieces[i].text;
        const struct uqm_vocab_token token = { text, strlen(text), i, false, 0 };
        ret = uqm_vocabulary_add(v, &token, err);
    }
    uqm_spm_model_finish(&model);
    free(data);
    free(path);
    return ret < 0 ? ret : 1;
}

static int read_main(struct uqm_vocab *v, const char *dir, struct uqm_err *err)
{
    int ret = read_json(v, dir, "tokenizer.json", read_fast, true, err);
    v->file = UQM_VOCABULARY_JSON;
    if (ret == 0) {
        ret = read_spm(v, dir, err);
        v->file = UQM_VOCABULARY_SPM;
    }
    if (ret == 0) {
        ret = read_json(v, dir, "vocab.json", read_own_numbers, true, err);
        v->file = UQM_VOCABULARY_OLD_JSON;
    }
    if (ret == 0)
        ret = uqm_fail(err, UQM_ERR_IO,
                       "%s: no tokenizer: neither tokenizer.json, tokenizer.model nor vocab.json",
                       dir);
    return ret;
}

int uqm_vocabulary_read(struct uqm_vocab **out, const char *dir, struct uqm_err *err)
{
    struct uqm_vocab *v = calloc(1, sizeof *v);
    if (!v)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for the vocabulary", dir);
    v->where = dir;
    int ret = read_main(v, dir, err);
    if (ret > 0)
        ret = read_json(v, dir, "tokenizer_config.json", read_config, false, err);
    if (ret >= 0)
        ret = read_json(v, dir, "added_tokens.json", read_added_numbers, false, err);
    if (ret < 0)
        uqm_vocabulary_free(&v);
    else
        *out = v;
    return ret < 0 ? ret : UQM_OK;
}
