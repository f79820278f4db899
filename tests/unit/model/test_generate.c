#include "tests/unit/model/network_fixture.h"

static void generation_goes_on_as_if_the_new_tokens_had_been_asked(void **state)
{
    (void) state;
    struct fixture *f = setup();
    int32_t ids[8];
    size_t n;
    float first[VOCAB];
    struct uqm_err err = { 0 };

    f->n_prompts = 0;
    f->config.n_eos = 0;
    open_network(f, 64 * MIB, 2);
    add_prompt(f, 20, 5);
    const struct uqm_generate_job job = {
        .prompt = f->prompts, .features = give_features, .ctx = f, .max_tokens = 8
    };
    assert_ok(uqm_network_generate(f->network, &job, ids, &n, first, &err), err);
    assert_int_equal(n, 8);

    /* Each token has the largest logit of a prompt that ends before it; K and V in fp16 may turn a
     * near tie. */
    for (size_t i = 0; i < n; i++) {
        run(f);
        float best = f->logits[0][0];
        for (size_t t = 1; t < VOCAB; t++)
            best = fmaxf(best, f->logits[0][t]);
        assert_true(f->logits[0][ids[i]] > best - 1e-2f);
        if (i == 0)
            assert_memory_equal(first, f->logits[0], sizeof first);
        f->ids[0][f->prompts[0].n_ids++] = ids[i];
    }
    teardown(f);
}

static void generation_stops_at_eos_and_never_takes_padding(void **state)
{
    (void) state;
    struct fixture *f = setup();
    int32_t ids[8], again[8];
    size_t n;
    struct uqm_err err = { 0 };
    const struct uqm_generate_job job = {
        .prompt = f->prompts, .features = give_features, .ctx = f, .max_tokens = 8
    };

    f->config.n_eos = 0;
    open_network(f, 64 * MIB, 2);
    assert_ok(uqm_network_generate(f->network, &job, ids, &n, NULL, &err), err);
    assert_int_equal(n, 8);

    f->config.n_eos = 2;
    f->config.eos_ids[1] = ids[0];
    open_network(f, 64 * MIB, 2);
    assert_ok(uqm_network_generate(f->network, &job, again, &n, NULL, &err), err);
    assert_int_equal(n, 0);

    f->config.n_eos = 0;
    f->config.n_real_tokens = (uint32_t) ids[0];
    open_network(f, 64 * MIB, 2);
    assert_ok(uqm_network_generate(f->network, &job, again, &n, NULL, &err), err);
    assert_int_equal(n, 8);
    for (size_t i = 0; i < n; i++)
        assert_true(again[i] < ids[0]);
    teardown(f);
}

static void generation_ends_with_the_positions(void **state)
{
    (void) state;
    struct fixture *f = setup();
    int32_t ids[64];
    size_t n;
    struct uqm_err err = { 0 };
    const struct uqm_generate_job job = {
        .prompt = &f->prompts[6], .features = give_features, .ctx = f, .max_tokens = 64
    };
    f->config.n_eos = 0;
    f->config.text.max_positions = 128;
    open_network(f, 64 * MIB, 2);
    assert_ok(uqm_network_generate(f->network, &job, ids, &n, NULL, &err), err);
    assert_int_equal(n, 28); /* 128 positions, 100 of them the prompt's */
    teardown(f);
}

/* Down to the MLP in pieces, and past that to a refusal. */
static void generation_is_the_same_in_any_memory_and_threads(void **state)
{
    (void) state;
    struct fixture *f = setup();
    int32_t expected[8], ids[8];
    size_t n, n_runs = 0;
    struct uqm_err err = { 0 };
    const struct uqm_generate_job job = {
        .prompt = &f->prompts[5], .features = give_features, .ctx = f, .max_tokens = 8
    };
    f->config.n_eos = 0;
    open_network(f, 64 * MIB, 2);
    assert_ok(uqm_network_generate(f->network, &job, expected, &n, NULL, &err), err);
    for (uint64_t memory = 8 * MIB;; memory -= memory / 16) {
        open_network(f, memory, memory % 3 ? 1 : 2);
        int ret = uqm_network_generate(f->network, &job, ids, &n, NULL, &err);
        if (ret == UQM_ERR_NOMEM)
            break;
        assert_ok(ret, err);
        assert_int_equal(n, 8);
        assert_memory_equal(ids, expected, sizeof ids);
        assert_true(atomic_load(&f->env->budget.peak_bytes) <= memory);
        n_runs++;
    }
    assert_non_null(strstr(err.msg, "613 tokens and 8 new ones"));
    assert_true(n_runs >= 3);
    teardown(f);
}

static void weights_that_are_not_numbers_end_in_an_error(void **state)
{
    (void) state;
    struct fixture *f = setup();
    int32_t ids[8];
    size_t n;
    struct uqm_err err = { 0 };
    const struct uqm_generate_job job = {
        .prompt = f->prompts, .features = give_features, .ctx = f, .max_tokens = 8
    };
    memory_source_fill(&f->source, "language_model.model.norm.weight", 0xff);
    assert_fails(uqm_network_generate(f->network, &job, ids, &n, NULL, &err), err, UQM_ERR_FORMAT,
                 "logits of token 0 are not numbers");
    teardown(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(generation_goes_on_as_if_the_new_tokens_had_been_asked),
        cmocka_unit_test(generation_stops_at_eos_and_never_takes_padding),
        cmocka_unit_test(generation_ends_with_the_positions),
        cmocka_unit_test(generation_is_the_same_in_any_memory_and_threads),
        cmocka_unit_test(weights_that_are_not_numbers_end_in_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
