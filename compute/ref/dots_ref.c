/* What the faster tiers compute, chain by chain. */
#include <math.h>

#include "compute/tiers.h"
#include "compute/unaligned.h"

typedef float (*fetch_fn)(const void *w, size_t i);

static float fetch_f32(const void *w, size_t i)
{
    return uqm_get_f32(w, i);
}

static float fetch_f16(const void *w, size_t i)
{
    return uqm_f32_of_f16(uqm_get_u16(w, i));
}

static float fetch_bf16(const void *w, size_t i)
{
    return uqm_f32_of_bf16(uqm_get_u16(w, i));
}

static float sum_of_chains(float *s)
{
    for (size_t half = UQM_DOTS_CHAINS / 2; half > 0; half /= 2)
        for (size_t l = 0; l < half; l++)
            s[l] += s[l + half];
    return s[0];
}

static float dot(const float *x, const void *w, size_t at, size_t k, fetch_fn fetch)
{
    float s[UQM_DOTS_CHAINS] = { 0 };
    for (size_t j = 0; j < k; j += UQM_DOTS_CHAINS)
        for (size_t l = 0; l < UQM_DOTS_CHAINS; l++) {
            const bool is_there = j + l < k;
            s[l] = fmaf(is_there ? fetch(w, at + j + l) : 0, is_there ? x[j + l] : 0, s[l]);
        }
    return sum_of_chains(s);
}

static void dots(const struct uqm_dots *d, fetch_fn fetch)
{
    for (size_t c = 0; c < d->n_cols; c++)
        for (size_t r = 0; r < d->n_rows; r++)
            d->y[r * d->ldy + c] = dot(d->x + r * d->ldx, d->w, c * d->k, d->k, fetch);
}

void uqm_dots_f32_ref(const struct uqm_dots *d)
{
    dots(d, fetch_f32);
}

void uqm_dots_f16_ref(const struct uqm_dots *d)
{
    dots(d, fetch_f16);
}

void uqm_dots_bf16_ref(const struct uqm_dots *d)
{
    dots(d, fetch_bf16);
}
