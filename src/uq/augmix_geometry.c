#include <math.h>

#include "compute/kernels.h"
#include "src/base/dtype.h"
#include "src/uq/augmix_ops.h"

/* Columns worked on at a time: their coordinates and weights stay in the first-level cache. */
enum { STRIP = 256 };

/* The map in units of half a picture, rounded as the reference rounds it. */
struct map {
    float a, b, c, d, e, f;
    float half_width, half_height;
    float first_x, first_y; /* centre of the first pixel */
};

struct strip {
    int32_t x[STRIP], y[STRIP]; /* the north-west tap */
    float nw[STRIP], ne[STRIP], sw[STRIP], se[STRIP];
};

UQM_BODY void locate(struct strip *s, const struct map *m, uint32_t x_begin, uint32_t n, uint32_t y)
{
    const float ys = m->first_y + (float) y;
    for (uint32_t i = 0; i < n; i++) {
        const float xs = m->first_x + (float) (x_begin + i);
        const float gx = fmaf(ys, m->b, xs * m->a) + m->c;
        const float gy = fmaf(ys, m->e, xs * m->d) + m->f;
        const float ix = fmaf(gx + 1, m->half_width, -0.5f);
        const float iy = fmaf(gy + 1, m->half_height, -0.5f);
        const float x0 = floorf(ix), y0 = floorf(iy);
        const float east = ix - x0, south = iy - y0, west = 1 - east, north = 1 - south;
        s->x[i] = (int32_t) x0;
        s->y[i] = (int32_t) y0;
        s->nw[i] = west * north;
        s->ne[i] = east * north;
        s->sw[i] = west * south;
        s->se[i] = east * south;
    }
}

/* Half to even, for 0 <= v < 256: the sum's last bits are the integer. */
UQM_BODY uint8_t round_level(float v)
{
    return (uint8_t) uqm_bits_of_f32(v + 0x1.8p23f);
}

UQM_BODY uint8_t blend_taps(const struct strip *s, uint32_t i, uint8_t nw, uint8_t ne, uint8_t sw,
                            uint8_t se)
{
    float v = (float) nw * s->nw[i];
    v = fmaf((float) ne, s->ne[i], v);
    v = fmaf((float) sw, s->sw[i], v);
    v = fmaf((float) se, s->se[i], v);
    return round_level(v);
}

/* Taps outside the picture are 0. */
UQM_BODY uint8_t border_pixel(const struct strip *s, uint32_t i, const uint8_t *plane, int32_t w,
                              int32_t h)
{
    const int32_t x = s->x[i], y = s->y[i];
    uint8_t tap[4] = { 0 };
    for (int32_t k = 0; k < 4; k++) {
        const int32_t tx = x + k % 2, ty = y + k / 2;
        if (tx >= 0 && tx < w && ty >= 0 && ty < h)
            tap[k] = plane[(size_t) ty * (size_t) w + (size_t) tx];
    }
    return blend_taps(s, i, tap[0], tap[1], tap[2], tap[3]);
}

UQM_BODY void sample(uint8_t *out, const struct strip *s, uint32_t n, const uint8_t *plane,
                     uint32_t width, uint32_t height)
{
    for (uint32_t i = 0; i < n; i++) {
        /* As unsigned numbers, coordinates left of or above the picture are large, too. */
        const uint32_t x = (uint32_t) s->x[i], y = (uint32_t) s->y[i];
        if (x < width - 1 && y < height - 1) {
            const uint8_t *p = plane + (size_t) y * width + x;
            out[i] = blend_taps(s, i, p[0], p[1], p[width], p[width + 1]);
        } else {
            out[i] = border_pixel(s, i, plane, (int32_t) width, (int32_t) height);
        }
    }
}

UQM_BODY void warp(struct uqm_image *out, const struct uqm_image *in, const struct map *m)
{
    const uint32_t width = in->width, height = in->height;
    const size_t plane = (size_t) width * height;
    struct strip s;

    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x += STRIP) {
            const uint32_t n = width - x < STRIP ? width - x : STRIP;
            locate(&s, m, x, n, y);
            for (size_t c = 0; c < 3; c++)
                sample(out->rgb + c * plane + (size_t) y * width + x, &s, n, in->rgb + c * plane,
                       width, height);
        }
}

static void warp_any(struct uqm_image *out, const struct uqm_image *in, const struct map *m)
{
    warp(out, in, m);
}

UQM_WITH_FMA static void warp_fma(struct uqm_image *out, const struct uqm_image *in,
                                  const struct map *m)
{
    warp(out, in, m);
}

void uqm_augmix_warp(struct uqm_image *out, const struct uqm_image *in, const double m[6])
{
    const float hw = 0.5f * (float) in->width, hh = 0.5f * (float) in->height;
    const struct map map = {
        .a = (float) m[0] / hw,
        .b = (float) m[1] / hw,
        .c = (float) m[2] / hw,
        .d = (float) m[3] / hh,
        .e = (float) m[4] / hh,
        .f = (float) m[5] / hh,
        .half_width = hw,
        .half_height = hh,
        .first_x = 0.5f - hw,
        .first_y = 0.5f - hh,
    };
    (uqm_cpu_flags() & UQM_CPU_AVX2 ? warp_fma : warp_any)(out, in, &map);
}
