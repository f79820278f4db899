/* The options that uq, select and eval share. */
#include <string.h>
#include <sys/stat.h>

#include "tools/commands.h"

/* The bits of UQM_PERTURB_*, in order. */
const char *const perturb_names[] = { "image", "text", "model", "none", NULL };
static_assert(UQM_PERTURB_IMAGE == 1 && UQM_PERTURB_TEXT == 2 && UQM_PERTURB_MODEL == 4 &&
                  UQM_PERTURB_NONE == 8,
              "cli_set_names stores the bit of the name's place");

/* In the order of enum uqm_uq_method and enum uqm_streams. */
const char *const uq_method_names[] = { "perturb", "cp", NULL };
const char *const stream_names[] = { "own", "authors", NULL };

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n > m && strcmp(s + n - m, end) == 0;
}

bool is_data_argument(const char *arg)
{
    struct stat st;
    return !ends_with(arg, ".yml") && !ends_with(arg, ".yaml") && !ends_with(arg, ".uqz") &&
           !(stat(arg, &st) == 0 && S_ISDIR(st.st_mode));
}

/* "0.2" is a share, "100" a number of records. */
static int read_samples(struct uqm_question_params *out, const char *value, struct uqm_err *err)
{
    static const struct cli_option share = { .min = 0 }, number = { .min = 1 };
    if (!strpbrk(value, ".eE"))
        return cli_set_u64(&out->sample_count, value, &number, err);
    int ret = cli_set_double(&out->sample_ratio, value, &share, err);
    if (ret == UQM_OK && out->sample_ratio <= 0.0)
        ret = cli_fail(err, UQM_ERR_ARG, "%.60s leaves nothing", value);
    if (ret == UQM_OK && out->sample_ratio > 1.0)
        ret = cli_fail(err, UQM_ERR_ARG,
                       "%.60s is not within (0, 1]; a number of records is written in digits alone",
                       value);
    return ret;
}

int set_alpha(void *field, const char *value, const struct cli_option *option, struct uqm_err *err)
{
    double alpha;
    int ret = cli_set_double(&alpha, value, option, err);
    if (ret == UQM_OK && !(alpha > 0.0 && alpha < 1.0))
        ret = cli_fail(err, UQM_ERR_ARG, "%.60s is not above 0 and below 1", value);
    if (ret == UQM_OK)
        *(double *) field = alpha;
    return ret;
}

int set_dropout(void *field, const char *value, const struct cli_option *option,
                struct uqm_err *err)
{
    struct dropout_option *dropout = field;
    dropout->given = true;
    return cli_set_double(&dropout->rate, value, option, err);
}

int check_fast(bool fast, int window, const struct cli_common *common, struct uqm_err *err)
{
    if (fast && common->uqm.device && strcmp(common->uqm.device, "cpu") == 0)
        return cli_fail(err, UQM_ERR_ARG,
                        "%s: --fast: makes no sense with --device cpu: it concerns Vulkan devices",
                        common->command);
    if (fast && window > 1)
        return cli_fail(err, UQM_ERR_ARG,
                        "%s: --fast: makes no sense with --window, whose sweeps are made on the "
                        "CPU: it concerns Vulkan devices",
                        common->command);
    return UQM_OK;
}

int fill_questions(struct uqm_question_params *out, const struct question_options *options,
                   const struct uqm_strings *models, const char *command, struct uqm_err *err)
{
    if (options->data.n == 0)
        return cli_fail(err, UQM_ERR_ARG, "%s: --data: no data set is given", command);
    for (size_t i = 0; i < options->data.n; i++) {
        if (ends_with(options->data.v[i], "="))
            return cli_fail(err, UQM_ERR_ARG, "%s: --data: %.200s names no file", command,
                            options->data.v[i]);
    }
    out->models = *models;
    out->data = options->data;
    out->task = options->task;
    out->vision_tower = options->vision_tower;
    out->dry_run = options->dry_run;
    if (options->samples && read_samples(out, options->samples, err) < 0) {
        char what[256];
        snprintf(what, sizeof what, "%.200s", err->msg);
        return cli_fail(err, UQM_ERR_ARG, "%s: --samples: %s", command, what);
    }
    return UQM_OK;
}

/* What is given and could change nothing was meant otherwise. out: as filled from the options. */
static int check_effect(const struct uqm_uq_params *out, const struct uq_options *options,
                        const char *command, struct uqm_err *err)
{
    const bool conformal = out->method == UQM_UQ_CONFORMAL;
    const char *idle = options->perturb         ? "perturb"
                       : options->repeats       ? "repeats"
                       : options->dropout.given ? "dropout"
                                                : NULL;
    if (conformal && idle)
        return cli_fail(err, UQM_ERR_ARG,
                        "%s: --%s: makes no sense with --method cp, which asks once and perturbs "
                        "nothing",
                        command, idle);
    if (options->dropout.given && options->perturb && !(options->perturb & UQM_PERTURB_MODEL))
        return cli_fail(err, UQM_ERR_ARG,
                        "%s: --dropout: is how the model is perturbed, and --perturb lacks model",
                        command);
    const bool samples = out->questions.sample_count > 0 || out->questions.sample_ratio > 0;
    const bool texts = !conformal && (!options->perturb || (options->perturb & UQM_PERTURB_TEXT));
    if (out->streams == UQM_STREAMS_AUTHORS && !samples && !texts)
        return cli_fail(err, UQM_ERR_ARG,
                        "%s: --streams: authors draws prompts' prefixes and --samples, and there "
                        "is neither",
                        command);
    if (options->alpha > 0 && !conformal)
        return cli_fail(err, UQM_ERR_ARG, "%s: --alpha: is of --method cp", command);
    return UQM_OK;
}

int fill_uq(struct uqm_uq_params *out, const struct uq_options *options, const char *command,
            struct uqm_err *err)
{
    if ((options->perturb & UQM_PERTURB_NONE) && options->perturb != UQM_PERTURB_NONE)
        return cli_fail(err, UQM_ERR_ARG, "%s: --perturb: none stands alone", command);
    out->perturb = options->perturb;
    out->repeats = options->repeats;
    out->has_dropout = options->dropout.given;
    out->dropout = options->dropout.rate;
    out->trace_path = options->trace;
    out->method = (enum uqm_uq_method) options->method;
    out->streams = (enum uqm_streams) options->streams;
    out->alpha = options->alpha;
    return check_effect(out, options, command, err);
}
