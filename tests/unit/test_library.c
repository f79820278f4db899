/* What `meson install` installs for other programs: the header alone, and one archive that lacks
 * nothing. That this program links is half of the test. */
#include "src/uqmerge.h"

#include "tests/unit/test.h"

/* Every call of the header: each pulls in what it is made of. */
typedef void (*call_fn)(void);
static const call_fn calls[] = {
    (call_fn) uqm_ask,          (call_fn) uqm_convert,     (call_fn) uqm_devices,
    (call_fn) uqm_diff,         (call_fn) uqm_eval,        (call_fn) uqm_experiment,
    (call_fn) uqm_inspect,      (call_fn) uqm_merge,       (call_fn) uqm_pack,
    (call_fn) uqm_select,       (call_fn) uqm_sign,        (call_fn) uqm_unpack,
    (call_fn) uqm_uq,           (call_fn) uqm_verify,      (call_fn) uqm_version,
    (call_fn) uqm_write_report, (call_fn) uqm_method_name, (call_fn) uqm_task_name,
};

static void every_call_is_in_the_archive(void **state)
{
    (void) state;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        assert_non_null(calls[i]);
}

static void the_installed_library_works_by_its_header_alone(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    char *json = NULL;
    const char *model = zoo_path("models/base");
    assert_ok(uqm_inspect(&json, &(struct uqm_inspect_params){ .path = model }, &err), err);
    assert_non_null(strstr(json, "\"layout\": \"llava-hf\""));
    free(json);
    json = NULL;
    const struct uqm_ask_params ask = {
        .common = { .device = "cpu" }, .model = model, .prompt = "x", .dry_run = true
    };
    assert_ok(uqm_ask(&json, &ask, &err), err);
    assert_non_null(strstr(json, "\"prompt_tokens\""));
    free(json);
}

static void a_call_that_fails_leaves_its_message_and_no_document(void **state)
{
    (void) state;
    static const char nowhere[] = "/nonexistent/x.yml";
    struct uqm_err err = { 0 };
    char *json = NULL;
    const struct uqm_merge_params merge = { .recipe_path = nowhere, .out_dir = "never" };
    assert_fails(uqm_merge(&json, &merge, &err), err, UQM_ERR_IO, nowhere);
    const struct uqm_diff_params diff = { .path_a = nowhere, .path_b = nowhere };
    assert_fails(uqm_diff(&json, &diff, &err), err, UQM_ERR_IO, nowhere);
    const struct uqm_experiment_params study = { .study_path = nowhere, .out_dir = "never" };
    assert_fails(uqm_experiment(&json, &study, &err), err, UQM_ERR_IO, nowhere);
    assert_null(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_is_in_the_archive),
        cmocka_unit_test(the_installed_library_works_by_its_header_alone),
        cmocka_unit_test(a_call_that_fails_leaves_its_message_and_no_document),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
