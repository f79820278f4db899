#include "src/uq/augmix.h"

#include <math.h>

#include "tests/unit/test.h"

static struct uqm_image noise(uint32_t width, uint32_t height, uint32_t j)
{
    struct uqm_image image;
    struct uqm_err err = { 0 };
    struct uqm_rng rng;
    assert_ok(uqm_image_init(&image, width, height, &err), err);
    uqm_rng_init(&rng, uqm_rng_stream(5, UQM_RNG_IMAGE, "test", "noise", j, 0));
    for (size_t i = 0; i < 3 * (size_t) width * height; i++)
        image.rgb[i] = (uint8_t) uqm_rng_u32(&rng);
    return image;
}

static struct uqm_image apply(const struct uqm_image *in, enum uqm_augmix_op op, double magnitude)
{
    struct uqm_image out;
    struct uqm_err err = { 0 };
    assert_ok(uqm_image_init(&out, in->width, in->height, &err), err);
    uqm_augmix_op(&out, in, op, magnitude);
    return out;
}

static void assert_same(const struct uqm_image *a, const struct uqm_image *b)
{
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->height, b->height);
    assert_memory_equal(a->rgb, b->rgb, 3 * (size_t) a->width * a->height);
}

static bool has_nothing_as_bin_0(enum uqm_augmix_op op)
{
    return op <= UQM_AUGMIX_ROTATE || op >= UQM_AUGMIX_BRIGHTNESS;
}

static void magnitude_0_of_the_signed_operations_changes_nothing(void **state)
{
    (void) state;
    struct uqm_image in = noise(37, 23, 0);
    for (enum uqm_augmix_op op = 0; op < UQM_AUGMIX_N_OPS; op++) {
        if (!has_nothing_as_bin_0(op))
            continue;
        for (int sign = -1; sign <= 1; sign += 2) {
            struct uqm_image out = apply(&in, op, sign * 0.0);
            assert_same(&out, &in);
            uqm_image_finish(&out);
        }
    }
    uqm_image_finish(&in);
}

static void translation_moves_by_whole_pixels_and_brings_in_black(void **state)
{
    (void) state;
    const uint32_t w = 31, h = 17;
    struct uqm_image in = noise(w, h, 1);
    for (int t = -3; t <= 3; t++) {
        struct uqm_image right = apply(&in, UQM_AUGMIX_TRANSLATE_X, t + (t < 0 ? -0.9 : 0.9));
        struct uqm_image down = apply(&in, UQM_AUGMIX_TRANSLATE_Y, t);
        for (uint32_t i = 0; t != 0 && i < 3 * w * h; i++) {
            const uint32_t c = i / (w * h), x = i % w - (uint32_t) t, y = i / w % h - (uint32_t) t;
            assert_int_equal(right.rgb[i], x < w ? in.rgb[(c * h + i / w % h) * w + x] : 0);
            assert_int_equal(down.rgb[i], y < h ? in.rgb[(c * h + y) * w + i % w] : 0);
        }
        uqm_image_finish(&right);
        uqm_image_finish(&down);
    }
    uqm_image_finish(&in);
}

static void point_operations_follow_their_formulas(void **state)
{
    (void) state;
    struct uqm_image in = noise(64, 64, 2);
    struct uqm_image posterized = apply(&in, UQM_AUGMIX_POSTERIZE, 3);
    struct uqm_image solarized = apply(&in, UQM_AUGMIX_SOLARIZE, 0.8888888955116272);
    struct uqm_image bright = apply(&in, UQM_AUGMIX_BRIGHTNESS, 0.5);
    for (size_t i = 0; i < (size_t) 3 * 64 * 64; i++) {
        const int x = in.rgb[i];
        assert_int_equal(posterized.rgb[i], x & 0xe0);
        assert_int_equal(solarized.rgb[i], x >= 227 ? 255 - x : x);
        assert_int_equal(bright.rgb[i], x * 3 / 2 > 255 ? 255 : x * 3 / 2);
    }
    uqm_image_finish(&in);
    uqm_image_finish(&posterized);
    uqm_image_finish(&solarized);
    uqm_image_finish(&bright);
}

static void contrast_operations_leave_one_colour_alone(void **state)
{
    (void) state;
    struct uqm_image in = noise(20, 20, 3);
    memset(in.rgb, 77, 1200);
    for (enum uqm_augmix_op op = UQM_AUGMIX_AUTO_CONTRAST; op <= UQM_AUGMIX_EQUALIZE; op++) {
        struct uqm_image out = apply(&in, op, 0);
        assert_same(&out, &in);
        uqm_image_finish(&out);
    }
    uqm_image_finish(&in);
}

static void auto_contrast_reaches_from_0_to_255(void **state)
{
    (void) state;
    struct uqm_image in = noise(20, 20, 4);
    for (size_t i = 0; i < 1200; i++)
        in.rgb[i] = (uint8_t) (50 + in.rgb[i] % 101);
    in.rgb[0] = in.rgb[400] = in.rgb[800] = 50;
    in.rgb[1] = in.rgb[401] = in.rgb[801] = 150;
    struct uqm_image out = apply(&in, UQM_AUGMIX_AUTO_CONTRAST, 0);
    for (size_t i = 0; i < 1200; i++) {
        if (in.rgb[i] == 50)
            assert_int_equal(out.rgb[i], 0);
        if (in.rgb[i] == 150)
            assert_true(out.rgb[i] >= 254);
    }
    uqm_image_finish(&in);
    uqm_image_finish(&out);
}

/* Run under each tier of the CPU in turn: the environment lowers it. */
static void with_and_without_fused_instructions_the_bytes_are_the_same(void **state)
{
    (void) state;
    static const double magnitudes[UQM_AUGMIX_N_OPS] = {
        0.0666, -0.0333, 5, -4, 6.6667, 3, 0.777, 0, 0, -0.2, 0.2, -0.1, 0.2,
    };
    struct uqm_image in = noise(301, 40, 5);
    for (enum uqm_augmix_op op = 0; op < UQM_AUGMIX_N_OPS; op++) {
        assert_int_equal(setenv("UQMERGE_CPU", "ref", 1), 0);
        struct uqm_image plain = apply(&in, op, magnitudes[op]);
        assert_int_equal(unsetenv("UQMERGE_CPU"), 0);
        struct uqm_image fused = apply(&in, op, magnitudes[op]);
        assert_same(&plain, &fused);
        uqm_image_finish(&plain);
        uqm_image_finish(&fused);
    }
    uqm_image_finish(&in);
}

static void the_smallest_pictures_go_through_every_operation(void **state)
{
    (void) state;
    static const uint32_t sizes[][2] = { { 1, 1 }, { 1, 9 }, { 9, 1 }, { 2, 2 }, { 3, 3 } };
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        struct uqm_image in = noise(sizes[k][0], sizes[k][1], 6);
        for (enum uqm_augmix_op op = 0; op < UQM_AUGMIX_N_OPS; op++) {
            const bool bits = op == UQM_AUGMIX_POSTERIZE;
            for (int sign = bits ? 1 : -1; sign <= 1; sign += 2) {
                struct uqm_image out = apply(&in, op, bits ? 4 : sign * 0.9);
                if (op == UQM_AUGMIX_SHARPNESS && (in.width < 3 || in.height < 3))
                    assert_same(&out, &in);
                uqm_image_finish(&out);
            }
        }
        uqm_image_finish(&in);
    }
}

static void draws_cover_every_operation_bin_sign_and_depth_evenly(void **state)
{
    (void) state;
    enum { DRAWS = 6000 };
    double ops[UQM_AUGMIX_N_OPS] = { 0 }, depths[4] = { 0 }, negative = 0, n_steps = 0,
           n_signed = 0;
    double original = 0, shares[3] = { 0 };

    for (uint32_t j = 0; j < DRAWS; j++) {
        struct uqm_rng rng;
        struct uqm_augmix_plan p;
        uqm_rng_init(&rng, uqm_rng_stream(9, UQM_RNG_IMAGE, "test", "draws", j, 0));
        uqm_augmix_draw(&p, &rng, 270, 540);
        double sum = (double) p.original_weight;
        original += sum / DRAWS;
        for (size_t c = 0; c < 3; c++) {
            sum += (double) p.chain_weights[c];
            shares[c] += (double) p.chain_weights[c] / DRAWS;
            assert_in_range(p.depths[c], 1, 3);
            depths[p.depths[c]]++;
            for (size_t k = 0; k < p.depths[c]; k++) {
                const struct uqm_augmix_step s = p.steps[c][k];
                ops[s.op]++;
                n_steps++;
                if (s.op == UQM_AUGMIX_TRANSLATE_X)
                    assert_true(fabs(s.magnitude) == 0 || fabs(s.magnitude) == 10 ||
                                fabs(s.magnitude) == 20);
                if (s.op == UQM_AUGMIX_TRANSLATE_Y)
                    assert_true(fabs(s.magnitude) == 0 || fabs(s.magnitude) == 20 ||
                                fabs(s.magnitude) == 40);
                if (has_nothing_as_bin_0(s.op)) {
                    n_signed++;
                    negative += signbit(s.magnitude) != 0;
                }
            }
        }
        assert_true(fabs(sum - 1) < 1e-6);
    }
    assert_true(fabs(original - 0.5) < 0.02); /* uniform on [0, 1] */
    assert_true(fabs(negative / n_signed - 0.5) < 0.02);
    for (size_t c = 0; c < 3; c++) {
        assert_true(fabs(shares[c] - 1.0 / 6) < 0.01);
        assert_true(fabs(depths[c + 1] / (3 * DRAWS) - 1.0 / 3) < 0.02);
    }
    for (size_t op = 0; op < UQM_AUGMIX_N_OPS; op++)
        assert_true(fabs(ops[op] / n_steps - 1.0 / UQM_AUGMIX_N_OPS) < 0.01);
}

static void the_same_stream_gives_the_same_picture_and_another_one_another(void **state)
{
    (void) state;
    struct uqm_image in = noise(50, 40, 7), out[3];
    for (uint32_t k = 0; k < 3; k++) {
        struct uqm_rng rng;
        struct uqm_err err = { 0 };
        uqm_rng_init(&rng, uqm_rng_stream(0, UQM_RNG_IMAGE, "set", "id", k / 2, 0));
        assert_ok(uqm_augmix(&out[k], &in, &rng, &err), err);
    }
    assert_same(&out[0], &out[1]);
    assert_memory_not_equal(out[0].rgb, out[2].rgb, 3 * 50 * 40);
    for (size_t k = 0; k < 3; k++)
        uqm_image_finish(&out[k]);
    uqm_image_finish(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(magnitude_0_of_the_signed_operations_changes_nothing),
        cmocka_unit_test(translation_moves_by_whole_pixels_and_brings_in_black),
        cmocka_unit_test(point_operations_follow_their_formulas),
        cmocka_unit_test(contrast_operations_leave_one_colour_alone),
        cmocka_unit_test(auto_contrast_reaches_from_0_to_255),
        cmocka_unit_test(with_and_without_fused_instructions_the_bytes_are_the_same),
        cmocka_unit_test(the_smallest_pictures_go_through_every_operation),
        cmocka_unit_test(draws_cover_every_operation_bin_sign_and_depth_evenly),
        cmocka_unit_test(the_same_stream_gives_the_same_picture_and_another_one_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
