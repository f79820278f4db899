/* A picture to the tensor the vision tower takes (spec uq.md 4.1). */
#ifndef UQM_MODEL_PREPROCESS_H
#define UQM_MODEL_PREPROCESS_H

#include "src/format/model_config.h"
#include "src/model/image.h"

/*
 * Pad to a square (or resize the shorter side), Pillow's bicubic on 8 bits (bit-exact), centre
 * crop: *out is side x side. The caller finishes it.
 */
int uqm_preprocess_resize(struct uqm_image *out, const struct uqm_image *image,
                          const struct uqm_preprocess_config *config, struct uqm_err *err);

/*
 * pixels (3, side, side) = (v * rescale - mean) / std, the constants and each step rounded to
 * float; the resize included.
 */
int uqm_preprocess(float *pixels, const struct uqm_image *image,
                   const struct uqm_preprocess_config *config, struct uqm_err *err);

#endif
