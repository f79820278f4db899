/* A model that is written to while it is asked: whatever the way of asking, no number comes of it.
 * And what results say of the models that were asked. */
#include <dirent.h>
#include <fcntl.h>

#include "src/format/json.h"
#include "tests/unit/uq/workdir.h"

enum { N_MODELS = 3, MOST_BYTES = 1 << 26 };

static const char *models[N_MODELS], *set;

/* The one that is touched, its last byte written as it was, when `stage` of them has been told. */
static struct {
    char path[1024], last[128];
    int n_stages, stage;
    bool touched, swept;
} spoil;

static void touch(void)
{
    char byte;
    struct stat st, now;
    int fd = open(spoil.path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(pread(fd, &byte, 1, st.st_size - 1), 1);
    do { /* until its time is another one: how fine they are is the file system's business */
        usleep(1000);
        assert_int_equal(pwrite(fd, &byte, 1, st.st_size - 1), 1);
        assert_int_equal(fstat(fd, &now), 0);
    } while (now.st_mtim.tv_sec == st.st_mtim.tv_sec && now.st_mtim.tv_nsec == st.st_mtim.tv_nsec);
    close(fd);
    spoil.touched = true;
}

static void take_progress(void *ctx, const struct uqm_progress *progress)
{
    (void) ctx;
    if ((strncmp(progress->stage, "uncertainty", strlen("uncertainty")) != 0 &&
         strcmp(progress->stage, "answering") != 0) ||
        !strcmp(progress->stage, spoil.last))
        return;
    snprintf(spoil.last, sizeof spoil.last, "%s", progress->stage);
    if (++spoil.n_stages == spoil.stage)
        touch();
}

static void take_log(void *ctx, enum uqm_log_level level, const char *line)
{
    (void) ctx;
    (void) level;
    if (strstr(line, "one by one"))
        spoil.swept = false;
}

static struct uqm_uq_params params_for(int stage)
{
    memset(&spoil, 0, sizeof spoil);
    spoil.stage = stage;
    spoil.swept = true;
    snprintf(spoil.path, sizeof spoil.path, "%s/model-00001-of-00002.safetensors", models[1]);
    return (struct uqm_uq_params){
        .common = { .memory = UINT64_C(256) << 20, .log = take_log, .progress = take_progress },
        .questions = { .models = { models, N_MODELS }, .data = { &set, 1 }, .sample_count = 3 },
        .repeats = 2,
    };
}

static void assert_noticed(int ret, const struct uqm_err *err, char *const *text)
{
    assert_true(spoil.touched);
    assert_fails(ret, *err, UQM_ERR_IO, "model-00001-of-00002.safetensors: changed since");
    assert_null(*text);
}

/* Of so many models, the later one with each that the earlier has: what a sweep takes. */
static const char *put_merge(size_t n)
{
    char name[32], text[4096] = "merge_method: linear\nmodels:\n";
    for (size_t i = 0; i < n; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text),
                 "  - {model: %s, parameters: {weight: 1}}\n", models[i]);
    snprintf(name, sizeof name, "merge%zu.yml", n);
    return put_file(name, text);
}

static void uq_notices_one_model_at_a_time_and_in_a_sweep(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    char *text;
    struct uqm_uq_params p = params_for(2);
    assert_noticed(uqm_uq(&text, &p, &err), &err, &text);

    const char *merges[2] = { put_merge(2), put_merge(3) };
    p = params_for(1);
    p.questions.models = (struct uqm_strings){ merges, 2 };
    p.window = 2;
    assert_noticed(uqm_uq(&text, &p, &err), &err, &text);
    assert_true(spoil.swept);
}

/* The models are measured first: what is written to between is another's error. */
static void select_notices_step_by_step_and_in_a_sweep(void **state)
{
    (void) state;
    for (int window = 1; window <= 2; window++) {
        struct uqm_select_params p = { .uq = params_for(N_MODELS + 1),
                                       .no_write = true,
                                       .all_steps = true,
                                       .window = window,
                                       .state_path = in_workdir(window == 1 ? "steps" : "swept") };
        struct uqm_err err = { 0 };
        char *text;
        p.order = UQM_ORDER_GIVEN;
        assert_noticed(uqm_select(&text, &p, &err), &err, &text);
        assert_true(spoil.swept);
    }
}

static void ask_notices(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    char *text;
    struct uqm_ask_params p = {
        .common = params_for(1).common,
        .model = models[1],
        .prompt = "What is this?",
        .max_tokens = 2,
    };
    assert_noticed(uqm_ask(&text, &p, &err), &err, &text);
}

static void copy_model(const char *from, const char *name)
{
    char path[1024];
    DIR *dir = opendir(from);
    assert_non_null(dir);
    mkdir(in_workdir(name), 0755);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        char *text;
        size_t len;
        struct uqm_err err = { 0 };
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", from, e->d_name);
        assert_ok(uqm_read_file(&text, &len, path, MOST_BYTES, &err), err);
        snprintf(path, sizeof path, "%s/%s", in_workdir(name), e->d_name);
        assert_ok(uqm_write_file(path, text, len, &err), err);
        free(text);
    }
    closedir(dir);
}

/* "run" of an evaluation of one model; the caller's. */
static json_t *run_of(const char *model)
{
    struct uqm_err err = { 0 };
    char *text = NULL;
    const struct uqm_eval_params p = {
        .common.memory = UINT64_C(256) << 20,
        .questions = { .models = { &model, 1 }, .data = { &set, 1 }, .sample_count = 2 },
    };
    assert_ok(uqm_eval(&text, &p, &err), err);
    json_t *root = uqm_json_parse(text, strlen(text), "eval", false, &err);
    assert_non_null(root);
    json_t *run = json_incref(json_object_get(root, "run"));
    json_decref(root);
    free(text);
    return run;
}

static void fingerprint_of(char out[33], const char *model)
{
    json_t *run = run_of(model), *entry = json_array_get(json_object_get(run, "models"), 0);
    assert_string_equal(json_string_value(json_object_get(entry, "path")), model);
    const char *text = json_string_value(json_object_get(entry, "fingerprint"));
    assert_non_null(text);
    assert_int_equal(strlen(text), 32);
    memcpy(out, text, 33);
    json_decref(run);
}

static void change_last_byte(const char *path)
{
    uint8_t byte;
    struct stat st;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(pread(fd, &byte, 1, st.st_size - 1), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, st.st_size - 1), 1);
    close(fd);
}

static void a_result_says_which_program_device_models_and_pictures(void **state)
{
    (void) state;
    json_t *run = run_of(models[0]);
    const char *program = json_string_value(json_object_get(run, "program"));
    assert_int_equal(strncmp(program, "uqmerge ", 8), 0);
    const json_t *device = json_object_get(run, "device");
    assert_string_equal(json_string_value(json_object_get(device, "id")), "cpu");
    assert_true(json_is_false(json_object_get(device, "fast")));
    const json_t *data = json_array_get(json_object_get(run, "datasets"), 0);
    assert_string_equal(json_string_value(json_object_get(data, "data")), "mmb");
    assert_int_equal(json_string_length(json_object_get(data, "pictures")), 32);
    json_decref(run);
}

static void fingerprints_tell_models_that_differ_apart(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    char first[33], second[33], now[33], recipe[33], *text = NULL;
    copy_model(models[0], "copy");
    const struct uqm_pack_params pack = { .dir = in_workdir("copy"),
                                          .archive = in_workdir("copy.uqz") };
    assert_ok(uqm_pack(&text, &pack, &err), err);
    free(text);
    put_file("one.yml", "merge_method: linear\nmodels:\n"
                        "  - {model: copy, parameters: {weight: 1}}\n");

    fingerprint_of(first, models[0]);
    fingerprint_of(now, in_workdir("copy"));
    assert_string_equal(now, first);
    fingerprint_of(now, in_workdir("copy.uqz"));
    assert_string_equal(now, first);
    fingerprint_of(recipe, in_workdir("one.yml"));
    assert_string_not_equal(recipe, first);

    change_last_byte(in_workdir("copy/model.safetensors"));
    fingerprint_of(second, in_workdir("copy"));
    assert_string_not_equal(second, first);
    fingerprint_of(now, in_workdir("one.yml"));
    assert_string_not_equal(now, recipe);

    put_file("copy/generation_config.json", "{ }");
    fingerprint_of(now, in_workdir("copy"));
    assert_string_not_equal(now, second);
}

static int setup(void **state)
{
    if (make_workdir(state) < 0)
        return -1;
    copy_model(zoo_path("models/reason"), "reason");
    models[0] = strdup(zoo_path("models/textcap"));
    models[1] = strdup(in_workdir("reason"));
    models[2] = strdup(zoo_path("models/ocr"));
    set = strdup(zoo_path("data/heldin/mmb.jsonl"));
    return 0;
}

static int teardown(void **state)
{
    for (int i = 0; i < N_MODELS; i++)
        free((void *) (uintptr_t) models[i]);
    free((void *) (uintptr_t) set);
    return drop_workdir(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uq_notices_one_model_at_a_time_and_in_a_sweep),
        cmocka_unit_test(select_notices_step_by_step_and_in_a_sweep),
        cmocka_unit_test(ask_notices),
        cmocka_unit_test(a_result_says_which_program_device_models_and_pictures),
        cmocka_unit_test(fingerprints_tell_models_that_differ_apart),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
