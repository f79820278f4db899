#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

/* In this order: jpeglib.h uses FILE and size_t, jerror.h the settings of jpeglib.h. */
#include <jpeglib.h>

#include <jerror.h>

#include "src/model/image_codec.h"

/* A progressive file may repeat its scans without end at a few bytes each. */
enum { MAX_SCANS = 500 };

/*
 * One decompression. libjpeg reports errors by a callback that must not return, so it jumps
 * back to run(); all that must survive the jump lives here.
 */
struct decoder {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf give_up;
    enum uqm_status code;
    char reason[JMSG_LENGTH_MAX];
    uint8_t *row;
    uint8_t *rgb_row;
    struct uqm_image image;
};

static struct decoder *decoder_of(j_common_ptr jpeg)
{
    return jpeg->client_data;
}

__attribute__((noreturn)) static void fail_with_message(j_common_ptr jpeg)
{
    struct decoder *d = decoder_of(jpeg);
    jpeg->err->format_message(jpeg, d->reason);
    switch (jpeg->err->msg_code) {
    case JERR_OUT_OF_MEMORY: d->code = UQM_ERR_NOMEM; break;
    case JERR_BAD_PRECISION:
    case JERR_SOF_UNSUPPORTED:
    case JERR_ARITH_NOTIMPL:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_CCIR601_NOTIMPL:
    case JERR_FRACT_SAMPLE_NOTIMPL: d->code = UQM_ERR_UNSUPPORTED; break;
    default: d->code = UQM_ERR_FORMAT; break;
    }
    longjmp(d->give_up, 1);
}

/* Warnings after which part of the picture is made up are errors; the others are harmless. */
static void on_message(j_common_ptr jpeg, int level)
{
    if (level >= 0)
        return;
    switch (jpeg->err->msg_code) {
    case JWRN_JPEG_EOF:
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
    case JWRN_MUST_RESYNC: fail_with_message(jpeg);
    default: break;
    }
}

static void on_progress(j_common_ptr jpeg)
{
    struct decoder *d = decoder_of(jpeg);
    if (d->jpeg.input_scan_number <= MAX_SCANS)
        return;
    snprintf(d->reason, sizeof d->reason, "more than %d scans", MAX_SCANS);
    d->code = UQM_ERR_FORMAT;
    longjmp(d->give_up, 1);
}

/* x * a / 255, rounded, as Pillow's convert does it. */
static uint8_t scale_255(unsigned x, unsigned a)
{
    const unsigned t = x * a + 128;
    return (uint8_t) (((t >> 8) + t) >> 8);
}

/*
 * CMYK is taken to be stored inverted (Adobe's way), whatever the markers say: so does Pillow,
 * and what libjpeg hands out is then 255 - C, ..., 255 - K.
 */
static void rgb_of_inverted_cmyk(uint8_t *rgb, const uint8_t *cmyk, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const unsigned white = cmyk[4 * i + 3];
        for (size_t c = 0; c < 3; c++)
            rgb[3 * i + c] = (uint8_t) (white - scale_255(255U - cmyk[4 * i + c], white));
    }
}

static void rgb_of_grey(uint8_t *rgb, const uint8_t *grey, size_t n)
{
    for (size_t i = 0; i < n; i++)
        rgb[3 * i] = rgb[3 * i + 1] = rgb[3 * i + 2] = grey[i];
}

static int choose_colours(struct decoder *d, const char *where, struct uqm_err *err)
{
    switch (d->jpeg.num_components) {
    case 1: d->jpeg.out_color_space = JCS_GRAYSCALE; return UQM_OK;
    case 3: d->jpeg.out_color_space = JCS_RGB; return UQM_OK;
    case 4: d->jpeg.out_color_space = JCS_CMYK; return UQM_OK;
    default:
        return uqm_fail(err, UQM_ERR_UNSUPPORTED, "%s: JPEG with %d colour components", where,
                        d->jpeg.num_components);
    }
}

static void read_rows(struct decoder *d)
{
    struct jpeg_decompress_struct *j = &d->jpeg;

    while (j->output_scanline < j->output_height) {
        const uint32_t y = j->output_scanline;
        JSAMPROW rows[1] = { d->row };
        jpeg_read_scanlines(j, rows, 1);
        if (j->output_components == 3) {
            uqm_image_put_row(&d->image, y, d->row);
            continue;
        }
        if (j->output_components == 1)
            rgb_of_grey(d->rgb_row, d->row, d->image.width);
        else
            rgb_of_inverted_cmyk(d->rgb_row, d->row, d->image.width);
        uqm_image_put_row(&d->image, y, d->rgb_row);
    }
}

static int run(struct decoder *d, const struct uqm_image_file *file, struct uqm_err *err)
{
    struct jpeg_decompress_struct *j = &d->jpeg;

    if (setjmp(d->give_up))
        return uqm_fail(err, d->code, "%s: JPEG: %s", file->where, d->reason);

    jpeg_create_decompress(j);
    j->progress = &d->progress;
    jpeg_mem_src(j, file->data, (unsigned long) file->len);
    jpeg_read_header(j, TRUE);
    int ret = uqm_image_check_size(j->image_width, j->image_height, file, err);
    if (ret < 0)
        return ret;
    ret = choose_colours(d, file->where, err);
    if (ret < 0)
        return ret;
    jpeg_start_decompress(j);

    ret = uqm_image_init(&d->image, j->output_width, j->output_height, err);
    if (ret < 0)
        return ret;
    d->row = malloc((size_t) j->output_width * 4);
    d->rgb_row = malloc((size_t) j->output_width * 3);
    if (!d->row || !d->rgb_row)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for a row of pixels", file->where);
    read_rows(d);
    jpeg_finish_decompress(j);
    return UQM_OK;
}

/* libjpeg's defaults are what Pillow uses: the slow integer DCT and fancy upsampling. */
int uqm_image_decode_jpeg(struct uqm_image *out, const struct uqm_image_file *file,
                          struct uqm_err *err)
{
    struct decoder *d = calloc(1, sizeof *d);
    if (!d)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for the JPEG decoder", file->where);
    d->jpeg.err = jpeg_std_error(&d->errors);
    d->jpeg.client_data = d;
    d->errors.error_exit = fail_with_message;
    d->errors.emit_message = on_message;
    d->progress.progress_monitor = on_progress;

    const int ret = run(d, file, err);
    jpeg_destroy_decompress(&d->jpeg);
    free(d->row);
    free(d->rgb_row);
    if (ret < 0)
        uqm_image_finish(&d->image);
    else
        *out = d->image;
    free(d);
    return ret;
}
