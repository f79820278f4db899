#include <stdlib.h>
#include <webp/decode.h>

#include "src/model/image_codec.h"

static int fail_webp(struct uqm_err *err, const struct uqm_image_file *file, VP8StatusCode code)
{
    static const char *const reasons[] = {
        [VP8_STATUS_OK] = "no picture",
        [VP8_STATUS_OUT_OF_MEMORY] = "no memory",
        [VP8_STATUS_INVALID_PARAM] = "invalid parameter",
        [VP8_STATUS_BITSTREAM_ERROR] = "damaged data",
        [VP8_STATUS_UNSUPPORTED_FEATURE] = "an unsupported feature",
        [VP8_STATUS_SUSPENDED] = "the file is cut",
        [VP8_STATUS_USER_ABORT] = "interrupted",
        [VP8_STATUS_NOT_ENOUGH_DATA] = "the file is cut",
    };
    const size_t n_reasons = sizeof reasons / sizeof *reasons;
    enum uqm_status status = UQM_ERR_FORMAT;
    if (code == VP8_STATUS_OUT_OF_MEMORY)
        status = UQM_ERR_NOMEM;
    if (code == VP8_STATUS_UNSUPPORTED_FEATURE)
        status = UQM_ERR_UNSUPPORTED;
    return uqm_fail(err, status, "%s: WebP: %s", file->where,
                    (size_t) code < n_reasons ? reasons[code] : "cannot be decoded");
}

/* libwebp reads on happily when the outer size reaches past the file. */
static bool is_cut(const struct uqm_image_file *file)
{
    const uint8_t *p = file->data + 4;
    const uint32_t riff_bytes =
        p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16 | (uint32_t) p[3] << 24;
    return riff_bytes > file->len - 8;
}

static int decode_pixels(struct uqm_image *image, const struct uqm_image_file *file,
                         struct uqm_err *err)
{
    const size_t row_bytes = 3 * (size_t) image->width, n_bytes = row_bytes * image->height;
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config))
        return uqm_fail(err, UQM_ERR_UNSUPPORTED, "%s: WebP: the library does not match its header",
                        file->where);
    uint8_t *rgb = malloc(n_bytes);
    if (!rgb)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for %zu bytes of pixels", file->where,
                        n_bytes);

    config.output.colorspace = MODE_RGB; /* alpha is dropped, nothing composited */
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = rgb;
    config.output.u.RGBA.stride = (int) row_bytes;
    config.output.u.RGBA.size = n_bytes;
    const VP8StatusCode code = WebPDecode(file->data, file->len, &config);
    for (uint32_t y = 0; code == VP8_STATUS_OK && y < image->height; y++)
        uqm_image_put_row(image, y, rgb + y * row_bytes);
    WebPFreeDecBuffer(&config.output);
    free(rgb);
    return code == VP8_STATUS_OK ? UQM_OK : fail_webp(err, file, code);
}

int uqm_image_decode_webp(struct uqm_image *out, const struct uqm_image_file *file,
                          struct uqm_err *err)
{
    WebPBitstreamFeatures features;

    if (is_cut(file))
        return fail_webp(err, file, VP8_STATUS_SUSPENDED);
    const VP8StatusCode code = WebPGetFeatures(file->data, file->len, &features);
    if (code != VP8_STATUS_OK)
        return fail_webp(err, file, code);
    if (features.has_animation)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED, "%s: WebP: an animation, not a picture",
                        file->where);
    int ret =
        uqm_image_check_size((uint64_t) features.width, (uint64_t) features.height, file, err);
    if (ret < 0)
        return ret;

    struct uqm_image image;
    ret = uqm_image_init(&image, (uint32_t) features.width, (uint32_t) features.height, err);
    if (ret < 0)
        return ret;
    ret = decode_pixels(&image, file, err);
    if (ret < 0)
        uqm_image_finish(&image);
    else
        *out = image;
    return ret;
}
