#include "tools/commands.h"

#include <stdlib.h>
#include <string.h>

struct options {
    struct cli_common common;
    struct question_options questions;
    struct uq_options uq;
    const char *out, *merge, *base, *state, *report;
    int order, patience, window;
    double min_drop, guard, min_spread, confident;
    bool no_write, all_steps, overwrite;
};

#define FIELD(member) offsetof(struct options, member)

/* In the order of enum uqm_order. */
static const char *const orders[] = { "uq-desc", "uq-asc", "accuracy-desc", "accuracy-asc", "given",
                                      "random",  NULL };

#define RATIO(option, member, text)                                                                \
    {                                                                                              \
        .name = option, .value = "R", .set = cli_set_double, .min = 0, .max = 1,                   \
        .field = FIELD(member), .help = text                                                       \
    }

static const struct cli_option table[] = {
    { .name = "out",
      .value = "DIR",
      .set = cli_set_text,
      .field = FIELD(out),
      .help = "where the best merge is written; must not exist. Required unless --no-write" },
    QUESTION_OPTIONS(struct options),
    { .name = "order",
      .value = "ORDER",
      .set = cli_set_choice,
      .choices = orders,
      .field = FIELD(order),
      .help = "uq-desc (the default), uq-asc, accuracy-desc, accuracy-asc, given or random" },
    { .name = "merge",
      .value = "METHOD|RECIPE.yml",
      .set = cli_set_text,
      .nth = uqm_method_name,
      .field = FIELD(merge),
      .help = "how the models are merged: a method's name, with equal weights (default linear), or "
              "a recipe without models, whose parameters hold for each of them" },
    { .name = "base",
      .value = "DIR",
      .set = cli_set_text,
      .field = FIELD(base),
      .help = "the model that methods like ties and task_arithmetic take differences to" },
    { .name = "all-steps",
      .set = cli_set_true,
      .field = FIELD(all_steps),
      .help = "go on past the stop, to see the whole curve" },
    { .name = "min-drop",
      .value = "X",
      .set = cli_set_double,
      .min = 0,
      .field = FIELD(min_drop),
      .help = "how far the uncertainty must fall to count as a fall; default 0" },
    { .name = "patience",
      .value = "N",
      .set = cli_set_int,
      .field = FIELD(patience),
      .help = "steps without a fall to go on after; default 0" },
    RATIO("guard", guard,
          "stop before a model whose own uncertainty is below R times the merge's, and at a merge "
          "whose answers do not depend on the question; 0 (off) is the default, 0.25 a good value"),
    RATIO("min-spread", min_spread,
          "stop before a merge whose answers spread less over the letters: their entropy over all "
          "questions is below R times the largest of the steps before; 0 (off) is the default, "
          "0.85 a good value"),
    { .name = "confident",
      .value = "ALPHA",
      .set = set_alpha,
      .field = FIELD(confident),
      .help = "ask a step's records only until its comparison with the best step is decided, at "
              "this risk of deciding otherwise than all records would" },
    { .name = "window",
      .value = "W",
      .set = cli_set_int,
      .min = 1,
      .field = FIELD(window),
      .help = "score W steps in one sweep over the inputs, each model's layer being read once; "
              "takes memory for the activations of W models; default 1" },
    { .name = "no-write",
      .set = cli_set_true,
      .field = FIELD(no_write),
      .help = "only decide; write no merge" },
    { .name = "overwrite",
      .set = cli_set_true,
      .field = FIELD(overwrite),
      .help = "replace a finished DIR" },
    { .name = "state",
      .value = "FILE",
      .set = cli_set_text,
      .field = FIELD(state),
      .help = "what is finished so far, to go on from after an interruption; default beside DIR" },
    { .name = "report",
      .value = "FILE.html",
      .set = cli_set_text,
      .field = FIELD(report),
      .help = "a page with the curve, the stop and every number (see uqmerge report)" },
    UQ_OPTIONS(struct options),
    { .name = "fast",
      .state = CLI_WRONG,
      .help = "its probabilities are some 1e-3 off, and the uncertainties of steps differ by 1e-4: "
              "select asks in the default mode" },
    { 0 },
};

/* A race compares the perturbation uncertainties of one step and the best. */
static int check_race(const struct options *o, struct uqm_err *err)
{
    const bool by_accuracy =
        o->order == UQM_ORDER_ACCURACY_DESC || o->order == UQM_ORDER_ACCURACY_ASC;
    const char *beside = by_accuracy                        ? "an --order by accuracy"
                         : o->uq.method == UQM_UQ_CONFORMAL ? "--method cp"
                         : o->window > 1                    ? "--window"
                                                            : NULL;
    if (!(o->confident > 0) || !beside)
        return UQM_OK;
    return cli_fail(err, UQM_ERR_ARG,
                    "select: --confident: makes no sense with %s: it compares the perturbation "
                    "uncertainties of one step and the best",
                    beside);
}

static int check(const struct options *o, struct uqm_err *err)
{
    if (!o->out && !o->no_write)
        return cli_fail(err, UQM_ERR_ARG, "select: --out: is required (or --no-write)");
    if (o->out && o->no_write)
        return cli_fail(err, UQM_ERR_ARG, "select: --out: makes no sense with --no-write");
    if (o->overwrite && o->no_write)
        return cli_fail(err, UQM_ERR_ARG, "select: --overwrite: makes no sense with --no-write");
    const char *const others[] = { o->out, o->state, o->uq.trace };
    for (size_t i = 0; o->report && i < sizeof others / sizeof *others; i++)
        if (others[i] && strcmp(o->report, others[i]) == 0)
            return cli_fail(err, UQM_ERR_ARG, "select: --report: %.200s is another output's name",
                            o->report);
    return check_race(o, err);
}

/* The page of a result; NULL: whether there can be one is checked, before hours go by. */
static int write_page(const struct options *o, const char *json, struct uqm_err *err)
{
    const struct uqm_report_params params = {
        .document = json, .out_path = o->report, .title = "uqmerge select", .check_only = !json
    };
    char *written = NULL;
    int ret = uqm_write_report(&written, &params, err);
    free(written);
    return ret;
}

static int run(struct cli_common *common, const struct uqm_strings *args)
{
    const struct options *o = (const struct options *) common;
    struct session s;
    struct uqm_err err = { 0 };
    char *json = NULL;
    struct uqm_select_params params = {
        .out_dir = o->out,
        .merge = o->merge,
        .base_dir = o->base,
        .order = (enum uqm_order) o->order,
        .no_write = o->no_write,
        .all_steps = o->all_steps,
        .overwrite = o->overwrite,
        .min_drop = o->min_drop,
        .patience = o->patience,
        .guard = o->guard,
        .min_spread = o->min_spread,
        .confident = o->confident,
        .window = o->window,
        .state_path = o->state,
    };

    int ret = check(o, &err);
    if (ret == UQM_OK)
        ret = fill_questions(&params.uq.questions, &o->questions, args, "select", &err);
    if (ret == UQM_OK)
        ret = fill_uq(&params.uq, &o->uq, "select", &err);
    if (ret < 0)
        return session_refuse(ret, &err);

    session_init(&s, common);
    params.uq.common = common->uqm;
    if (o->report && !o->questions.dry_run)
        ret = write_page(o, NULL, &err);
    if (ret == UQM_OK)
        ret = uqm_select(&json, &params, &err);
    const int page =
        ret == UQM_OK && o->report && !o->questions.dry_run ? write_page(o, json, &err) : UQM_OK;
    int code = session_finish(&s, ret, &json,
                              o->questions.dry_run ? print_questions_plan : print_select, 0, &err);
    if (page == UQM_OK)
        return code;
    session_refuse(page, &err); /* the selection holds all the same, and is printed */
    return EXIT_FAILED;
}

const struct cli_command cmd_select = {
    .name = "select",
    .args = "MODEL... --data FILE... --out DIR",
    .summary = "Choose which models to merge by uncertainty, and write their merge.",
    .details = "UQ-Merge, Algorithm 1: measure each model, sort by falling uncertainty, merge one "
               "more at a time and stop when the merge's uncertainty stops falling. Candidates "
               "are merged while they are loaded and never written. Run again after an "
               "interruption, it goes on from the last finished model or step.",
    .options = table,
    .runs = true,
    .options_bytes = sizeof(struct options),
    .min_args = 1,
    .max_args = CLI_MANY,
    .run = run,
};
