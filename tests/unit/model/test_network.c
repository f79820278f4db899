/* The network on models made up in memory: against plain arithmetic in double, and against itself
 * with other batches, memory, threads and weights' types. The zoo's values are in tests/golden. */
#include "tests/unit/model/network_fixture.h"
#include "tests/unit/model/reference_llama.h"

/* ---- right ---- */

static void check_against_double(const struct uqm_model_config *config, enum uqm_dtype dtype)
{
    struct fixture *f = setup_with(config, dtype);
    double *expected = calloc(config->text.vocab_size, sizeof *expected);
    assert_non_null(expected);
    add_prompt(f, 40, -1);
    add_prompt(f, 7, -1);
    run(f);
    for (size_t p = 0; p < f->n_prompts; p++) {
        reference_llama(expected, &f->source, &config->text, f->ids[p], f->prompts[p].n_ids);
        for (size_t i = 0; i < VOCAB; i++)
            if (!(fabs((double) f->logits[p][i] - expected[i]) < 2e-4))
                fail_msg("prompt %zu, logit %zu is %g, not %g", p, i, (double) f->logits[p][i],
                         expected[i]);
    }
    free(expected);
    teardown(f);
}

static void logits_are_those_of_plain_arithmetic_in_double(void **state)
{
    (void) state;
    struct uqm_model_config config = odd_config();
    check_against_double(&config, UQM_F16);
    check_against_double(&config, UQM_BF16);
    check_against_double(&config, UQM_F32);
    config.has_vision = false;
    config.text.tied_head = true;
    config.text.rope_theta = 500.0;
    check_against_double(&config, UQM_F16);
    config.text.n_layers = 1; /* the first layer is the last */
    check_against_double(&config, UQM_F16);
}

/* transformers 5 ties what a checkpoint leaves out, and leaves two different matrices as they are.
 */
static void a_head_that_is_stored_is_used_whatever_the_config_says(void **state)
{
    (void) state;
    struct fixture *f = setup();
    float expected[MAX_PROMPTS][VOCAB];
    run(f);
    memcpy(expected, f->logits, sizeof expected);
    memset(f->logits, 0, sizeof f->logits);
    f->config.text.tied_head = true;
    open_network(f, 64 * MIB, 2);
    run(f);
    for (size_t p = 0; p < f->n_prompts; p++)
        assert_memory_equal(f->logits[p], expected[p], sizeof expected[p]);
    teardown(f);
}

static void asked_tokens_have_the_logits_of_the_whole_vocabulary(void **state)
{
    (void) state;
    struct fixture *f = setup();
    static const int32_t tokens[] = { 299, 0, 17, 18, 17, 150 };
    float all[MAX_PROMPTS][VOCAB];
    struct uqm_err err = { 0 };

    run(f);
    memcpy(all, f->logits, sizeof all);
    struct uqm_llm_job job = job_of(f);
    job.tokens = tokens;
    job.n_tokens = f->n_logits = 6;
    assert_ok(uqm_network_logits(f->network, &job, &err), err);
    for (size_t p = 0; p < f->n_prompts; p++)
        for (size_t i = 0; i < 6; i++)
            assert_true(fabsf(f->logits[p][i] - all[p][tokens[i]]) < 1e-4f);
    teardown(f);
}

/* ---- the same, however it is run ---- */

static void assert_same_logits(struct fixture *f, float (*expected)[VOCAB])
{
    for (size_t p = 0; p < f->n_prompts; p++)
        if (memcmp(f->logits[p], expected[p], sizeof *expected) != 0)
            fail_msg("the logits of prompt %zu differ", p);
}

static void run_one_by_one(struct fixture *f)
{
    struct uqm_err err = { 0 };
    struct uqm_llm_prompt all[MAX_PROMPTS];
    const size_t n = f->n_prompts;
    float kept[MAX_PROMPTS][VOCAB];

    memcpy(all, f->prompts, sizeof all);
    f->n_prompts = 1;
    for (size_t p = 0; p < n; p++) {
        f->prompts[0] = all[p];
        const struct uqm_llm_job job = job_of(f);
        assert_ok(uqm_network_logits(f->network, &job, &err), err);
        memcpy(kept[p], f->logits[0], sizeof kept[p]);
    }
    f->n_prompts = n;
    memcpy(f->prompts, all, sizeof all);
    memcpy(f->logits, kept, sizeof kept);
}

static void a_batch_and_single_prompts_give_the_same_bits(void **state)
{
    (void) state;
    struct fixture *f = setup();
    float expected[MAX_PROMPTS][VOCAB];
    run(f);
    memcpy(expected, f->logits, sizeof expected);
    run_one_by_one(f);
    assert_same_logits(f, expected);
    teardown(f);
}

static void shuffled_prompts_give_the_same_bits(void **state)
{
    (void) state;
    struct fixture *f = setup();
    static const size_t order[] = { 8, 3, 0, 6, 1, 7, 4, 2, 5 };
    struct uqm_llm_prompt prompts[MAX_PROMPTS];
    float expected[MAX_PROMPTS][VOCAB];

    run(f);
    for (size_t i = 0; i < 9; i++) {
        prompts[i] = f->prompts[order[i]];
        memcpy(expected[i], f->logits[order[i]], sizeof expected[i]);
    }
    memcpy(f->prompts, prompts, sizeof prompts);
    run(f);
    assert_same_logits(f, expected);
    teardown(f);
}

/* From one batch down to one prompt a batch, the longest with its MLP in pieces. */
static void any_memory_gives_the_same_bits_and_is_kept_to(void **state)
{
    (void) state;
    struct fixture *f = setup();
    float expected[MAX_PROMPTS][VOCAB];
    size_t most_streams = 0;
    uint64_t least = 0;

    run(f);
    memcpy(expected, f->logits, sizeof expected);
    for (uint64_t memory = 32 * MIB; memory > 0; memory -= memory / 16) {
        struct uqm_err err = { 0 };
        open_network(f, memory, 1);
        f->source.n_streams = 0;
        const struct uqm_llm_job job = job_of(f);
        int ret = uqm_network_logits(f->network, &job, &err);
        if (ret == UQM_ERR_NOMEM)
            break;
        assert_ok(ret, err);
        assert_same_logits(f, expected);
        assert_true(atomic_load(&f->env->budget.peak_bytes) <= memory);
        if (f->source.n_streams > most_streams)
            most_streams = f->source.n_streams;
        least = memory;
    }
    assert_true(least < 4 * MIB);
    assert_true(most_streams >= 4);
    teardown(f);
}

/* The promise is larger than what others have left of the budget. */
static void what_others_hold_of_the_budget_is_left_to_them(void **state)
{
    (void) state;
    struct fixture *f = setup();
    float expected[MAX_PROMPTS][VOCAB];
    size_t n_done = 0, n_refused = 0;

    run(f);
    memcpy(expected, f->logits, sizeof expected);
    open_network(f, 512 * MIB, 1);
    for (uint64_t left = 12 * MIB; left > 0; left -= left / 8 + 1) {
        const size_t held = (size_t) (512 * MIB - left);
        struct uqm_err err = { 0 };
        void *block;
        assert_ok(uqm_budget_alloc(&block, f->env, held, 64, "the test", &err), err);
        const struct uqm_llm_job job = job_of(f);
        int ret = uqm_network_logits(f->network, &job, &err);
        assert_int_equal(atomic_load(&f->env->budget.used_bytes), held);
        uqm_budget_free(&block, f->env, held);
        if (ret == UQM_OK)
            assert_same_logits(f, expected);
        else
            assert_int_equal(ret, UQM_ERR_NOMEM);
        n_done += ret == UQM_OK;
        n_refused += ret != UQM_OK;
    }
    assert_true(n_done >= 3 && n_refused >= 3);
    teardown(f);
}

static void any_number_of_threads_gives_the_same_bits(void **state)
{
    (void) state;
    struct fixture *f = setup();
    float expected[MAX_PROMPTS][VOCAB];
    run(f);
    memcpy(expected, f->logits, sizeof expected);
    for (int n_threads = 1; n_threads <= 5; n_threads += 2) {
        open_network(f, 64 * MIB, n_threads);
        run(f);
        assert_same_logits(f, expected);
    }
    teardown(f);
}

static void count_states(void *ctx, size_t prompt, uint32_t layer, const float *hidden,
                         size_t n_rows)
{
    struct fixture *f = ctx;
    const bool last = layer == f->config.text.n_layers;
    size_t rows = f->prompts[prompt].n_ids;
    for (size_t i = 0; i < f->prompts[prompt].n_ids; i++)
        rows += f->prompts[prompt].ids[i] == PICTURE ? PATCHES - 1 : 0;
    if (rows > f->config.max_length)
        rows = f->config.max_length;
    assert_int_equal(n_rows, last ? 1 : rows);
    assert_true(isfinite(hidden[0]));
    f->n_states++;
}

static void observing_changes_nothing_and_sees_every_layer(void **state)
{
    (void) state;
    struct fixture *f = setup();
    float expected[MAX_PROMPTS][VOCAB];
    struct uqm_err err = { 0 };
    run(f);
    memcpy(expected, f->logits, sizeof expected);
    struct uqm_llm_job job = job_of(f);
    job.observe = count_states;
    assert_ok(uqm_network_logits(f->network, &job, &err), err);
    assert_int_equal(f->n_states, 9 * (3 + 1));
    assert_same_logits(f, expected);
    teardown(f);
}

/* ---- pictures and cuts ---- */

static void a_sequence_is_cut_at_max_length_even_inside_a_picture(void **state)
{
    (void) state;
    struct fixture *f = setup();
    f->n_prompts = 0;
    f->config.max_length = 100;
    open_network(f, 64 * MIB, 2);
    for (int at = 94; at <= 100; at++)
        add_prompt(f, 120, at); /* the picture's rows end at 97, ..., or are not there at all */
    for (size_t p = 0; p < f->n_prompts; p++)
        f->prompts[p].dropout = 0.0;
    run(f);
    float whole[VOCAB];
    memcpy(whole, f->logits[0], sizeof whole);

    /* The same up to the cut, by hand. */
    f->n_prompts = 1;
    f->prompts[0].n_ids = 97; /* 94 words, 4 patches, 2 words */
    run(f);
    assert_memory_equal(f->logits[0], whole, sizeof whole);
    teardown(f);
}

static void several_pictures_of_a_prompt_keep_their_order(void **state)
{
    (void) state;
    struct fixture *f = setup();
    f->n_prompts = 0;
    add_prompt(f, 20, 3);
    add_prompt(f, 20, 3);
    f->ids[0][9] = f->ids[1][9] = PICTURE;
    f->ids[1][0] = f->ids[0][0]; /* the features' salt */
    for (size_t i = 0; i < 20; i++)
        f->ids[1][i] = f->ids[0][i];
    run(f);
    assert_memory_equal(f->logits[0], f->logits[1], sizeof f->logits[0]);
    f->ids[1][9] = 5;
    f->ids[1][10] = PICTURE;
    run(f);
    assert_memory_not_equal(f->logits[0], f->logits[1], sizeof f->logits[0]);
    teardown(f);
}

/* ---- dropout ---- */

static void dropout_depends_on_seed_sample_and_j_alone(void **state)
{
    (void) state;
    struct fixture *f = setup();
    f->n_prompts = 0;
    for (uint32_t j = 0; j < 6; j++) {
        add_prompt(f, 30, 4);
        memcpy(f->ids[j], f->ids[0], sizeof f->ids[0]);
        f->prompts[j].dataset = "set";
        f->prompts[j].sample = j == 5 ? "other" : "one";
        f->prompts[j].j = j == 4 || j == 5 ? 0 : j;
        f->prompts[j].dropout = 0.1;
    }
    run(f);
    assert_memory_equal(f->logits[0], f->logits[4], sizeof f->logits[0]);
    for (size_t j = 1; j < 4; j++)
        assert_memory_not_equal(f->logits[0], f->logits[j], sizeof f->logits[0]);
    assert_memory_not_equal(f->logits[0], f->logits[5], sizeof f->logits[0]);

    for (size_t j = 0; j < 6; j++)
        f->prompts[j].dropout = 0.0;
    run(f);
    for (size_t j = 1; j < 6; j++)
        assert_memory_equal(f->logits[0], f->logits[j], sizeof f->logits[0]);
    teardown(f);
}

static void keep_state(void *ctx, size_t prompt, uint32_t layer, const float *hidden, size_t n_rows)
{
    struct fixture *f = ctx;
    (void) n_rows;
    if (layer == f->config.text.n_layers)
        memcpy(f->logits[prompt], hidden, f->config.text.hidden * sizeof *hidden);
}

static int drop_logits(void *ctx, size_t prompt, const float *logits, struct uqm_err *err)
{
    (void) ctx;
    (void) prompt;
    (void) logits;
    (void) err;
    return UQM_OK;
}

/* One layer whose MLP gives nothing: its output is linear in the mask, so the mean over masks
 * tends to the clean output. */
static void dropped_attention_has_the_clean_mean(void **state)
{
    (void) state;
    enum { ROUNDS = 100 };
    struct uqm_model_config config = odd_config();
    config.text.n_layers = 1;
    struct fixture *f = setup_with(&config, UQM_F16);
    const size_t width = config.text.hidden;
    double sum[48] = { 0 }, squares[48] = { 0 };
    float clean[48];
    struct uqm_err err = { 0 };

    memory_source_fill(&f->source, "language_model.model.layers.0.mlp.down_proj.weight", 0);
    for (size_t p = 0; p < MAX_PROMPTS; p++) {
        add_prompt(f, 25, -1);
        memcpy(f->ids[p], f->ids[0], sizeof f->ids[0]);
    }
    for (uint32_t round = 0; round <= ROUNDS; round++) {
        struct uqm_llm_job job = job_of(f);
        job.observe = keep_state;
        job.logits = drop_logits;
        for (uint32_t p = 0; p < MAX_PROMPTS; p++) {
            f->prompts[p].dataset = f->prompts[p].sample = "x";
            f->prompts[p].dropout = round ? 0.1 : 0.0;
            f->prompts[p].j = round * MAX_PROMPTS + p;
        }
        assert_ok(uqm_network_logits(f->network, &job, &err), err);
        if (round == 0)
            memcpy(clean, f->logits[0], sizeof clean);
        for (size_t p = 0; round > 0 && p < MAX_PROMPTS; p++)
            for (size_t i = 0; i < width; i++) {
                sum[i] += (double) f->logits[p][i];
                squares[i] += (double) f->logits[p][i] * (double) f->logits[p][i];
            }
    }
    const double n = ROUNDS * MAX_PROMPTS;
    for (size_t i = 0; i < width; i++) {
        const double mean = sum[i] / n, error = sqrt((squares[i] / n - mean * mean) / n);
        assert_true(error > 0);
        if (fabs(mean - (double) clean[i]) > 4.5 * error)
            fail_msg("element %zu: mean %g, clean %g, standard error %g", i, mean,
                     (double) clean[i], error);
    }
    teardown(f);
}

/* ---- what is refused ---- */

static void refuse(struct fixture *f, enum uqm_status code, const char *text)
{
    struct uqm_err err = { 0 };
    struct uqm_network *n = NULL;
    assert_fails(uqm_network_create(&n, &f->machine, &f->source.source, &f->config, 64 * MIB, &err),
                 err, code, text);
    assert_null(n);
}

static void a_tensor_missing_misshapen_or_of_another_type_is_named(void **state)
{
    (void) state;
    static const char up[] = "language_model.model.layers.1.mlp.up_proj.weight";
    struct fixture *f = setup();
    const uint64_t wrong[3] = { 599, 48, 1 }, right[2] = { 600, 48 };

    memory_source_add(&f->source, up, UQM_F16, 2, wrong, 1.0);
    refuse(f, UQM_ERR_FORMAT, up);
    refuse(f, UQM_ERR_FORMAT, "shape [599, 48], but config.json asks for [600, 48]");
    memory_source_add(&f->source, up, UQM_F16, 3, wrong, 1.0);
    refuse(f, UQM_ERR_FORMAT, "[599, 48, 1]");
    memory_source_add(&f->source, up, UQM_F64, 2, right, 0.0);
    refuse(f, UQM_ERR_UNSUPPORTED, "not F64");
    memory_source_remove(&f->source, up);
    refuse(f, UQM_ERR_FORMAT, "layers.1.mlp.up_proj.weight is missing");
    teardown(f);
}

static void a_tensor_the_network_would_leave_out_is_refused(void **state)
{
    (void) state;
    struct fixture *f = setup();
    const uint64_t shape = 64;
    memory_source_add(&f->source, "language_model.model.layers.0.self_attn.q_proj.bias", UQM_F16, 1,
                      &shape, 1.0);
    refuse(f, UQM_ERR_UNSUPPORTED, "q_proj.bias has no place");
    f->config.has_vision = false;
    refuse(f, UQM_ERR_UNSUPPORTED, "has no place");
    teardown(f);
}

static void fail_job(struct fixture *f, enum uqm_status code, const char *text)
{
    struct uqm_err err = { 0 };
    const struct uqm_llm_job job = job_of(f);
    assert_fails(uqm_network_logits(f->network, &job, &err), err, code, text);
    assert_int_equal(atomic_load(&f->env->budget.used_bytes), 0);
}

static void prompts_that_make_no_sense_are_refused(void **state)
{
    (void) state;
    struct fixture *f = setup();
    f->ids[4][2] = VOCAB;
    fail_job(f, UQM_ERR_ARG, "prompt 4: token id 300 is outside");
    f->ids[4][2] = -1;
    fail_job(f, UQM_ERR_ARG, "token id -1");
    f->ids[4][2] = 0;
    f->prompts[4].dropout = 1.0;
    fail_job(f, UQM_ERR_ARG, "dropout 1 is outside");
    f->prompts[4].dropout = (double) NAN;
    fail_job(f, UQM_ERR_ARG, "dropout");
    f->prompts[4].dropout = 0;
    f->prompts[8].n_ids = 0;
    fail_job(f, UQM_ERR_ARG, "prompt 8 is empty");
    f->prompts[8].n_ids = 1;
    f->config.has_vision = false;
    open_network(f, 64 * MIB, 1);
    fail_job(f, UQM_ERR_ARG, "prompt 1 has a picture, but the model has no vision tower");
    teardown(f);
}

static void failures_of_the_callbacks_and_the_disk_come_back(void **state)
{
    (void) state;
    struct fixture *f = setup();
    f->fail_features = UQM_ERR_IO;
    fail_job(f, UQM_ERR_IO, "picture 0 is torn");
    f->fail_features = 0;
    f->fail_logits = UQM_ERR_IO;
    fail_job(f, UQM_ERR_IO, "logits of prompt 0");
    f->fail_logits = 0;
    for (f->source.fail_after = 1; f->source.fail_after < 30; f->source.fail_after += 3)
        fail_job(f, UQM_ERR_IO, "the disk is gone");
    teardown(f);
}

static void a_cancelled_call_winds_up(void **state)
{
    (void) state;
    struct fixture *f = setup();
    volatile int cancel = 1;
    f->env->cancel = &cancel;
    fail_job(f, UQM_ERR_INTERRUPTED, "interrupted");
    teardown(f);
}

/* The message says how much more would do, and so much does. */
static void too_little_memory_says_how_much_would_do(void **state)
{
    (void) state;
    struct fixture *f = setup();
    struct uqm_err err = { 0 };
    const struct uqm_llm_job job = job_of(f);
    uint64_t memory = 256 << 10;

    open_network(f, memory, 1);
    assert_fails(uqm_network_logits(f->network, &job, &err), err, UQM_ERR_NOMEM, "--memory");
    static const char mark[] = "beside the buffers for weights: ";
    const char *more = strstr(err.msg, mark);
    assert_non_null(more);
    assert_non_null(strstr(err.msg, "would do"));
    memory += strtoull(more + strlen(mark), NULL, 10) * MIB;
    open_network(f, memory, 1);
    run(f);
    teardown(f);
}

static struct {
    uint64_t last, n_calls, total;
} progress;

static void on_progress(void *ctx, const struct uqm_progress *p)
{
    (void) ctx;
    assert_true(p->done >= progress.last && p->done <= p->total);
    assert_string_equal(p->unit, "prompts");
    progress.last = p->done;
    progress.total = p->total;
    progress.n_calls++;
}

static void progress_moves_within_a_batch_and_ends_at_the_total(void **state)
{
    (void) state;
    struct fixture *f = setup();
    f->env->progress = on_progress;
    run(f);
    assert_int_equal(progress.last, 9);
    assert_int_equal(progress.total, 9);
    assert_true(progress.n_calls >= 4);
    teardown(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_are_those_of_plain_arithmetic_in_double),
        cmocka_unit_test(a_head_that_is_stored_is_used_whatever_the_config_says),
        cmocka_unit_test(asked_tokens_have_the_logits_of_the_whole_vocabulary),
        cmocka_unit_test(a_batch_and_single_prompts_give_the_same_bits),
        cmocka_unit_test(shuffled_prompts_give_the_same_bits),
        cmocka_unit_test(any_memory_gives_the_same_bits_and_is_kept_to),
        cmocka_unit_test(what_others_hold_of_the_budget_is_left_to_them),
        cmocka_unit_test(any_number_of_threads_gives_the_same_bits),
        cmocka_unit_test(observing_changes_nothing_and_sees_every_layer),
        cmocka_unit_test(a_sequence_is_cut_at_max_length_even_inside_a_picture),
        cmocka_unit_test(several_pictures_of_a_prompt_keep_their_order),
        cmocka_unit_test(dropout_depends_on_seed_sample_and_j_alone),
        cmocka_unit_test(dropped_attention_has_the_clean_mean),
        cmocka_unit_test(a_tensor_missing_misshapen_or_of_another_type_is_named),
        cmocka_unit_test(a_tensor_the_network_would_leave_out_is_refused),
        cmocka_unit_test(prompts_that_make_no_sense_are_refused),
        cmocka_unit_test(failures_of_the_callbacks_and_the_disk_come_back),
        cmocka_unit_test(a_cancelled_call_winds_up),
        cmocka_unit_test(too_little_memory_says_how_much_would_do),
        cmocka_unit_test(progress_moves_within_a_batch_and_ends_at_the_total),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
