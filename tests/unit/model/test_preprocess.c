#include "src/model/preprocess.h"

#include "tests/unit/test.h"

static const struct uqm_preprocess_config config_of_4 = {
    .image_size = 4,
    .pad_to_square = true,
    .mean = { 0.48145466, 0.4578275, 0.40821073 },
    .std = { 0.5, 0.25, 1 },
    .rescale = 1.0 / 255,
};

/* Plane c holds 10 c + x + 100 y, modulo 256. */
static struct uqm_image make(uint32_t width, uint32_t height)
{
    struct uqm_image image;
    struct uqm_err err = { 0 };
    assert_ok(uqm_image_init(&image, width, height, &err), err);
    for (uint32_t i = 0; i < 3 * width * height; i++)
        image.rgb[i] =
            (uint8_t) (10 * (i / (width * height)) + i % width + 100 * (i / width % height));
    return image;
}

static void a_square_of_the_right_side_stays_as_it_is(void **state)
{
    (void) state;
    struct uqm_image image = make(4, 4), out;
    struct uqm_err err = { 0 };
    assert_ok(uqm_preprocess_resize(&out, &image, &config_of_4, &err), err);
    assert_int_equal(out.width, 4);
    assert_int_equal(out.height, 4);
    assert_memory_equal(out.rgb, image.rgb, 48);
    uqm_image_finish(&image);
    uqm_image_finish(&out);
}

static void padding_puts_the_picture_in_the_middle_of_the_mean_colour(void **state)
{
    (void) state;
    static const uint8_t colour[3] = { 122, 116, 104 };
    const uint32_t sizes[][4] = {
        /* width, height, left, top: an odd rest goes to the right and below */
        { 4, 2, 0, 1 }, { 2, 4, 1, 0 }, { 4, 3, 0, 0 }, { 3, 4, 0, 0 }, { 1, 4, 1, 0 },
    };
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        const uint32_t w = sizes[k][0], h = sizes[k][1], left = sizes[k][2], top = sizes[k][3];
        struct uqm_image image = make(w, h), out;
        struct uqm_err err = { 0 };
        assert_ok(uqm_preprocess_resize(&out, &image, &config_of_4, &err), err);
        for (uint32_t i = 0; i < 48; i++) {
            const uint32_t c = i / 16, x = i % 4 - left, y = i / 4 % 4 - top;
            const bool inside = x < w && y < h;
            assert_int_equal(out.rgb[i], inside ? image.rgb[(c * h + y) * w + x] : colour[c]);
        }
        uqm_image_finish(&image);
        uqm_image_finish(&out);
    }
}

static void without_padding_the_middle_of_the_longer_side_is_kept(void **state)
{
    (void) state;
    struct uqm_preprocess_config config = config_of_4;
    config.pad_to_square = false;
    struct uqm_image image = make(9, 4), out;
    struct uqm_err err = { 0 };
    assert_ok(uqm_preprocess_resize(&out, &image, &config, &err), err);
    for (uint32_t i = 0; i < 48; i++) /* columns 2 to 5 of 9 */
        assert_int_equal(out.rgb[i], image.rgb[i / 4 * 9 + 2 + i % 4]);
    uqm_image_finish(&image);
    uqm_image_finish(&out);
}

static void one_colour_stays_that_colour_at_any_scale(void **state)
{
    (void) state;
    const uint32_t sizes[][2] = { { 1, 1 }, { 3, 3 }, { 1000, 1000 }, { 257, 255 } };
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        struct uqm_preprocess_config config = config_of_4;
        struct uqm_image image = make(sizes[k][0], sizes[k][1]), out;
        struct uqm_err err = { 0 };
        config.image_size = 56;
        config.pad_to_square = false;
        memset(image.rgb, 201, 3 * (size_t) image.width * image.height);
        assert_ok(uqm_preprocess_resize(&out, &image, &config, &err), err);
        for (size_t i = 0; i < 3 * 56 * 56; i++)
            assert_int_equal(out.rgb[i], 201);
        uqm_image_finish(&image);
        uqm_image_finish(&out);
    }
}

static void extreme_shapes_need_no_canvas_of_their_size(void **state)
{
    (void) state;
    for (int padded = 0; padded < 2; padded++)
        for (int tall = 0; tall < 2; tall++) {
            struct uqm_preprocess_config config = config_of_4;
            struct uqm_image image =
                tall ? make(1, UQM_IMAGE_MAX_SIDE) : make(UQM_IMAGE_MAX_SIDE, 1);
            struct uqm_image out;
            struct uqm_err err = { 0 };
            config.image_size = 336;
            config.pad_to_square = padded;
            assert_ok(uqm_preprocess_resize(&out, &image, &config, &err), err);
            assert_int_equal(out.width, 336);
            if (padded) /* a line that thin leaves no trace */
                assert_int_equal(out.rgb[0], 122);
            uqm_image_finish(&image);
            uqm_image_finish(&out);
        }
}

static void values_are_rescaled_centred_and_divided_in_float(void **state)
{
    (void) state;
    struct uqm_image image = make(4, 4);
    struct uqm_err err = { 0 };
    float pixels[48];
    assert_ok(uqm_preprocess(pixels, &image, &config_of_4, &err), err);
    for (size_t i = 0; i < 48; i++) {
        const float mean = (float) config_of_4.mean[i / 16], std = (float) config_of_4.std[i / 16];
        const float scaled = (float) image.rgb[i] * (float) (1.0 / 255);
        const float expected = (scaled - mean) / std;
        assert_memory_equal(&pixels[i], &expected, sizeof expected);
    }
    uqm_image_finish(&image);
}

static void an_image_size_of_zero_or_of_thousands_is_refused(void **state)
{
    (void) state;
    struct uqm_preprocess_config config = config_of_4;
    struct uqm_image image = make(4, 4), out;
    struct uqm_err err = { 0 };
    config.image_size = 0;
    assert_fails(uqm_preprocess_resize(&out, &image, &config, &err), err, UQM_ERR_UNSUPPORTED,
                 "0 pixels");
    config.image_size = 100000;
    assert_fails(uqm_preprocess_resize(&out, &image, &config, &err), err, UQM_ERR_UNSUPPORTED,
                 "100000 pixels");
    uqm_image_finish(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_square_of_the_right_side_stays_as_it_is),
        cmocka_unit_test(padding_puts_the_picture_in_the_middle_of_the_mean_colour),
        cmocka_unit_test(without_padding_the_middle_of_the_longer_side_is_kept),
        cmocka_unit_test(one_colour_stays_that_colour_at_any_scale),
        cmocka_unit_test(extreme_shapes_need_no_canvas_of_their_size),
        cmocka_unit_test(values_are_rescaled_centred_and_divided_in_float),
        cmocka_unit_test(an_image_size_of_zero_or_of_thousands_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
