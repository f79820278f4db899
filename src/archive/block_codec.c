/* The parameter that forces literals to be packed is experimental in zstd's interface; what it
 * makes is plain zstd. */
#define ZSTD_STATIC_LINKING_ONLY
#include "src/archive/block_codec.h"

#include <stdlib.h>
#include <zstd.h>

#include "src/archive/planes.h"
#include "src/base/env.h"

enum { PLAIN_LEVEL = 3, PLANE_ALIGN = 64 };

struct uqm_block_codec {
    struct uqm_env *env;
    size_t block_bytes, scratch_bytes;
    uint8_t *scratch; /* planes; a block of bytes that is XORed with its base */
    ZSTD_CCtx *plane_packer, *byte_packer;
    ZSTD_DCtx *unpacker;
};

int uqm_block_codec_create(struct uqm_block_codec **out, struct uqm_env *env, size_t block_bytes,
                           struct uqm_err *err)
{
    void *scratch = NULL;
    struct uqm_block_codec *c = calloc(1, sizeof *c);
    if (!c)
        return uqm_fail(err, UQM_ERR_NOMEM, "the archive's blocks: no memory");
    c->env = env;
    c->block_bytes = block_bytes;
    c->scratch_bytes = 2 * block_bytes; /* XORed bytes, then their planes */
    int ret =
        uqm_budget_alloc(&scratch, env, c->scratch_bytes, PLANE_ALIGN, "an archive's block", err);
    c->scratch = scratch;
    if (ret < 0)
        uqm_block_codec_destroy(&c);
    else
        *out = c;
    return ret;
}

void uqm_block_codec_destroy(struct uqm_block_codec **codec)
{
    struct uqm_block_codec *c = *codec;
    if (!c)
        return;
    void *scratch = c->scratch;
    uqm_budget_free(&scratch, c->env, c->scratch_bytes);
    ZSTD_freeCCtx(c->plane_packer);
    ZSTD_freeCCtx(c->byte_packer);
    ZSTD_freeDCtx(c->unpacker);
    free(c);
    *codec = NULL;
}

static bool set(ZSTD_CCtx *ctx, ZSTD_cParameter parameter, int value)
{
    return !ZSTD_isError(ZSTD_CCtx_setParameter(ctx, parameter, value));
}

/*
 * Searching for matches hurts a plane of exponents: it finds accidental ones, which cost more than
 * the entropy code of the bytes. So the search is the shallowest there is, with literals packed all
 * the same.
 */
static bool make_packers(struct uqm_block_codec *c)
{
    if (c->plane_packer && c->byte_packer)
        return true;
    c->plane_packer = c->plane_packer ? c->plane_packer : ZSTD_createCCtx();
    c->byte_packer = c->byte_packer ? c->byte_packer : ZSTD_createCCtx();
    ZSTD_CCtx *p = c->plane_packer, *b = c->byte_packer;
    return p && b && set(p, ZSTD_c_strategy, ZSTD_fast) && set(p, ZSTD_c_minMatch, 7) &&
           set(p, ZSTD_c_hashLog, 6) && set(p, ZSTD_c_targetLength, 4096) &&
           set(p, ZSTD_c_literalCompressionMode, ZSTD_ps_enable) &&
           set(b, ZSTD_c_compressionLevel, PLAIN_LEVEL);
}

/* One plane to `stored`: a frame where that is smaller. */
static struct uqm_archive_plane pack_plane(ZSTD_CCtx *packer, uint8_t *stored, const uint8_t *plane,
                                           size_t n)
{
    size_t packed = n > 1 ? ZSTD_compress2(packer, stored, n - 1, plane, n) : (size_t) -1;
    if (!ZSTD_isError(packed) && n > 1)
        return (struct uqm_archive_plane){ (uint32_t) packed, true };
    memcpy(stored, plane, n);
    return (struct uqm_archive_plane){ (uint32_t) n, false };
}

static uint8_t *planes_of(const struct uqm_block_codec *c, uint8_t *planes[UQM_ARCHIVE_MAX_PLANES],
                          enum uqm_archive_words words, size_t n)
{
    uint8_t *first = c->scratch + c->block_bytes;
    for (unsigned p = 0; p < words; p++)
        planes[p] = first + p * (n / words);
    return first;
}

int uqm_block_encode(struct uqm_block_codec *codec, struct uqm_archive_block *block,
                     uint8_t *stored, enum uqm_archive_words words, const uint8_t *plain, size_t n,
                     const uint8_t *base, struct uqm_err *err)
{
    uint8_t *planes[UQM_ARCHIVE_MAX_PLANES];
    size_t at = 0, plane_bytes = n / words;
    assert(n > 0 && n <= codec->block_bytes && n % words == 0);
    if (!make_packers(codec))
        return uqm_fail(err, UQM_ERR_NOMEM, "the archive's blocks: no memory to pack them");
    *block = (struct uqm_archive_block){ .plain_xxh3 = uqm_xxh3_64(plain, n, 0) };
    if (base) {
        uqm_planes_xor(codec->scratch, plain, base, n);
        plain = codec->scratch;
    }
    planes_of(codec, planes, words, n);
    if (words == UQM_ARCHIVE_WORDS16)
        uqm_planes_split16(planes, plain, plane_bytes);
    else if (words == UQM_ARCHIVE_WORDS32)
        uqm_planes_split32(planes, plain, plane_bytes);
    for (unsigned p = 0; p < words; p++) {
        const uint8_t *bytes = words == UQM_ARCHIVE_BYTES ? plain : planes[p];
        if (p > 0 && !uqm_planes_look_packable(bytes, plane_bytes)) {
            memcpy(stored + at, bytes, plane_bytes);
            block->planes[p] = (struct uqm_archive_plane){ (uint32_t) plane_bytes, false };
        } else {
            ZSTD_CCtx *packer =
                words == UQM_ARCHIVE_BYTES ? codec->byte_packer : codec->plane_packer;
            block->planes[p] = pack_plane(packer, stored + at, bytes, plane_bytes);
        }
        at += block->planes[p].stored_bytes;
    }
    block->stored_bytes = (uint32_t) at;
    block->stored_xxh3 = uqm_xxh3_64(stored, at, 0);
    return UQM_OK;
}

/* Lengths are the index's: what the frame says of itself must agree. */
static int unpack_plane(struct uqm_block_codec *c, uint8_t *out, size_t n,
                        const struct uqm_archive_plane *plane, const uint8_t *stored,
                        struct uqm_err *err)
{
    if (ZSTD_getFrameContentSize(stored, plane->stored_bytes) != n ||
        ZSTD_decompressDCtx(c->unpacker, out, n, stored, plane->stored_bytes) != n)
        return uqm_fail(err, UQM_ERR_FORMAT, "damaged: a frame does not unpack");
    return UQM_OK;
}

/* The planes where they lie, or unpacked in the scratch; bytes go straight to `plain`. */
static int unpack_planes(struct uqm_block_codec *c, const uint8_t *planes[UQM_ARCHIVE_MAX_PLANES],
                         uint8_t *plain, size_t n, enum uqm_archive_words words,
                         const struct uqm_archive_block *block, const uint8_t *stored,
                         struct uqm_err *err)
{
    uint8_t *unpacked[UQM_ARCHIVE_MAX_PLANES];
    int ret = UQM_OK;
    planes_of(c, unpacked, words, n);
    for (unsigned p = 0; p < words && ret == UQM_OK; p++) {
        const struct uqm_archive_plane *plane = &block->planes[p];
        uint8_t *to = words == UQM_ARCHIVE_BYTES ? plain : unpacked[p];
        planes[p] = plane->packed ? to : stored;
        if (plane->packed)
            ret = unpack_plane(c, to, n / words, plane, stored, err);
        stored += plane->stored_bytes;
    }
    return ret;
}

int uqm_block_decode(struct uqm_block_codec *codec, uint8_t *plain, size_t n,
                     enum uqm_archive_words words, const struct uqm_archive_block *block,
                     const uint8_t *stored, const uint8_t *base, struct uqm_err *err)
{
    const uint8_t *planes[UQM_ARCHIVE_MAX_PLANES];
    assert(n > 0 && n <= codec->block_bytes && n % words == 0);
    if (!codec->unpacker && !(codec->unpacker = ZSTD_createDCtx()))
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory to unpack it");
    int ret = unpack_planes(codec, planes, plain, n, words, block, stored, err);
    if (ret < 0)
        return ret;
    if (words == UQM_ARCHIVE_WORDS16)
        uqm_planes_join16(plain, planes, n / words);
    else if (words == UQM_ARCHIVE_WORDS32)
        uqm_planes_join32(plain, planes, n / words);
    else if (planes[0] != plain)
        memcpy(plain, planes[0], n);
    if (base)
        uqm_planes_xor(plain, plain, base, n);
    if (uqm_xxh3_64(plain, n, 0) != block->plain_xxh3)
        return uqm_fail(err, UQM_ERR_FORMAT,
                        base ? "damaged, or the base is not the one it was packed from: its "
                               "checksum differs"
                             : "damaged: its checksum differs");
    return UQM_OK;
}

uint8_t *uqm_frame_pack(size_t *stored_bytes, bool *packed, const uint8_t *bytes, size_t n)
{
    uint8_t *out = malloc(n + 1);
    if (!out)
        return NULL;
    size_t len = n > 1 ? ZSTD_compress(out, n - 1, bytes, n, PLAIN_LEVEL) : 0;
    *packed = n > 1 && !ZSTD_isError(len);
    if (!*packed)
        memcpy(out, bytes, n);
    *stored_bytes = *packed ? len : n;
    return out;
}

bool uqm_frame_unpack(uint8_t *out, size_t n, const uint8_t *frame, size_t frame_bytes)
{
    return ZSTD_getFrameContentSize(frame, frame_bytes) == n &&
           ZSTD_decompress(out, n, frame, frame_bytes) == n;
}
