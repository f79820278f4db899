#include "src/model/spm_proto.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/dtype.h"
#include "src/base/utf8.h"

/* The bytes that remain of one protobuf message. */
struct reader {
    const uint8_t *at, *end;
    const char *where;
};

struct field {
    uint64_t number;
    unsigned wire;        /* 0 varint, 1 and 5 fixed, 2 bytes */
    uint64_t value;       /* of a varint or a fixed one */
    struct reader inside; /* of bytes */
};

static int damaged(const struct reader *r, const char *what, struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_FORMAT, "%s: not a sentencepiece model: %s", r->where, what);
}

static int read_varint(uint64_t *out, struct reader *r, struct uqm_err *err)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70 && r->at < r->end; shift += 7) {
        const uint8_t b = *r->at++;
        if (shift == 63 && b > 1)
            return damaged(r, "a number of more than 64 bits", err);
        v |= (uint64_t) (b & 0x7f) << shift;
        if (!(b & 0x80)) {
            *out = v;
            return UQM_OK;
        }
    }
    return damaged(r, "a number runs past its end", err);
}

static int read_fixed(uint64_t *out, struct reader *r, size_t n, struct uqm_err *err)
{
    if ((size_t) (r->end - r->at) < n)
        return damaged(r, "a number runs past its end", err);
    *out = 0;
    for (size_t i = 0; i < n; i++)
        *out |= (uint64_t) *r->at++ << 8 * i;
    return UQM_OK;
}

static int read_field(struct field *f, struct reader *r, struct uqm_err *err)
{
    uint64_t key, len;
    int ret = read_varint(&key, r, err);
    if (ret < 0)
        return ret;
    *f = (struct field){ .number = key >> 3, .wire = key & 7 };
    if (f->number == 0 || f->number >> 29)
        return damaged(r, "a field number out of range", err);

    switch (f->wire) {
    case 0: return read_varint(&f->value, r, err);
    case 1: return read_fixed(&f->value, r, 8, err);
    case 5: return read_fixed(&f->value, r, 4, err);
    case 2:
        ret = read_varint(&len, r, err);
        if (ret < 0)
            return ret;
        if (len > (uint64_t) (r->end - r->at))
            return damaged(r, "a field runs past its end", err);
        f->inside = (struct reader){ r->at, r->at + len, r->where };
        r->at += len;
        return UQM_OK;
    default: return damaged(r, "an unknown wire type", err);
    }
}

static int check_wire(const struct field *f, unsigned wire, const struct reader *r,
                      struct uqm_err *err)
{
    return f->wire == wire ? UQM_OK : damaged(r, "a field of the wrong type", err);
}

static int piece_text(const char **out, struct uqm_arena *arena, uint32_t id,
                      const struct reader *bytes, struct uqm_err *err)
{
    const size_t len = (size_t) (bytes->end - bytes->at);
    if (len == 0 || len > UQM_SPM_MAX_PIECE_BYTES)
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: piece %" PRIu32 ": %zu bytes long", bytes->where,
                        id, len);
    for (size_t i = 0; i < len;) {
        const size_t n = uqm_utf8_len(bytes->at + i, len - i);
        if (n == 0 || bytes->at[i] == 0)
            return uqm_fail(err, UQM_ERR_FORMAT, "%s: piece %" PRIu32 ": not UTF-8 text",
                            bytes->where, id);
        i += n;
    }
    *out = uqm_arena_strndup(arena, (const char *) bytes->at, len);
    return *out ? UQM_OK : uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", bytes->where);
}

static int parse_byte_piece(struct uqm_spm_piece *p, uint32_t id, const char *where,
                            struct uqm_err *err)
{
    for (unsigned b = 0; b < 256; b++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", b);
        if (strcmp(name, p->text) == 0) {
            p->byte = (uint8_t) b;
            return UQM_OK;
        }
    }
    return uqm_fail(err, UQM_ERR_FORMAT, "%s: piece %" PRIu32 ": a byte piece not spelled <0xNN>",
                    where, id);
}

static int parse_piece(struct uqm_spm_piece *out, struct uqm_arena *arena, uint32_t id,
                       struct reader r, struct uqm_err *err)
{
    struct uqm_spm_piece p = { .type = UQM_SPM_NORMAL };

    while (r.at < r.end) {
        struct field f;
        int ret = read_field(&f, &r, err);
        if (ret == UQM_OK && f.number <= 3)
            ret = check_wire(&f, (const unsigned[]){ 0, 2, 5, 0 }[f.number], &r, err);
        if (ret == UQM_OK && f.number == 1)
            ret = piece_text(&p.text, arena, id, &f.inside, err);
        if (ret < 0)
            return ret;
        if (f.number == 2)
            p.score = uqm_f32_of_bits((uint32_t) f.value);
        if (f.number == 3) {
            if (f.value < UQM_SPM_NORMAL || f.value > UQM_SPM_BYTE)
                return uqm_fail(err, UQM_ERR_FORMAT, "%s: piece %" PRIu32 ": unknown type %" PRIu64,
                                r.where, id, f.value);
            p.type = (uint8_t) f.value;
        }
    }
    if (!p.text)
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: piece %" PRIu32 ": no text", r.where, id);
    if (!isfinite(p.score))
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: piece %" PRIu32 ": the score is not finite",
                        r.where, id);
    *out = p;
    return p.type == UQM_SPM_BYTE ? parse_byte_piece(out, id, r.where, err) : UQM_OK;
}

/* A setting's value; other fields of the message are none of ours. */
static int parse_trainer(struct uqm_spm_model *m, struct reader r, struct uqm_err *err)
{
    while (r.at < r.end) {
        struct field f;
        int ret = read_field(&f, &r, err);
        if (ret == UQM_OK && (f.number == 3 || f.number == 24 || f.number == 35))
            ret = check_wire(&f, 0, &r, err);
        if (ret < 0)
            return ret;
        switch (f.number) {
        case 3: m->model_type = f.value; break;
        case 24: m->whitespace_as_suffix = f.value != 0; break;
        case 35: m->byte_fallback = f.value != 0; break;
        default: break;
        }
    }
    return UQM_OK;
}

static int parse_normalizer(struct uqm_spm_model *m, struct reader r, struct uqm_err *err)
{
    while (r.at < r.end) {
        struct field f;
        int ret = read_field(&f, &r, err);
        if (ret == UQM_OK && f.number >= 2 && f.number <= 5)
            ret = check_wire(&f, f.number == 2 ? 2 : 0, &r, err);
        if (ret < 0)
            return ret;
        switch (f.number) {
        case 2: m->charsmap_bytes = (size_t) (f.inside.end - f.inside.at); break;
        case 3: m->dummy_prefix = f.value != 0; break;
        case 4: m->remove_extra_whitespace = f.value != 0; break;
        case 5: m->escape_whitespace = f.value != 0; break;
        default: break;
        }
    }
    return UQM_OK;
}

/* The number of pieces, so that they are allocated once; checks the outermost level. */
static int count_pieces(uint32_t *out, struct reader r, struct uqm_err *err)
{
    *out = 0;
    while (r.at < r.end) {
        struct field f;
        int ret = read_field(&f, &r, err);
        if (ret == UQM_OK && f.number <= 3)
            ret = check_wire(&f, 2, &r, err);
        if (ret < 0)
            return ret;
        if (f.number == 1 && ++*out > UQM_SPM_MAX_PIECES)
            return uqm_fail(err, UQM_ERR_UNSUPPORTED, "%s: more than %d pieces", r.where,
                            UQM_SPM_MAX_PIECES);
    }
    return *out ? UQM_OK : damaged(&r, "it has no pieces", err);
}

static int parse_message(struct uqm_spm_model *m, struct reader r, struct uqm_err *err)
{
    uint32_t n_pieces;
    int ret = count_pieces(&n_pieces, r, err);
    if (ret < 0)
        return ret;
    m->pieces = uqm_arena_alloc(&m->arena, n_pieces, sizeof *m->pieces);
    if (!m->pieces)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for the pieces", r.where);

    while (ret == UQM_OK && r.at < r.end) {
        struct field f;
        ret = read_field(&f, &r, err);
        if (ret < 0)
            return ret;
        if (f.number == 1) {
            ret = parse_piece(&m->pieces[m->n_pieces], &m->arena, m->n_pieces, f.inside, err);
            m->n_pieces++;
        } else if (f.number == 2) {
            ret = parse_trainer(m, f.inside, err);
        } else if (f.number == 3) {
            ret = parse_normalizer(m, f.inside, err);
        }
    }
    return ret;
}

/* The settings of LLaMA's tokenizer are the only ones we know the ids of. */
static int check_settings(const struct uqm_spm_model *m, const char *where, struct uqm_err *err)
{
    static const char *const kinds[] = { "no", "unigram", "BPE", "word", "character" };
    const char *odd = NULL;

    if (m->model_type != 2)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED, "%s: a %s model; only BPE is supported", where,
                        m->model_type < 5 ? kinds[m->model_type] : "sentencepiece of another kind");
    if (m->charsmap_bytes)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                        "%s: a normalizer with a character map of %zu bytes; only identity is "
                        "supported",
                        where, m->charsmap_bytes);
    if (m->whitespace_as_suffix)
        odd = "treat_whitespace_as_suffix is on";
    else if (!m->byte_fallback)
        odd = "byte_fallback is off";
    else if (!m->dummy_prefix)
        odd = "add_dummy_prefix is off";
    else if (m->remove_extra_whitespace)
        odd = "remove_extra_whitespaces is on";
    else if (!m->escape_whitespace)
        odd = "escape_whitespaces is off";
    if (odd)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED, "%s: %s; that is not LLaMA's tokenizer", where,
                        odd);
    return UQM_OK;
}

static int check_pieces(const struct uqm_spm_model *m, const char *where, struct uqm_err *err)
{
    static const uint8_t first[3] = { UQM_SPM_UNKNOWN, UQM_SPM_CONTROL, UQM_SPM_CONTROL };
    static const char *const names[3] = { "<unk>", "<s>", "</s>" };
    bool seen[256] = { false };

    for (uint32_t i = 0; i < 3; i++)
        if (i >= m->n_pieces || m->pieces[i].type != first[i] ||
            strcmp(m->pieces[i].text, names[i]) != 0)
            return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                            "%s: piece %" PRIu32 " is not %s; that is not LLaMA's tokenizer", where,
                            i, names[i]);
    for (uint32_t i = 3; i < m->n_pieces; i++) {
        const struct uqm_spm_piece *p = &m->pieces[i];
        if (p->type == UQM_SPM_UNKNOWN)
            return uqm_fail(err, UQM_ERR_FORMAT, "%s: piece %" PRIu32 ": a second unknown piece",
                            where, i);
        if (p->type != UQM_SPM_BYTE)
            continue;
        if (seen[p->byte])
            return uqm_fail(err, UQM_ERR_FORMAT, "%s: piece %" PRIu32 ": %s a second time", where,
                            i, p->text);
        seen[p->byte] = true;
    }
    for (unsigned b = 0; b < 256; b++)
        if (!seen[b])
            return uqm_fail(err, UQM_ERR_FORMAT, "%s: no piece <0x%02X>", where, b);
    return UQM_OK;
}

int uqm_spm_model_parse(struct uqm_spm_model *out, const uint8_t *data, size_t len,
                        const char *where, struct uqm_err *err)
{
    const struct reader whole = { data, data + len, where };
    /* The defaults of the format, for what a file leaves out. */
    *out = (struct uqm_spm_model){
        .model_type = 1,
        .dummy_prefix = true,
        .remove_extra_whitespace = true,
        .escape_whitespace = true,
    };
    int ret = parse_message(out, whole, err);
    if (ret == UQM_OK)
        ret = check_settings(out, where, err);
    if (ret == UQM_OK)
        ret = check_pieces(out, where, err);
    if (ret < 0)
        uqm_spm_model_finish(out);
    return ret;
}

void uqm_spm_model_finish(struct uqm_spm_model *model)
{
    uqm_arena_finish(&model->arena);
    *model = (struct uqm_spm_model){ 0 };
}
