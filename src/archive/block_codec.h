/*
 * One block of an archive (format/archive_index.h): bytes of a file to what is stored of them, and
 * back. Blocks are independent: what is stored depends on the block's bytes, their kind and the
 * base's bytes alone.
 */
#ifndef UQM_ARCHIVE_BLOCK_CODEC_H
#define UQM_ARCHIVE_BLOCK_CODEC_H

#include "src/format/archive_index.h"

/* Scratch for one thread and blocks of up to so many bytes. */
struct uqm_block_codec;

struct uqm_env;
/* block_bytes and a little, from the budget. */
int uqm_block_codec_create(struct uqm_block_codec **out, struct uqm_env *env, size_t block_bytes,
                           struct uqm_err *err);
void uqm_block_codec_destroy(struct uqm_block_codec **codec);

/*
 * n bytes, a whole number of words, to `stored`, which has room for n. base: n bytes that they are
 * XORed with, or NULL. Fills in all of *block but stored_off. UQM_ERR_NOMEM.
 */
int uqm_block_encode(struct uqm_block_codec *codec, struct uqm_archive_block *block,
                     uint8_t *stored, enum uqm_archive_words words, const uint8_t *plain, size_t n,
                     const uint8_t *base, struct uqm_err *err);

/*
 * block->stored_bytes back to n bytes. UQM_ERR_FORMAT when they are not what was packed: `plain`
 * then holds anything. The message lacks file and place ("damaged: ...").
 */
int uqm_block_decode(struct uqm_block_codec *codec, uint8_t *plain, size_t n,
                     enum uqm_archive_words words, const struct uqm_archive_block *block,
                     const uint8_t *stored, const uint8_t *base, struct uqm_err *err);

/* Bytes that are no block's, the index: one frame. malloc'ed; *packed false: it did not shrink, and
 * *out is a copy. NULL: no memory. */
uint8_t *uqm_frame_pack(size_t *stored_bytes, bool *packed, const uint8_t *bytes, size_t n);
/* Exactly n bytes from a frame. false: it does not hold them. */
bool uqm_frame_unpack(uint8_t *out, size_t n, const uint8_t *frame, size_t frame_bytes);

#endif
