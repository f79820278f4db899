#include "tests/unit/model/network_fixture.h"

enum { N_PICTURES = 120 };

struct pictures {
    const struct uqm_model_config *config;
    float features[N_PICTURES][5 * 32];
    size_t n_stored;
    int fail_from; /* pictures from this one on are torn */
};

static int give_pixels(void *ctx, size_t image, float *dst, struct uqm_err *err)
{
    const struct pictures *p = ctx;
    if (p->fail_from && image >= (size_t) p->fail_from)
        return uqm_fail(err, UQM_ERR_FORMAT, "picture %zu is torn", image);
    for (size_t i = 0; i < 3 * 8 * 8; i++)
        dst[i] = (float) cos((double) (i + 1) * 0.21 * (double) (image + 1));
    return UQM_OK;
}

static int keep_features(void *ctx, size_t image, const float *features, struct uqm_err *err)
{
    struct pictures *p = ctx;
    (void) err;
    assert_int_equal(image, p->n_stored++);
    memcpy(p->features[image], features,
           uqm_network_feature_rows(p->config) * p->config->vision.hidden * sizeof *features);
    return UQM_OK;
}

static int run_vision(struct fixture *f, struct pictures *p, struct uqm_err *err)
{
    p->config = &f->config;
    p->n_stored = 0;
    const struct uqm_vision_job job = { .n_images = N_PICTURES,
                                        .pixels = give_pixels,
                                        .store = keep_features,
                                        .ctx = p,
                                        .stage = "testing" };
    return uqm_network_vision(f->network, &job, err);
}

static void features_are_the_same_bits_in_any_memory_and_threads(void **state)
{
    (void) state;
    struct fixture *f = setup();
    struct pictures expected = { 0 }, p;
    size_t most_streams = 0;
    struct uqm_err err = { 0 };

    assert_ok(run_vision(f, &expected, &err), err);
    for (uint64_t memory = 4 * MIB; memory > 0; memory -= memory / 16) {
        p = (struct pictures){ 0 };
        open_network(f, memory, memory % 3 ? 1 : 2);
        f->source.n_streams = 0;
        int ret = run_vision(f, &p, &err);
        if (ret == UQM_ERR_NOMEM)
            break;
        assert_ok(ret, err);
        assert_int_equal(p.n_stored, N_PICTURES);
        assert_memory_equal(p.features, expected.features, sizeof p.features);
        assert_true(atomic_load(&f->env->budget.peak_bytes) <= memory);
        if (f->source.n_streams > most_streams)
            most_streams = f->source.n_streams;
    }
    assert_true(most_streams >= 2);
    teardown(f);
}

static void the_class_token_is_kept_when_asked(void **state)
{
    (void) state;
    struct fixture *f = setup();
    struct pictures without = { 0 }, with = { 0 };
    struct uqm_err err = { 0 };
    assert_ok(run_vision(f, &without, &err), err);
    f->config.vision.keep_class_token = true;
    open_network(f, 64 * MIB, 1);
    assert_ok(run_vision(f, &with, &err), err);
    for (size_t i = 0; i < N_PICTURES; i++)
        assert_memory_equal(with.features[i] + 32, without.features[i], 4 * 32 * sizeof(float));
    teardown(f);
}

static void the_first_torn_picture_is_reported(void **state)
{
    (void) state;
    struct fixture *f = setup();
    struct pictures p = { .fail_from = 3 };
    struct uqm_err err = { 0 };
    assert_fails(run_vision(f, &p, &err), err, UQM_ERR_FORMAT, "picture 3 is torn");
    teardown(f);
}

static void layers_past_the_feature_layer_need_not_be_there(void **state)
{
    (void) state;
    struct fixture *f = setup();
    struct pictures p = { 0 };
    struct uqm_err err = { 0 };
    memory_source_remove(&f->source, "vision_tower.vision_model.encoder.layers.2.mlp.fc1.weight");
    open_network(f, 64 * MIB, 1);
    assert_ok(run_vision(f, &p, &err), err);
    f->config.vision.feature_layer = -1;
    struct uqm_network *n = NULL;
    assert_fails(uqm_network_create(&n, &f->machine, &f->source.source, &f->config, 64 * MIB, &err),
                 err, UQM_ERR_FORMAT, "layers.2.mlp.fc1.weight is missing");
    teardown(f);
}

static void a_cancelled_call_winds_up(void **state)
{
    (void) state;
    struct fixture *f = setup();
    struct pictures p = { 0 };
    struct uqm_err err = { 0 };
    volatile int cancel = 1;
    f->env->cancel = &cancel;
    assert_fails(run_vision(f, &p, &err), err, UQM_ERR_INTERRUPTED, "interrupted");
    teardown(f);
}

static void a_model_without_a_tower_has_no_features(void **state)
{
    (void) state;
    struct fixture *f = setup();
    struct pictures p = { 0 };
    struct uqm_err err = { 0 };
    f->config.has_vision = false;
    open_network(f, 64 * MIB, 1);
    assert_fails(run_vision(f, &p, &err), err, UQM_ERR_ARG, "no vision tower");
    teardown(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(features_are_the_same_bits_in_any_memory_and_threads),
        cmocka_unit_test(the_class_token_is_kept_when_asked),
        cmocka_unit_test(the_first_torn_picture_is_reported),
        cmocka_unit_test(layers_past_the_feature_layer_need_not_be_there),
        cmocka_unit_test(a_cancelled_call_winds_up),
        cmocka_unit_test(a_model_without_a_tower_has_no_features),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
