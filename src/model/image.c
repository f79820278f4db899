#include "src/model/image.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/fs.h"
#include "src/model/image_codec.h"

enum { MAX_FILE_BYTES = 256 << 20 };

int uqm_image_init(struct uqm_image *out, uint32_t width, uint32_t height, struct uqm_err *err)
{
    if (width == 0 || height == 0 || width > UQM_IMAGE_MAX_SIDE || height > UQM_IMAGE_MAX_SIDE)
        return uqm_fail(err, UQM_ERR_ARG, "a picture of %" PRIu32 " x %" PRIu32 " pixels", width,
                        height);

    const size_t n_bytes = 3 * (size_t) width * height;
    uint8_t *rgb = malloc(n_bytes);
    if (!rgb)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for a picture of %zu bytes", n_bytes);
    *out = (struct uqm_image){ .width = width, .height = height, .rgb = rgb };
    return UQM_OK;
}

void uqm_image_finish(struct uqm_image *image)
{
    if (!image)
        return;
    free(image->rgb);
    *image = (struct uqm_image){ 0 };
}

int uqm_image_check_size(uint64_t width, uint64_t height, const struct uqm_image_file *file,
                         struct uqm_err *err)
{
    if (width == 0 || height == 0)
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: an empty picture", file->where);
    if (width > UQM_IMAGE_MAX_SIDE || height > UQM_IMAGE_MAX_SIDE)
        return uqm_fail(err, UQM_ERR_FORMAT,
                        "%s: %" PRIu64 " x %" PRIu64 " pixels; a side may have %d", file->where,
                        width, height, UQM_IMAGE_MAX_SIDE);
    if (width * height > file->max_pixels) {
        int ret = uqm_fail(err, UQM_ERR_FORMAT,
                           "%s: %" PRIu64 " x %" PRIu64 " pixels; the limit is %" PRIu64,
                           file->where, width, height, file->max_pixels);
        if (err)
            err->sys_errno = EFBIG;
        return ret;
    }
    return UQM_OK;
}

void uqm_image_put_row(struct uqm_image *image, uint32_t y, const uint8_t *rgb)
{
    const size_t width = image->width, plane = width * image->height;
    uint8_t *r = image->rgb + (size_t) y * width, *g = r + plane, *b = g + plane;

    for (size_t x = 0; x < width; x++) {
        r[x] = rgb[3 * x];
        g[x] = rgb[3 * x + 1];
        b[x] = rgb[3 * x + 2];
    }
}

int uqm_image_decode(struct uqm_image *out, const uint8_t *data, size_t len, const char *where,
                     uint64_t max_pixels, struct uqm_err *err)
{
    static const uint8_t png[8] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n' };
    static const uint8_t jpeg[3] = { 0xff, 0xd8, 0xff };
    const struct uqm_image_file file = { data, len, where, max_pixels };

    if (len >= sizeof jpeg && !memcmp(data, jpeg, sizeof jpeg))
        return uqm_image_decode_jpeg(out, &file, err);
    if (len >= sizeof png && !memcmp(data, png, sizeof png))
        return uqm_image_decode_png(out, &file, err);
    if (len >= 12 && !memcmp(data, "RIFF", 4) && !memcmp(data + 8, "WEBP", 4))
        return uqm_image_decode_webp(out, &file, err);
    return uqm_fail(err, UQM_ERR_FORMAT, "%s: not a JPEG, PNG or WebP picture", where);
}

int uqm_image_load(struct uqm_image *out, const char *path, uint64_t max_pixels,
                   struct uqm_err *err)
{
    char *data;
    size_t len;
    int ret = uqm_read_file(&data, &len, path, MAX_FILE_BYTES, err);
    if (ret < 0)
        return ret;
    ret = uqm_image_decode(out, (const uint8_t *) data, len, path, max_pixels, err);
    free(data);
    return ret;
}
