#include "src/model/image.h"

#include <unistd.h>

#include "src/base/fs.h"
#include "src/base/rng.h"
#include "tests/unit/test.h"

enum { LIMIT = 1 << 22 };

struct bytes {
    uint8_t *data;
    size_t len;
};

static struct bytes read_picture(const char *name)
{
    struct bytes b;
    struct uqm_err err = { 0 };
    char path[256], *data;
    snprintf(path, sizeof path, "golden/pictures/%s", name);
    assert_ok(uqm_read_file(&data, &b.len, data_path(path), 1 << 20, &err), err);
    b.data = (uint8_t *) data;
    return b;
}

static int decode(struct uqm_image *out, const uint8_t *data, size_t len, struct uqm_err *err)
{
    return uqm_image_decode(out, data, len, "x", LIMIT, err);
}

static const char *const pictures[] = {
    "grey1_interlaced.png",
    "palette8_transparent.png",
    "rgb8_interlaced.png",
    "rgba16.png",
    "grey.jpg",
    "cmyk.jpg",
    "restart.jpg",
    "progressive.jpg",
    "sampling2.jpg",
    "lossless.webp",
    "alpha_lossless.webp",
    "alpha_lossy.webp",
};
enum { N_PICTURES = sizeof pictures / sizeof *pictures };

/* A copy of exactly `len` bytes, so that a sanitizer sees a read past them. */
static uint8_t *exact_copy(const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, data, len);
    return copy;
}

/* A cut file is an error, unless only bytes that follow the pixels are missing. */
static void a_file_cut_anywhere_is_refused_or_gives_the_same_pixels(void **state)
{
    (void) state;
    for (size_t k = 0; k < N_PICTURES; k++) {
        const struct bytes b = read_picture(pictures[k]);
        struct uqm_image whole;
        struct uqm_err err = { 0 };
        size_t n_refused = 0;
        assert_ok(decode(&whole, b.data, b.len, &err), err);
        for (size_t len = 0; len < b.len; len++) {
            uint8_t *cut = exact_copy(b.data, len);
            struct uqm_image image = { 0 };
            err = (struct uqm_err){ 0 };
            if (decode(&image, cut, len, &err) < 0) {
                assert_true(err.msg[0] && !image.rgb);
                n_refused++;
            } else {
                assert_memory_equal(image.rgb, whole.rgb, 3 * (size_t) whole.width * whole.height);
                uqm_image_finish(&image);
            }
            free(cut);
        }
        if (n_refused + 32 < b.len) /* IEND and checksums of PNG may be missing */
            fail_msg("%s: only %zu of %zu cuts were refused", pictures[k], n_refused, b.len);
        uqm_image_finish(&whole);
        free(b.data);
    }
}

static void a_file_with_changed_bytes_is_refused_or_decodes(void **state)
{
    (void) state;
    struct uqm_rng rng;
    uqm_rng_init(&rng, uqm_rng_stream(1, UQM_RNG_IMAGE, "test", "bytes", 0, 0));
    for (size_t k = 0; k < N_PICTURES; k++) {
        const struct bytes b = read_picture(pictures[k]);
        for (int round = 0; round < 300; round++) {
            uint8_t *copy = exact_copy(b.data, b.len);
            for (uint32_t n = 1 + uqm_rng_below(&rng, 4); n; n--)
                copy[uqm_rng_below(&rng, (uint32_t) b.len)] = (uint8_t) uqm_rng_u32(&rng);
            struct uqm_image image = { 0 };
            struct uqm_err err = { 0 };
            if (decode(&image, copy, b.len, &err) < 0)
                assert_true(err.msg[0] && !image.rgb);
            else
                assert_true((uint64_t) image.width * image.height <= LIMIT);
            uqm_image_finish(&image);
            free(copy);
        }
        free(b.data);
    }
}

static void random_bytes_behind_a_magic_number_are_refused(void **state)
{
    (void) state;
    static const char *const magics[] = { "\xff\xd8\xff", "\x89PNG\r\n\x1a\n", "RIFF....WEBP", "" };
    static const size_t lens[] = { 3, 8, 12, 0 };
    struct uqm_rng rng;
    uqm_rng_init(&rng, uqm_rng_stream(2, UQM_RNG_IMAGE, "test", "bytes", 0, 0));
    for (int round = 0; round < 400; round++) {
        const size_t k = (size_t) round % 4, len = lens[k] + uqm_rng_below(&rng, 300);
        uint8_t *data = malloc(len ? len : 1);
        struct uqm_image image = { 0 };
        struct uqm_err err = { 0 };
        for (size_t i = 0; i < len; i++)
            data[i] = (uint8_t) uqm_rng_u32(&rng);
        memcpy(data, magics[k], lens[k]);
        assert_true(decode(&image, data, len, &err) < 0 && err.msg[0]);
        assert_null(image.rgb);
        free(data);
    }
}

static void a_jpeg_that_declares_a_huge_size_is_refused_before_allocating(void **state)
{
    (void) state;
    struct bytes b = read_picture("grey.jpg");
    struct uqm_image image = { 0 };
    struct uqm_err err = { 0 };
    size_t sof = 0;
    while (b.data[sof] != 0xff || b.data[sof + 1] != 0xc0)
        sof++;
    memset(b.data + sof + 5, 0xff, 4); /* height, width */
    assert_fails(decode(&image, b.data, b.len, &err), err, UQM_ERR_FORMAT, "65500");
    memcpy(b.data + sof + 5, "\x7f\xff\x7f\xff", 4);
    assert_fails(decode(&image, b.data, b.len, &err), err, UQM_ERR_FORMAT,
                 "x: 32767 x 32767 pixels; the limit is 4194304");
    free(b.data);
}

static uint32_t crc32_of(const uint8_t *p, size_t n)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc;
}

static void a_png_that_declares_a_huge_size_is_refused_before_allocating(void **state)
{
    (void) state;
    struct bytes b = read_picture("rgb16.png");
    struct uqm_image image = { 0 };
    struct uqm_err err = { 0 };
    for (int side = 0; side < 2; side++) {
        memcpy(b.data + 16, side ? "\0\0\x7f\xff\0\0\x7f\xff" : "\x7f\xff\xff\xff\x7f\xff\xff\xff",
               8);
        const uint32_t crc = crc32_of(b.data + 12, 17);
        for (size_t i = 0; i < 4; i++)
            b.data[29 + i] = (uint8_t) (crc >> (24 - 8 * i));
        assert_fails(decode(&image, b.data, b.len, &err), err, UQM_ERR_FORMAT,
                     side ? "the limit is 4194304" : "x: PNG: ");
    }
    free(b.data);
}

static void an_animated_webp_is_unsupported_by_name(void **state)
{
    (void) state;
    /* RIFF, VP8X with the animation flag, 19 x 13, and an empty ANIM chunk. */
    static const uint8_t data[] = "RIFF\x24\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0\x12\0\0\x0c\0\0"
                                  "ANIM\x06\0\0\0\0\0\0\0\0\0";
    struct uqm_image image = { 0 };
    struct uqm_err err = { 0 };
    assert_fails(decode(&image, data, sizeof data - 1, &err), err, UQM_ERR_UNSUPPORTED,
                 "animation");
}

static void the_pixel_limit_is_inclusive(void **state)
{
    (void) state;
    for (size_t k = 0; k < N_PICTURES; k++) {
        const struct bytes b = read_picture(pictures[k]);
        struct uqm_image image = { 0 };
        struct uqm_err err = { 0 };
        assert_ok(uqm_image_decode(&image, b.data, b.len, "x", 19 * 13, &err), err);
        uqm_image_finish(&image);
        assert_fails(uqm_image_decode(&image, b.data, b.len, "x", 19 * 13 - 1, &err), err,
                     UQM_ERR_FORMAT, "x: 19 x 13 pixels; the limit is 246");
        free(b.data);
    }
}

static void a_missing_file_is_named(void **state)
{
    (void) state;
    struct uqm_image image = { 0 };
    struct uqm_err err = { 0 };
    assert_fails(uqm_image_load(&image, "/nowhere/a.png", LIMIT, &err), err, UQM_ERR_IO,
                 "/nowhere/a.png");
}

static void a_text_file_is_no_picture(void **state)
{
    (void) state;
    struct uqm_image image = { 0 };
    struct uqm_err err = { 0 };
    assert_fails(uqm_image_load(&image, zoo_path("README.md"), LIMIT, &err), err, UQM_ERR_FORMAT,
                 "README.md: not a JPEG, PNG or WebP picture");
}

static void a_picture_without_pixels_cannot_be_made(void **state)
{
    (void) state;
    struct uqm_image image = { 0 };
    struct uqm_err err = { 0 };
    assert_int_equal(uqm_image_init(&image, 0, 5, &err), UQM_ERR_ARG);
    assert_int_equal(uqm_image_init(&image, 5, UQM_IMAGE_MAX_SIDE + 1, &err), UQM_ERR_ARG);
    assert_null(image.rgb);
    uqm_image_finish(&image);
    uqm_image_finish(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_cut_anywhere_is_refused_or_gives_the_same_pixels),
        cmocka_unit_test(a_file_with_changed_bytes_is_refused_or_decodes),
        cmocka_unit_test(random_bytes_behind_a_magic_number_are_refused),
        cmocka_unit_test(a_jpeg_that_declares_a_huge_size_is_refused_before_allocating),
        cmocka_unit_test(a_png_that_declares_a_huge_size_is_refused_before_allocating),
        cmocka_unit_test(an_animated_webp_is_unsupported_by_name),
        cmocka_unit_test(the_pixel_limit_is_inclusive),
        cmocka_unit_test(a_missing_file_is_named),
        cmocka_unit_test(a_text_file_is_no_picture),
        cmocka_unit_test(a_picture_without_pixels_cannot_be_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
