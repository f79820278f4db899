/*
 * What a tokenizer.model file says (spec formats.md 4): the pieces, and the few settings that
 * change how text is cut. Read before the bytes reach the sentencepiece library, so that hostile
 * or foreign models are refused here, by name. Pure: bytes in, struct out.
 */
#ifndef UQM_MODEL_SPM_PROTO_H
#define UQM_MODEL_SPM_PROTO_H

#include "src/base/arena.h"
#include "src/base/err.h"

enum { UQM_SPM_MAX_PIECES = 1 << 20, UQM_SPM_MAX_PIECE_BYTES = 1024 };

enum uqm_spm_type {
    UQM_SPM_NORMAL = 1,
    UQM_SPM_UNKNOWN = 2,
    UQM_SPM_CONTROL = 3,
    UQM_SPM_USER = 4,
    UQM_SPM_UNUSED = 5,
    UQM_SPM_BYTE = 6,
};

struct uqm_spm_piece {
    const char *text; /* well-formed UTF-8, not empty, NUL-terminated */
    float score;
    uint8_t type; /* enum uqm_spm_type */
    uint8_t byte; /* what a byte piece stands for */
};

struct uqm_spm_model {
    struct uqm_arena arena; /* holds the rest */
    struct uqm_spm_piece *pieces;
    uint32_t n_pieces;
    uint64_t model_type; /* 1 unigram, 2 BPE, 3 word, 4 char */
    bool whitespace_as_suffix, byte_fallback;
    bool dummy_prefix, remove_extra_whitespace, escape_whitespace;
    size_t charsmap_bytes;
};

/*
 * Parse and check: LLaMA's kind of BPE only. `where` opens every message. UQM_ERR_FORMAT: not a
 * sentencepiece model, or a damaged one. UQM_ERR_UNSUPPORTED: another tokenizer. On failure *out is
 * empty.
 */
int uqm_spm_model_parse(struct uqm_spm_model *out, const uint8_t *data, size_t len,
                        const char *where, struct uqm_err *err);
void uqm_spm_model_finish(struct uqm_spm_model *model);

#endif
