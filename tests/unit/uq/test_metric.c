/* The rules and vectors of the specification; test_golden_metrics compares with lmms-eval. */
#include <math.h>

#include "src/uq/answer_text.h"
#include "src/uq/metric.h"
#include "tests/unit/test.h"

static const char *const four[] = { "cat", "dog", "hen", "cow" };

static double score(const char *metric, const struct uqm_record *r, const char *answer)
{
    struct uqm_err err = { 0 };
    double value;
    const enum uqm_metric m = uqm_metric_find(metric);
    assert_int_not_equal(m, UQM_N_METRICS);
    assert_ok(uqm_metric_score(&value, m, r, answer, "set", 3, &err), err);
    return value;
}

static double score_text(const char *metric, const char *gold, const char *answer)
{
    const struct uqm_record r = { .id = "x", .question = "q", .answers = &gold, .n_answers = 1 };
    return score(metric, &r, answer);
}

/* 1 or 0, which are exact. */
#define assert_right(value) assert_true((value) > 0.999)
#define assert_wrong(value) assert_true((value) < 0.001)

static void assert_form(char *(*form)(struct uqm_arena *, const char *), const char *text,
                        const char *expected)
{
    struct uqm_arena arena = { 0 };
    assert_string_equal(form(&arena, text), expected);
    uqm_arena_finish(&arena);
}

static void the_vqa_form_agrees_with_the_documents_checks(void **state)
{
    (void) state;
    assert_form(uqm_answer_vqa, "It's a dog.", "it 's dog");
    assert_form(uqm_answer_vqa, "Red/Blue", "red blue");
    assert_form(uqm_answer_vqa, "semi-truck", "semi truck");
    assert_form(uqm_answer_vqa, "10.", "10");
    assert_form(uqm_answer_vqa, "a.b", "ab");
    assert_form(uqm_answer_vqa, "dont know", "don't know");
    assert_form(uqm_answer_vqa, "None of The Ten", "0 of 10");
    assert_form(uqm_answer_vqa, "shouldntve", "shouldntve"); /* both apostrophes are lacking */
    assert_form(uqm_answer_vqa, "yalld've", "yalld've");
    assert_form(uqm_answer_vqa, "", "");
}

static void the_plain_form_drops_marks_articles_and_number_words(void **state)
{
    (void) state;
    assert_form(uqm_answer_plain, " The Semi-Truck, and  TWO dogs! ", "semi truck and 2 dogs");
    assert_form(uqm_answer_plain, "an a the", "");
    assert_form(uqm_answer_plain, "none", "none");
    assert_form(uqm_answer_plain,
                "\xc3\x89T\xc3\x89\xe3\x80\x80"
                "7",
                "\xc3\xa9t\xc3\xa9 7");
}

static void cases_change_beyond_ascii_and_broken_bytes_stay(void **state)
{
    (void) state;
    assert_form(uqm_answer_capitalize, "wHAT is THIS?", "What is this?");
    assert_form(uqm_answer_capitalize, "\xc3\xa9 COLE", "\xc3\x89 cole");
    assert_form(uqm_answer_lower,
                "\u1ebe\u01b0 \u01af\u01a0 \u0218\u0178 \u018f\u0531 \uff22 \u4e2d",
                "\u1ebf\u01b0 \u01b0\u01a1 \u0219\u00ff \u0259\u0561 \uff42 \u4e2d");
    assert_form(uqm_answer_capitalize, "\u1ebfT", "\u1ebet");
    assert_form(uqm_answer_capitalize, "\u00ff", "\u0178");
    assert_form(uqm_answer_lower, "\xd0\x96\xce\xa9\xc4\xb0\xc3\x97", /* Zhe, Omega; two without */
                "\xd0\xb6\xcf\x89\xc4\xb0\xc3\x97");
    assert_form(uqm_answer_lower,
                "A\xff"
                "B\xc3",
                "a\xff"
                "b\xc3");
    assert_form(uqm_answer_strip, "\xc2\xa0\t x y\n\x1f", "x y");
    assert_form(uqm_answer_strip, " \xe2\x80\xa8 ", "");
}

static void words_alone_are_letters_digits_and_spaces(void **state)
{
    (void) state;
    assert_form(uqm_answer_words_only, " It's a_b, 5.0\tm! ", "Its a_b 50\tm");
    assert_form(uqm_answer_words_only, "3 \u00d7 4 \u00f7 2 = \u20ac6\u00b2", "3  4  2  6\u00b2");
    assert_form(uqm_answer_words_only, "\ufeff\u201cyes\u201d\u2026\u2192\u3002 \U0001f600", "yes");
    assert_form(uqm_answer_words_only, "cafe\u0301 \u4e2d\u6587 \xff\x01", "cafe \u4e2d\u6587");
}

static void the_soft_score_leaves_each_answer_out_once(void **state)
{
    (void) state;
    const char *golds[10] = { "a", "a", "a", "b", "c", "c", "c", "c", "d", "e" };
    /* a: three of ten see two others, seven see three. */
    assert_true(fabs(uqm_metric_leave_one_out("a", golds, 10) - (3 * 2.0 / 3 + 7) / 10) < 1e-12);
    assert_true(fabs(uqm_metric_leave_one_out("b", golds, 10) - 9 * (1.0 / 3) / 10) < 1e-12);
    assert_right(uqm_metric_leave_one_out("c", golds, 10));
    assert_wrong(uqm_metric_leave_one_out("z", golds, 10));
    assert_wrong(uqm_metric_leave_one_out("a", golds, 1)); /* nobody else said so */
}

static void the_short_metrics_follow_the_zoos_rules(void **state)
{
    (void) state;
    assert_right(score_text("exact_match", "two", "The 2."));
    assert_wrong(score_text("exact_match", "two", "twoo"));
    assert_right(score_text("yes_no", "yes", "Yes, there is"));
    assert_wrong(score_text("yes_no", "yes", "yesterday"));
    assert_right(score_text("yes_no", "no", "I cannot say")); /* whatever is not yes */
    const struct uqm_record r = { .id = "x",
                                  .question = "q",
                                  .choices = four,
                                  .n_choices = 4,
                                  .answer = 1,
                                  .answers = &four[1],
                                  .n_answers = 1 };
    assert_right(score("mmmu", &r, "B. dog"));
    assert_right(score("mmmu", &r, "b"));
    assert_wrong(score("mmmu", &r, "dog"));
    assert_right(score_text("mmmu", "dog", "the dog")); /* no choices */
}

static void a_guess_depends_on_the_records_id_and_the_seed_alone(void **state)
{
    (void) state;
    struct uqm_record r = {
        .question = "q", .choices = four, .n_choices = 4, .answers = four, .n_answers = 1
    };
    struct uqm_err err = { 0 };
    size_t n[4] = { 0 };
    for (int i = 0; i < 400; i++) {
        char id[16];
        snprintf(id, sizeof id, "%d", i);
        r.id = id;
        double sum = 0, value, again;
        for (r.answer = 0; r.answer < 4; r.answer++) {
            assert_ok(uqm_metric_score(&value, UQM_METRIC_LMMS_MMMU, &r, "what", "s", 3, &err),
                      err);
            assert_ok(uqm_metric_score(&again, UQM_METRIC_LMMS_MMMU, &r, "eh", "s", 3, &err), err);
            assert_true(fabs(value - again) < 1e-12);
            n[r.answer] += value > 0.5;
            sum += value;
        }
        assert_right(sum); /* one option, and only one */
    }
    for (int k = 0; k < 4; k++)
        assert_in_range(n[k], 60, 140);
}

static void an_open_number_may_have_spaces_and_underscores_as_in_python(void **state)
{
    (void) state;
    assert_right(score_text("lmms_mmmu", "149", "149 ,"));
    assert_right(score_text("lmms_mmmu", "1,000", "1_000"));
    assert_right(score_text("lmms_mmmu", "1_000", "it is 1000"));
    assert_wrong(score_text("lmms_mmmu", "8_0", "8_000"));
    assert_right(score_text("lmms_mmmu", "8__0", "8__000")); /* these are texts */
    assert_right(score_text("lmms_mmmu", "_5", "7_5_5_5a"));
}

static void yes_and_no_are_counted_apart(void **state)
{
    (void) state;
    assert_int_equal(uqm_metric_yes_no(UQM_METRIC_LMMS_POPE, " Yes"), 1);
    assert_int_equal(uqm_metric_yes_no(UQM_METRIC_LMMS_POPE, "no"), 0);
    assert_int_equal(uqm_metric_yes_no(UQM_METRIC_LMMS_POPE, "no."), -1);
    assert_int_equal(uqm_metric_yes_no(UQM_METRIC_YES_NO, "yes it is"), 1);
    assert_int_equal(uqm_metric_yes_no(UQM_METRIC_YES_NO, "well"), 0);
    assert_int_equal(uqm_metric_yes_no(UQM_METRIC_EXACT_MATCH, "yes"), -1);
}

static void a_letter_metric_wants_the_label_and_others_the_answers(void **state)
{
    (void) state;
    struct uqm_record r = { .choices = four, .n_choices = 4, .answer = -1 };
    assert_false(uqm_metric_has_gold(UQM_METRIC_LMMS_AI2D, &r));
    r.answer = 2;
    assert_true(uqm_metric_has_gold(UQM_METRIC_LMMS_AI2D, &r));
    assert_false(uqm_metric_has_gold(UQM_METRIC_EXACT_MATCH, &r));
    r.answers = four;
    r.n_answers = 1;
    assert_true(uqm_metric_has_gold(UQM_METRIC_EXACT_MATCH, &r));
    r.n_choices = 0;
    r.answer = -1;
    assert_true(uqm_metric_has_gold(UQM_METRIC_LMMS_MMMU, &r)); /* an open question */
}

static void every_metric_is_found_by_its_name_and_takes_any_text(void **state)
{
    (void) state;
    const char *gold = "\xc3\xa9\xff'";
    const struct uqm_record r = { .id = "x",
                                  .question = "A. \nB.",
                                  .choices = four,
                                  .n_choices = 4,
                                  .answers = &gold,
                                  .n_answers = 1 };
    static const char *const odd[] = { "",   " ", "\xff\xfe", "\xe2\x80", ".",   "(A",
                                       "1e", "-", "=",        "'s's's",   "\n\n" };
    assert_int_equal(uqm_metric_find("chess"), UQM_N_METRICS);
    for (int m = 0; m < UQM_N_METRICS; m++) {
        const char *name = uqm_metric_name((enum uqm_metric) m);
        assert_int_equal(uqm_metric_find(name), m);
        for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
            const double value = score(name, &r, odd[i]);
            assert_true(value >= 0 && value <= 1);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vqa_form_agrees_with_the_documents_checks),
        cmocka_unit_test(the_plain_form_drops_marks_articles_and_number_words),
        cmocka_unit_test(cases_change_beyond_ascii_and_broken_bytes_stay),
        cmocka_unit_test(words_alone_are_letters_digits_and_spaces),
        cmocka_unit_test(the_soft_score_leaves_each_answer_out_once),
        cmocka_unit_test(the_short_metrics_follow_the_zoos_rules),
        cmocka_unit_test(a_guess_depends_on_the_records_id_and_the_seed_alone),
        cmocka_unit_test(an_open_number_may_have_spaces_and_underscores_as_in_python),
        cmocka_unit_test(yes_and_no_are_counted_apart),
        cmocka_unit_test(a_letter_metric_wants_the_label_and_others_the_answers),
        cmocka_unit_test(every_metric_is_found_by_its_name_and_takes_any_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
