/* A model that is written to while it is asked: whatever the way of asking, no number comes of it.
 */
#include <dirent.h>
#include <fcntl.h>

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
    struct stat st;
    int fd = open(spoil.path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    usleep(20000); /* times of change are as fine as the system's clock ticks */
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(pread(fd, &byte, 1, st.st_size - 1), 1);
    assert_int_equal(pwrite(fd, &byte, 1, st.st_size - 1), 1);
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
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
