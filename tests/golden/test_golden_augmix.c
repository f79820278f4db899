/* AugMix against torchvision: every stored operation, fixed mixes, and how far random draws go. */
#include <math.h>

#include "src/uq/augmix.h"
#include "src/uq/perturb.h"
#include "tests/golden/golden.h"
#include "tests/unit/test.h"

static struct golden *arrays;
static json_t *root;
static struct uqm_image inputs[3];

static int load(void **state)
{
    (void) state;
    arrays = golden_load(zoo_path("goldens/augmix/augmix.safetensors"));
    root = golden_json(zoo_path("goldens/augmix/augmix.json"));
    for (int i = 0; i < 3; i++) {
        char name[32];
        struct uqm_err err = { 0 };
        snprintf(name, sizeof name, "input_%d", i);
        const struct golden_shape s = golden_shape(arrays, name);
        assert_int_equal(s.n_dims, 3);
        assert_ok(uqm_image_init(&inputs[i], (uint32_t) s.dim[2], (uint32_t) s.dim[1], &err), err);
        memcpy(inputs[i].rgb, golden_u8(arrays, name, NULL), s.n_elem);
    }
    return 0;
}

static int unload(void **state)
{
    (void) state;
    for (int i = 0; i < 3; i++)
        uqm_image_finish(&inputs[i]);
    json_decref(root);
    golden_free(&arrays);
    return 0;
}

/* The operation of this name, or UQM_AUGMIX_N_OPS. */
static enum uqm_augmix_op op_named(const char *name)
{
    enum uqm_augmix_op op = 0;
    while (op < UQM_AUGMIX_N_OPS && strcmp(uqm_augmix_op_name(op), name) != 0)
        op++;
    return op;
}

static const struct uqm_image *input_of(const json_t *item)
{
    return &inputs[json_integer_value(json_object_get(item, "image"))];
}

static void assert_pixels(const struct uqm_image *image, const char *key)
{
    size_t n, n_wrong = 0, first = 0;
    const uint8_t *expected = golden_u8(arrays, key, &n);
    assert_int_equal(n, 3 * (size_t) image->width * image->height);
    for (size_t i = n; i-- > 0;)
        if (image->rgb[i] != expected[i]) {
            n_wrong++;
            first = i;
        }
    if (n_wrong)
        fail_msg("%s: %zu of %zu levels differ, level %zu is %d, not %d", key, n_wrong, n, first,
                 image->rgb[first], expected[first]);
}

static void stored_input_pictures_decode_to_the_stored_arrays(void **state)
{
    (void) state;
    for (int i = 0; i < 3; i++) {
        struct uqm_image image;
        struct uqm_err err = { 0 };
        char path[64], key[32];
        snprintf(path, sizeof path, "goldens/augmix/input_%d.png", i);
        snprintf(key, sizeof key, "input_%d", i);
        assert_ok(uqm_image_load(&image, zoo_path(path), 1 << 20, &err), err);
        assert_pixels(&image, key);
        uqm_image_finish(&image);
    }
}

static void every_operation_gives_its_stored_output(void **state)
{
    (void) state;
    size_t i, n_checked[UQM_AUGMIX_N_OPS] = { 0 };
    json_t *item;

    json_array_foreach (json_object_get(root, "cases"), i, item) {
        const enum uqm_augmix_op op = op_named(golden_string(item, "op"));
        if (op == UQM_AUGMIX_N_OPS)
            continue;
        struct uqm_image out;
        struct uqm_err err = { 0 };
        const struct uqm_image *in = input_of(item);
        assert_ok(uqm_image_init(&out, in->width, in->height, &err), err);
        uqm_augmix_op(&out, in, op, golden_number(item, "magnitude"));
        assert_pixels(&out, golden_string(item, "key"));
        uqm_image_finish(&out);
        n_checked[op]++;
    }
    for (size_t op = 0; op < UQM_AUGMIX_N_OPS; op++)
        assert_true(n_checked[op] >= 3);
}

static void read_plan(struct uqm_augmix_plan *plan, const json_t *item)
{
    plan->original_weight = (float) golden_number(item, "original_weight");
    for (size_t c = 0; c < UQM_AUGMIX_WIDTH; c++) {
        const json_t *weights = json_object_get(item, "chain_weights");
        const json_t *chain = json_array_get(json_object_get(item, "chains"), c);
        plan->chain_weights[c] = (float) json_number_value(json_array_get(weights, c));
        plan->depths[c] = (unsigned) json_array_size(chain);
        assert_true(plan->depths[c] >= 1 && plan->depths[c] <= UQM_AUGMIX_MAX_DEPTH);
        for (size_t k = 0; k < plan->depths[c]; k++) {
            const json_t *step = json_array_get(chain, k);
            plan->steps[c][k].op = op_named(json_string_value(json_array_get(step, 0)));
            plan->steps[c][k].magnitude = json_number_value(json_array_get(step, 1));
            assert_true(plan->steps[c][k].op < UQM_AUGMIX_N_OPS);
        }
    }
}

static void every_mix_gives_its_stored_output(void **state)
{
    (void) state;
    size_t i, n_checked = 0;
    json_t *item;

    json_array_foreach (json_object_get(root, "cases"), i, item) {
        if (strcmp(golden_string(item, "op"), "mix") != 0)
            continue;
        struct uqm_augmix_plan plan;
        struct uqm_image out;
        struct uqm_err err = { 0 };
        read_plan(&plan, item);
        assert_ok(uqm_augmix_apply(&out, input_of(item), &plan, &err), err);
        assert_pixels(&out, golden_string(item, "key"));
        uqm_image_finish(&out);
        n_checked++;
    }
    assert_int_equal(n_checked, 12);
}

static double mean_level(const struct uqm_image *image)
{
    const size_t n = 3 * (size_t) image->width * image->height;
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += image->rgb[i];
    return (double) sum / (double) n;
}

static double mean_change(const struct uqm_image *a, const struct uqm_image *b)
{
    const size_t n = 3 * (size_t) a->width * a->height;
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (uint64_t) abs(a->rgb[i] - b->rgb[i]);
    return (double) sum / (double) n;
}

/* 200 draws there, five times as many here: four standard errors of the difference of the means. */
static void random_draws_change_pictures_as_much_as_the_stored_statistics_say(void **state)
{
    (void) state;
    enum { DRAWS = 1000, STORED_DRAWS = 200 };
    size_t i, n_checked = 0;
    json_t *item;

    json_array_foreach (json_object_get(root, "cases"), i, item) {
        if (strcmp(golden_string(item, "op"), "AugMix_200_draws") != 0)
            continue;
        const struct uqm_image *in = input_of(item);
        double change = 0, level = 0;
        for (uint32_t j = 0; j < DRAWS; j++) {
            struct uqm_rng rng;
            struct uqm_image out;
            struct uqm_err err = { 0 };
            uqm_rng_init(&rng, uqm_rng_stream(0, UQM_RNG_IMAGE, "golden", "draws", j, 0));
            assert_ok(uqm_augmix(&out, in, &rng, &err), err);
            change += mean_change(&out, in) / DRAWS;
            level += mean_level(&out) / DRAWS;
            uqm_image_finish(&out);
        }
        const double sd = golden_number(item, "std_abs_change");
        const double tolerance = 4 * sd * sqrt(1.0 / STORED_DRAWS + 1.0 / DRAWS);
        if (fabs(change - golden_number(item, "mean_abs_change")) > tolerance)
            fail_msg("mean change %g, stored %g", change, golden_number(item, "mean_abs_change"));
        /* A picture's level moves by no more than its pixels do. */
        if (fabs(level - golden_number(item, "mean_pixel")) > tolerance)
            fail_msg("mean level %g, stored %g", level, golden_number(item, "mean_pixel"));
        n_checked++;
    }
    assert_int_equal(n_checked, 3);
}

static void the_nine_prompts_are_the_stored_ones(void **state)
{
    (void) state;
    json_t *tasks = golden_json(zoo_path("data/tasks.json"));
    const json_t *prompts = json_object_get(tasks, "perturbation_prompts");
    assert_int_equal(json_array_size(prompts), UQM_N_PERTURB_PROMPTS);
    for (uint32_t i = 0; i < UQM_N_PERTURB_PROMPTS; i++)
        assert_string_equal(uqm_perturb_prompt(i), json_string_value(json_array_get(prompts, i)));
    json_decref(tasks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stored_input_pictures_decode_to_the_stored_arrays),
        cmocka_unit_test(every_operation_gives_its_stored_output),
        cmocka_unit_test(every_mix_gives_its_stored_output),
        cmocka_unit_test(random_draws_change_pictures_as_much_as_the_stored_statistics_say),
        cmocka_unit_test(the_nine_prompts_are_the_stored_ones),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
