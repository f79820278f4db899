#include <stdlib.h>
#include <string.h>

#include "src/base/utf8.h"
#include "src/model/tokenizer.h"
#include "src/model/tokenizer_impl.h"

/* Text as it grows; `data` is large enough for all that can come. */
struct text {
    uint8_t *data;
    size_t len;
};

static void put(struct text *t, const void *bytes, size_t n)
{
    memcpy(t->data + t->len, bytes, n);
    t->len += n;
}

/* Bytes that byte pieces spelled: characters where they form some, U+FFFD for each other byte. */
static void put_bytes(struct text *t, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n;) {
        const size_t len = uqm_utf8_len(bytes + i, n - i);
        if (len)
            put(t, bytes + i, len);
        else
            put(t, "\xef\xbf\xbd", 3);
        i += len ? len : 1;
    }
}

/* The piece with every U+2581 as a space. */
static void put_piece(struct text *t, const char *piece)
{
    static const char space_mark[] = "\xe2\x96\x81";
    const char *mark;
    for (; (mark = strstr(piece, space_mark)); piece = mark + 3) {
        put(t, piece, (size_t) (mark - piece));
        put(t, " ", 1);
    }
    put(t, piece, strlen(piece));
}

static void strip(struct text *t)
{
    size_t begin = 0, end = 0, n;
    while ((n = uqm_utf8_space(t->data + begin, t->len - begin)))
        begin += n;
    for (size_t i = begin; i < t->len;) {
        n = uqm_utf8_space(t->data + i, t->len - i);
        i += n ? n : 1;
        if (!n)
            end = i;
    }
    t->len = end > begin ? end - begin : 0;
    memmove(t->data, t->data + begin, t->len);
    t->data[t->len] = 0;
}

static const struct uqm_spm_piece *shown_piece(const struct uqm_tokenizer *t, int32_t id)
{
    if (id <= UQM_TOKEN_EOS || id >= uqm_tokenizer_n_pieces(t))
        return NULL;
    return &t->model.pieces[id];
}

int uqm_tokenizer_decode(char **out, const struct uqm_tokenizer *tokenizer, const int32_t *ids,
                         size_t n, struct uqm_err *err)
{
    size_t most = 1;
    for (size_t i = 0; i < n; i++) {
        const struct uqm_spm_piece *p = shown_piece(tokenizer, ids[i]);
        most += p ? strlen(p->text) : 0; /* a byte's own spelling is longer than U+FFFD */
    }
    struct text text = { .data = malloc(most) };
    uint8_t *run = malloc(n + 1);
    if (!text.data || !run) {
        free(text.data);
        free(run);
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for a text of %zu bytes", most);
    }

    size_t n_run = 0;
    for (size_t i = 0; i < n; i++) {
        const struct uqm_spm_piece *p = shown_piece(tokenizer, ids[i]);
        if (p && p->type == UQM_SPM_BYTE) {
            run[n_run++] = p->byte;
        } else if (p) {
            put_bytes(&text, run, n_run);
            n_run = 0;
            put_piece(&text, p->text);
        }
    }
    put_bytes(&text, run, n_run);
    free(run);
    strip(&text); /* the first piece's space among the rest */
    *out = (char *) text.data;
    return UQM_OK;
}
