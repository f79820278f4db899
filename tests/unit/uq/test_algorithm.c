#include <math.h>

#include "src/uq/algorithm.h"
#include "tests/unit/test.h"

struct script {
    const double *u;
    size_t n_asked, fail_at, last_best;
    size_t guarded, collapsed, narrowed; /* steps; 0: none */
};

static int follow(void *ctx, struct uqm_algorithm_step *step, size_t t, size_t best,
                  struct uqm_err *err)
{
    struct script *s = ctx;
    assert_int_equal(t, s->n_asked + 1);
    assert_true(best < t);
    s->last_best = best;
    s->n_asked = t;
    if (t == s->fail_at)
        return uqm_fail(err, UQM_ERR_INTERRUPTED, "stop");
    step->value = s->u[t - 1];
    step->drop = best ? s->u[best - 1] - s->u[t - 1]
                      : s->u[t - 1] - s->u[t - 1] + (double) INFINITY; /* NaN stays NaN */
    step->collapsed = t == s->collapsed;
    step->narrowed = t == s->narrowed;
    return UQM_OK;
}

static bool guard(void *ctx, size_t t, size_t best)
{
    const struct script *s = ctx;
    assert_true(best > 0 && best < t);
    return t == s->guarded;
}

static struct uqm_algorithm_step steps[16];

/* How it ends: steps asked, where it stopped, the best. */
static void ends(const struct uqm_algorithm_params *params, const double *u, size_t asked,
                 size_t stopped_at, size_t best)
{
    struct script s = { .u = u };
    struct uqm_algorithm_result r = { .steps = steps };
    struct uqm_err err = { 0 };
    assert_ok(uqm_algorithm_run(&r, params, follow, &s, &err), err);
    assert_int_equal(s.n_asked, asked);
    assert_int_equal(r.n_steps, asked);
    assert_int_equal(r.stopped_at, stopped_at);
    assert_int_equal(r.best, best);
}

static void it_stops_where_the_uncertainty_rises(void **state)
{
    (void) state;
    const double u[5] = { 5, 4, 3, 3.5, 1 };
    ends(&(struct uqm_algorithm_params){ .n = 5 }, u, 4, 4, 3);
    assert_true(steps[2].improved);
    assert_false(steps[3].improved);
}

static void it_takes_all_where_the_uncertainty_falls_to_the_end(void **state)
{
    (void) state;
    const double u[4] = { 4, 3, 2, 1 };
    ends(&(struct uqm_algorithm_params){ .n = 4 }, u, 4, 0, 4);
}

static void a_tie_does_not_improve(void **state)
{
    (void) state;
    const double u[3] = { 2, 2, 1 };
    ends(&(struct uqm_algorithm_params){ .n = 3 }, u, 2, 2, 1);
}

static void one_model_is_its_own_merge(void **state)
{
    (void) state;
    const double u[1] = { 7 };
    ends(&(struct uqm_algorithm_params){ .n = 1 }, u, 1, 0, 1);
}

static void a_step_without_a_value_ends_it(void **state)
{
    (void) state;
    const double later[3] = { 2, (double) NAN, 1 }, first[2] = { (double) NAN, 1 };
    ends(&(struct uqm_algorithm_params){ .n = 3 }, later, 2, 2, 1);
    ends(&(struct uqm_algorithm_params){ .n = 2 }, first, 1, 1, 0);
}

static void patience_goes_over_a_bump(void **state)
{
    (void) state;
    const double u[6] = { 5, 4, 4.5, 3, 3.5, 3.2 };
    ends(&(struct uqm_algorithm_params){ .n = 6, .patience = 1 }, u, 6, 6, 4);
    assert_true(steps[3].improved);
    ends(&(struct uqm_algorithm_params){ .n = 5, .patience = 1 }, u, 5, 0, 4);
    ends(&(struct uqm_algorithm_params){ .n = 6, .patience = 2 }, u, 6, 0, 4);
}

static void a_small_drop_can_be_asked_not_to_count(void **state)
{
    (void) state;
    const double u[4] = { 5, 4, 3.9, 1 };
    ends(&(struct uqm_algorithm_params){ .n = 4, .min_drop = 0.2 }, u, 3, 3, 2);
    ends(&(struct uqm_algorithm_params){ .n = 4, .min_drop = 0.05 }, u, 4, 0, 4);
}

static void all_steps_shows_the_curve_and_keeps_the_choice(void **state)
{
    (void) state;
    const double u[5] = { 5, 4, 4.5, 3, 2 };
    ends(&(struct uqm_algorithm_params){ .n = 5, .all_steps = true }, u, 5, 3, 2);
    assert_false(steps[3].improved);
    assert_true(steps[4].value == 2);
}

static void a_guard_stops_before_a_step_is_asked_for(void **state)
{
    (void) state;
    const double u[5] = { 5, 4, 3, 2, 1 };
    struct script s = { .u = u, .guarded = 3 };
    struct uqm_algorithm_result r = { .steps = steps };
    struct uqm_err err = { 0 };
    struct uqm_algorithm_params params = { .n = 5, .guards = guard };
    assert_ok(uqm_algorithm_run(&r, &params, follow, &s, &err), err);
    assert_int_equal(s.n_asked, 2);
    assert_int_equal(r.n_steps, 2);
    assert_int_equal(r.stopped_at, 3);
    assert_int_equal(r.stop, UQM_STOP_GUARD);
    assert_int_equal(r.best, 2);

    s = (struct script){ .u = u, .guarded = 3 };
    params.all_steps = true;
    assert_ok(uqm_algorithm_run(&r, &params, follow, &s, &err), err);
    assert_int_equal(r.n_steps, 5);
    assert_int_equal(r.stopped_at, 3);
    assert_int_equal(r.best, 2);
}

static void a_guarded_run_does_not_take_a_collapsed_step_but_the_first(void **state)
{
    (void) state;
    const double u[3] = { 5, 4, 3 };
    struct uqm_algorithm_result r = { .steps = steps };
    struct uqm_err err = { 0 };
    for (size_t collapsed = 1; collapsed <= 2; collapsed++) {
        for (int guarded = 0; guarded < 2; guarded++) {
            struct script s = { .u = u, .collapsed = collapsed };
            const struct uqm_algorithm_params params = { .n = 3, .guards = guarded ? guard : NULL };
            assert_ok(uqm_algorithm_run(&r, &params, follow, &s, &err), err);
            const bool stops = guarded && collapsed == 2;
            assert_int_equal(r.best, stops ? 1 : 3);
            assert_int_equal(r.stopped_at, stops ? 2 : 0);
            assert_int_equal(r.stop, stops ? UQM_STOP_COLLAPSE : UQM_STOP_NONE);
        }
    }
}

static void a_step_with_too_little_spread_is_not_taken_but_the_first(void **state)
{
    (void) state;
    const double u[4] = { 5, 4, 3, 2 };
    struct uqm_algorithm_result r = { .steps = steps };
    struct uqm_err err = { 0 };
    for (size_t narrowed = 1; narrowed <= 3; narrowed++) {
        struct script s = { .u = u, .narrowed = narrowed };
        const struct uqm_algorithm_params params = { .n = 4, .patience = 2 };
        assert_ok(uqm_algorithm_run(&r, &params, follow, &s, &err), err);
        assert_int_equal(s.n_asked, narrowed > 1 ? narrowed : 4);
        assert_int_equal(r.best, narrowed > 1 ? narrowed - 1 : 4);
        assert_int_equal(r.stopped_at, narrowed > 1 ? narrowed : 0);
        assert_int_equal(r.stop, narrowed > 1 ? UQM_STOP_SPREAD : UQM_STOP_NONE);
        assert_int_equal(steps[narrowed - 1].improved, narrowed == 1);
    }
}

static void the_guard_comes_before_the_spread_and_the_collapse_too(void **state)
{
    (void) state;
    const double u[3] = { 5, 4, 3 };
    struct uqm_algorithm_result r = { .steps = steps };
    struct uqm_err err = { 0 };
    const struct uqm_algorithm_params params = { .n = 3, .guards = guard };
    struct script s = { .u = u, .guarded = 2, .narrowed = 2 };
    assert_ok(uqm_algorithm_run(&r, &params, follow, &s, &err), err);
    assert_int_equal(s.n_asked, 1);
    assert_int_equal(r.stop, UQM_STOP_GUARD);

    s = (struct script){ .u = u, .guarded = 3, .narrowed = 2 };
    assert_ok(uqm_algorithm_run(&r, &params, follow, &s, &err), err);
    assert_int_equal(r.stop, UQM_STOP_SPREAD);
    assert_int_equal(r.best, 1);

    s = (struct script){ .u = u, .collapsed = 2, .narrowed = 2 };
    assert_ok(uqm_algorithm_run(&r, &params, follow, &s, &err), err);
    assert_int_equal(r.stop, UQM_STOP_COLLAPSE);
}

static void a_failing_step_ends_it_with_its_error(void **state)
{
    (void) state;
    const double u[3] = { 3, 2, 1 };
    struct script s = { .u = u, .fail_at = 2 };
    struct uqm_algorithm_result r = { .steps = steps };
    struct uqm_err err = { 0 };
    assert_fails(uqm_algorithm_run(&r, &(struct uqm_algorithm_params){ .n = 3 }, follow, &s, &err),
                 err, UQM_ERR_INTERRUPTED, "stop");
    assert_int_equal(s.last_best, 1);
}

static void the_order_is_stable_and_ends_with_what_has_no_value(void **state)
{
    (void) state;
    const double v[6] = { 1, (double) NAN, 3, 1, 3, 2 };
    const size_t down[6] = { 2, 4, 5, 0, 3, 1 }, up[6] = { 0, 3, 5, 2, 4, 1 };
    size_t order[6] = { 0, 1, 2, 3, 4, 5 };
    uqm_algorithm_sort(order, 6, v, true);
    assert_memory_equal(order, down, sizeof down);
    for (size_t i = 0; i < 6; i++)
        order[i] = i;
    uqm_algorithm_sort(order, 6, v, false);
    assert_memory_equal(order, up, sizeof up);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_stops_where_the_uncertainty_rises),
        cmocka_unit_test(it_takes_all_where_the_uncertainty_falls_to_the_end),
        cmocka_unit_test(a_tie_does_not_improve),
        cmocka_unit_test(one_model_is_its_own_merge),
        cmocka_unit_test(a_step_without_a_value_ends_it),
        cmocka_unit_test(patience_goes_over_a_bump),
        cmocka_unit_test(a_small_drop_can_be_asked_not_to_count),
        cmocka_unit_test(all_steps_shows_the_curve_and_keeps_the_choice),
        cmocka_unit_test(a_guard_stops_before_a_step_is_asked_for),
        cmocka_unit_test(a_guarded_run_does_not_take_a_collapsed_step_but_the_first),
        cmocka_unit_test(a_step_with_too_little_spread_is_not_taken_but_the_first),
        cmocka_unit_test(the_guard_comes_before_the_spread_and_the_collapse_too),
        cmocka_unit_test(a_failing_step_ends_it_with_its_error),
        cmocka_unit_test(the_order_is_stable_and_ends_with_what_has_no_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
