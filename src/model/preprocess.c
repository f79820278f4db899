#include "src/model/preprocess.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

/*
 * Pillow's resize on 8 bits: each output is a weighted mean of a window of inputs, the weights
 * fixed-point numbers with 22 fraction bits; a horizontal pass rounds to 8 bits, then a vertical
 * one. Neither the padded canvas nor the picture between the passes is ever made: what the canvas
 * around the picture adds to a window is its weights' sum times one colour, and a row, once
 * narrowed, is added at once to all output rows it belongs to. Integer sums, so any order gives
 * the same bytes. Memory is a few rows and one 32-bit picture of the output's size.
 */
enum { FRACTION_BITS = 22, HALF = 1 << (FRACTION_BITS - 1) };

/* One axis of the canvas, where the picture lies on it, and what part of the result is kept. */
struct side {
    uint32_t n_canvas, n_picture, offset;
    uint32_t n_resized, first, n_out;
};

/* The windows of the kept outputs, clipped to the picture; positions count from its edge. */
struct axis {
    uint32_t n_out;
    uint32_t max_taps;
    uint32_t *lo, *n_taps;    /* both lo and lo + n_taps never fall */
    int32_t *weights;         /* (n_out, max_taps) */
    int32_t *outside, *total; /* sums of the weights clipped off, and of all */
};

static void axis_finish(struct axis *a)
{
    free(a->lo);
    free(a->n_taps);
    free(a->weights);
    free(a->outside);
    free(a->total);
}

/* Keys' cubic convolution with a = -1/2, in Pillow's order of operations. */
static double cubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0)
        return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

static int32_t fixed_point(double w)
{
    const double scaled = w * (1 << FRACTION_BITS);
    return (int32_t) (w < 0 ? scaled - 0.5 : scaled + 0.5);
}

static uint32_t clamp(uint32_t x, uint32_t lo, uint32_t hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}

static void fill_window(struct axis *a, const struct side *s, uint32_t k, double scale,
                        double *taps)
{
    const double stretch = scale > 1.0 ? scale : 1.0, inverse = 1.0 / stretch;
    const double centre = ((double) (s->first + k) + 0.5) * scale, support = 2.0 * stretch;
    const double from = centre - support + 0.5, to = centre + support + 0.5;
    const uint32_t lo = from > 0 ? (uint32_t) from : 0;
    const uint32_t hi = to < s->n_canvas ? (uint32_t) to : s->n_canvas;
    double sum = 0;

    for (uint32_t i = lo; i < hi; i++) {
        taps[i - lo] = cubic(((double) i - centre + 0.5) * inverse);
        sum += taps[i - lo];
    }
    const uint32_t end = s->offset + s->n_picture;
    const uint32_t in_lo = clamp(lo, s->offset, end), in_hi = clamp(hi, s->offset, end);
    a->lo[k] = in_lo - s->offset;
    a->n_taps[k] = in_hi - in_lo;
    for (uint32_t i = lo; i < hi; i++) {
        const int32_t w = fixed_point(sum != 0.0 ? taps[i - lo] / sum : taps[i - lo]);
        a->total[k] += w;
        if (i >= in_lo && i < in_hi)
            a->weights[(size_t) k * a->max_taps + (i - in_lo)] = w;
        else
            a->outside[k] += w;
    }
}

static int axis_init(struct axis *a, const struct side *s, struct uqm_err *err)
{
    const double scale = (double) s->n_canvas / s->n_resized;
    const uint32_t max_taps = (uint32_t) ceil(2.0 * (scale > 1.0 ? scale : 1.0)) * 2 + 1;
    const uint32_t n = s->n_out;

    *a = (struct axis){ .n_out = n, .max_taps = max_taps };
    a->lo = calloc(n, sizeof *a->lo);
    a->n_taps = calloc(n, sizeof *a->n_taps);
    a->weights = calloc((size_t) n * max_taps, sizeof *a->weights);
    a->outside = calloc(n, sizeof *a->outside);
    a->total = calloc(n, sizeof *a->total);
    double *taps = calloc(max_taps, sizeof *taps);
    if (!a->lo || !a->n_taps || !a->weights || !a->outside || !a->total || !taps) {
        free(taps);
        axis_finish(a);
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for the weights of a resize");
    }
    for (uint32_t k = 0; k < n; k++)
        fill_window(a, s, k, scale, taps);
    free(taps);
    return UQM_OK;
}

/* A side of n pixels beside another: padded to the longer one, or, without padding, the longer one
 * resized in proportion and its middle kept. */
static struct side lay_out(uint32_t n, uint32_t n_other, const struct uqm_preprocess_config *c)
{
    struct side s = { n, n, 0, c->image_size, 0, c->image_size };
    if (c->pad_to_square && n < n_other) {
        s.n_canvas = n_other;
        s.offset = (n_other - n) / 2;
    } else if (!c->pad_to_square && n > n_other) {
        s.n_resized = (uint32_t) ((uint64_t) c->image_size * n / n_other);
        s.first = (s.n_resized - c->image_size) / 2;
    }
    return s;
}

static uint8_t round_fixed(int32_t sum)
{
    const int32_t v = sum >> FRACTION_BITS; /* the half is in the sum already */
    return (uint8_t) (v < 0 ? 0 : v > 255 ? 255 : v);
}

static void narrow_row(uint8_t *restrict out, const struct axis *a, const uint8_t *restrict in,
                       int32_t colour)
{
    for (uint32_t k = 0; k < a->n_out; k++) {
        const int32_t *w = a->weights + (size_t) k * a->max_taps;
        const uint8_t *v = in + a->lo[k];
        int32_t sum = HALF + a->outside[k] * colour;
        for (uint32_t i = 0; i < a->n_taps[k]; i++)
            sum += w[i] * v[i];
        out[k] = round_fixed(sum);
    }
}

/* Add the picture's row y, already narrow, to every output row whose window holds it. *from: the
 * first output row whose window has not ended. */
static void add_row(int32_t *restrict sums, const struct axis *a, uint32_t y, uint32_t *from,
                    const uint8_t *restrict row, uint32_t n)
{
    while (*from < a->n_out && a->lo[*from] + a->n_taps[*from] <= y)
        ++*from;
    for (uint32_t k = *from; k < a->n_out && a->lo[k] <= y; k++) {
        const int32_t w = a->weights[(size_t) k * a->max_taps + (y - a->lo[k])];
        int32_t *restrict sum = sums + (size_t) k * n;
        for (uint32_t x = 0; x < n; x++)
            sum[x] += w * row[x];
    }
}

struct scratch {
    uint8_t *row;  /* (n_out) */
    int32_t *sums; /* (n_out, n_out) */
};

static void resize_plane(uint8_t *out, const uint8_t *pixels, size_t width, size_t height,
                         const struct axis *across, const struct axis *down, int32_t colour,
                         const struct scratch *s)
{
    const uint32_t n = across->n_out;
    uint32_t from = 0;

    /* Begin with what rows of bare canvas add. */
    for (uint32_t x = 0; x < n; x++)
        s->row[x] = round_fixed(HALF + across->total[x] * colour);
    for (uint32_t k = 0; k < n; k++)
        for (uint32_t x = 0; x < n; x++)
            s->sums[(size_t) k * n + x] = HALF + down->outside[k] * s->row[x];

    for (uint32_t y = 0; y < height; y++) {
        narrow_row(s->row, across, pixels + y * width, colour);
        add_row(s->sums, down, y, &from, s->row, n);
    }
    for (size_t i = 0; i < (size_t) n * n; i++)
        out[i] = round_fixed(s->sums[i]);
}

static int resize_planes(struct uqm_image *out, const struct uqm_image *image,
                         const struct axis *across, const struct axis *down,
                         const struct uqm_preprocess_config *config, struct uqm_err *err)
{
    const size_t n = config->image_size, plane = (size_t) image->width * image->height;
    struct scratch s = { malloc(n), malloc(n * n * sizeof *s.sums) };
    int ret = UQM_OK;

    if (!s.row || !s.sums)
        ret = uqm_fail(err, UQM_ERR_NOMEM, "no memory to resize a picture");
    else
        ret = uqm_image_init(out, config->image_size, config->image_size, err);
    for (size_t c = 0; ret == UQM_OK && c < 3; c++) {
        const int32_t colour = (int32_t) fmin(fmax(config->mean[c] * 255, 0), 255);
        resize_plane(out->rgb + c * n * n, image->rgb + c * plane, image->width, image->height,
                     across, down, colour, &s);
    }
    free(s.row);
    free(s.sums);
    return ret;
}

int uqm_preprocess_resize(struct uqm_image *out, const struct uqm_image *image,
                          const struct uqm_preprocess_config *config, struct uqm_err *err)
{
    if (config->image_size == 0 || config->image_size > UQM_IMAGE_MAX_SIDE / 8)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED, "an image size of %" PRIu32 " pixels",
                        config->image_size);

    const struct side width = lay_out(image->width, image->height, config);
    const struct side height = lay_out(image->height, image->width, config);
    struct axis across, down;
    int ret = axis_init(&across, &width, err);
    if (ret < 0)
        return ret;
    ret = axis_init(&down, &height, err);
    if (ret == UQM_OK) {
        ret = resize_planes(out, image, &across, &down, config, err);
        axis_finish(&down);
    }
    axis_finish(&across);
    return ret;
}

int uqm_preprocess(float *pixels, const struct uqm_image *image,
                   const struct uqm_preprocess_config *config, struct uqm_err *err)
{
    struct uqm_image square;
    const int ret = uqm_preprocess_resize(&square, image, config, err);
    if (ret < 0)
        return ret;

    const size_t plane = (size_t) square.width * square.height;
    for (size_t c = 0; c < 3; c++) {
        const float mean = (float) config->mean[c], std = (float) config->std[c];
        const float rescale = (float) config->rescale;
        float level[256];
        for (int v = 0; v < 256; v++)
            level[v] = ((float) v * rescale - mean) / std;
        for (size_t i = 0; i < plane; i++)
            pixels[c * plane + i] = level[square.rgb[c * plane + i]];
    }
    uqm_image_finish(&square);
    return UQM_OK;
}
