#include "tools/commands.h"

struct options {
    struct cli_common common;
    const char *out, *title;
};

static const struct cli_option table[] = {
    { .name = "out",
      .value = "FILE.html",
      .set = cli_set_text,
      .field = offsetof(struct options, out),
      .help = "the page; replaced if it exists" },
    { .name = "title",
      .value = "TEXT",
      .set = cli_set_text,
      .field = offsetof(struct options, title),
      .help = "the page's title; default \"uqmerge report\"" },
    { 0 },
};

static int run(struct cli_common *common, const struct uqm_strings *args)
{
    const struct options *o = (const struct options *) common;
    struct session s;
    struct uqm_err err = { 0 };
    char *json = NULL;

    if (!o->out)
        return session_refuse(
            cli_fail(&err, UQM_ERR_ARG, "report: --out: a page to write is required"), &err);
    session_init(&s, common);
    const struct uqm_report_params params = {
        .common = common->uqm, .files = *args, .out_path = o->out, .title = o->title
    };
    int ret = uqm_write_report(&json, &params, &err);
    return session_finish(&s, ret, &json, print_page, 0, &err);
}

const struct cli_command cmd_report = {
    .name = "report",
    .args = "RUN.json... --out FILE.html",
    .summary = "One self-contained page from what the other commands print with --json.",
    .details = "Takes the documents of uq, select, eval, diff, merge and experiment, and the "
               "uqmerge.report.json of a merge, in any number. The page shows uncertainty per "
               "model and set, the curve of Algorithm 1 with its stop, accuracy, distances layer "
               "by layer, and where time and bytes went: a table beside every chart, in light, "
               "dark and print, without a script and without network.",
    .options = table,
    .runs = true,
    .options_bytes = sizeof(struct options),
    .min_args = 1,
    .max_args = CLI_MANY,
    .run = run,
};
