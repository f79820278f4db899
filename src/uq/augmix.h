/*
 * AugMix (Hendrycks et al. 2020) as torchvision's v2 transform does it with its defaults: severity
 * 3, three chains of one to three operations, all thirteen operations, bilinear, outside is 0 (spec
 * uq.md 3). Bit-exact: every operation and every mix gives torchvision's bytes. Everything here is
 * a pure function of its arguments and thread-safe.
 */
#ifndef UQM_UQ_AUGMIX_H
#define UQM_UQ_AUGMIX_H

#include "src/base/rng.h"
#include "src/model/image.h"

enum uqm_augmix_op {
    UQM_AUGMIX_SHEAR_X, /* tangent of the angle */
    UQM_AUGMIX_SHEAR_Y,
    UQM_AUGMIX_TRANSLATE_X, /* pixels, truncated toward zero */
    UQM_AUGMIX_TRANSLATE_Y,
    UQM_AUGMIX_ROTATE,    /* degrees, positive is counter-clockwise */
    UQM_AUGMIX_POSTERIZE, /* bits that stay, 0 to 8 */
    UQM_AUGMIX_SOLARIZE,  /* threshold, 1 is level 255 */
    UQM_AUGMIX_AUTO_CONTRAST,
    UQM_AUGMIX_EQUALIZE,
    UQM_AUGMIX_BRIGHTNESS, /* these four: factor less 1 */
    UQM_AUGMIX_COLOR,
    UQM_AUGMIX_CONTRAST,
    UQM_AUGMIX_SHARPNESS,
    UQM_AUGMIX_N_OPS
};

enum { UQM_AUGMIX_WIDTH = 3, UQM_AUGMIX_MAX_DEPTH = 3 };

struct uqm_augmix_step {
    enum uqm_augmix_op op;
    double magnitude; /* signed; 0 for the two operations without one */
};

/* One draw: what happens to one picture. */
struct uqm_augmix_plan {
    float original_weight;
    float chain_weights[UQM_AUGMIX_WIDTH];
    unsigned depths[UQM_AUGMIX_WIDTH]; /* steps of each chain, 1 to 3 */
    struct uqm_augmix_step steps[UQM_AUGMIX_WIDTH][UQM_AUGMIX_MAX_DEPTH];
};

/* "ShearX" */
const char *uqm_augmix_op_name(enum uqm_augmix_op op);

/* One operation. `out` is an initialised picture of the same size as `in`, and another one. */
void uqm_augmix_op(struct uqm_image *out, const struct uqm_image *in, enum uqm_augmix_op op,
                   double magnitude);

/* The draws for a picture of this size, in the order of the spec: a function of the stream. */
void uqm_augmix_draw(struct uqm_augmix_plan *plan, struct uqm_rng *rng, uint32_t width,
                     uint32_t height);

/* Carry a plan out. *out is made here, the caller's to finish; needs 15 bytes a pixel at its peak,
 * `in` included. UQM_ERR_NOMEM. */
int uqm_augmix_apply(struct uqm_image *out, const struct uqm_image *in,
                     const struct uqm_augmix_plan *plan, struct uqm_err *err);

/* Draw and carry out. */
int uqm_augmix(struct uqm_image *out, const struct uqm_image *in, struct uqm_rng *rng,
               struct uqm_err *err);

#endif
