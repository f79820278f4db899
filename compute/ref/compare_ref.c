#include <math.h>

#include "compute/compare.h"
#include "compute/unaligned.h"
#include "src/base/dtype.h"

struct chains {
    float d2[UQM_COMPARE_LANES], x2[UQM_COMPARE_LANES], max[UQM_COMPARE_LANES];
};

static void add(struct chains *c, size_t i, float x, float y)
{
    size_t k = i % UQM_COMPARE_LANES;
    float d = x - y, m = fabsf(d);
    c->d2[k] += d * d;
    c->x2[k] += x * x;
    c->max[k] = m > c->max[k] ? m : c->max[k];
}

static void fold(struct uqm_compared *out, struct chains *c)
{
    for (size_t k = 0; k < UQM_COMPARE_FOLDED; k++) {
        c->d2[k] += c->d2[k + UQM_COMPARE_FOLDED];
        c->x2[k] += c->x2[k + UQM_COMPARE_FOLDED];
        float m = c->max[k + UQM_COMPARE_FOLDED];
        c->max[k] = c->max[k] > m ? c->max[k] : m;
    }
    uqm_compare_fold(out, c->d2, c->x2, c->max);
}

void uqm_compare_f32_ref(struct uqm_compared *out, const float *x, const float *y, size_t n_elem)
{
    struct chains c = { 0 };
    for (size_t i = 0; i < n_elem; i++)
        add(&c, i, uqm_get_f32(x, i), uqm_get_f32(y, i));
    fold(out, &c);
}

void uqm_compare_f16_ref(struct uqm_compared *out, const uint16_t *x, const float *y, size_t n_elem)
{
    struct chains c = { 0 };
    for (size_t i = 0; i < n_elem; i++)
        add(&c, i, uqm_f32_of_f16(uqm_get_u16(x, i)), uqm_get_f32(y, i));
    fold(out, &c);
}

void uqm_compare_bf16_ref(struct uqm_compared *out, const uint16_t *x, const float *y,
                          size_t n_elem)
{
    struct chains c = { 0 };
    for (size_t i = 0; i < n_elem; i++)
        add(&c, i, uqm_f32_of_bf16(uqm_get_u16(x, i)), uqm_get_f32(y, i));
    fold(out, &c);
}

void uqm_sign_f32_ref(float *s, const float *x, const float *b, size_t n_elem)
{
    for (size_t i = 0; i < n_elem; i++) {
        float d = uqm_get_f32(x, i) - uqm_get_f32(b, i);
        uqm_put_f32(s, i, d > 0 ? 1.0f : d < 0 ? -1.0f : 0.0f);
    }
}

void uqm_vote_f32_ref(struct uqm_votes *out, float *sum, float *count, const float *s,
                      const float *way, size_t n_elem)
{
    *out = (struct uqm_votes){ 0 };
    for (size_t i = 0; i < n_elem; i++) {
        float v = uqm_get_f32(s, i);
        uqm_put_f32(sum, i, uqm_get_f32(sum, i) + v);
        uqm_put_f32(count, i, uqm_get_f32(count, i) + fabsf(v));
        out->n_moved += fabsf(v) > 0;
        out->n_same += v * uqm_get_f32(way, i) > 0;
    }
}

void uqm_tally_f32_ref(struct uqm_vote_tally *out, const float *sum, const float *count,
                       size_t n_elem)
{
    *out = (struct uqm_vote_tally){ 0 };
    for (size_t i = 0; i < n_elem; i++) {
        float n = uqm_get_f32(count, i);
        out->n_moved += n > 0;
        out->n_unanimous += n > 0 && !(n > fabsf(uqm_get_f32(sum, i)));
    }
}

uint32_t uqm_largest_half_ref(const uint16_t *x, size_t n_elem)
{
    uint32_t most = 0;
    for (size_t i = 0; i < n_elem; i++) {
        uint32_t bits = uqm_get_u16(x, i) & 0x7FFF;
        most = bits > most ? bits : most;
    }
    return most;
}

uint32_t uqm_largest_f32_ref(const float *x, size_t n_elem)
{
    uint32_t most = 0;
    for (size_t i = 0; i < n_elem; i++) {
        uint32_t bits = uqm_bits_of_f32(uqm_get_f32(x, i)) & 0x7FFFFFFF;
        most = bits > most ? bits : most;
    }
    return most;
}
