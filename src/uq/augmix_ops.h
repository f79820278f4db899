/* The groups of AugMix operations. Internal: augmix.h has the one way in. */
#ifndef UQM_UQ_AUGMIX_OPS_H
#define UQM_UQ_AUGMIX_OPS_H

#include "src/model/image.h"

/*
 * The recipe asks for fused multiply-adds. A loop over pixels is written once, as an inline body,
 * and compiled twice: for any CPU (there fmaf is the library's, right but slow) and for those with
 * FMA.
 */
#if defined(__x86_64__)
#define UQM_WITH_FMA __attribute__((target("avx2,fma")))
#else
#define UQM_WITH_FMA
#endif
#define UQM_BODY static inline __attribute__((always_inline))

/* Resample through a map of the output's pixel centres, relative to the picture's centre:
 * source = (m[0] x + m[1] y + m[2], m[3] x + m[4] y + m[5]). */
void uqm_augmix_warp(struct uqm_image *out, const struct uqm_image *in, const double m[6]);

void uqm_augmix_posterize(struct uqm_image *out, const struct uqm_image *in, unsigned bits);
void uqm_augmix_solarize(struct uqm_image *out, const struct uqm_image *in, double threshold);
void uqm_augmix_auto_contrast(struct uqm_image *out, const struct uqm_image *in);
void uqm_augmix_equalize(struct uqm_image *out, const struct uqm_image *in);
/* factor 1 changes nothing. */
void uqm_augmix_brightness(struct uqm_image *out, const struct uqm_image *in, double factor);
void uqm_augmix_color(struct uqm_image *out, const struct uqm_image *in, double factor);
void uqm_augmix_contrast(struct uqm_image *out, const struct uqm_image *in, double factor);
void uqm_augmix_sharpness(struct uqm_image *out, const struct uqm_image *in, double factor);

#endif
