/*
 * The power goes at every sync of a small merge, before it and behind it; what was not synced is
 * kept, gone, rubbish, or each of these by chance. The target is absent or whole, and the next run
 * ends in the bytes of an unbroken one.
 */
#include "tests/crash/small_merge.h"

static long n_cuts, n_resumed;

static int merge_run(struct uqm_err *err)
{
    return small_run(&m, "run", false, err);
}

/* true: it came to its end. */
static bool run_until_cut(const struct world_plan *plan)
{
    const bool ended = small_run_until_cut(merge_run, plan);
    n_cuts += !ended;
    return ended;
}

static void assert_target(const struct world_plan *plan, bool absent_too)
{
    const char *why = small_fault(&m, "run", absent_too);
    if (why)
        fail_msg("cut at sync %ld (%s it, loss %d, seed %u): %s", plan->at,
                 plan->after ? "behind" : "before", (int) plan->loss, plan->seed, why);
}

static void finish(const struct world_plan *plan)
{
    struct uqm_err err = { 0 };
    bool stands = exists(in_dir(m.dir, "run/out")) && !exists(in_dir(m.dir, "run/.out.part"));
    assert_target(plan, true);
    n_resumed += exists(in_dir(m.dir, "run/.out.part/journal"));
    if (!stands && small_run(&m, "run", false, &err) < 0)
        fail_msg("after a cut at sync %ld (loss %d): %s", plan->at, (int) plan->loss, err.msg);
    assert_target(plan, false);
    assert_false(exists(in_dir(m.dir, "run/.out.part")));
    small_forget(&m, "run");
}

/* One cut at every sync. */
static void cut_everywhere(enum world_loss loss, bool after)
{
    bool done = false;
    for (long at = 0; !done; at++) {
        struct world_plan plan = { .count = WORLD_SYNCS,
                                   .fault = WORLD_CUT,
                                   .at = at,
                                   .loss = loss,
                                   .seed = (unsigned) at,
                                   .after = after };
        mkdir(in_dir(m.dir, "run"), 0755);
        done = run_until_cut(&plan);
        assert_true(at > 20 || !done);
        finish(&plan);
    }
}

static void a_cut_that_keeps_everything_is_survived(void **state)
{
    (void) state;
    cut_everywhere(WORLD_KEEP, false);
}

static void a_cut_that_drops_what_was_not_synced_is_survived(void **state)
{
    (void) state;
    cut_everywhere(WORLD_DROP, false);
    cut_everywhere(WORLD_DROP, true);
}

static void a_cut_that_garbles_what_was_not_synced_is_survived(void **state)
{
    (void) state;
    cut_everywhere(WORLD_GARBLE, false);
    cut_everywhere(WORLD_GARBLE, true);
}

static void a_cut_that_does_a_bit_of_everything_is_survived(void **state)
{
    (void) state;
    cut_everywhere(WORLD_MIX, false);
    cut_everywhere(WORLD_MIX, true);
}

/* Cut after cut, until one run comes to its end. */
static void one_cut_after_another_is_survived(void **state)
{
    (void) state;
    uint32_t draw = 7;
    for (int chain = 0; chain < 40; chain++) {
        struct world_plan plan;
        int n = 0;
        mkdir(in_dir(m.dir, "run"), 0755);
        do {
            draw = draw * 1664525 + 1013904223;
            plan = (struct world_plan){ .count = WORLD_SYNCS,
                                        .fault = WORLD_CUT,
                                        .at = draw >> 8 & 15,
                                        .loss = WORLD_MIX,
                                        .seed = draw,
                                        .after = draw >> 20 & 1 };
            if (n++ > 6) /* further and further */
                plan.at += 4 * n;
            if (exists(in_dir(m.dir, "run/out")))
                break;
            assert_true(n < 40);
        } while (!run_until_cut(&plan));
        finish(&plan);
    }
}

static int stop(void **state)
{
    printf("# the power went %ld times, %ld runs went on from a journal\n", n_cuts, n_resumed);
    return small_group_stop(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cut_that_keeps_everything_is_survived),
        cmocka_unit_test(a_cut_that_drops_what_was_not_synced_is_survived),
        cmocka_unit_test(a_cut_that_garbles_what_was_not_synced_is_survived),
        cmocka_unit_test(a_cut_that_does_a_bit_of_everything_is_survived),
        cmocka_unit_test(one_cut_after_another_is_survived),
    };
    return cmocka_run_group_tests(tests, small_group_start, stop);
}
