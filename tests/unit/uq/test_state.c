#include <fcntl.h>
#include <math.h>

#include "src/uq/state.h"
#include "src/uq/survey.h"
#include "tests/unit/uq/workdir.h"

static const size_t n_records[2] = { 2, 3 };
static const struct uqm_xxh3_hex job = { "0123456789abcdef0123456789abcdef" };
static const struct uqm_xxh3_hex other_job = { "f123456789abcdef0123456789abcdef" };
static const char *const names[2] = { "a", "b" };
static const struct uqm_state_key one = { "uq", names, 1 }, both = { "uq", names, 2 };
static const struct uqm_state_key accuracy = { "accuracy", names, 1 };

static char last_warning[1024], last_info[1024];

static void note(void *ctx, enum uqm_log_level level, const char *line)
{
    (void) ctx;
    if (level == UQM_LOG_WARN)
        snprintf(last_warning, sizeof last_warning, "%s", line);
    else if (level == UQM_LOG_INFO)
        snprintf(last_info, sizeof last_info, "%s", line);
}

static struct uqm_state *open_state(const char *path, const struct uqm_xxh3_hex *digest)
{
    struct uqm_env *env = test_env(64 << 20, 1);
    struct uqm_state *s = NULL;
    struct uqm_err err = { 0 };
    env->log = note;
    last_warning[0] = '\0';
    assert_ok(uqm_state_open(&s, env, path, digest, n_records, 2, &err), err);
    return s;
}

/* The two sets as a measure; whatever else it has is a function of the first values. */
struct shape {
    double *values[2], answers[2][6];
    size_t n_asked[2];
};

static struct uqm_measure measure_of(struct shape *shape, double *set0, double *set1)
{
    shape->values[0] = set0;
    shape->values[1] = set1;
    return (struct uqm_measure){
        .n_sets = 2, .values = shape->values, .n_asked = shape->n_asked, .answers = shape->answers
    };
}

static bool get(struct uqm_state *s, const struct uqm_state_key *key, double *set0, double *set1)
{
    struct shape shape = { 0 };
    struct uqm_measure m = measure_of(&shape, set0, set1);
    if (!uqm_state_get(s, key, &m))
        return false;
    assert_int_equal(m.n_asked[0], 1);
    assert_int_equal(m.n_asked[1], 3);
    assert_true(m.answers[0][5] == set1[0] && m.answers[1][0] == set1[1] / 3);
    return true;
}

static int try_put(struct uqm_state *s, const struct uqm_state_key *key, const double *set0,
                   const double *set1, struct uqm_err *err)
{
    double a[2], b[3];
    struct shape shape = { .n_asked = { 1, 3 } };
    struct uqm_measure m = measure_of(&shape, a, b);
    memcpy(a, set0, sizeof a);
    memcpy(b, set1, sizeof b);
    shape.answers[0][5] = b[0];
    shape.answers[1][0] = b[1] / 3;
    return uqm_state_put(s, key, &m, err);
}

static void put(struct uqm_state *s, const struct uqm_state_key *key, const double *set0,
                const double *set1)
{
    struct uqm_err err = { 0 };
    assert_ok(try_put(s, key, set0, set1, &err), err);
}

static const double x[2] = { 0.1, (double) NAN }, y[3] = { 1e-17, 2.0 / 3, 0 };

static void values_come_back_to_the_bit(void **state)
{
    (void) state;
    double a[2], b[3];
    struct uqm_state *s = open_state(in_workdir("s.json"), &job);
    assert_false(get(s, &one, a, b));
    put(s, &one, x, y);
    uqm_state_close(&s);

    s = open_state(in_workdir("s.json"), &job);
    assert_string_equal(last_warning, "");
    assert_true(get(s, &one, a, b));
    assert_true(a[0] == x[0] && isnan(a[1]));
    assert_memory_equal(b, y, sizeof y);
    assert_false(get(s, &both, a, b));
    assert_false(get(s, &accuracy, a, b));
    put(s, &both, y, y);
    assert_true(get(s, &both, a, b));
    assert_true(a[1] == y[1]);
    put(s, &one, y, y); /* a race has gone on: the entry is replaced */
    assert_true(get(s, &one, a, b));
    assert_true(a[1] == y[1]);
    uqm_state_close(&s);
    s = open_state(in_workdir("s.json"), &job);
    assert_true(get(s, &one, a, b));
    assert_true(a[1] == y[1]);
    assert_false(uqm_is_file(in_workdir("s.json.part")));
    uqm_state_remove(s);
    assert_false(uqm_is_file(in_workdir("s.json")));
    uqm_state_close(&s);
}

static void what_of_it_a_run_can_use_is_said(void **state)
{
    (void) state;
    static const char *const others[3] = { "c", "b", "d" };
    struct uqm_env *env = test_env(64 << 20, 1);
    struct uqm_state *s = open_state(in_workdir("told.json"), &job);
    env->log = note;
    last_info[0] = '\0';
    uqm_state_tell(s, env, names, 2);
    assert_string_equal(last_info, "");
    put(s, &one, x, y);
    put(s, &accuracy, x, y);
    put(s, &both, x, y);
    uqm_state_tell(s, env, names, 2);
    assert_non_null(strstr(last_info, "told.json: going on after 3 finished measurements"));
    uqm_state_tell(s, env, names, 1);
    assert_non_null(strstr(last_info, "told.json: going on after 2 finished measurements"));
    uqm_state_tell(s, env, others, 3);
    assert_non_null(strstr(last_info, "told.json: none of its 3 measurements is of these models"));
    uqm_state_close(&s);
}

static void a_state_has_one_run_at_a_time(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    struct uqm_state *s = open_state(in_workdir("l.json"), &job), *other = NULL;
    assert_fails(uqm_state_open(&other, test_env(64 << 20, 1), in_workdir("l.json"), &job,
                                n_records, 2, &err),
                 err, UQM_ERR_IO, "l.json: another run is writing it");
    assert_null(other);
    uqm_state_close(&s);
    assert_false(uqm_is_file(in_workdir("l.json.lock")));
    s = open_state(in_workdir("l.json"), &job);
    uqm_state_close(&s);

    /* What a killed run leaves is empty; anything else of that name is not ours. */
    assert_ok(uqm_write_file(in_workdir("l.json.lock"), "", 0, &err), err);
    s = open_state(in_workdir("l.json"), &job);
    uqm_state_close(&s);
    assert_ok(uqm_write_file(in_workdir("l.json.lock"), "mine", 4, &err), err);
    assert_fails(uqm_state_open(&other, test_env(64 << 20, 1), in_workdir("l.json"), &job,
                                n_records, 2, &err),
                 err, UQM_ERR_ARG, "l.json.lock: not a lock, so it is not replaced");
    assert_true(uqm_is_file(in_workdir("l.json.lock")));
}

static void without_a_path_it_remembers_all_the_same(void **state)
{
    (void) state;
    double a[2], b[3];
    struct uqm_state *s = open_state(NULL, &job);
    put(s, &accuracy, x, y);
    assert_true(get(s, &accuracy, a, b));
    uqm_state_remove(s);
    uqm_state_close(&s);
}

static void a_state_of_another_job_is_set_aside(void **state)
{
    (void) state;
    double a[2], b[3];
    struct uqm_state *s = open_state(in_workdir("t.json"), &job);
    put(s, &one, x, y);
    uqm_state_close(&s);
    s = open_state(in_workdir("t.json"), &other_job);
    assert_non_null(strstr(last_warning, "another job"));
    assert_false(get(s, &one, a, b));
    uqm_state_close(&s);

    struct uqm_env *env = test_env(64 << 20, 1);
    struct uqm_err err = { 0 };
    env->strict = true;
    assert_fails(uqm_state_open(&s, env, in_workdir("t.json"), &other_job, n_records, 2, &err), err,
                 UQM_ERR_FORMAT, "another job");
}

static void a_damaged_state_starts_over(void **state)
{
    (void) state;
    static const char *const texts[] = {
        "",
        "{",
        "[]",
        "{\"version\":1}",
        "{\"version\":1,\"job\":\"0123456789abcdef0123456789abcdef\",\"entries\":[]}",
        "{\"version\":2,\"job\":\"0123456789abcdef0123456789abcdef\",\"entries\":7}",
        "{\"version\":2,\"job\":\"0123456789abcdef0123456789abcdef\",\"entries\":[7]}",
        "{\"version\":2,\"job\":\"0123456789abcdef0123456789abcdef\",\"entries\":"
        "[{\"kind\":\"uq\",\"models\":[\"a\"],\"values\":[[1,2],[1,2]],"
        "\"asked\":[2,3],\"answers\":[[0,0,0,0,0,0],[0,0,0,0,0,0]]}]}",
        "{\"version\":2,\"job\":\"0123456789abcdef0123456789abcdef\",\"entries\":"
        "[{\"kind\":\"uq\",\"models\":[\"a\"],\"values\":[[1,\"2\"],[1,2,3]],"
        "\"asked\":[2,3],\"answers\":[[0,0,0,0,0,0],[0,0,0,0,0,0]]}]}",
        "{\"version\":2,\"job\":\"0123456789abcdef0123456789abcdef\",\"entries\":"
        "[{\"kind\":\"uq\",\"models\":\"a\",\"values\":[[1,2],[1,2,3]],"
        "\"asked\":[2,3],\"answers\":[[0,0,0,0,0,0],[0,0,0,0,0,0]]}]}",
        "{\"version\":2,\"job\":\"0123456789abcdef0123456789abcdef\",\"entries\":"
        "[{\"kind\":\"uq\",\"models\":[\"a\"],\"values\":[[1,2],[1,2,3]],"
        "\"asked\":[3,3],\"answers\":[[0,0,0,0,0,0],[0,0,0,0,0,0]]}]}",
        "{\"version\":2,\"job\":\"0123456789abcdef0123456789abcdef\",\"entries\":"
        "[{\"kind\":\"uq\",\"models\":[\"a\"],\"values\":[[1,2],[1,2,3]],"
        "\"asked\":[2,3],\"answers\":[[0,0,0,0,0,0],[0,0,0,0,0,null]]}]}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        double a[2], b[3];
        struct uqm_state *s = open_state(put_file("bad.json", texts[i]), &job);
        if (!strstr(last_warning, "starts over"))
            fail_msg("case %zu: \"%s\"", i, last_warning);
        assert_false(get(s, &one, a, b));
        put(s, &one, x, y);
        uqm_state_close(&s);
        s = open_state(in_workdir("bad.json"), &job);
        assert_true(get(s, &one, a, b));
        uqm_state_close(&s);
    }
}

static void a_place_that_cannot_be_written_is_an_error(void **state)
{
    (void) state;
    struct uqm_state *s = NULL;
    struct uqm_err err = { 0 };
    assert_fails(uqm_state_open(&s, test_env(64 << 20, 1), in_workdir("nowhere/s.json"), &job,
                                n_records, 2, &err),
                 err, UQM_ERR_IO, "nowhere/s.json");
    assert_null(s);
    assert_ok(uqm_make_dir(in_workdir("gone"), &err), err);
    s = open_state(in_workdir("gone/s.json"), &job);
    assert_ok(uqm_remove_tree(in_workdir("gone"), &err), err);
    assert_fails(try_put(s, &one, x, y, &err), err, UQM_ERR_IO, "gone/s.json");
    uqm_state_close(&s);
}

/* What a state's values are of: the same size and time of contents do not make the same model. */
static void a_model_whose_files_were_replaced_is_another_whatever_their_times(void **state)
{
    (void) state;
    const struct timespec old[2] = { { 1000000000, 0 }, { 1000000000, 0 } };
    struct uqm_xxh3_hex first, same, second;
    struct uqm_err err = { 0 };
    assert_int_equal(utimensat(AT_FDCWD, put_file("model/weights", "1234"), old, 0), 0);
    assert_int_equal(utimensat(AT_FDCWD, in_workdir("model"), old, 0), 0);
    assert_ok(uqm_survey_model(&first, in_workdir("model"), NULL, &err), err);
    assert_ok(uqm_survey_model(&same, in_workdir("model"), NULL, &err), err);
    assert_string_equal(first.text, same.text);
    assert_int_equal(utimensat(AT_FDCWD, put_file("model/weights", "5678"), old, 0), 0);
    assert_int_equal(utimensat(AT_FDCWD, in_workdir("model"), old, 0), 0);
    assert_ok(uqm_survey_model(&second, in_workdir("model"), NULL, &err), err);
    assert_string_not_equal(first.text, second.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_back_to_the_bit),
        cmocka_unit_test(what_of_it_a_run_can_use_is_said),
        cmocka_unit_test(a_state_has_one_run_at_a_time),
        cmocka_unit_test(without_a_path_it_remembers_all_the_same),
        cmocka_unit_test(a_state_of_another_job_is_set_aside),
        cmocka_unit_test(a_damaged_state_starts_over),
        cmocka_unit_test(a_model_whose_files_were_replaced_is_another_whatever_their_times),
        cmocka_unit_test(a_place_that_cannot_be_written_is_an_error),
    };
    return cmocka_run_group_tests(tests, make_workdir, drop_workdir);
}
