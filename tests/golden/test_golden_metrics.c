/* Scores of made-up answers, against lmms-eval's own functions (make_metric_scores.py). */
#include <math.h>

#include "src/uq/metric.h"
#include "tests/golden/golden.h"
#include "tests/unit/test.h"

enum { MAX_TEXTS = 16 };

/* A list of texts; how many. */
static size_t texts(const char *out[MAX_TEXTS], const json_t *list)
{
    const size_t n = json_array_size(list);
    assert_true(n <= MAX_TEXTS);
    for (size_t i = 0; i < n; i++)
        out[i] = json_string_value(json_array_get(list, i));
    return n;
}

static double score(const json_t *object, enum uqm_metric metric)
{
    const json_t *record = json_object_get(object, "record");
    const char *answers[MAX_TEXTS], *choices[MAX_TEXTS];
    const json_t *answer = json_object_get(record, "answer"),
                 *question = json_object_get(record, "question");
    const struct uqm_record r = {
        .id = "x",
        .question = question ? json_string_value(question) : "q",
        .answers = answers,
        .n_answers = texts(answers, json_object_get(record, "answers")),
        .choices = choices,
        .n_choices = texts(choices, json_object_get(record, "choices")),
        .answer = answer ? (int) json_integer_value(answer) : -1,
        .category = json_string_value(json_object_get(record, "category")),
    };
    struct uqm_err err = { 0 };
    double value;
    assert_true(uqm_metric_has_gold(metric, &r));
    assert_ok(uqm_metric_score(&value, metric, &r, golden_string(object, "answer"), "set", 0, &err),
              err);
    return value;
}

static void every_score_is_the_one_that_lmms_eval_gives(void **state)
{
    (void) state;
    json_t *cases = golden_json(data_path("golden/metric_scores.json")), *object;
    size_t i, seen[UQM_N_METRICS] = { 0 };
    json_array_foreach (cases, i, object) {
        const enum uqm_metric metric = uqm_metric_find(golden_string(object, "metric"));
        assert_int_not_equal(metric, UQM_N_METRICS);
        const double ours = score(object, metric), theirs = golden_number(object, "score");
        if (!(fabs(ours - theirs) < 1e-12))
            fail_msg("%s: %.17g, lmms-eval %.17g", json_dumps(object, 0), ours, theirs);
        seen[metric] += theirs > 0;
    }
    for (int k = UQM_METRIC_LMMS_EXACT; k < UQM_N_METRICS; k++)
        assert_true(seen[k] > 2);
    json_decref(cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_score_is_the_one_that_lmms_eval_gives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
