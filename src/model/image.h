/* Pictures: JPEG, PNG and WebP files to 8-bit RGB. */
#ifndef UQM_MODEL_IMAGE_H
#define UQM_MODEL_IMAGE_H

#include "src/base/err.h"

/* Planar (3, height, width), rows without padding. */
struct uqm_image {
    uint32_t width, height;
    uint8_t *rgb;
};

enum { UQM_IMAGE_MAX_SIDE = 32768 };

/*
 * Decode as Pillow's convert("RGB") does: grey replicated, palette looked up, alpha dropped without
 * compositing, 16-bit samples cut to their upper byte, EXIF orientation ignored. The kind is told
 * by the first bytes. UQM_ERR_FORMAT for a damaged or cut file, or more than max_pixels (then with
 * sys_errno EFBIG, so that a caller's limit can be told from a fault of the file).
 */
int uqm_image_load(struct uqm_image *out, const char *path, uint64_t max_pixels,
                   struct uqm_err *err);
int uqm_image_decode(struct uqm_image *out, const uint8_t *data, size_t len, const char *where,
                     uint64_t max_pixels, struct uqm_err *err);
/* An uninitialised picture of this size. */
int uqm_image_init(struct uqm_image *out, uint32_t width, uint32_t height, struct uqm_err *err);
void uqm_image_finish(struct uqm_image *image);

#endif
