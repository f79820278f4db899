/* What image.c shares with the codecs. Internal to the folder. */
#ifndef UQM_MODEL_IMAGE_CODEC_H
#define UQM_MODEL_IMAGE_CODEC_H

#include "src/model/image.h"

/* The bytes of one picture file and what to call it in messages. */
struct uqm_image_file {
    const uint8_t *data;
    size_t len;
    const char *where;
    uint64_t max_pixels;
};

/* Each decodes one kind; *out is untouched on failure. */
int uqm_image_decode_jpeg(struct uqm_image *out, const struct uqm_image_file *file,
                          struct uqm_err *err);
int uqm_image_decode_png(struct uqm_image *out, const struct uqm_image_file *file,
                         struct uqm_err *err);
int uqm_image_decode_webp(struct uqm_image *out, const struct uqm_image_file *file,
                          struct uqm_err *err);

/* The size that a file declares, checked against the limits before anything is allocated. */
int uqm_image_check_size(uint64_t width, uint64_t height, const struct uqm_image_file *file,
                         struct uqm_err *err);

/* One row of interleaved RGB to the three planes. */
void uqm_image_put_row(struct uqm_image *image, uint32_t y, const uint8_t *rgb);

#endif
