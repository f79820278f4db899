/* Values, texts and the progress line of the program. */
#include <ctype.h>

#include "tests/unit/test.h"
#include "tools/commands.h"
#include "tools/progress.h"
#include "tools/text.h"

static uint64_t size_of(cli_set_fn set, const char *text)
{
    static const struct cli_option option;
    struct uqm_err err = { 0 };
    uint64_t bytes = 0;
    if (set(&bytes, text, &option, &err) < 0)
        fail_msg("%s: %s", text, err.msg);
    return bytes;
}

static void sizes_are_powers_of_1024_unless_they_say_b(void **state)
{
    (void) state;
    assert_int_equal(size_of(cli_set_size, "0"), 0);
    assert_int_equal(size_of(cli_set_size, "123456789012"), UINT64_C(123456789012));
    assert_int_equal(size_of(cli_set_size, "512M"), UINT64_C(512) << 20);
    assert_int_equal(size_of(cli_set_size, "4g"), UINT64_C(4) << 30);
    assert_int_equal(size_of(cli_set_size, "1.5GiB"), UINT64_C(3) << 29);
    assert_int_equal(size_of(cli_set_size, "64KiB"), 65536);
    assert_int_equal(size_of(cli_set_size, "10MB"), 10000000);
    assert_int_equal(size_of(cli_set_size, "2T"), UINT64_C(2) << 40);
    assert_int_equal(size_of(cli_set_size, "7B"), 7);
}

static void shard_sizes_are_read_as_mergekit_reads_them(void **state)
{
    (void) state;
    assert_int_equal(size_of(cli_set_shard_size, "5B"), UINT64_C(5000000000));
    assert_int_equal(size_of(cli_set_shard_size, "300M"), 300000000);
    assert_int_equal(size_of(cli_set_shard_size, "1.5K"), 1500);
    assert_int_equal(size_of(cli_set_shard_size, "1GiB"), 1 << 30);
    assert_int_equal(size_of(cli_set_shard_size, "4096"), 4096);
    assert_int_equal(size_of(cli_set_shard_size, "0"), UINT64_MAX);
}

static void distances_count_edits_and_swaps(void **state)
{
    (void) state;
    assert_int_equal(cli_distance("merge", "merge"), 0);
    assert_int_equal(cli_distance("mrege", "merge"), 1);
    assert_int_equal(cli_distance("merg", "merge"), 1);
    assert_int_equal(cli_distance("", "merge"), 5);
    assert_int_equal(cli_distance("kitten", "sitting"), 3);
    char huge[200];
    memset(huge, 'x', sizeof huge - 1);
    huge[sizeof huge - 1] = 0;
    assert_false(cli_is_near(cli_distance(huge, "merge"), huge));
}

static void amounts_are_short(void **state)
{
    (void) state;
    char text[32];
    text_bytes(text, sizeof text, 999);
    assert_string_equal(text, "999 B");
    text_bytes(text, sizeof text, 1234567);
    assert_string_equal(text, "1.23 MB");
    text_bytes(text, sizeof text, 999999);
    assert_string_equal(text, "1.00 MB");
    text_bytes(text, sizeof text, UINT64_C(13500000000));
    assert_string_equal(text, "13.5 GB");
    text_count(text, sizeof text, UINT64_C(6740000000));
    assert_string_equal(text, "6.74 B");
    text_seconds(text, sizeof text, 41.2);
    assert_string_equal(text, "0:41");
    text_seconds(text, sizeof text, 7510);
    assert_string_equal(text, "2:05:10");
    text_seconds(text, sizeof text, 3 * 86400 + 4 * 3600);
    assert_string_equal(text, "3 d 04 h");
}

static void the_progress_line_tells_share_rate_and_time_left(void **state)
{
    (void) state;
    char line[200];
    struct uqm_progress bytes = { "merging", "bytes", UINT64_C(1) << 30, UINT64_C(4) << 30 };
    progress_format(line, sizeof line, &bytes, 0, 10.0);
    assert_string_equal(line, "merging   25%  1.07 GB of 4.29 GB  107 MB/s  0:30 left");

    struct uqm_progress prompts = { "uncertainty of a (1/3)", "prompts", 30, 120 };
    progress_format(line, sizeof line, &prompts, 10, 5.0);
    assert_string_equal(line,
                        "uncertainty of a (1/3)   25%  30/120 prompts  4.00 prompts/s  0:23 left");
}

static void the_progress_line_does_not_guess(void **state)
{
    (void) state;
    char line[200];
    struct uqm_progress start = { "reading", "bytes", 0, 1000 };
    progress_format(line, sizeof line, &start, 0, 10.0);
    assert_string_equal(line, "reading    0%  0 B of 1.00 kB");
    struct uqm_progress open_end = { "reading", "images", 7, 0 };
    progress_format(line, sizeof line, &open_end, 0, 0.1);
    assert_string_equal(line, "reading  7 images");
    struct uqm_progress nearly = { "reading", "images", 999, 1000 };
    progress_format(line, sizeof line, &nearly, 999, 1.0);
    assert_string_equal(line, "reading   99%  999/1000 images");
}

static void a_long_stage_is_cut_and_not_overrun(void **state)
{
    (void) state;
    char stage[300], line[64];
    memset(stage, 's', sizeof stage - 1);
    stage[sizeof stage - 1] = 0;
    struct uqm_progress report = { stage, "bytes", 1, 2 };
    assert_int_equal(progress_format(line, sizeof line, &report, 0, 1.0), sizeof line - 1);
    assert_int_equal(strlen(line), sizeof line - 1);
}

/* What a warning and a live line about this stage come to on a screen of 79 characters. */
static void what_is_said_of(char *out, size_t size, const char *stage)
{
    char *text = NULL;
    size_t len = 0;
    FILE *stream = open_memstream(&text, &len);
    struct cli_common options = { .progress = CLI_ALWAYS };
    struct uqm_progress report = { stage, "bytes", 1, 2 };
    struct progress p;
    assert_non_null(stream);
    progress_init(&p, stream, &options);
    progress_say(&p, "warning: ", stage);
    p.live = true;
    progress_report(&p, &report);
    p.drawn = false;
    progress_finish(&p);
    fclose(stream);
    snprintf(out, size, "%s", text);
    free(text);
}

static void control_bytes_of_names_do_not_reach_the_terminal(void **state)
{
    (void) state;
    char said[1000];
    what_is_said_of(said, sizeof said, "read a\nb\033[31m");
    assert_string_equal(said, "warning: read a\\x0ab\\x1b[31m\n"
                              "\rread a\\x0ab\\x1b[31m   50%  1 B of 2 B\033[K");
}

static void a_live_line_ends_at_a_whole_character(void **state)
{
    (void) state;
    char stage[200] = "", said[1000], wanted[400];
    for (int i = 0; i < 90; i++)
        strcat(stage, "\xc3\xb6");
    snprintf(wanted, sizeof wanted, "warning: %s\n\r%.*s\033[K", stage, 2 * 79, stage);
    what_is_said_of(said, sizeof said, stage);
    assert_string_equal(said, wanted);
}

static void a_table_is_as_wide_as_its_widest_cells(void **state)
{
    (void) state;
    static const char *const titles[] = { "name", "n" };
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    struct table t;
    table_init(&t, "lr", titles);
    table_name(&t, "zwölf");
    table_cell(&t, "%d", 12);
    table_name(&t, "a\tb\033[31m");
    table_cell(&t, "%d", 1234);
    table_name(&t, "no blanks");
    table_name(&t, "");
    assert_true(table_print(out, &t, 1));
    fclose(out);
    assert_string_equal(text, " name               n\n"
                              " zwölf             12\n"
                              " a\\x09b\\x1b[31m  1234\n"
                              " no blanks\n");
    free(text);
}

/* What select prints of this result. The caller's, for free(). */
static char *select_text(const char *json)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    json_t *result = json_loads(json, 0, NULL);
    assert_non_null(result);
    print_select(out, result, 0);
    json_decref(result);
    fclose(out);
    return text;
}

static void a_selection_by_accuracy_shows_it(void **state)
{
    (void) state;
    char *text = select_text("{\"models\": [{\"model\": \"a\", \"uq\": 0.25, \"stderr\": 0.125, "
                             "\"accuracy\": 0.5, \"accuracy_stderr\": 0.0625}], \"steps\": ["
                             "{\"step\": 1, \"added\": \"a\", \"uq\": 0.25, \"stderr\": 0.125, "
                             "\"samples\": 8, \"improved\": true, \"accuracy\": 0.5, "
                             "\"accuracy_stderr\": null}], \"stopped_at\": null, "
                             "\"selected\": [\"a\"], \"bytes_read\": 0, \"seconds\": 0}");
    assert_string_equal(
        text, "model        uq    stderr  accuracy  stderr\n"
              "a      0.250000  0.125000    0.5000  0.0625\n"
              "\n"
              "step  added        uq    stderr  to the best  paired ±  samples  accuracy  stderr"
              "  improved\n"
              "   1  a      0.250000  0.125000            -         -        8    0.5000       -"
              "  yes\n"
              "\n"
              "stopped at    no step: there is one model\n"
              "selected      a\n"
              "read          0 B in 0:00\n");
    free(text);
}

static void a_selection_without_a_stop_says_what_happened(void **state)
{
    (void) state;
    static const struct {
        const char *improved, *said;
    } cases[] = { { "true", "no step: the uncertainty fell to the end\n" },
                  { "false", "no step: every model was taken or tried\n" },
                  { "true, \"accuracy\": 0.5", "no step: the accuracy rose to the end\n" } };
    for (int i = 0; i < 3; i++) {
        char json[256];
        snprintf(
            json, sizeof json,
            "{\"steps\": [{\"step\": 1, \"improved\": true}, {\"step\": 2, \"improved\": %s}], "
            "\"stopped_at\": null, \"selected\": [\"a\"]}",
            cases[i].improved);
        char *text = select_text(json);
        assert_non_null(strstr(text, cases[i].said));
        assert_int_equal(strstr(text, "accuracy  stderr") != NULL, i == 2);
        free(text);
    }
}

static void check_help_of(const struct cli_command *command, const struct cli_option *options,
                          const char *text)
{
    for (const struct cli_option *o = options; o && o->name; o++) {
        char name[64];
        if (o->state == CLI_ABSENT || o->state == CLI_WRONG)
            continue;
        snprintf(name, sizeof name, "--%s", o->name);
        const char *at = strstr(text, name);
        while (at && (islower((unsigned char) at[strlen(name)]) || at[strlen(name)] == '-'))
            at = strstr(at + 1, name);
        if (!at)
            fail_msg("%s --help lacks %s", command->name, name);
    }
}

static void every_option_that_is_accepted_is_in_the_help(void **state)
{
    (void) state;
    static const struct cli_command *const commands[] = {
        &cmd_inspect, &cmd_diff, &cmd_merge,      &cmd_verify, &cmd_sign,
        &cmd_convert, &cmd_pack, &cmd_unpack,     &cmd_ask,    &cmd_uq,
        &cmd_select,  &cmd_eval, &cmd_experiment, &cmd_report, &cmd_devices,
    };
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char *text = NULL;
        size_t len = 0;
        FILE *out = open_memstream(&text, &len);
        cli_help(out, commands[i]);
        fclose(out);
        check_help_of(commands[i], commands[i]->options, text);
        check_help_of(commands[i], commands[i]->runs ? cli_run_options : NULL, text);
        check_help_of(commands[i], cli_output_options, text);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_powers_of_1024_unless_they_say_b),
        cmocka_unit_test(shard_sizes_are_read_as_mergekit_reads_them),
        cmocka_unit_test(distances_count_edits_and_swaps),
        cmocka_unit_test(amounts_are_short),
        cmocka_unit_test(the_progress_line_tells_share_rate_and_time_left),
        cmocka_unit_test(the_progress_line_does_not_guess),
        cmocka_unit_test(a_long_stage_is_cut_and_not_overrun),
        cmocka_unit_test(control_bytes_of_names_do_not_reach_the_terminal),
        cmocka_unit_test(a_live_line_ends_at_a_whole_character),
        cmocka_unit_test(every_option_that_is_accepted_is_in_the_help),
        cmocka_unit_test(a_selection_by_accuracy_shows_it),
        cmocka_unit_test(a_selection_without_a_stop_says_what_happened),
        cmocka_unit_test(a_table_is_as_wide_as_its_widest_cells),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
