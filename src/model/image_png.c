#include <spng.h>
#include <stdlib.h>

#include "src/model/image_codec.h"

/* Text, profiles and the like, each and together, unpacked. */
enum { MAX_CHUNK_BYTES = 64 << 20 };

static int fail_png(struct uqm_err *err, const struct uqm_image_file *file, int code)
{
    return uqm_fail(err, code == SPNG_EMEM ? UQM_ERR_NOMEM : UQM_ERR_FORMAT, "%s: PNG: %s",
                    file->where, spng_strerror(code));
}

static int decode_pixels(struct uqm_image *image, spng_ctx *ctx, const struct uqm_image_file *file,
                         struct uqm_err *err)
{
    const size_t row_bytes = 3 * (size_t) image->width, n_bytes = row_bytes * image->height;
    uint8_t *rgb = malloc(n_bytes);
    if (!rgb)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for %zu bytes of pixels", file->where,
                        n_bytes);

    /* RGB8 replicates grey, looks the palette up, keeps the upper byte of 16 bits, drops alpha. */
    const int code = spng_decode_image(ctx, rgb, n_bytes, SPNG_FMT_RGB8, 0);
    for (uint32_t y = 0; !code && y < image->height; y++)
        uqm_image_put_row(image, y, rgb + y * row_bytes);
    free(rgb);
    return code ? fail_png(err, file, code) : UQM_OK;
}

static int decode(struct uqm_image *image, spng_ctx *ctx, const struct uqm_image_file *file,
                  struct uqm_err *err)
{
    struct spng_ihdr ihdr;
    int code = spng_set_image_limits(ctx, UQM_IMAGE_MAX_SIDE, UQM_IMAGE_MAX_SIDE);
    if (!code)
        code = spng_set_chunk_limits(ctx, MAX_CHUNK_BYTES, MAX_CHUNK_BYTES);
    if (!code)
        code = spng_set_png_buffer(ctx, file->data, file->len);
    if (!code)
        code = spng_get_ihdr(ctx, &ihdr);
    if (code)
        return fail_png(err, file, code);

    int ret = uqm_image_check_size(ihdr.width, ihdr.height, file, err);
    if (ret < 0)
        return ret;
    ret = uqm_image_init(image, ihdr.width, ihdr.height, err);
    if (ret < 0)
        return ret;
    return decode_pixels(image, ctx, file, err);
}

int uqm_image_decode_png(struct uqm_image *out, const struct uqm_image_file *file,
                         struct uqm_err *err)
{
    struct uqm_image image = { 0 };
    spng_ctx *ctx = spng_ctx_new(0);
    if (!ctx)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for the PNG decoder", file->where);

    const int ret = decode(&image, ctx, file, err);
    spng_ctx_free(ctx);
    if (ret < 0)
        uqm_image_finish(&image);
    else
        *out = image;
    return ret;
}
