#include "tests/unit/model/network_fixture.h"

enum { MOST = 64 };

/* What a job gives back. */
struct answers {
    struct fixture *f;
    int32_t ids[MAX_PROMPTS][MOST];
    size_t n[MAX_PROMPTS];
    float first[MAX_PROMPTS][VOCAB];
    size_t n_first, n_delivered;
    int fail; /* a code to return */
};

static int features_of(void *ctx, size_t prompt, size_t k, float *dst, struct uqm_err *err)
{
    const struct answers *a = ctx;
    return give_features(a->f, prompt, k, dst, err);
}

static int keep_answer(void *ctx, size_t prompt, const int32_t *ids, size_t n_ids,
                       struct uqm_err *err)
{
    struct answers *a = ctx;
    if (a->fail)
        return uqm_fail(err, (enum uqm_status) a->fail, "the answer to prompt %zu", prompt);
    assert_int_equal(prompt, a->n_delivered++);
    assert_true(n_ids <= MOST);
    memcpy(a->ids[prompt], ids, n_ids * sizeof *ids);
    a->n[prompt] = n_ids;
    return UQM_OK;
}

static int keep_first(void *ctx, size_t prompt, const float *logits, struct uqm_err *err)
{
    struct answers *a = ctx;
    (void) err;
    a->n_first++;
    memcpy(a->first[prompt], logits, sizeof a->first[prompt]);
    return UQM_OK;
}

static int answer(struct answers *a, struct fixture *f, size_t n_prompts,
                  const uint32_t *max_tokens, struct uqm_err *err)
{
    *a = (struct answers){ .f = f, .fail = a->fail };
    const struct uqm_generate_job job = {
        .n_prompts = n_prompts,
        .prompts = f->prompts,
        .max_tokens = max_tokens,
        .features = features_of,
        .answer = keep_answer,
        .first_logits = keep_first,
        .ctx = a,
        .stage = "answering",
    };
    return uqm_network_generate(f->network, &job, err);
}

/* One prompt that stands first, and 8 tokens. */
static size_t answer_one(int32_t ids[8], struct fixture *f)
{
    static struct answers a;
    const uint32_t max_tokens = 8;
    struct uqm_err err = { 0 };
    assert_ok(answer(&a, f, 1, &max_tokens, &err), err);
    memcpy(ids, a.ids[0], 8 * sizeof *ids);
    return a.n[0];
}

/* As many tokens as the prompt's number and one more: answers end one after the other. */
static const uint32_t staggered[9] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };

static void generation_goes_on_as_if_the_new_tokens_had_been_asked(void **state)
{
    (void) state;
    struct fixture *f = setup();
    static struct answers a;
    const uint32_t max_tokens = 8;
    struct uqm_err err = { 0 };

    f->n_prompts = 0;
    f->config.n_eos = 0;
    open_network(f, 64 * MIB, 2);
    add_prompt(f, 20, 5);
    assert_ok(answer(&a, f, 1, &max_tokens, &err), err);
    assert_int_equal(a.n[0], 8);

    /* Each token has the largest logit of a prompt that ends before it; K and V in fp16 may turn a
     * near tie. */
    for (size_t i = 0; i < a.n[0]; i++) {
        run(f);
        float best = f->logits[0][0];
        for (size_t t = 1; t < VOCAB; t++)
            best = fmaxf(best, f->logits[0][t]);
        assert_true(f->logits[0][a.ids[0][i]] > best - 1e-2f);
        if (i == 0)
            assert_memory_equal(a.first[0], f->logits[0], sizeof a.first[0]);
        f->ids[0][f->prompts[0].n_ids++] = a.ids[0][i];
    }
    teardown(f);
}

static void many_prompts_get_the_answers_that_each_gets_alone(void **state)
{
    (void) state;
    struct fixture *f = setup();
    static struct answers together, alone;
    struct uqm_err err = { 0 };
    f->config.n_eos = 0;
    open_network(f, 64 * MIB, 2);
    assert_ok(answer(&together, f, 9, staggered, &err), err);
    assert_int_equal(together.n_delivered, 9);
    assert_int_equal(together.n_first, 9);

    for (size_t i = 0; i < 9; i++) {
        assert_int_equal(together.n[i], staggered[i]);
        f->prompts[0] = f->prompts[i];
        assert_ok(answer(&alone, f, 1, &staggered[i], &err), err);
        assert_int_equal(alone.n[0], together.n[i]);
        assert_memory_equal(alone.ids[0], together.ids[i], staggered[i] * sizeof(int32_t));
        assert_memory_equal(alone.first[0], together.first[i], sizeof alone.first[0]);
    }
    teardown(f);
}

static void some_answers_end_early_and_the_others_go_on(void **state)
{
    (void) state;
    struct fixture *f = setup();
    static struct answers free_run, stopped;
    uint32_t max_tokens[9];
    struct uqm_err err = { 0 };
    for (size_t i = 0; i < 9; i++)
        max_tokens[i] = 12;
    f->config.n_eos = 0;
    open_network(f, 64 * MIB, 2);
    assert_ok(answer(&free_run, f, 9, max_tokens, &err), err);

    /* Tokens of two prompts' answers end all of them. */
    f->config.n_eos = 2;
    f->config.eos_ids[0] = free_run.ids[1][3];
    f->config.eos_ids[1] = free_run.ids[6][0];
    open_network(f, 64 * MIB, 2);
    assert_ok(answer(&stopped, f, 9, max_tokens, &err), err);
    assert_true(stopped.n[1] <= 3);
    assert_int_equal(stopped.n[6], 0);
    for (size_t i = 0; i < 9; i++) {
        size_t n = 0;
        while (n < 12 && free_run.ids[i][n] != f->config.eos_ids[0] &&
               free_run.ids[i][n] != f->config.eos_ids[1])
            n++;
        assert_int_equal(stopped.n[i], n);
        assert_memory_equal(stopped.ids[i], free_run.ids[i], n * sizeof(int32_t));
    }
    teardown(f);
}

static void padding_is_never_said(void **state)
{
    (void) state;
    struct fixture *f = setup();
    int32_t ids[8], again[8];
    f->config.n_eos = 0;
    open_network(f, 64 * MIB, 2);
    assert_int_equal(answer_one(ids, f), 8);

    f->config.n_real_tokens = (uint32_t) ids[0];
    open_network(f, 64 * MIB, 2);
    assert_int_equal(answer_one(again, f), 8);
    for (size_t i = 0; i < 8; i++)
        assert_true(again[i] < ids[0]);

    /* An id behind the image token that ends answers does so all the same. */
    f->config.n_eos = 2;
    f->config.eos_ids[0] = 0;
    f->config.eos_ids[1] = ids[0];
    open_network(f, 64 * MIB, 2);
    assert_int_equal(answer_one(again, f), 0);
    teardown(f);
}

static void generation_ends_with_the_positions(void **state)
{
    (void) state;
    struct fixture *f = setup();
    static struct answers a;
    uint32_t max_tokens[9];
    struct uqm_err err = { 0 };
    for (size_t i = 0; i < 9; i++)
        max_tokens[i] = 64;
    f->config.n_eos = 0;
    f->config.text.max_positions = 128;
    open_network(f, 64 * MIB, 2);
    assert_ok(answer(&a, f, 9, max_tokens, &err), err);
    assert_int_equal(a.n[6], 28); /* 128 positions, 100 of them the prompt's */
    assert_int_equal(a.n[0], 64);
    assert_int_equal(a.n[5], 0); /* 613 rows: nothing is left */
    teardown(f);
}

/* From weights in memory and one group, by way of many groups and weights read again for every
 * token, down to the MLP in pieces, and past that to a refusal. */
static void generation_is_the_same_in_any_memory_and_threads(void **state)
{
    (void) state;
    struct fixture *f = setup();
    static struct answers expected, a;
    size_t n_runs = 0, n_streams = 0;
    struct uqm_err err = { 0 };
    f->config.n_eos = 0;
    open_network(f, 64 * MIB, 2);
    assert_ok(answer(&expected, f, 9, staggered, &err), err);
    assert_int_equal(f->source.n_streams, 1); /* read once, and kept */
    for (uint64_t memory = 24 * MIB;; memory -= memory / 16) {
        open_network(f, memory, memory % 3 ? 1 : 2);
        const size_t before = f->source.n_streams;
        int ret = answer(&a, f, 9, staggered, &err);
        if (ret == UQM_ERR_NOMEM)
            break;
        assert_ok(ret, err);
        for (size_t i = 0; i < 9; i++) {
            assert_int_equal(a.n[i], staggered[i]);
            assert_memory_equal(a.ids[i], expected.ids[i], a.n[i] * sizeof(int32_t));
            assert_memory_equal(a.first[i], expected.first[i], sizeof a.first[i]);
        }
        assert_true(atomic_load(&f->env->budget.peak_bytes) <= memory);
        const size_t streams = f->source.n_streams - before;
        n_streams = streams > n_streams ? streams : n_streams;
        n_runs++;
    }
    assert_true(n_streams > 2 * 8); /* several groups somewhere, of which each pass reads */
    assert_non_null(strstr(err.msg, "613 tokens and 6 new ones"));
    assert_true(n_runs >= 10);
    teardown(f);
}

static void no_prompt_is_no_work_and_no_tokens_are_an_empty_answer(void **state)
{
    (void) state;
    struct fixture *f = setup();
    static struct answers a;
    struct uqm_err err = { 0 };
    assert_ok(answer(&a, f, 0, NULL, &err), err);
    assert_int_equal(a.n_delivered, 0);
    const uint32_t none[2] = { 0, 1 };
    f->config.n_eos = 0;
    open_network(f, 64 * MIB, 2);
    assert_ok(answer(&a, f, 2, none, &err), err);
    assert_int_equal(a.n_delivered, 2);
    assert_int_equal(a.n[0], 0);
    assert_int_equal(a.n[1], 1);
    teardown(f);
}

static void failures_of_the_callers_end_the_job(void **state)
{
    (void) state;
    struct fixture *f = setup();
    static struct answers a;
    struct uqm_err err = { 0 };
    a.fail = UQM_ERR_IO;
    assert_fails(answer(&a, f, 9, staggered, &err), err, UQM_ERR_IO, "the answer to prompt 0");
    a.fail = 0;
    f->fail_features = UQM_ERR_FORMAT;
    assert_fails(answer(&a, f, 9, staggered, &err), err, UQM_ERR_FORMAT, "picture 0 is torn");
    teardown(f);
}

static void weights_that_are_not_numbers_end_in_an_error(void **state)
{
    (void) state;
    struct fixture *f = setup();
    static struct answers a;
    struct uqm_err err = { 0 };
    memory_source_fill(&f->source, "language_model.model.norm.weight", 0xff);
    assert_fails(answer(&a, f, 9, staggered, &err), err, UQM_ERR_FORMAT,
                 "logits of token 0 are not numbers");
    teardown(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(generation_goes_on_as_if_the_new_tokens_had_been_asked),
        cmocka_unit_test(many_prompts_get_the_answers_that_each_gets_alone),
        cmocka_unit_test(some_answers_end_early_and_the_others_go_on),
        cmocka_unit_test(padding_is_never_said),
        cmocka_unit_test(generation_ends_with_the_positions),
        cmocka_unit_test(generation_is_the_same_in_any_memory_and_threads),
        cmocka_unit_test(no_prompt_is_no_work_and_no_tokens_are_an_empty_answer),
        cmocka_unit_test(failures_of_the_callers_end_the_job),
        cmocka_unit_test(weights_that_are_not_numbers_end_in_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
