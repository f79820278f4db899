#include "src/uq/augmix.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "src/uq/augmix_ops.h"

enum { N_BINS = 3 };

/* Severity 3: the first three of ten steps from nothing to the most. */
static const struct op_info {
    const char *name;
    double bins[N_BINS];
    bool has_magnitude, is_signed;
} ops[UQM_AUGMIX_N_OPS] = {
    [UQM_AUGMIX_SHEAR_X] = { "ShearX",
                             { 0, 0.03333333507180214, 0.06666667014360428 },
                             true,
                             true },
    [UQM_AUGMIX_SHEAR_Y] = { "ShearY",
                             { 0, 0.03333333507180214, 0.06666667014360428 },
                             true,
                             true },
    [UQM_AUGMIX_TRANSLATE_X] = { "TranslateX", { 0 }, true, true }, /* depends on the size */
    [UQM_AUGMIX_TRANSLATE_Y] = { "TranslateY", { 0 }, true, true },
    [UQM_AUGMIX_ROTATE] = { "Rotate", { 0, 3.3333332538604736, 6.666666507720947 }, true, true },
    [UQM_AUGMIX_POSTERIZE] = { "Posterize", { 4, 4, 3 }, true, false },
    [UQM_AUGMIX_SOLARIZE] = { "Solarize",
                              { 1, 0.8888888955116272, 0.7777777910232544 },
                              true,
                              false },
    [UQM_AUGMIX_AUTO_CONTRAST] = { "AutoContrast", { 0 }, false, false },
    [UQM_AUGMIX_EQUALIZE] = { "Equalize", { 0 }, false, false },
    [UQM_AUGMIX_BRIGHTNESS] = { "Brightness",
                                { 0, 0.09999999403953552, 0.19999998807907104 },
                                true,
                                true },
    [UQM_AUGMIX_COLOR] = { "Color", { 0, 0.09999999403953552, 0.19999998807907104 }, true, true },
    [UQM_AUGMIX_CONTRAST] = { "Contrast",
                              { 0, 0.09999999403953552, 0.19999998807907104 },
                              true,
                              true },
    [UQM_AUGMIX_SHARPNESS] = { "Sharpness",
                               { 0, 0.09999999403953552, 0.19999998807907104 },
                               true,
                               true },
};

const char *uqm_augmix_op_name(enum uqm_augmix_op op)
{
    return ops[op].name;
}

/* Where an output pixel comes from. False: the picture stays as it is. */
static bool geometry(double m[6], enum uqm_augmix_op op, double magnitude, double width,
                     double height)
{
    const double degree = 3.14159265358979323846 / 180;
    const double identity[6] = { 1, 0, 0, 0, 1, 0 };

    memcpy(m, identity, sizeof identity);
    switch (op) {
    case UQM_AUGMIX_SHEAR_X:
        m[1] = magnitude;
        m[2] = magnitude * height / 2; /* the top edge stays */
        return magnitude != 0;
    case UQM_AUGMIX_SHEAR_Y:
        m[3] = magnitude;
        m[5] = magnitude * width / 2;
        return magnitude != 0;
    case UQM_AUGMIX_TRANSLATE_X: m[2] = -trunc(magnitude); return m[2] != 0;
    case UQM_AUGMIX_TRANSLATE_Y: m[5] = -trunc(magnitude); return m[5] != 0;
    case UQM_AUGMIX_ROTATE:
        m[0] = m[4] = cos(magnitude * degree);
        m[3] = sin(magnitude * degree);
        m[1] = -m[3];
        return magnitude != 0;
    default: return false;
    }
}

static void copy_pixels(struct uqm_image *out, const struct uqm_image *in)
{
    memcpy(out->rgb, in->rgb, 3 * (size_t) in->width * in->height);
}

void uqm_augmix_op(struct uqm_image *out, const struct uqm_image *in, enum uqm_augmix_op op,
                   double magnitude)
{
    double m[6];
    assert(out->width == in->width && out->height == in->height && out->rgb != in->rgb);

    switch (op) {
    case UQM_AUGMIX_POSTERIZE: uqm_augmix_posterize(out, in, (unsigned) magnitude); return;
    case UQM_AUGMIX_SOLARIZE: uqm_augmix_solarize(out, in, magnitude); return;
    case UQM_AUGMIX_AUTO_CONTRAST: uqm_augmix_auto_contrast(out, in); return;
    case UQM_AUGMIX_EQUALIZE: uqm_augmix_equalize(out, in); return;
    case UQM_AUGMIX_BRIGHTNESS: uqm_augmix_brightness(out, in, 1 + magnitude); return;
    case UQM_AUGMIX_COLOR: uqm_augmix_color(out, in, 1 + magnitude); return;
    case UQM_AUGMIX_CONTRAST: uqm_augmix_contrast(out, in, 1 + magnitude); return;
    case UQM_AUGMIX_SHARPNESS: uqm_augmix_sharpness(out, in, 1 + magnitude); return;
    default: break;
    }
    if (geometry(m, op, magnitude, in->width, in->height))
        uqm_augmix_warp(out, in, m);
    else
        copy_pixels(out, in);
}

/* Dirichlet with all parameters 1: exponentials over their sum. */
static void draw_weights(float *weights, size_t n, struct uqm_rng *rng)
{
    double e[UQM_AUGMIX_WIDTH], sum = 0;
    for (size_t i = 0; i < n; i++) {
        e[i] = uqm_rng_exponential(rng);
        sum += e[i];
    }
    for (size_t i = 0; i < n; i++)
        weights[i] = (float) (sum > 0 ? e[i] / sum : 1.0 / (double) n);
}

static struct uqm_augmix_step draw_step(struct uqm_rng *rng, uint32_t width, uint32_t height)
{
    struct uqm_augmix_step step = { .op =
                                        (enum uqm_augmix_op) uqm_rng_below(rng, UQM_AUGMIX_N_OPS) };
    const struct op_info *info = &ops[step.op];
    if (!info->has_magnitude)
        return step;

    const uint32_t bin = uqm_rng_below(rng, N_BINS);
    const uint32_t side = step.op == UQM_AUGMIX_TRANSLATE_X ? width : height;
    const uint32_t whole_pixels = bin * side / 27; /* a third of the side in nine steps */
    const bool translates = step.op == UQM_AUGMIX_TRANSLATE_X || step.op == UQM_AUGMIX_TRANSLATE_Y;
    step.magnitude = translates ? whole_pixels : info->bins[bin];
    if (info->is_signed && uqm_rng_unit(rng) <= 0.5)
        step.magnitude = -step.magnitude;
    return step;
}

void uqm_augmix_draw(struct uqm_augmix_plan *plan, struct uqm_rng *rng, uint32_t width,
                     uint32_t height)
{
    float m[2];
    draw_weights(m, 2, rng);
    draw_weights(plan->chain_weights, UQM_AUGMIX_WIDTH, rng);
    plan->original_weight = m[0];
    for (size_t i = 0; i < UQM_AUGMIX_WIDTH; i++)
        plan->chain_weights[i] *= m[1];

    for (size_t i = 0; i < UQM_AUGMIX_WIDTH; i++) {
        plan->depths[i] = 1 + uqm_rng_below(rng, UQM_AUGMIX_MAX_DEPTH);
        for (size_t k = 0; k < plan->depths[i]; k++)
            plan->steps[i][k] = draw_step(rng, width, height);
    }
}

/* Each chain starts from the original; *chain and *spare change places at every step. */
static void run_chain(struct uqm_image *chain, struct uqm_image *spare, const struct uqm_image *in,
                      const struct uqm_augmix_step *steps, size_t n_steps)
{
    const struct uqm_image *from = in;
    for (size_t k = 0; k < n_steps; k++) {
        uqm_augmix_op(spare, from, steps[k].op, steps[k].magnitude);
        const struct uqm_image done = *spare;
        *spare = *chain;
        *chain = done;
        from = chain;
    }
}

/* Multiply, round, add, round, chain by chain; the fraction is dropped at the end. */
static void mix(struct uqm_image *out, const struct uqm_image *in,
                const struct uqm_image chains[UQM_AUGMIX_WIDTH], const struct uqm_augmix_plan *plan)
{
    const size_t n = 3 * (size_t) in->width * in->height;
    const float *w = plan->chain_weights;
    for (size_t i = 0; i < n; i++) {
        float v = plan->original_weight * (float) in->rgb[i];
        for (size_t k = 0; k < UQM_AUGMIX_WIDTH; k++)
            v += w[k] * (float) chains[k].rgb[i];
        out->rgb[i] = (uint8_t) (v > 255 ? 255 : v);
    }
}

int uqm_augmix_apply(struct uqm_image *out, const struct uqm_image *in,
                     const struct uqm_augmix_plan *plan, struct uqm_err *err)
{
    struct uqm_image chains[UQM_AUGMIX_WIDTH] = { 0 }, spare = { 0 };
    int ret = uqm_image_init(&spare, in->width, in->height, err);

    for (size_t i = 0; ret == UQM_OK && i < UQM_AUGMIX_WIDTH; i++)
        ret = uqm_image_init(&chains[i], in->width, in->height, err);
    for (size_t i = 0; ret == UQM_OK && i < UQM_AUGMIX_WIDTH; i++)
        run_chain(&chains[i], &spare, in, plan->steps[i], plan->depths[i]);
    if (ret == UQM_OK) {
        mix(&spare, in, chains, plan);
        *out = spare;
        spare = (struct uqm_image){ 0 };
    }
    for (size_t i = 0; i < UQM_AUGMIX_WIDTH; i++)
        uqm_image_finish(&chains[i]);
    uqm_image_finish(&spare);
    return ret;
}

int uqm_augmix(struct uqm_image *out, const struct uqm_image *in, struct uqm_rng *rng,
               struct uqm_err *err)
{
    struct uqm_augmix_plan plan;
    uqm_augmix_draw(&plan, rng, in->width, in->height);
    return uqm_augmix_apply(out, in, &plan, err);
}
