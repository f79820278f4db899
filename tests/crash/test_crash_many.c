/*
 * Two merges of one run, whose names are given one after the other: the power goes at every
 * operation from the first name to the end, tidying up included. Each output is absent or whole,
 * and the next run gives the names that are missing.
 */
#include <errno.h>

#include "tests/crash/small_merge.h"

enum { N_LAST = 48 }; /* operations from before the first name to the end, and some more */

static const char *const names[] = { "r", "s" };

static int merge_both(const char *to, struct uqm_err *err)
{
    char recipes[2][512], out[512], *json = NULL;
    for (int i = 0; i < 2; i++)
        snprintf(recipes[i], sizeof recipes[i], "%s/%s.yml", m.dir, names[i]);
    snprintf(out, sizeof out, "%s/%s", m.dir, to);
    const char *const paths[] = { recipes[0], recipes[1] };
    struct uqm_merge_params params = { .common = m.common,
                                       .recipe_path = recipes[0],
                                       .recipes = { paths, 2 },
                                       .out_dir = out,
                                       .out_shard_bytes = 6000 };
    int ret = uqm_merge(&json, &params, err);
    free(json);
    return ret;
}

static int merge_run(struct uqm_err *err)
{
    return merge_both("run", err);
}

static size_t count_named(long at)
{
    size_t n = 0;
    for (size_t i = 0; i < 2; i++) {
        if (!exists(in_dir(m.dir, "run/%s", names[i])))
            continue;
        const char *why = folder_difference(in_dir(m.dir, "both/%s", names[i]),
                                            in_dir(m.dir, "run/%s", names[i]));
        if (why)
            fail_msg("cut at operation %ld: %s", at, why);
        n++;
    }
    return n;
}

static bool has_part(void)
{
    return exists(in_dir(m.dir, "run/.r.part")) || exists(in_dir(m.dir, "run/.s.part"));
}

/* Returns how many outputs had their names after the cut. */
static size_t cut_and_go_on(long at, enum world_loss loss)
{
    struct uqm_err err = { 0 };
    const struct world_plan plan = {
        .count = WORLD_IO, .fault = WORLD_CUT, .at = at, .loss = loss
    };
    assert_false(small_run_until_cut(merge_run, &plan));
    size_t n_named = count_named(at);
    bool left = has_part();
    int ret = merge_both("run", &err);
    /* once one of the part folders is gone, all that was left was to remove them */
    if (ret < 0 && (n_named < 2 || !strstr(err.msg, "exists already")))
        fail_msg("after a cut at operation %ld (%s%zu named): %s", at, left ? "" : "nothing left, ",
                 n_named, err.msg);
    assert_int_equal(count_named(at), 2);
    assert_false(has_part());
    small_forget(&m, "run");
    return n_named;
}

static void a_cut_between_two_names_is_healed_by_the_next_run(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    const struct world_plan count = { .count = WORLD_IO };
    world_set(&count);
    int ret = merge_both("both", &err);
    world_set(NULL);
    assert_ok(ret, err);
    const long n = world_count();
    for (int loss = WORLD_KEEP; loss <= WORLD_DROP; loss++) {
        size_t n_cuts[3] = { 0 };
        for (long at = n - N_LAST; at < n; at++)
            n_cuts[cut_and_go_on(at, (enum world_loss) loss)]++;
        printf("# %zu cuts before the first name, %zu between the two, %zu behind\n", n_cuts[0],
               n_cuts[1], n_cuts[2]);
        assert_true(n_cuts[0] > 0 && n_cuts[1] > 0 && n_cuts[2] > 0);
    }
}

/* Success is said when a power cut can undo nothing: the name of OUT, too, is on the disk. */
static void every_folder_that_a_name_was_made_in_is_synced(void **state)
{
    (void) state;
    bool synced[2] = { false };
    for (long at = 0, struck = 1; struck; at++) {
        struct uqm_err err = { 0 };
        const struct world_plan plan = {
            .count = WORLD_SYNCS, .fault = WORLD_FAIL, .at = at, .sys_errno = EIO
        };
        world_set(&plan);
        int ret = merge_run(&err);
        world_set(NULL);
        struck = world_has_struck();
        assert_int_equal(ret, struck ? UQM_ERR_IO : UQM_OK);
        if (struck && strcmp(world_struck_path(), m.dir) == 0)
            synced[0] = true;
        if (struck && strcmp(world_struck_path(), in_dir(m.dir, "run")) == 0)
            synced[1] = true;
        small_forget(&m, "run");
    }
    assert_true(synced[0] && synced[1]);
}

static int start(void **state)
{
    small_group_start(state);
    write_text(in_dir(m.dir, "s.yml"),
               "merge_method: linear\nmodels:\n  - {model: a, parameters: {weight: 1}}\n"
               "  - {model: b, parameters: {weight: 2}}\n");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cut_between_two_names_is_healed_by_the_next_run),
        cmocka_unit_test(every_folder_that_a_name_was_made_in_is_synced),
    };
    return cmocka_run_group_tests(tests, start, small_group_stop);
}
