/* Pictures of the zoo against Pillow's decoding, and the tensors the vision tower is given. */
#include "src/base/hash.h"
#include "src/model/preprocess.h"
#include "tests/golden/golden.h"
#include "tests/unit/test.h"

static const struct uqm_preprocess_config clip_56 = {
    .image_size = 56,
    .pad_to_square = true,
    .mean = { 0.48145466, 0.4578275, 0.40821073 },
    .std = { 0.26862954, 0.26130258, 0.27577711 },
    .rescale = 1.0 / 255,
};

/* The list has a line a picture: SHA-256 of the planar pixels, width, height, name. */
static size_t compare_with_sums(const char *list, const char *(*path_of)(const char *name))
{
    FILE *f = fopen(data_path(list), "r");
    if (!f)
        fail_msg("%s: cannot be opened", list);
    struct uqm_sha256 *hash = uqm_sha256_create();
    char sum[65], name[128];
    unsigned width, height;
    size_t n_equal = 0;

    while (fscanf(f, "%64s %u %u %127s", sum, &width, &height, name) == 4) {
        struct uqm_image image;
        struct uqm_err err = { 0 };
        assert_ok(uqm_image_load(&image, path_of(name), 1 << 24, &err), err);
        assert_int_equal(image.width, width);
        assert_int_equal(image.height, height);
        uqm_sha256_reset(hash);
        uqm_sha256_update(hash, image.rgb, 3 * (size_t) width * height);
        if (strcmp(uqm_sha256_hex(hash).text, sum) != 0)
            fail_msg("%s: the pixels differ", name);
        uqm_image_finish(&image);
        n_equal++;
    }
    uqm_sha256_destroy(&hash);
    fclose(f);
    return n_equal;
}

static const char *zoo_picture(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "data/images/%s", name);
    return zoo_path(path);
}

static const char *own_picture(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "golden/pictures/%s", name);
    return data_path(path);
}

static void every_picture_of_the_zoo_decodes_to_the_bytes_that_pillow_gives(void **state)
{
    (void) state;
    assert_int_equal(compare_with_sums("golden/image_sums.txt", zoo_picture), 650);
}

static void every_kind_of_file_decodes_to_the_bytes_that_pillow_gives(void **state)
{
    (void) state;
    assert_int_equal(compare_with_sums("golden/picture_sums.txt", own_picture), 34);
}

static void resizing_to_any_side_gives_the_bytes_that_pillow_gives(void **state)
{
    (void) state;
    FILE *f = fopen(data_path("golden/resize_sums.txt"), "r");
    assert_non_null(f);
    struct uqm_sha256 *hash = uqm_sha256_create();
    char sum[65], name[128];
    unsigned side, padded;
    size_t n_equal = 0;

    while (fscanf(f, "%64s %u %u %127s", sum, &side, &padded, name) == 4) {
        struct uqm_image image, made;
        struct uqm_err err = { 0 };
        struct uqm_preprocess_config config = clip_56;
        config.image_size = side;
        config.pad_to_square = padded;
        assert_ok(uqm_image_load(&image, zoo_picture(name), 1 << 24, &err), err);
        assert_ok(uqm_preprocess_resize(&made, &image, &config, &err), err);
        uqm_sha256_reset(hash);
        uqm_sha256_update(hash, made.rgb, 3 * (size_t) side * side);
        if (strcmp(uqm_sha256_hex(hash).text, sum) != 0)
            fail_msg("%s: side %u, padded %u: the pixels differ", name, side, padded);
        uqm_image_finish(&image);
        uqm_image_finish(&made);
        n_equal++;
    }
    assert_int_equal(n_equal, 102);
    uqm_sha256_destroy(&hash);
    fclose(f);
}

static void load_sample(struct uqm_image *image, const json_t *sample)
{
    struct uqm_err err = { 0 };
    char path[256];
    snprintf(path, sizeof path, "data/%s", golden_string(sample, "image"));
    assert_ok(uqm_image_load(image, zoo_path(path), 1 << 24, &err), err);
}

static void check_resized(const struct golden *g, const char *key, const struct uqm_image *image)
{
    struct uqm_image small;
    struct uqm_err err = { 0 };
    char name[64];
    size_t n;

    snprintf(name, sizeof name, "%s.resized_u8", key);
    const uint8_t *expected = golden_u8(g, name, &n);
    assert_ok(uqm_preprocess_resize(&small, image, &clip_56, &err), err);
    assert_int_equal(n, 3 * small.width * small.height);
    for (size_t i = 0; i < n; i++) /* the golden is (height, width, 3) */
        if (small.rgb[i % 3 * (n / 3) + i / 3] != expected[i])
            fail_msg("%s: level %zu is %d, not %d", name, i, small.rgb[i % 3 * (n / 3) + i / 3],
                     expected[i]);
    uqm_image_finish(&small);
}

static void check_pixels(const struct golden *g, const char *key, const struct uqm_image *image)
{
    float pixels[3 * 56 * 56];
    struct uqm_err err = { 0 };
    char name[64];
    size_t n;

    snprintf(name, sizeof name, "%s.pixels", key);
    const float *expected = golden_f32(g, name, &n);
    assert_int_equal(n, sizeof pixels / sizeof *pixels);
    assert_ok(uqm_preprocess(pixels, image, &clip_56, &err), err);
    for (size_t i = 0; i < n; i++)
        if (memcmp(&pixels[i], &expected[i], sizeof pixels[i]) != 0)
            fail_msg("%s: value %zu is %.9g, not %.9g", name, i, (double) pixels[i],
                     (double) expected[i]);
}

static void every_sample_gives_the_stored_levels_and_pixel_values(void **state)
{
    (void) state;
    struct golden *g = golden_load(zoo_path("goldens/model/model.safetensors"));
    json_t *root = golden_json(zoo_path("goldens/model/model.json"));
    size_t i, n_checked = 0;
    json_t *sample;

    json_array_foreach (json_object_get(root, "samples"), i, sample) {
        if (json_is_null(json_object_get(sample, "image")))
            continue;
        struct uqm_image image;
        load_sample(&image, sample);
        check_resized(g, golden_string(sample, "key"), &image);
        check_pixels(g, golden_string(sample, "key"), &image);
        uqm_image_finish(&image);
        n_checked++;
    }
    assert_int_equal(n_checked, 17);
    json_decref(root);
    golden_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_picture_of_the_zoo_decodes_to_the_bytes_that_pillow_gives),
        cmocka_unit_test(every_kind_of_file_decodes_to_the_bytes_that_pillow_gives),
        cmocka_unit_test(resizing_to_any_side_gives_the_bytes_that_pillow_gives),
        cmocka_unit_test(every_sample_gives_the_stored_levels_and_pixel_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
