#include "tools/commands.h"

struct options {
    struct cli_common common;
    const char *out;
    unsigned only; /* bits of the tables below */
    bool dry_run;
};

static const char *const tables[] = { "f1", "t1", "t2",  "t3",  "t4",  "t5",  "t6",  "t7",
                                      "t8", "t9", "t10", "t11", "t12", "t13", "t14", NULL };
enum { N_TABLES = sizeof tables / sizeof *tables - 1 };

/* Of all seeds alike: 0, the other commands' default, would be passed over in silence. */
static int refuse_seed(void *field, const char *value, const struct cli_option *option,
                       struct uqm_err *err)
{
    (void) field, (void) value, (void) option;
    return cli_fail(err, UQM_ERR_ARG, "a study's seeds stand in its file (seeds)");
}

static const struct cli_option table[] = {
    { .name = "out",
      .value = "DIR",
      .set = cli_set_text,
      .field = offsetof(struct options, out),
      .help = "where tables, page and cache go: new, empty, or an earlier run's" },
    { .name = "only",
      .value = "t4,t9,...",
      .set = cli_set_names,
      .choices = tables,
      .field = offsetof(struct options, only),
      .help = "these tables; default what the study file says, else all: f1, t1 to t14" },
    { .name = "dry-run",
      .set = cli_set_true,
      .field = offsetof(struct options, dry_run),
      .help = "list the jobs, and which are cached; ask and write nothing" },
    { .name = "fast",
      .state = CLI_WRONG,
      .help =
          "its probabilities are some 1e-3 off, and a study compares steps whose uncertainties "
          "differ by 1e-4, and keeps every answer for all tables: it asks in the default mode" },
    { .name = "seed", .value = "N", .set = refuse_seed, .state = CLI_SILENT },
    { .name = "random-seed", .value = "N", .set = refuse_seed, .state = CLI_SILENT },
    { 0 },
};

static int run(struct cli_common *common, const struct uqm_strings *args)
{
    const struct options *o = (const struct options *) common;
    struct session s;
    struct uqm_err err = { 0 };
    const char *only[N_TABLES];
    size_t n = 0;
    char *json = NULL;

    if (!o->out)
        return session_refuse(
            cli_fail(&err, UQM_ERR_ARG, "experiment: --out: a folder is required"), &err);
    for (size_t i = 0; i < N_TABLES; i++)
        if (o->only >> i & 1)
            only[n++] = tables[i];
    session_init(&s, common);
    const struct uqm_experiment_params params = { .common = common->uqm,
                                                  .study_path = args->v[0],
                                                  .out_dir = o->out,
                                                  .only = { only, n },
                                                  .dry_run = o->dry_run };
    int ret = uqm_experiment(&json, &params, &err);
    return session_finish(&s, ret, &json, print_experiment, 0, &err);
}

const struct cli_command cmd_experiment = {
    .name = "experiment",
    .args = "STUDY.yml --out DIR",
    .summary = "A whole study: the paper's tables on any set of models.",
    .details = "The study file names models, base, data sets with their roles, methods and seeds "
               "(docs/experiments.md). Every table is written to DIR as CSV and JSON, and all of "
               "them to DIR/index.html. What is found is kept in DIR/cache by content, so that "
               "tables share their work and an interrupted run goes on where it was.",
    .options = table,
    .runs = true,
    .options_bytes = sizeof(struct options),
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
