#include "src/model/preprocess.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/*
 * Pillow's resize on 8 bits: each output is a weighted mean of a window of inputs, the weights
 * fixed-point numbers with 22 fraction bits; a horizontal pass rounds to 8 bits, then a vertical
 * one. Neither the padded canvas nor the picture between the passes is ever made: a row is padded,
 * narrowed, and added at once to all output rows it belongs to (integer sums, so any order gives
 * the same bytes). Memory is a few rows and one 32-bit picture of the output's size.
 */
enum { FRACTION_BITS = 22 };

/* The windows of outputs [first, first + n_out) of an axis resized from n_in to n_resized. */
struct axis {
    uint32_t n_out, n_in;
    uint32_t max_taps;
    uint32_t *lo, *n_taps;
    int32_t *weights; /* (n_out, max_taps) */
};

static void axis_finish(struct axis *a)
{
    free(a->lo);
    free(a->n_taps);
    free(a->weights);
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

static void fill_window(struct axis *a, uint32_t k, double centre, double stretch, double *taps)
{
    const double support = 2.0 * stretch, inverse = 1.0 / stretch;
    const double from = centre - support + 0.5, to = centre + support + 0.5;
    const uint32_t lo = from > 0 ? (uint32_t) from : 0;
    const uint32_t hi = to < a->n_in ? (uint32_t) to : a->n_in;
    double sum = 0;

    for (uint32_t i = lo; i < hi; i++) {
        taps[i - lo] = cubic(((double) i - centre + 0.5) * inverse);
        sum += taps[i - lo];
    }
    a->lo[k] = lo;
    a->n_taps[k] = hi - lo;
    for (uint32_t i = 0; i < hi - lo; i++)
        a->weights[(size_t) k * a->max_taps + i] =
            fixed_point(sum != 0.0 ? taps[i] / sum : taps[i]);
}

static int axis_init(struct axis *a, uint32_t n_in, uint32_t n_resized, uint32_t first,
                     uint32_t n_out, struct uqm_err *err)
{
    const double scale = (double) n_in / n_resized, stretch = scale > 1.0 ? scale : 1.0;
    const uint32_t max_taps = (uint32_t) ceil(2.0 * stretch) * 2 + 1;

    *a = (struct axis){ .n_out = n_out, .n_in = n_in, .max_taps = max_taps };
    a->lo = calloc(n_out, sizeof *a->lo);
    a->n_taps = calloc(n_out, sizeof *a->n_taps);
    a->weights = calloc((size_t) n_out * max_taps, sizeof *a->weights);
    double *taps = calloc(max_taps, sizeof *taps);
    if (!a->lo || !a->n_taps || !a->weights || !taps) {
        free(taps);
        axis_finish(a);
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for the weights of a resize");
    }
    for (uint32_t k = 0; k < n_out; k++)
        fill_window(a, k, ((double) (first + k) + 0.5) * scale, stretch, taps);
    free(taps);
    return UQM_OK;
}

/* How the picture lies on its canvas, and which part of the resized canvas is kept. */
struct layout {
    uint32_t side;          /* of the result */
    uint32_t width, height; /* canvas before resizing */
    uint32_t left, top;     /* where the picture begins on it */
    uint32_t new_width, new_height;
    uint8_t colour[3]; /* of the rest */
};

static struct layout lay_out(const struct uqm_image *image, const struct uqm_preprocess_config *c)
{
    const uint32_t w = image->width, h = image->height, side = c->image_size;
    struct layout l = { side, w, h, 0, 0, side, side, { 0 } };

    for (int k = 0; k < 3; k++)
        l.colour[k] = (uint8_t) fmin(fmax(c->mean[k] * 255, 0), 255);
    if (c->pad_to_square) {
        l.width = l.height = w > h ? w : h;
        l.left = (l.width - w) / 2;
        l.top = (l.height - h) / 2;
    } else if (w < h) {
        l.new_height = (uint32_t) ((uint64_t) side * h / w);
    } else {
        l.new_width = (uint32_t) ((uint64_t) side * w / h);
    }
    return l;
}

static uint8_t round_fixed(int32_t sum)
{
    const int32_t v = sum >> FRACTION_BITS; /* the half is in the sum already */
    return (uint8_t) (v < 0 ? 0 : v > 255 ? 255 : v);
}

static void narrow_row(uint8_t *out, const struct axis *a, const uint8_t *in)
{
    for (uint32_t k = 0; k < a->n_out; k++) {
        const int32_t *w = a->weights + (size_t) k * a->max_taps;
        const uint8_t *v = in + a->lo[k];
        int32_t sum = 1 << (FRACTION_BITS - 1);
        for (uint32_t i = 0; i < a->n_taps[k]; i++)
            sum += w[i] * v[i];
        out[k] = round_fixed(sum);
    }
}

/* Add input row y, already narrow, to every output row whose window holds it. *from: the first
 * output row whose window has not ended; windows begin and end in order. */
static void add_row(int32_t *sums, const struct axis *a, uint32_t y, uint32_t *from,
                    const uint8_t *row, uint32_t n)
{
    while (*from < a->n_out && a->lo[*from] + a->n_taps[*from] <= y)
        ++*from;
    for (uint32_t k = *from; k < a->n_out && a->lo[k] <= y; k++) {
        const int32_t w = a->weights[(size_t) k * a->max_taps + (y - a->lo[k])];
        int32_t *sum = sums + (size_t) k * n;
        for (uint32_t x = 0; x < n; x++)
            sum[x] += w * row[x];
    }
}

struct scratch {
    uint8_t *canvas_row; /* one padded row */
    uint8_t *narrow,
        *empty; /* rows after the horizontal pass: the picture's, and the canvas alone */
    int32_t *sums;
};

static void resize_plane(uint8_t *out, const struct uqm_image *image, size_t plane,
                         const struct layout *l, const struct axis *across, const struct axis *down,
                         const struct scratch *s)
{
    const uint8_t *pixels = image->rgb + plane * image->width * image->height;
    const size_t n = (size_t) l->side * l->side;
    uint32_t from = 0;

    memset(s->canvas_row, l->colour[plane], l->width);
    narrow_row(s->empty, across, s->canvas_row);
    for (size_t i = 0; i < n; i++)
        s->sums[i] = 1 << (FRACTION_BITS - 1);

    for (uint32_t y = 0; y < l->height; y++) {
        const bool inside = y >= l->top && y - l->top < image->height;
        if (inside) {
            memcpy(s->canvas_row + l->left, pixels + (size_t) (y - l->top) * image->width,
                   image->width);
            narrow_row(s->narrow, across, s->canvas_row);
        }
        add_row(s->sums, down, y, &from, inside ? s->narrow : s->empty, l->side);
    }
    for (size_t i = 0; i < n; i++)
        out[i] = round_fixed(s->sums[i]);
}

static int resize_planes(struct uqm_image *out, const struct uqm_image *image,
                         const struct layout *l, const struct axis *across, const struct axis *down,
                         struct uqm_err *err)
{
    struct scratch s = {
        .canvas_row = malloc(l->width),
        .narrow = malloc(l->side),
        .empty = malloc(l->side),
        .sums = malloc((size_t) l->side * l->side * sizeof *s.sums),
    };
    int ret = UQM_OK;

    if (!s.canvas_row || !s.narrow || !s.empty || !s.sums)
        ret = uqm_fail(err, UQM_ERR_NOMEM, "no memory to resize a picture");
    else
        ret = uqm_image_init(out, l->side, l->side, err);
    for (size_t plane = 0; ret == UQM_OK && plane < 3; plane++)
        resize_plane(out->rgb + plane * l->side * l->side, image, plane, l, across, down, &s);

    free(s.canvas_row);
    free(s.narrow);
    free(s.empty);
    free(s.sums);
    return ret;
}

int uqm_preprocess_resize(struct uqm_image *out, const struct uqm_image *image,
                          const struct uqm_preprocess_config *config, struct uqm_err *err)
{
    if (config->image_size == 0 || config->image_size > UQM_IMAGE_MAX_SIDE / 8)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED, "an image size of %" PRIu32 " pixels",
                        config->image_size);

    const struct layout l = lay_out(image, config);
    struct axis across, down;
    int ret = axis_init(&across, l.width, l.new_width, (l.new_width - l.side) / 2, l.side, err);
    if (ret < 0)
        return ret;
    ret = axis_init(&down, l.height, l.new_height, (l.new_height - l.side) / 2, l.side, err);
    if (ret == UQM_OK) {
        ret = resize_planes(out, image, &l, &across, &down, err);
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
