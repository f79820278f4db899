#include "src/uq/augmix_ops.h"

#include <math.h>
#include <string.h>

#include "compute/kernels.h"

static size_t plane_size(const struct uqm_image *image)
{
    return (size_t) image->width * image->height;
}

/* Clamp to 0..255, drop the fraction. */
UQM_BODY uint8_t truncate_level(float v)
{
    return (uint8_t) (v < 0 ? 0 : v > 255 ? 255 : v);
}

/* What the reference calls a blend of a pixel x and something else y, in float. */
struct blend {
    float of_x, of_y;
};

static struct blend blend_of(double factor)
{
    return (struct blend){ (float) factor, (float) (1 - factor) };
}

UQM_BODY uint8_t blend_level(struct blend b, float x, float y)
{
    return truncate_level(fmaf(y, b.of_y, x * b.of_x));
}

UQM_BODY float grey_of(uint8_t r, uint8_t g, uint8_t b)
{
    return floorf(fmaf((float) b, 0.114f, fmaf((float) g, 0.587f, (float) r * 0.2989f)));
}

/* An operation on single levels is a table. */
static void map_levels(struct uqm_image *out, const struct uqm_image *in, size_t first, size_t n,
                       const uint8_t table[256])
{
    for (size_t i = first; i < first + n; i++)
        out->rgb[i] = table[in->rgb[i]];
}

static void map_all(struct uqm_image *out, const struct uqm_image *in, const uint8_t table[256])
{
    map_levels(out, in, 0, 3 * plane_size(in), table);
}

void uqm_augmix_posterize(struct uqm_image *out, const struct uqm_image *in, unsigned bits)
{
    const unsigned mask = 0xff00U >> bits;
    uint8_t table[256];
    for (unsigned x = 0; x < 256; x++)
        table[x] = (uint8_t) (x & mask);
    map_all(out, in, table);
}

void uqm_augmix_solarize(struct uqm_image *out, const struct uqm_image *in, double threshold)
{
    const float level = (float) (255 * threshold);
    uint8_t table[256];
    for (unsigned x = 0; x < 256; x++)
        table[x] = (uint8_t) ((float) x >= level ? 255 - x : x);
    map_all(out, in, table);
}

void uqm_augmix_brightness(struct uqm_image *out, const struct uqm_image *in, double factor)
{
    uint8_t table[256];
    for (unsigned x = 0; x < 256; x++)
        table[x] = truncate_level((float) x * (float) factor);
    map_all(out, in, table);
}

static void histogram(uint64_t count[256], const uint8_t *plane, size_t n)
{
    memset(count, 0, 256 * sizeof *count);
    for (size_t i = 0; i < n; i++)
        count[plane[i]]++;
}

static void auto_contrast_table(uint8_t table[256], const uint64_t count[256])
{
    unsigned min = 0, max = 255;
    while (!count[min])
        min++;
    while (!count[max])
        max--;
    const float inverse = 1.0f / 255, scale = (float) (max - min) * inverse;
    for (unsigned x = 0; x < 256; x++)
        table[x] = (uint8_t) x;
    for (unsigned x = min; min < max && x <= max; x++)
        table[x] = truncate_level((float) (x - min) / scale);
}

static void equalize_table(uint8_t table[256], const uint64_t count[256], uint64_t n)
{
    unsigned max = 255;
    while (!count[max])
        max--;
    const uint64_t step = (n - count[max]) / 255;
    uint64_t below = 0; /* pixels darker than x */
    for (unsigned x = 0; x < 256; x++) {
        const uint64_t level = step ? (below + step / 2) / step : x;
        table[x] = (uint8_t) (level < 255 ? level : 255);
        below += count[x];
    }
    if (step)
        table[0] = 0;
}

void uqm_augmix_auto_contrast(struct uqm_image *out, const struct uqm_image *in)
{
    const size_t n = plane_size(in);
    for (size_t c = 0; c < 3; c++) {
        uint64_t count[256];
        uint8_t table[256];
        histogram(count, in->rgb + c * n, n);
        auto_contrast_table(table, count);
        map_levels(out, in, c * n, n, table);
    }
}

void uqm_augmix_equalize(struct uqm_image *out, const struct uqm_image *in)
{
    const size_t n = plane_size(in);
    for (size_t c = 0; c < 3; c++) {
        uint64_t count[256];
        uint8_t table[256];
        histogram(count, in->rgb + c * n, n);
        equalize_table(table, count, n);
        map_levels(out, in, c * n, n, table);
    }
}

UQM_BODY uint64_t sum_grey(const struct uqm_image *in)
{
    const size_t n = plane_size(in);
    const uint8_t *r = in->rgb, *g = r + n, *b = g + n;
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (uint64_t) grey_of(r[i], g[i], b[i]);
    return sum;
}

static uint64_t sum_grey_any(const struct uqm_image *in)
{
    return sum_grey(in);
}

UQM_WITH_FMA static uint64_t sum_grey_fma(const struct uqm_image *in)
{
    return sum_grey(in);
}

/* Grey levels are integers, so their sum is exact and the mean is rounded once. */
void uqm_augmix_contrast(struct uqm_image *out, const struct uqm_image *in, double factor)
{
    const uint64_t sum = (uqm_cpu_flags() & UQM_CPU_AVX2 ? sum_grey_fma : sum_grey_any)(in);
    const float mean = (float) ((double) sum / (double) plane_size(in));
    const struct blend b = blend_of(factor);
    uint8_t table[256];
    for (unsigned x = 0; x < 256; x++)
        table[x] = blend_level(b, (float) x, mean);
    map_all(out, in, table);
}

UQM_BODY void color(struct uqm_image *out, const struct uqm_image *in, struct blend blend)
{
    const size_t n = plane_size(in);
    const uint8_t *restrict r = in->rgb, *restrict g = r + n, *restrict b = g + n;
    uint8_t *restrict out_r = out->rgb, *restrict out_g = out_r + n, *restrict out_b = out_g + n;
    for (size_t i = 0; i < n; i++) {
        const float grey = grey_of(r[i], g[i], b[i]);
        out_r[i] = blend_level(blend, (float) r[i], grey);
        out_g[i] = blend_level(blend, (float) g[i], grey);
        out_b[i] = blend_level(blend, (float) b[i], grey);
    }
}

static void color_any(struct uqm_image *out, const struct uqm_image *in, struct blend blend)
{
    color(out, in, blend);
}

UQM_WITH_FMA static void color_fma(struct uqm_image *out, const struct uqm_image *in,
                                   struct blend blend)
{
    color(out, in, blend);
}

void uqm_augmix_color(struct uqm_image *out, const struct uqm_image *in, double factor)
{
    (uqm_cpu_flags() & UQM_CPU_AVX2 ? color_fma : color_any)(out, in, blend_of(factor));
}

/*
 * The blurred level is the mean of nine with weights 1/13 and 5/13, rounded. The reference sums
 * floats; no sum of thirteenths comes closer than 1/26 to a half, so integers round the same.
 */
static void sharpen_row(uint8_t *restrict out, const uint8_t *restrict in, size_t width,
                        float of_blurred)
{
    const uint8_t *above = in - width, *below = in + width;
    for (size_t x = 1; x + 1 < width; x++) {
        const int sum = above[x - 1] + above[x] + above[x + 1] + in[x - 1] + 5 * in[x] + in[x + 1] +
                        below[x - 1] + below[x] + below[x + 1];
        const int blurred = (2 * sum + 13) / 26;
        out[x] = truncate_level((float) in[x] + (float) (blurred - in[x]) * of_blurred);
    }
}

void uqm_augmix_sharpness(struct uqm_image *out, const struct uqm_image *in, double factor)
{
    const size_t width = in->width, height = in->height, n = plane_size(in);
    const float of_blurred = (float) (1 - factor);

    memcpy(out->rgb, in->rgb, 3 * n); /* the border stays */
    if (width <= 2 || height <= 2)
        return;
    for (size_t c = 0; c < 3; c++)
        for (size_t y = 1; y + 1 < height; y++) {
            const size_t row = c * n + y * width;
            sharpen_row(out->rgb + row, in->rgb + row, width, of_blurred);
        }
}
