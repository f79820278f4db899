/* Layers held in memory while batches of prompts go through: the same bits as tile by tile,
 * whatever is held, kept and spilled; and what goes wrong on the way. */
#include "src/model/pass_plan.h"
#include "tests/unit/model/network_fixture.h"

static int ask(struct fixture *f, const struct uqm_plan_wish *wish, struct uqm_err *err)
{
    struct uqm_llm_job job = job_of(f);
    job.wish = wish;
    return uqm_network_logits(f->network, &job, err);
}

static struct uqm_plan_wish layers(enum uqm_states_kind states)
{
    return (struct uqm_plan_wish){
        .kind = UQM_PLAN_LAYERS,
        .batch_rows = 150,
        .has_states = true,
        .states = states,
    };
}

static void remember(struct fixture *f, float (*kept)[VOCAB])
{
    const struct uqm_plan_wish wish = { .kind = UQM_PLAN_TILES };
    struct uqm_err err = { 0 };
    assert_ok(ask(f, &wish, &err), err);
    memcpy(kept, f->logits, sizeof f->logits);
}

static void assert_same(struct fixture *f, float (*expected)[VOCAB])
{
    assert_int_equal(f->n_delivered, f->n_prompts);
    for (size_t p = 0; p < f->n_prompts; p++)
        if (memcmp(f->logits[p], expected[p], sizeof *expected) != 0)
            fail_msg("the logits of prompt %zu differ", p);
    memset(f->logits, 0, sizeof f->logits);
}

/* ---- the same bits ---- */

static void check_plans(struct fixture *f, float (*expected)[VOCAB])
{
    static const size_t rows[] = { 1, 64, 400, 100000 }, prompts[] = { 0, 1, 4 };
    struct uqm_err err = { 0 };
    for (unsigned i = 0; i < 4 * 3 * 2 * 3 * 2; i++) {
        struct uqm_plan_wish wish = layers(i / 72 % 2 ? UQM_STATES_FILE : UQM_STATES_DEVICE);
        wish.batch_rows = rows[i % 4];
        wish.n_slots = i / 4 % 3 + 1;
        wish.groups_a_layer = i / 12 % 2 + 1;
        wish.most_prompts = prompts[i / 24 % 3];
        assert_ok(ask(f, &wish, &err), err);
        assert_same(f, expected);
        assert_int_equal(atomic_load(&f->env->budget.used_bytes), 0);
    }
}

static void every_plan_gives_the_same_bits(void **state)
{
    (void) state;
    struct fixture *f = setup();
    float expected[MAX_PROMPTS][VOCAB];
    remember(f, expected);
    for (int n_threads = 1; n_threads <= 3; n_threads += 2) {
        open_network(f, 64 * MIB, n_threads);
        check_plans(f, expected);
    }
    teardown(f);
}

static void chosen_tokens_have_the_same_bits_too(void **state)
{
    (void) state;
    struct fixture *f = setup();
    static const int32_t tokens[] = { 299, 0, 17, 18, 17, 150 };
    const struct uqm_plan_wish tiles = { .kind = UQM_PLAN_TILES };
    const struct uqm_plan_wish wishes[] = { tiles, layers(UQM_STATES_DEVICE),
                                            layers(UQM_STATES_FILE) };
    float expected[MAX_PROMPTS][6];
    struct uqm_err err = { 0 };
    for (size_t i = 0; i < 3; i++) {
        struct uqm_llm_job job = job_of(f);
        job.wish = &wishes[i];
        job.tokens = tokens;
        job.n_tokens = f->n_logits = 6;
        assert_ok(uqm_network_logits(f->network, &job, &err), err);
        for (size_t p = 0; p < f->n_prompts; p++)
            if (i == 0)
                memcpy(expected[p], f->logits[p], sizeof expected[p]);
            else
                assert_memory_equal(f->logits[p], expected[p], sizeof expected[p]);
    }
    teardown(f);
}

/* A model of one layer: the first half of the last layer is the first half of the first. */
static void one_layer_and_no_pictures_are_enough(void **state)
{
    (void) state;
    struct uqm_model_config config = odd_config();
    config.text.n_layers = 1;
    config.has_vision = false;
    config.text.tied_head = true;
    struct fixture *f = setup_with(&config, UQM_BF16);
    float expected[MAX_PROMPTS][VOCAB];
    add_prompt(f, 40, -1);
    add_prompt(f, 3, -1);
    add_prompt(f, 600, -1);
    remember(f, expected);
    check_plans(f, expected);
    teardown(f);
}

static void any_memory_gives_the_same_bits_and_is_kept_to(void **state)
{
    (void) state;
    struct fixture *f = setup();
    float expected[MAX_PROMPTS][VOCAB];
    size_t most_streams = 0;
    uint64_t least = 0;
    remember(f, expected);
    for (uint64_t memory = 32 * MIB; memory > 0; memory -= memory / 8) {
        const struct uqm_plan_wish wish = { .kind = UQM_PLAN_LAYERS, .batch_rows = 100 };
        struct uqm_err err = { 0 };
        open_network(f, memory, 1);
        f->source.n_streams = 0;
        int ret = ask(f, &wish, &err);
        if (ret == UQM_ERR_NOMEM)
            break;
        assert_ok(ret, err);
        assert_same(f, expected);
        assert_true(atomic_load(&f->env->budget.peak_bytes) <= memory);
        if (f->source.n_streams > most_streams)
            most_streams = f->source.n_streams;
        least = memory;
    }
    assert_true(least < 6 * MIB);
    teardown(f);
}

static void each_byte_of_the_weights_is_read_once_a_pass(void **state)
{
    (void) state;
    struct fixture *f = setup();
    struct uqm_plan_wish wish = layers(UQM_STATES_DEVICE);
    struct uqm_err err = { 0 };
    static const char *const unread[] = { "vision_tower." };
    uint64_t all = 0;
    for (size_t i = 0; i < f->source.source.n_tensors; i++) {
        const struct uqm_tensor *t = &f->source.tensors[i];
        if (strncmp(t->name, unread[0], strlen(unread[0])) != 0)
            all += t->n_bytes;
    }
    for (size_t n_passes = 1; n_passes <= 3; n_passes++) {
        wish.most_prompts = (f->n_prompts + n_passes - 1) / n_passes;
        f->source.bytes_read = 0;
        assert_ok(ask(f, &wish, &err), err);
        /* Of the embedding only the rows that occur. */
        assert_true(f->source.bytes_read <= n_passes * all);
        assert_true(f->source.bytes_read > n_passes * (all - VOCAB * 48 * 2));
    }
    teardown(f);
}

struct seen {
    struct fixture *f;
    double sums[MAX_PROMPTS][4];
    size_t n;
};

static void sum_states(void *ctx, size_t prompt, uint32_t layer, const float *hidden, size_t n_rows)
{
    struct seen *seen = ctx;
    double sum = 0;
    for (size_t i = 0; i < n_rows * seen->f->config.text.hidden; i++)
        sum += (double) hidden[i] * (double) (i % 7);
    seen->sums[prompt][layer] = sum;
    seen->n++;
}

static int ignore_logits(void *ctx, size_t prompt, const float *logits, struct uqm_err *err)
{
    (void) ctx;
    (void) prompt;
    (void) logits;
    (void) err;
    return UQM_OK;
}

static int features_of_seen(void *ctx, size_t prompt, size_t k, float *dst, struct uqm_err *err)
{
    return give_features(((struct seen *) ctx)->f, prompt, k, dst, err);
}

static void observers_see_the_same_states(void **state)
{
    (void) state;
    struct fixture *f = setup();
    struct uqm_plan_wish wishes[] = { { .kind = UQM_PLAN_TILES },
                                      layers(UQM_STATES_DEVICE),
                                      layers(UQM_STATES_FILE) };
    struct seen seen[3] = { { .f = f }, { .f = f }, { .f = f } };
    struct uqm_err err = { 0 };
    wishes[1].groups_a_layer = 2;
    wishes[2].groups_a_layer = 1;
    for (size_t i = 0; i < 3; i++) {
        struct uqm_llm_job job = job_of(f);
        job.wish = &wishes[i];
        job.observe = sum_states;
        job.logits = ignore_logits;
        job.features = features_of_seen;
        job.ctx = &seen[i];
        assert_ok(uqm_network_logits(f->network, &job, &err), err);
        assert_int_equal(seen[i].n, 9 * 4);
        assert_memory_equal(seen[i].sums, seen[0].sums, sizeof seen[0].sums);
    }
    teardown(f);
}

/* ---- what goes wrong ---- */

static void a_reader_that_fails_ends_the_call_wherever_it_is(void **state)
{
    (void) state;
    struct fixture *f = setup();
    const struct uqm_plan_wish wish = layers(UQM_STATES_FILE);
    size_t n_failed = 0;
    for (size_t i = 1; i < 200; i++) {
        struct uqm_err err = { 0 };
        f->source.fail_after = i;
        int ret = ask(f, &wish, &err);
        assert_int_equal(atomic_load(&f->env->budget.used_bytes), 0);
        if (ret == UQM_OK)
            break;
        assert_int_equal(ret, UQM_ERR_IO);
        assert_non_null(strstr(err.msg, "the disk is gone"));
        n_failed++;
    }
    assert_true(n_failed > 10 && n_failed < 199);
    teardown(f);
}

static void failures_of_the_callbacks_come_back(void **state)
{
    (void) state;
    struct fixture *f = setup();
    const struct uqm_plan_wish wish = layers(UQM_STATES_DEVICE);
    struct uqm_err err = { 0 };
    f->fail_features = UQM_ERR_FORMAT;
    assert_fails(ask(f, &wish, &err), err, UQM_ERR_FORMAT, "is torn");
    f->fail_features = 0;
    f->fail_logits = UQM_ERR_IO;
    assert_fails(ask(f, &wish, &err), err, UQM_ERR_IO, "the logits of prompt 0");
    f->fail_logits = 0;
    volatile int cancel = 1;
    f->env->cancel = &cancel;
    assert_fails(ask(f, &wish, &err), err, UQM_ERR_INTERRUPTED, "interrupted");
    teardown(f);
}

static void a_folder_without_room_for_the_scratch_file_is_named(void **state)
{
    (void) state;
    struct fixture *f = setup();
    const struct uqm_plan_wish wish = layers(UQM_STATES_FILE);
    struct uqm_err err = { 0 };
    f->machine.scratch_dir = "/nowhere/at/all";
    assert_fails(ask(f, &wish, &err), err, UQM_ERR_IO, "/nowhere/at/all");
    teardown(f);
}

/* ---- the choice ---- */

enum { PICTURE_ROWS = 576 };

static struct uqm_model_config llava_7b(void)
{
    return (struct uqm_model_config){
        .has_vision = true,
        .text = { .vocab_size = 32064,
                  .hidden = 4096,
                  .inner = 11008,
                  .n_layers = 32,
                  .n_heads = 32,
                  .n_kv_heads = 32,
                  .head_dim = 128,
                  .max_positions = 4096 },
        .vision = { .hidden = 1024,
                    .inner = 4096,
                    .n_layers = 24,
                    .n_heads = 16,
                    .image_size = 336,
                    .patch_size = 14,
                    .feature_layer = -2 },
        .max_length = 2048,
    };
}

struct choice {
    struct uqm_model_config config;
    struct uqm_sequence *seqs;
    struct uqm_plan_job job;
    struct uqm_plan plan;
};

/* The prompts of a 7B under so much memory, half a layer's weights being 270 MB. */
static struct choice choose(size_t n_prompts, uint64_t room, size_t n_tile_passes)
{
    struct choice c = { .config = llava_7b(), .seqs = calloc(n_prompts, sizeof *c.seqs) };
    static const struct uqm_llm_prompt prompt = { .n_ids = 125 };
    assert_non_null(c.seqs);
    for (size_t i = 0; i < n_prompts; i++)
        c.seqs[i] = (struct uqm_sequence){
            .prompt = &prompt, .number = i, .n_rows = PICTURE_ROWS + 124, .n_pictures = 1
        };
    c.job = (struct uqm_plan_job){
        .seqs = c.seqs,
        .n_seqs = n_prompts,
        .n_logits = 6,
        .on_host = true,
        .device_room = room,
        .largest_bytes = UINT64_MAX,
        .weights_bytes = UINT64_C(12952) << 20,
        .ring_bytes = { { UINT64_C(405) << 20, UINT64_C(810) << 20, UINT64_C(1215) << 20 },
                        { UINT64_C(270) << 20, UINT64_C(405) << 20, UINT64_C(675) << 20 } },
        .n_tile_passes = n_tile_passes,
    };
    return c;
}

static void finish_choice(struct choice *c)
{
    free(c->seqs);
}

static bool plan_of(struct choice *c)
{
    c->job.config = &c->config;
    return uqm_plan_choose(&c->plan, &c->job, 0);
}

static void prompts_that_fit_at_once_take_one_pass_in_tiles(void **state)
{
    (void) state;
    struct choice c = choose(24, UINT64_C(1800) << 20, 1);
    assert_true(plan_of(&c));
    assert_int_equal(c.plan.kind, UQM_PLAN_TILES);
    finish_choice(&c);
}

static void many_prompts_go_through_held_layers_in_few_passes(void **state)
{
    (void) state;
    struct choice c = choose(400, UINT64_C(1800) << 20, 13);
    assert_true(plan_of(&c));
    assert_int_equal(c.plan.kind, UQM_PLAN_LAYERS);
    assert_int_equal(c.plan.states, UQM_STATES_DEVICE);
    assert_int_equal(c.plan.groups_a_layer, 2);
    assert_int_equal(c.plan.n_slots, 2);
    assert_in_range(c.plan.n_passes, 2, 5);

    size_t first = 0, n_passes = 0;
    for (struct uqm_pass_shape s; first < 400; first += s.n_seqs, n_passes++) {
        assert_true(uqm_plan_pass(&s, &c.plan, &c.job, first));
        assert_in_range(s.n_seqs, 400 / c.plan.n_passes - 1, 400 / c.plan.n_passes + 1);
        assert_true(s.most_rows <= c.plan.batch_rows);
        const uint64_t bytes = (s.work + s.tail + (uint64_t) s.n_rows * 4096) * 4;
        assert_true(bytes + c.plan.ring_bytes <= c.job.device_room);
    }
    assert_int_equal(n_passes, c.plan.n_passes);
    finish_choice(&c);
}

static void whole_layers_hide_reading_where_two_fit(void **state)
{
    (void) state;
    struct choice c = choose(400, UINT64_C(8) << 30, 3);
    assert_true(plan_of(&c));
    assert_int_equal(c.plan.kind, UQM_PLAN_LAYERS);
    assert_int_equal(c.plan.n_passes, 1);
    assert_int_equal(c.plan.groups_a_layer, 1);
    assert_int_equal(c.plan.n_slots, 2);
    c.job.on_host = false; /* a card keeps halves */
    c.job.host_room = UINT64_C(8) << 30;
    assert_true(plan_of(&c));
    assert_int_equal(c.plan.groups_a_layer, 2);
    finish_choice(&c);
}

/* With hardly room for a batch beside the weights, writing states to disk is less than reading 13
 * GB for every few of them; with a little more it is not. */
static void states_are_spilled_when_reading_again_is_dearer(void **state)
{
    (void) state;
    struct choice c = choose(60, UINT64_C(560) << 20, 0);
    assert_true(plan_of(&c));
    assert_int_equal(c.plan.kind, UQM_PLAN_LAYERS);
    assert_int_equal(c.plan.states, UQM_STATES_FILE);
    assert_int_equal(c.plan.n_passes, 1);
    c.job.device_room = UINT64_C(1000) << 20;
    assert_true(plan_of(&c));
    assert_int_equal(c.plan.states, UQM_STATES_DEVICE);
    c.job.device_room = UINT64_C(200) << 20;
    assert_false(plan_of(&c));
    finish_choice(&c);
}

static void states_that_do_not_fit_a_card_stay_in_the_hosts_memory(void **state)
{
    (void) state;
    struct choice c = choose(400, UINT64_C(900) << 20, 20);
    c.job.on_host = false;
    c.job.host_room = UINT64_C(8) << 30;
    c.job.largest_bytes = UINT64_C(512) << 20;
    assert_true(plan_of(&c));
    assert_int_equal(c.plan.states, UQM_STATES_HOST);
    assert_int_equal(c.plan.n_passes, 1);
    c.job.device_room = UINT64_C(8) << 30;
    assert_true(plan_of(&c));
    assert_int_equal(c.plan.states, UQM_STATES_DEVICE);
    finish_choice(&c);
}

/* ---- by measured rates ---- */

enum { FLOP_A_PARAMETER = 2 };

static void give_rates(struct choice *c, double read_bytes, double flop, double copy_bytes)
{
    c->job.rates = (struct uqm_rates){ read_bytes, flop, copy_bytes };
    c->job.flop_a_row = FLOP_A_PARAMETER * 12952.0 * 0x1p20 / 2;
}

/* 400 prompts, 280,000 rows: computing takes 38,000 s at 100 GFLOP/s. */
static void slow_computing_hides_every_way_of_reading_and_the_fewest_bytes_win(void **state)
{
    (void) state;
    struct choice c = choose(400, UINT64_C(1800) << 20, 13);
    assert_true(plan_of(&c));
    const struct uqm_plan without = c.plan;
    assert_true(without.seconds == 0);
    give_rates(&c, 2e9, 1e11, 0);
    assert_true(plan_of(&c));
    assert_int_equal(c.plan.kind, without.kind);
    assert_int_equal(c.plan.n_passes, without.n_passes);
    assert_int_equal(c.plan.ring_bytes, without.ring_bytes);
    const double flop = 400.0 * (PICTURE_ROWS + 124) * c.job.flop_a_row;
    assert_true(fabs(c.plan.seconds - flop / 1e11) < 1e-6 * c.plan.seconds);
    finish_choice(&c);
}

/* With one slot nothing is read while the device computes: twice the time where both take as long,
 * next to nothing where computing takes hours. */
static void a_second_slot_is_chosen_where_time_is_lost_without(void **state)
{
    (void) state;
    for (int slow = 0; slow < 2; slow++) {
        struct choice c = choose(60, UINT64_C(8) << 30, 0);
        struct uqm_plan_wish wish = { .kind = UQM_PLAN_LAYERS, .groups_a_layer = 2 };
        wish.has_states = true;
        c.job.wish = &wish;
        give_rates(&c, 2e9, slow ? 1e10 : 8e13, 0);
        wish.n_slots = 1;
        assert_true(plan_of(&c));
        const double one = c.plan.seconds;
        wish.n_slots = 2;
        assert_true(plan_of(&c));
        assert_true(slow ? one < 1.05 * c.plan.seconds : one > 1.3 * c.plan.seconds);
        wish.n_slots = 0;
        assert_true(plan_of(&c));
        assert_int_equal(c.plan.n_slots, 2);
        finish_choice(&c);
    }
}

/* A link to the card that is slower than the drive: states that cross it twice a group cost more
 * than weights that are sent again; a fast one turns it round. */
static void the_link_to_a_card_decides_where_states_stay(void **state)
{
    (void) state;
    struct choice c = choose(400, UINT64_C(900) << 20, 20);
    c.job.on_host = false;
    c.job.host_room = UINT64_C(16) << 30;
    c.job.largest_bytes = UINT64_C(512) << 20;
    give_rates(&c, 5e8, 1e16, 1e11); /* reading is all that costs */
    assert_true(plan_of(&c));
    assert_int_equal(c.plan.states, UQM_STATES_HOST);
    assert_int_equal(c.plan.n_passes, 1);
    give_rates(&c, 1e10, 1e16, 1e9);
    assert_true(plan_of(&c));
    assert_int_equal(c.plan.states, UQM_STATES_DEVICE);
    assert_true(c.plan.n_passes > 1);
    finish_choice(&c);
}

static void count_measured(void *ctx, enum uqm_log_level level, const char *line)
{
    (void) level;
    *(size_t *) ctx += strstr(line, ": measured ") != NULL;
}

static void a_spill_to_the_drive_that_computing_hides_costs_no_time(void **state)
{
    (void) state;
    struct choice c = choose(60, UINT64_C(560) << 20, 0);
    give_rates(&c, 1e9, 1e9, 0);
    assert_true(plan_of(&c));
    const double flop = 60.0 * (PICTURE_ROWS + 124) * c.job.flop_a_row;
    assert_true(c.plan.seconds <= flop / 1e9 * 1.02);
    give_rates(&c, 1e9, 1e15, 0);
    assert_true(plan_of(&c));
    assert_true(c.plan.seconds > 12952.0 * 0x1p20 / 1e9);
    finish_choice(&c);
}

static void the_same_rates_give_the_same_plan(void **state)
{
    (void) state;
    struct choice c = choose(100, UINT64_C(1800) << 20, 4);
    for (int i = 0; i < 60; i++) {
        const double read = 1e8 * (1 << i % 6), flop = 1e9 * (1 << 2 * (i / 6));
        give_rates(&c, read, flop, 0);
        assert_true(plan_of(&c));
        const struct uqm_plan first = c.plan;
        assert_true(plan_of(&c));
        assert_memory_equal(&first, &c.plan, sizeof first);
        struct uqm_pass_shape s;
        assert_true(first.kind == UQM_PLAN_TILES || uqm_plan_pass(&s, &first, &c.job, 0));
    }
    finish_choice(&c);
}

/* A network with several ways to go measures, and its bits and the bytes it says it read are those
 * of one that does not. */
static void measuring_changes_neither_bits_nor_the_bytes_that_count(void **state)
{
    (void) state;
    struct fixture *f = setup();
    float expected[MAX_PROMPTS][VOCAB];
    struct uqm_err err = { 0 };
    size_t n_measured = 0;
    remember(f, expected);
    for (uint64_t memory = 24 * MIB; memory > 4 * MIB; memory -= memory / 8) {
        open_network(f, memory, 1);
        f->env->log = count_measured;
        f->env->ctx = &n_measured;
        if (ask(f, NULL, &err) == UQM_ERR_NOMEM)
            break;
        assert_ok(err.code, err);
        assert_same(f, expected);
        assert_true(atomic_load(&f->env->budget.peak_bytes) <= memory);
        assert_int_equal(atomic_load(&f->env->budget.used_bytes), 0);
    }
    assert_true(n_measured > 0);
    teardown(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_plan_gives_the_same_bits),
        cmocka_unit_test(chosen_tokens_have_the_same_bits_too),
        cmocka_unit_test(one_layer_and_no_pictures_are_enough),
        cmocka_unit_test(any_memory_gives_the_same_bits_and_is_kept_to),
        cmocka_unit_test(each_byte_of_the_weights_is_read_once_a_pass),
        cmocka_unit_test(observers_see_the_same_states),
        cmocka_unit_test(a_reader_that_fails_ends_the_call_wherever_it_is),
        cmocka_unit_test(failures_of_the_callbacks_come_back),
        cmocka_unit_test(a_folder_without_room_for_the_scratch_file_is_named),
        cmocka_unit_test(prompts_that_fit_at_once_take_one_pass_in_tiles),
        cmocka_unit_test(many_prompts_go_through_held_layers_in_few_passes),
        cmocka_unit_test(whole_layers_hide_reading_where_two_fit),
        cmocka_unit_test(states_are_spilled_when_reading_again_is_dearer),
        cmocka_unit_test(states_that_do_not_fit_a_card_stay_in_the_hosts_memory),
        cmocka_unit_test(slow_computing_hides_every_way_of_reading_and_the_fewest_bytes_win),
        cmocka_unit_test(a_second_slot_is_chosen_where_time_is_lost_without),
        cmocka_unit_test(the_link_to_a_card_decides_where_states_stay),
        cmocka_unit_test(a_spill_to_the_drive_that_computing_hides_costs_no_time),
        cmocka_unit_test(the_same_rates_give_the_same_plan),
        cmocka_unit_test(measuring_changes_neither_bits_nor_the_bytes_that_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
