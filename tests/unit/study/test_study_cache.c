/* What a study has found, kept; and what becomes of damage. */
#include <dirent.h>
#include <fcntl.h>

#include "src/study/study_digest.h"
#include "tests/unit/uq/workdir.h"

static struct uqm_err err;

static int make(void **state)
{
    return make_workdir(state);
}

static struct uqm_study_cache *open_cache(bool write)
{
    struct uqm_study_cache *c;
    assert_ok(uqm_study_cache_open(&c, test_env(0, 1), in_workdir("cache"), write, &err), err);
    return c;
}

static json_t *key_of(int i)
{
    return json_pack("{s:i, s:f, s:s}", "i", i, "x", 0.1, "model", "d1");
}

static void put(int i, double value)
{
    struct uqm_study_cache *c = open_cache(true);
    json_t *key = key_of(i), *v = json_pack("{s:f, s:n}", "value", value, "stderr");
    assert_ok(uqm_study_cache_put(c, key, v, &err), err);
    json_decref(key);
    json_decref(v);
    uqm_study_cache_close(&c);
}

/* The value that is there; -1: none. */
static double get(int i)
{
    struct uqm_study_cache *c = open_cache(false);
    json_t *key = key_of(i);
    const json_t *v = uqm_study_cache_get(c, key);
    const double value = v ? json_number_value(json_object_get(v, "value")) : -1;
    json_decref(key);
    uqm_study_cache_close(&c);
    return value;
}

static const char *file_of(int i)
{
    struct uqm_xxh3_hex name;
    char file[64];
    json_t *key = key_of(i);
    assert_ok(uqm_study_cache_name(&name, key, &err), err);
    json_decref(key);
    snprintf(file, sizeof file, "cache/%s.json", name.text);
    return in_workdir(file);
}

static void an_answer_is_found_again_to_the_last_bit(void **state)
{
    (void) state;
    put(1, 1.0 / 3);
    put(2, 1e-300);
    assert_true(get(1) == 1.0 / 3);
    assert_true(get(2) == 1e-300);
    assert_true(get(3) == -1);
}

static void a_key_of_the_same_members_in_another_order_is_the_same(void **state)
{
    (void) state;
    struct uqm_xxh3_hex a, b, c;
    json_t *x = json_pack("{s:i, s:i}", "p", 1, "q", 2);
    json_t *y = json_pack("{s:i, s:i}", "q", 2, "p", 1);
    json_t *z = json_pack("{s:i, s:i}", "q", 1, "p", 2);
    assert_ok(uqm_study_cache_name(&a, x, &err), err);
    assert_ok(uqm_study_cache_name(&b, y, &err), err);
    assert_ok(uqm_study_cache_name(&c, z, &err), err);
    assert_string_equal(a.text, b.text);
    assert_string_not_equal(a.text, c.text);
    json_decref(x);
    json_decref(y);
    json_decref(z);
}

static void a_damaged_entry_counts_as_absent_and_is_replaced(void **state)
{
    (void) state;
    put(4, 0.25);
    char *text;
    size_t len;
    const char *path = file_of(4);
    assert_ok(uqm_read_file(&text, &len, path, 1 << 20, &err), err);
    char *at = strstr(text, "0.25");
    assert_non_null(at);
    at[2] = '3'; /* another number, as well-formed as before */
    unlink(path);
    assert_ok(uqm_write_file(path, text, len, &err), err);
    assert_true(get(4) == -1);
    for (size_t cut = 0; cut < len; cut += len / 7) {
        unlink(path);
        assert_ok(uqm_write_file(path, text, cut, &err), err);
        assert_true(get(4) == -1);
    }
    free(text);
    put(4, 0.75);
    assert_true(get(4) == 0.75);
}

static void count_warning(void *ctx, enum uqm_log_level level, const char *line)
{
    (void) line;
    *(size_t *) ctx += level == UQM_LOG_WARN;
}

static void damage_is_told_once(void **state)
{
    (void) state;
    size_t n = 0;
    struct uqm_env *env = test_env(0, 1);
    struct uqm_study_cache *c;
    env->log = count_warning;
    env->ctx = &n;
    put(8, 0.5);
    unlink(file_of(8));
    assert_ok(uqm_write_file(file_of(8), "{", 1, &err), err);
    assert_ok(uqm_study_cache_open(&c, env, in_workdir("cache"), true, &err), err);
    json_t *key = key_of(8), *v = json_real(0.75);
    for (int i = 0; i < 3; i++)
        assert_null(uqm_study_cache_get(c, key));
    assert_int_equal(n, 1);
    assert_ok(uqm_study_cache_put(c, key, v, &err), err);
    assert_true(json_number_value(uqm_study_cache_get(c, key)) == 0.75);
    json_decref(key);
    json_decref(v);
    uqm_study_cache_close(&c);
}

static void an_entry_under_anothers_name_is_not_believed(void **state)
{
    (void) state;
    put(5, 0.5);
    put(6, 0.6);
    assert_int_equal(rename(file_of(5), file_of(6)), 0);
    assert_true(get(6) == -1);
}

static void two_runs_in_one_folder_are_refused(void **state)
{
    (void) state;
    struct uqm_study_cache *a = open_cache(true), *b = NULL;
    assert_fails(uqm_study_cache_open(&b, test_env(0, 1), in_workdir("cache"), true, &err), err,
                 UQM_ERR_ARG, "another run is at work there");
    assert_null(b);
    uqm_study_cache_close(&a);
    a = open_cache(true);
    uqm_study_cache_close(&a);
    uqm_study_cache_close(&a);
}

static void reading_alone_makes_no_folder(void **state)
{
    (void) state;
    struct uqm_study_cache *c;
    assert_ok(uqm_study_cache_open(&c, test_env(0, 1), in_workdir("none"), false, &err), err);
    json_t *key = key_of(1);
    assert_null(uqm_study_cache_get(c, key));
    json_decref(key);
    uqm_study_cache_close(&c);
    assert_false(uqm_is_dir(in_workdir("none")));
}

/* A model of one tensor whose eight bytes are `fill`; its times of contents as they were. */
static void put_model(char fill)
{
    static const char header[] = "{\"w\":{\"dtype\":\"F16\",\"shape\":[4],\"data_offsets\":[0,8]}}";
    char file[8 + sizeof header - 1 + 8] = { (char) (sizeof header - 1) };
    const struct timespec old[2] = { { 1000000000, 0 }, { 1000000000, 0 } };
    const char *path = in_workdir("model/model.safetensors");
    put_file("model/config.json", "{\"architectures\":[\"LlamaForCausalLM\"]}");
    memcpy(file + 8, header, sizeof header - 1);
    memset(file + sizeof file - 8, fill, 8);
    replace_file(path, file, sizeof file);
    assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
    assert_int_equal(utimensat(AT_FDCWD, in_workdir("model/config.json"), old, 0), 0);
}

static void a_models_digest_is_of_its_contents_whatever_its_files_times_say(void **state)
{
    (void) state;
    static const struct uqm_common common = { .memory = 64 << 20, .n_threads = 1 };
    struct uqm_xxh3_hex first, second, third;
    struct uqm_study_cache *c = open_cache(true);
    const char *dir = in_workdir("model");
    put_model(1);
    assert_ok(uqm_study_model_digest(&first, &common, c, true, dir, &err), err);
    put_model(2);
    assert_ok(uqm_study_model_digest(&second, &common, c, true, dir, &err), err);
    assert_string_not_equal(first.text, second.text);
    put_model(1);
    assert_ok(uqm_study_model_digest(&third, &common, c, true, dir, &err), err);
    assert_string_equal(first.text, third.text);
    uqm_study_cache_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_found_again_to_the_last_bit),
        cmocka_unit_test(a_key_of_the_same_members_in_another_order_is_the_same),
        cmocka_unit_test(a_damaged_entry_counts_as_absent_and_is_replaced),
        cmocka_unit_test(damage_is_told_once),
        cmocka_unit_test(an_entry_under_anothers_name_is_not_believed),
        cmocka_unit_test(two_runs_in_one_folder_are_refused),
        cmocka_unit_test(reading_alone_makes_no_folder),
        cmocka_unit_test(a_models_digest_is_of_its_contents_whatever_its_files_times_say),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, make, drop_workdir);
}
