/* The tables' arithmetic, on answers made up by hand: no model is asked. */
#include <math.h>

#include "src/format/base64.h"
#include "src/format/json.h"
#include "src/study/study_tables.h"
#include "src/study/study_write.h"
#include "tests/unit/uq/workdir.h"

static struct uqm_err err;

/* Three models a, b, c; held-in h1, h2; held-out o; validation v. By the uncertainties below the
 * order is b (0.3), c (0.2), a (0.1); the merges have b+c 0.25, all 0.28. So Algorithm 1 takes b
 * and b+c and stops at step 3. h1 lies 0.01 below, h2 0.01 above; a seed adds a thousandth of
 * itself. */
static const char text[] = "models: [a, b, c]\n"
                           "base: base\n"
                           "data: {held-in: [h1.jsonl, h2.jsonl], held-out: [o.jsonl], validation: "
                           "[v.jsonl]}\n"
                           "seeds: [0, 1, 2]\n"
                           "methods: [linear, ties]\n"
                           "ratios: [0.5]\n"
                           "subsets: 2\n";

enum { A = 1, B = 2, C = 4 };

static double uncertainty_of(uint64_t models)
{
    static const double by_set[] = { [A] = 0.1,         [B] = 0.3,      [C] = 0.2,
                                     [A | B] = 0.15,    [A | C] = 0.16, [B | C] = 0.25,
                                     [A | B | C] = 0.28 };
    return by_set[models] - 0.01;
}

/* A score tells models, method and set apart: bits / 10, ties + 0.01, the set's number / 1000. */
static double score_of(const struct uqm_study_question *q)
{
    const struct uqm_study_target *t = q->target;
    const bool ties =
        t->method && !strcmp(t->method->name, "ties") && (t->models & (t->models - 1));
    return (double) t->models / 10 + (ties ? 0.01 : 0) + (double) q->set / 1000;
}

static size_t n_asked, fail_after, n_together, n_scores_of_all;

static int made_up_one(json_t **answer, const struct uqm_study_run *run,
                       const struct uqm_study_question *q, struct uqm_err *e)
{
    if (n_asked == fail_after)
        return uqm_fail(e, UQM_ERR_INTERRUPTED, "interrupted");
    n_asked++;
    n_scores_of_all += !q->measure && q->target->models == (A | B | C);
    const double v = q->measure ? uncertainty_of(q->target->models) + 0.02 * (double) q->set +
                                      0.001 * (double) q->measure->seed
                                : score_of(q);
    *answer = json_pack("{s:f, s:f, s:i, s:i, s:f, s:n}", "value", v, "stderr", 0.03, "samples", 10,
                        "skipped", 0, "seconds", 1.5, "bytes_read");
    /* Two records, which differ from the mean by the number of models. */
    const double by = (double) __builtin_popcountll(q->target->models);
    const double values[2] = { v - by, v + by };
    char *packed = uqm_base64_encode(values, sizeof values);
    if (q->measure && uqm_study_is_own(run->study, q->measure))
        json_object_set_new(*answer, "values", json_string(packed));
    free(packed);
    if (q->measure && q->measure->conformal)
        json_object_set_new(
            *answer, "conformal",
            json_pack("{s:i, s:{s:f, s:f, s:f}, s:{s:f, s:f, s:f}, s:f, s:f, s:f, s:f, s:f, s:f}",
                      "calibration", 9, "lac", "qhat", v, "set_size", v + 1, "coverage", 0.75,
                      "aps", "qhat", v + 0.5, "set_size", v + 2, "coverage", 0.875, "accuracy",
                      0.5 + v, "uacc", 0.6, "e_rate", 0.1, "f_rate", 0.2, "ece", v / 2, "mce", v));
    return *answer ? UQM_OK : UQM_ERR_NOMEM;
}

static int made_up(json_t **answers, struct uqm_study_run *run, const struct uqm_study_question *q,
                   size_t n, struct uqm_err *e)
{
    int ret = UQM_OK;
    n_together = n > n_together ? n : n_together;
    for (size_t i = 0; i < n && ret == UQM_OK; i++) {
        assert_true(q[i].set == q->set && q[i].measure == q->measure);
        /* What is asked together is one in the other. */
        assert_int_equal(q[i].target->models & ~q[n - 1].target->models, 0);
        assert_true(n == 1 || !uqm_study_is_single(q[i].target));
        ret = made_up_one(&answers[i], run, &q[i], e);
    }
    return ret;
}

struct bench {
    struct uqm_study study;
    struct uqm_study_run run;
    struct uqm_study_pick pick;
};

static void begin_of(struct bench *b, const char *yaml, const char *dir, bool dry_run)
{
    static const struct uqm_common common = { 0 };
    memset(b, 0, sizeof *b);
    n_asked = n_together = n_scores_of_all = 0;
    fail_after = SIZE_MAX;
    assert_ok(uqm_study_parse(&b->study, yaml, strlen(yaml), "study.yml", &err), err);
    b->run = (struct uqm_study_run){ .study = &b->study,
                                     .common = &common,
                                     .env = test_env(0, 1),
                                     .dir = workdir,
                                     .dry_run = dry_run,
                                     .ask = made_up,
                                     .device = "cpu",
                                     .jobs = json_array(),
                                     .asked = json_object() };
    b->run.linear =
        (struct uqm_study_method){ .name = "linear", .info = uqm_method_of(UQM_METHOD_LINEAR) };
    for (size_t i = 0; i < b->study.n_models; i++)
        snprintf(b->run.models[i].text, sizeof b->run.models[i].text, "model%zu", i);
    for (size_t i = 0; i < b->study.n_sets; i++) {
        snprintf(b->run.sets[i].digest.text, sizeof b->run.sets[i].digest.text, "set%zu", i);
        b->run.sets[i].n_records = 100;
        b->run.sets[i].choice = true;
    }
    assert_ok(uqm_study_cache_open(&b->run.cache, b->run.env, in_workdir(dir), !dry_run, &err),
              err);
}

static void begin(struct bench *b, const char *dir)
{
    begin_of(b, text, dir, false);
    assert_ok(uqm_study_own_pick(&b->pick, &b->run, false, &err), err);
}

static void end(struct bench *b)
{
    uqm_study_run_finish(&b->run);
    uqm_study_cache_close(&b->run.cache);
    uqm_study_finish(&b->study);
}

static json_t *fill(struct bench *b, const char *name)
{
    const struct uqm_study_table *t = &uqm_study_tables[uqm_study_table_find(name)];
    struct uqm_study_maker m = { .run = &b->run,
                                 .pick = &b->pick,
                                 .table = uqm_table_new(t->name, t->title, t->about),
                                 .err = &err };
    assert_string_equal(t->name, name);
    assert_ok(t->fill(&m), err);
    return m.table;
}

static double cell(const json_t *table, size_t row, const char *key)
{
    return uqm_get_number(json_array_get(json_object_get(table, "rows"), row), key);
}

static const char *word(const json_t *table, size_t row, const char *key)
{
    return uqm_get_text(json_array_get(json_object_get(table, "rows"), row), key);
}

/* cmocka's own compares floats. */
static void near(double a, double b, const char *what)
{
    if (!(fabs(a - b) < 1e-12))
        fail_msg("%s is %.17g, not %.17g", what, a, b);
}
#define NEAR(a, b) near(a, b, #a)

static void algorithm_1_orders_and_stops(void **state)
{
    (void) state;
    struct bench b;
    begin(&b, "order");
    assert_int_equal(b.pick.order[0], 1);
    assert_int_equal(b.pick.order[1], 2);
    assert_int_equal(b.pick.order[2], 0);
    assert_int_equal(b.pick.stopped_at, 3);
    assert_int_equal(b.pick.n_selected, 2);
    NEAR(b.pick.steps[0].value, 0.3); /* mean of 0.29 and 0.31 */
    NEAR(b.pick.steps[1].value, 0.25);
    NEAR(b.pick.steps[0].se, sqrt(2 * 0.03 * 0.03) / 2);
    end(&b);
}

static void t4_has_every_step_and_the_correlations(void **state)
{
    (void) state;
    struct bench b;
    begin(&b, "t4");
    json_t *t = fill(&b, "t4");
    assert_int_equal(json_array_size(json_object_get(t, "rows")), 3);
    assert_string_equal(word(t, 1, "label"), "2 + c");
    NEAR(cell(t, 2, "uq"), 0.28);
    assert_true(isnan(cell(t, 0, "change")));
    NEAR(cell(t, 1, "change"), 0.25 - 0.3);
    /* The records differ by 1 more than at the step before: +-1 about the mean, in two sets. */
    NEAR(cell(t, 1, "change.se"), sqrt(2) / 2);
    NEAR(cell(t, 2, "change"), 0.28 - 0.25);
    NEAR(cell(t, 0, "held_in"), 0.2 + 0.0005);
    NEAR(cell(t, 1, "held_out"), 0.6 + 0.002);
    NEAR(cell(t, 2, "validation"), 0.7 + 0.003);
    assert_true(
        json_is_true(json_object_get(json_array_get(json_object_get(t, "rows"), 1), "selected")));
    assert_null(json_object_get(json_array_get(json_object_get(t, "rows"), 2), "selected"));
    /* uq 0.3 0.25 0.28 against scores 2 6 7: ranks 3 1 2 and 1 2 3 */
    char *notes = json_dumps(json_object_get(t, "notes"), 0);
    assert_non_null(strstr(notes, "stops at step 3 and selects the first 2"));
    assert_non_null(strstr(notes, "Best held-out mean at step 3; Spearman correlation with the "
                                  "uncertainty -0.500"));
    free(notes);
    json_decref(t);
    end(&b);
}

static void steps_that_will_all_be_asked_for_are_asked_together(void **state)
{
    (void) state;
    static const char windowed[] = "models: [a, b, c]\n"
                                   "data: {held-in: [h1.jsonl, h2.jsonl]}\n"
                                   "window: 8\n";
    struct bench b;
    struct uqm_study_pick alone;
    begin(&b, "alone");
    alone = b.pick;
    assert_int_equal(n_together, 1);
    end(&b);

    begin_of(&b, text, "ahead", false);
    b.run.wants_steps = true;
    assert_ok(uqm_study_own_pick(&b.pick, &b.run, false, &err), err);
    assert_int_equal(n_together, 2);
    assert_int_equal(n_asked, 10); /* three models, two merges, on two sets */
    assert_int_equal(b.run.n_done, 10);
    assert_int_equal(b.run.n_cached, 0);
    assert_memory_equal(&alone, &b.pick, sizeof alone);
    json_decref(fill(&b, "t14"));
    assert_int_equal(n_asked, 13); /* o: a model, and two merges together */
    end(&b);

    begin_of(&b, windowed, "window", false);
    assert_ok(uqm_study_own_pick(&b.pick, &b.run, false, &err), err);
    assert_int_equal(n_together, 2);
    assert_int_equal(n_asked, 10);
    end(&b);

    /* Here b, a stops: that c was asked for too is told again by a run that finds it in the cache.
     */
    for (int again = 0; again < 2; again++) {
        begin_of(&b, windowed, "beyond", false);
        const struct uqm_study_guide rising = { .measure = uqm_study_own_measure(&b.study),
                                                .ascending = true };
        assert_ok(uqm_study_pick(&b.pick, &b.run, &rising, false, &err), err);
        assert_int_equal(b.pick.stopped_at, 2);
        assert_int_equal(n_asked, again ? 0 : 10);
        assert_int_equal(json_array_size(b.run.jobs), 10);
        end(&b);
    }
}

static void f1_takes_the_best_single_model(void **state)
{
    (void) state;
    struct bench b;
    begin(&b, "f1");
    json_t *t = fill(&b, "f1");
    NEAR(cell(t, 0, "held_in"), 0.4005); /* c */
    NEAR(cell(t, 1, "held_in"), 0.7005);
    NEAR(cell(t, 2, "held_in"), 0.6005);
    assert_string_equal(word(t, 2, "what"), "UQ-Merge (2 of 3)");
    json_decref(t);
    end(&b);
}

static void t1_spreads_over_the_same_subsets_that_t10_lists(void **state)
{
    (void) state;
    struct bench b;
    begin(&b, "t1");
    const uint64_t first = uqm_study_draw(&b.study, 2, 0), second = uqm_study_draw(&b.study, 2, 1);
    assert_int_equal(__builtin_popcountll(first), 2);
    assert_int_equal(__builtin_popcountll(second), 2);
    json_t *t1 = fill(&b, "t1"), *t10 = fill(&b, "t10"), *t11 = fill(&b, "t11");
    const double x = (double) first / 10 + 0.01, y = (double) second / 10 + 0.01;
    NEAR(cell(t1, 1, "held_in.h2"), (x + y) / 2 + 0.001);
    NEAR(cell(t1, 1, "held_in.sd"), fabs(x - y) / sqrt(2));
    NEAR(cell(t1, 1, "held_in.se"), fabs(x - y) / 2);
    NEAR(cell(t1, 2, "held_out"), 0.602);
    NEAR(cell(t10, 2, "held_in.h1"), x);
    NEAR(cell(t10, 3, "held_in.h1"), y);
    NEAR(cell(t11, 3, "held_out.o"), y + 0.002);
    assert_string_equal(word(t10, 3, "method"), "ties");
    assert_int_equal(cell(t10, 3, "subset"), 2);
    json_decref(t1);
    json_decref(t10);
    json_decref(t11);
    end(&b);
}

static void t2_and_t6_merge_all_and_the_selected(void **state)
{
    (void) state;
    struct bench b;
    begin(&b, "t2");
    json_t *t2 = fill(&b, "t2"), *t6 = fill(&b, "t6");
    NEAR(cell(t2, 1, "held_in.h1"), 0.71);
    NEAR(cell(t2, 2, "held_in"), 0.6005);
    NEAR(cell(t6, 0, "of_selected"), 0.6 + 0.003 / 3); /* sets 0, 1, 2 */
    NEAR(cell(t6, 1, "of_all"), 0.71 + 0.003 / 3);
    json_decref(t2);
    json_decref(t6);
    end(&b);
}

static void t3_is_guided_each_way(void **state)
{
    (void) state;
    struct bench b;
    begin(&b, "t3");
    json_t *t = fill(&b, "t3");
    /* uncertainty rising: a 0.1, a+c 0.16: stops with a */
    assert_int_equal(cell(t, 0, "n_selected"), 1);
    NEAR(cell(t, 0, "held_in"), 0.1005);
    assert_int_equal(cell(t, 1, "n_selected"), 2);
    /* accuracy rising: a 1, a+b 3, all 7 */
    assert_int_equal(cell(t, 2, "n_selected"), 3);
    /* accuracy falling: c 4, b+c 6, all 7 */
    assert_int_equal(cell(t, 3, "n_selected"), 3);
    NEAR(cell(t, 3, "held_out"), 0.702);
    json_decref(t);
    end(&b);
}

static void t9_is_a_mean_over_seeds_with_their_deviation(void **state)
{
    (void) state;
    struct bench b;
    begin(&b, "t9");
    json_t *t = fill(&b, "t9");
    NEAR(cell(t, 0, "held_in.h1"), 0.09 + 0.001);
    NEAR(cell(t, 0, "held_in.h1.sd"), 0.001);
    NEAR(cell(t, 1, "held_in"), 0.301);
    NEAR(cell(t, 1, "held_in.sd"), 0.001);
    json_decref(t);
    end(&b);
}

static void steps_stand_unaveraged_in_t12_to_t14(void **state)
{
    (void) state;
    struct bench b;
    begin(&b, "t12");
    json_t *t12 = fill(&b, "t12"), *t13 = fill(&b, "t13"), *t14 = fill(&b, "t14");
    NEAR(cell(t12, 1, "held_in.h1"), 0.24);
    NEAR(cell(t12, 1, "held_in.h2"), 0.26);
    NEAR(cell(t12, 1, "held_in.h2.se"), 0.03);
    NEAR(cell(t13, 0, "validation.v"), 0.203);
    NEAR(cell(t14, 2, "held_out.o"), 0.702);
    json_decref(t12);
    json_decref(t13);
    json_decref(t14);
    end(&b);
}

static void fewer_records_and_other_measures_run_the_algorithm_again(void **state)
{
    (void) state;
    struct bench b;
    begin(&b, "t5");
    json_t *t5 = fill(&b, "t5"), *t7 = fill(&b, "t7"), *t8 = fill(&b, "t8");
    assert_string_equal(word(t5, 0, "perturbed"), "input");
    assert_string_equal(word(t7, 0, "records"), "50 %");
    assert_string_equal(word(t7, 1, "records"), "100 %");
    assert_int_equal(json_array_size(json_object_get(t8, "rows")), 4);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(cell(t8, i, "n_selected"), 2);
    json_decref(t5);
    json_decref(t7);
    json_decref(t8);
    end(&b);
}

static void t8_says_what_the_conformal_sets_are(void **state)
{
    (void) state;
    struct bench b;
    begin(&b, "t8");
    json_t *t8 = fill(&b, "t8"), *more = json_object_get(t8, "more");
    const json_t *means = json_array_get(more, 0), *sets = json_array_get(more, 1);
    assert_int_equal(json_array_size(more), 2);
    /* a, b, c, and the steps b+c and all; each on h1 and h2, 0.01 below and above */
    assert_int_equal(json_array_size(json_object_get(means, "rows")), 5);
    assert_int_equal(json_array_size(json_object_get(sets, "rows")), 10);
    assert_string_equal(word(means, 1, "model"), "b");
    assert_string_equal(word(means, 3, "model"), "2 + c");
    assert_string_equal(word(means, 4, "model"), "3 + a");
    NEAR(cell(means, 1, "lac.set_size"), 1.3);
    NEAR(cell(means, 3, "aps.set_size"), 2.25);
    NEAR(cell(means, 4, "accuracy"), 0.78);
    NEAR(cell(means, 4, "aps.coverage"), 0.875);
    assert_null(json_object_get(json_array_get(json_object_get(means, "rows"), 0), "lac.qhat"));
    assert_string_equal(word(sets, 3, "data"), "h2");
    NEAR(cell(sets, 3, "lac.qhat"), 0.31);
    NEAR(cell(sets, 9, "mce"), 0.29);
    NEAR(cell(sets, 9, "calibration"), 9);
    NEAR(cell(sets, 9, "samples"), 10);
    json_decref(t8);
    const size_t asked = n_asked;
    json_decref(fill(&b, "t8"));
    assert_int_equal(n_asked, asked);
    end(&b);
}

static void tables_share_their_answers_and_a_second_run_asks_nothing(void **state)
{
    (void) state;
    struct bench b;
    size_t first = 0;
    char *csv[2][UQM_N_STUDY_TABLES];
    for (int again = 0; again < 2; again++) {
        begin(&b, "shared");
        for (int i = 0; i < UQM_N_STUDY_TABLES; i++) {
            json_t *t = fill(&b, uqm_study_table_names[i]);
            csv[again][i] = uqm_study_csv(t);
            json_decref(t);
        }
        if (!again)
            first = n_asked;
        assert_int_equal(n_asked, again ? 0 : first);
        assert_int_equal(json_array_size(b.run.jobs), first);
        assert_int_equal(b.run.n_cached, again ? first : 0);
        json_t *work = uqm_study_work(&b.run);
        double jobs = 0;
        size_t k;
        json_t *entry;
        json_array_foreach (json_object_get(work, "work"), k, entry) {
            jobs += uqm_get_number(entry, "jobs");
            NEAR(uqm_get_number(entry, "seconds"), 1.5 * uqm_get_number(entry, "jobs"));
        }
        assert_true(jobs == (double) first);
        json_decref(work);
        end(&b);
    }
    for (int i = 0; i < UQM_N_STUDY_TABLES; i++) {
        assert_string_equal(csv[0][i], csv[1][i]);
        free(csv[0][i]);
        free(csv[1][i]);
    }
}

/* What tables there are of a study with these seeds, whatever an earlier one left in the cache. */
static char *t4_of_seeds(const char *seeds, const char *dir)
{
    struct bench b;
    char yaml[sizeof text + 32];
    snprintf(yaml, sizeof yaml, "%s", text);
    memcpy(strstr(yaml, "[0, 1, 2]"), seeds, strlen("[0, 1, 2]"));
    begin_of(&b, yaml, dir, false);
    assert_ok(uqm_study_own_pick(&b.pick, &b.run, false, &err), err);
    json_t *t9 = fill(&b, "t9"), *t4 = fill(&b, "t4"), *t2 = fill(&b, "t2");
    char *csv = uqm_study_csv(t4);
    json_decref(t9);
    json_decref(t4);
    json_decref(t2);
    end(&b);
    return csv;
}

static void another_first_seed_asks_what_depends_on_it_and_no_less(void **state)
{
    (void) state;
    char *before = t4_of_seeds("[0, 1, 2]", "seeds");
    assert_true(n_scores_of_all >= 4); /* of each set at least one */
    const size_t n_first = n_asked;
    char *after = t4_of_seeds("[1, 0, 2]", "seeds");
    assert_int_equal(n_scores_of_all, 0);
    assert_true(n_asked > 0 && n_asked < n_first / 2);
    char *fresh = t4_of_seeds("[1, 0, 2]", "fresh-seeds");
    assert_string_not_equal(before, after);
    assert_string_equal(after, fresh); /* pairs of records are there as well */
    free(before);
    free(after);
    free(fresh);
}

static void an_interrupted_run_goes_on_where_it_was(void **state)
{
    (void) state;
    struct bench b;
    size_t all = 0, total = 0;
    begin(&b, "whole");
    json_decref(fill(&b, "t4"));
    all = n_asked;
    end(&b);
    /* Interrupted after every third answer, until it is through. */
    for (int round = 0; round < 100; round++) {
        begin_of(&b, text, "pieces", false);
        fail_after = 3;
        int ret = uqm_study_own_pick(&b.pick, &b.run, true, &err);
        assert_true(ret == UQM_OK || ret == UQM_ERR_INTERRUPTED);
        total += n_asked;
        end(&b);
        if (ret == UQM_OK)
            break;
    }
    begin(&b, "pieces");
    json_decref(fill(&b, "t4"));
    assert_int_equal(total + n_asked, all);
    end(&b);
}

static void a_dry_run_asks_nothing_and_lists_what_it_knows(void **state)
{
    (void) state;
    struct bench b;
    begin_of(&b, text, "dry", true);
    assert_int_equal(uqm_study_own_pick(&b.pick, &b.run, false, &err), UQM_STUDY_WAITS);
    assert_int_equal(n_asked, 0);
    assert_int_equal(json_array_size(b.run.jobs), 6); /* three models, two sets */
    end(&b);
    begin(&b, "dry");
    end(&b);
    begin_of(&b, text, "dry", true);
    assert_ok(uqm_study_own_pick(&b.pick, &b.run, false, &err), err);
    assert_int_equal(b.run.n_cached, 10); /* and b+c, a+b+c; b alone is the model */
    end(&b);
}

static void a_method_without_its_base_is_left_out_by_name(void **state)
{
    (void) state;
    struct bench b;
    begin_of(&b,
             "models: [a, b, c]\n"
             "data: {held-in: [h1.jsonl]}\n"
             "methods: [linear, ties]\n",
             "nobase", false);
    assert_ok(uqm_study_own_pick(&b.pick, &b.run, false, &err), err);
    json_t *t = fill(&b, "t2");
    assert_int_equal(json_array_size(json_object_get(t, "rows")), 2);
    char *notes = json_dumps(json_object_get(t, "notes"), 0);
    assert_non_null(strstr(notes, "ties is left out: it needs a base"));
    assert_non_null(strstr(notes, "Held-out columns are left out"));
    free(notes);
    json_decref(t);
    end(&b);
}

static void spread_and_rank_correlation_are_the_textbooks(void **state)
{
    (void) state;
    const double v[] = { 2, 4, 4, 4, 5, 5, 7, 9 };
    const struct uqm_study_spread s = uqm_study_spread(v, 8);
    NEAR(s.mean, 5);
    NEAR(s.sd, sqrt(32.0 / 7));
    assert_true(isnan(uqm_study_spread(v, 1).sd));
    assert_true(isnan(uqm_study_spread(v, 0).mean));
    const double a[] = { 106, 100, 86, 101, 99, 103, 97, 113, 112, 110 };
    const double c[] = { 7, 27, 2, 50, 28, 29, 20, 12, 6, 17 };
    NEAR(uqm_study_spearman(a, c, 10), -29.0 / 165);
    const double up[] = { 1, 2, 3 }, down[] = { 9, 5, 1 }, flat[] = { 1, 1, 1 };
    NEAR(uqm_study_spearman(up, down, 3), -1);
    assert_true(isnan(uqm_study_spearman(up, flat, 3)));
    const double tied[] = { 1, 1, 2 };
    NEAR(uqm_study_spearman(up, tied, 3), sqrt(3) / 2);
}

/* Write T9 alone; the digest of what was run, which every file has. */
static void written_run(char out[64], struct bench *b)
{
    json_t *tables = json_array(), *left_out = json_array();
    json_array_append_new(tables, fill(b, "t9"));
    assert_ok(uqm_study_write(&b->run, &b->pick, tables, left_out, &err), err);
    json_decref(tables);
    json_decref(left_out);
    json_t *index = uqm_json_load(in_workdir("experiment.json"), 1 << 20, &err);
    json_t *table = uqm_json_load(in_workdir("t9.json"), 1 << 20, &err);
    assert_true(index && table);
    snprintf(out, 64, "%s", uqm_get_text(index, "run"));
    assert_string_equal(uqm_get_text(json_object_get(table, "run"), "digest"), out);
    json_decref(index);
    json_decref(table);
}

static void note_warning(void *ctx, enum uqm_log_level level, const char *line)
{
    if (level == UQM_LOG_WARN)
        snprintf(ctx, 512, "%s", line);
}

static void what_was_run_is_the_same_from_any_folder_and_tells_settings_apart(void **state)
{
    (void) state;
    struct bench b;
    char first[64], moved[64], other[64], said[512] = "";
    begin(&b, "moved");
    written_run(first, &b);
    b.study.path = "else\xff/where.yml"; /* no text, and no reason to fail */
    b.study.models[0].path = "/far/away/a";
    b.study.sets[1].path = "\xfe.jsonl";
    written_run(moved, &b);
    assert_string_equal(moved, first);
    b.study.n_subsets++;
    put_file("t1.json", "{\"run\": {\"digest\": \"0a\"}}");
    b.run.env->log = note_warning;
    b.run.env->ctx = said;
    written_run(other, &b);
    assert_string_not_equal(other, first);
    assert_non_null(strstr(said, "t1.json: of an earlier run of other models, data or settings"));
    char own[128];
    snprintf(own, sizeof own, "{\"run\": {\"digest\": \"%s\"}}", other);
    put_file("t1.json", own);
    said[0] = '\0';
    written_run(other, &b);
    assert_string_equal(said, "");
    unlink(in_workdir("t1.json"));
    end(&b);
}

static void csv_quotes_what_needs_it(void **state)
{
    (void) state;
    json_t *t = uqm_table_new("x", "t", "");
    uqm_table_column(t, "a,b", "A", NULL, NULL);
    uqm_table_column(t, "v", "V", "nats", "v.sd");
    json_t *row = uqm_table_row(t);
    json_object_set_new(row, "a,b", json_string("say \"x\",\ny"));
    json_object_set_new(row, "v", json_real(0.1));
    row = uqm_table_row(t);
    json_object_set_new(row, "a,b", json_pack("[s, s]", "p", "q"));
    json_object_set_new(row, "v", json_integer(3));
    json_object_set_new(row, "v.sd", json_null());
    char *csv = uqm_study_csv(t);
    assert_string_equal(csv,
                        "\"a,b\",v,v.sd\n\"say \"\"x\"\",\ny\",0.10000000000000001,\np+q,3,\n");
    free(csv);
    json_object_set_new(t, "run", json_pack("{s:s}", "digest", "0a1b"));
    csv = uqm_study_csv(t);
    assert_string_equal(csv, "\"a,b\",v,v.sd,run\n\"say \"\"x\"\",\ny\",0.10000000000000001,,0a1b\n"
                             "p+q,3,,0a1b\n");
    free(csv);
    json_decref(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(algorithm_1_orders_and_stops),
        cmocka_unit_test(t4_has_every_step_and_the_correlations),
        cmocka_unit_test(steps_that_will_all_be_asked_for_are_asked_together),
        cmocka_unit_test(f1_takes_the_best_single_model),
        cmocka_unit_test(t1_spreads_over_the_same_subsets_that_t10_lists),
        cmocka_unit_test(t2_and_t6_merge_all_and_the_selected),
        cmocka_unit_test(t3_is_guided_each_way),
        cmocka_unit_test(t9_is_a_mean_over_seeds_with_their_deviation),
        cmocka_unit_test(steps_stand_unaveraged_in_t12_to_t14),
        cmocka_unit_test(fewer_records_and_other_measures_run_the_algorithm_again),
        cmocka_unit_test(t8_says_what_the_conformal_sets_are),
        cmocka_unit_test(tables_share_their_answers_and_a_second_run_asks_nothing),
        cmocka_unit_test(another_first_seed_asks_what_depends_on_it_and_no_less),
        cmocka_unit_test(an_interrupted_run_goes_on_where_it_was),
        cmocka_unit_test(a_dry_run_asks_nothing_and_lists_what_it_knows),
        cmocka_unit_test(a_method_without_its_base_is_left_out_by_name),
        cmocka_unit_test(spread_and_rank_correlation_are_the_textbooks),
        cmocka_unit_test(what_was_run_is_the_same_from_any_folder_and_tells_settings_apart),
        cmocka_unit_test(csv_quotes_what_needs_it),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, make_workdir, drop_workdir);
}
