#include "src/model/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/fs.h"
#include "src/checkpoint/model_file.h"
#include "src/model/tokenizer_impl.h"

enum { MAX_MODEL_BYTES = 64 << 20, MAX_TEXT_BYTES = 16 << 20 };

static int open_library(struct uqm_tokenizer *t, const char *data, size_t len, struct uqm_err *err)
{
    int ret = uqm_spm_model_parse(&t->model, (const uint8_t *) data, len, t->path, err);
    if (ret < 0)
        return ret;
    struct uqm_spm_reason reason;
    ret = uqm_spm_create(&t->spm, data, len, &reason);
    if (ret < 0)
        return uqm_fail(err, (enum uqm_status) ret, "%s: %s", t->path, reason.text);
    return UQM_OK;
}

int uqm_tokenizer_open(struct uqm_tokenizer **out, const char *dir, struct uqm_err *err)
{
    char *data = NULL;
    size_t len;
    int ret = UQM_OK;
    struct uqm_tokenizer *t = calloc(1, sizeof *t);
    if (t)
        t->path = uqm_path_join(dir, "tokenizer.model");
    if (!t || !t->path)
        ret = uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for the tokenizer", dir);

    if (ret == UQM_OK)
        ret = uqm_read_model_file(&data, &len, t->path, MAX_MODEL_BYTES, err);
    if (ret == UQM_OK)
        ret = open_library(t, data, len, err);
    free(data);
    if (ret < 0)
        uqm_tokenizer_close(&t);
    else
        *out = t;
    return ret;
}

void uqm_tokenizer_close(struct uqm_tokenizer **tokenizer)
{
    struct uqm_tokenizer *t = *tokenizer;
    if (!t)
        return;
    uqm_spm_destroy(t->spm);
    uqm_spm_model_finish(&t->model);
    free(t->path);
    free(t);
    *tokenizer = NULL;
}

int32_t uqm_tokenizer_n_pieces(const struct uqm_tokenizer *tokenizer)
{
    return (int32_t) tokenizer->model.n_pieces;
}

const char *uqm_tokenizer_piece(const struct uqm_tokenizer *tokenizer, int32_t id)
{
    if (id < 0 || id >= uqm_tokenizer_n_pieces(tokenizer))
        return "";
    return tokenizer->model.pieces[id].text;
}

void uqm_ids_finish(struct uqm_ids *ids)
{
    free(ids->v);
    *ids = (struct uqm_ids){ 0 };
}

int uqm_tokenizer_encode(struct uqm_ids *out, const struct uqm_tokenizer *tokenizer,
                         const char *text, size_t len, struct uqm_err *err)
{
    if (len > MAX_TEXT_BYTES)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED, "a text of %zu bytes; at most %d are tokenized",
                        len, MAX_TEXT_BYTES);

    struct uqm_ids ids = { 0 };
    struct uqm_spm_reason reason;
    const int ret = uqm_spm_encode(&ids.v, &ids.n, tokenizer->spm, text, len, &reason);
    if (ret < 0)
        return uqm_fail(err, (enum uqm_status) ret, "%s: %s", tokenizer->path, reason.text);
    *out = ids;
    return UQM_OK;
}

static int append(struct uqm_ids *ids, const int32_t *more, size_t n, struct uqm_err *err)
{
    int32_t *v = realloc(ids->v, (ids->n + n + 1) * sizeof *v);
    if (!v)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for %zu token ids", ids->n + n);
    if (n)
        memcpy(v + ids->n, more, n * sizeof *v);
    ids->v = v;
    ids->n += n;
    return UQM_OK;
}

static int append_chunk(struct uqm_ids *ids, const struct uqm_tokenizer *tokenizer,
                        const char *text, size_t len, struct uqm_err *err)
{
    struct uqm_ids chunk;
    int ret = uqm_tokenizer_encode(&chunk, tokenizer, text, len, err);
    if (ret < 0)
        return ret;
    ret = append(ids, chunk.v, chunk.n, err);
    uqm_ids_finish(&chunk);
    return ret;
}

int uqm_tokenizer_encode_prompt(struct uqm_ids *out, const struct uqm_tokenizer *tokenizer,
                                const char *prompt, struct uqm_err *err)
{
    static const char mark[] = "<image>";
    static const int32_t bos = UQM_TOKEN_BOS, picture = UQM_IMAGE_PLACEHOLDER;
    struct uqm_ids ids = { 0 };
    int ret = append(&ids, &bos, 1, err);

    for (const char *at = prompt; ret == UQM_OK;) {
        const char *next = strstr(at, mark);
        ret = append_chunk(&ids, tokenizer, at, next ? (size_t) (next - at) : strlen(at), err);
        if (!next)
            break;
        if (ret == UQM_OK)
            ret = append(&ids, &picture, 1, err);
        at = next + strlen(mark);
    }
    if (ret < 0)
        uqm_ids_finish(&ids);
    else
        *out = ids;
    return ret;
}

int uqm_tokenizer_option_ids(int32_t out[6], const struct uqm_tokenizer *tokenizer,
                             struct uqm_err *err)
{
    for (size_t i = 0; i < 6; i++) {
        const char letter = (char) ('A' + i);
        struct uqm_ids ids;
        const int ret = uqm_tokenizer_encode(&ids, tokenizer, &letter, 1, err);
        if (ret < 0)
            return ret;
        const int32_t last = ids.n ? ids.v[ids.n - 1] : UQM_TOKEN_UNKNOWN;
        uqm_ids_finish(&ids);
        if (last == UQM_TOKEN_UNKNOWN)
            return uqm_fail(err, UQM_ERR_UNSUPPORTED, "%s: the option letter %c has no token",
                            tokenizer->path, letter);
        out[i] = last;
    }
    return UQM_OK;
}
