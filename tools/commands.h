/* The commands, one file each: cmd_NAME.c parses into the library's params and calls it,
 * print_NAME.c shows the result. */
#ifndef UQM_TOOLS_COMMANDS_H
#define UQM_TOOLS_COMMANDS_H

#include <assert.h>

#include "tools/cli.h"
#include "tools/session.h"
#include "tools/text.h"

extern const struct cli_command cmd_inspect, cmd_diff, cmd_merge, cmd_verify, cmd_ask, cmd_uq,
    cmd_select, cmd_eval, cmd_devices, cmd_report, cmd_sign, cmd_convert, cmd_experiment, cmd_pack,
    cmd_unpack;

enum { PRINT_TENSORS = 1, PRINT_ALL = 2 };

void print_inspect(FILE *out, const json_t *result, unsigned flags);
void print_diff(FILE *out, const json_t *result, unsigned flags);
void print_merge(FILE *out, const json_t *result, unsigned flags);
void print_plan(FILE *out, const json_t *result, unsigned flags);
void print_verify(FILE *out, const json_t *result, unsigned flags);
void print_sign(FILE *out, const json_t *result, unsigned flags);
void print_pack(FILE *out, const json_t *result, unsigned flags);
void print_unpack(FILE *out, const json_t *result, unsigned flags);
void print_ask(FILE *out, const json_t *result, unsigned flags);
void print_uq(FILE *out, const json_t *result, unsigned flags);
void print_select(FILE *out, const json_t *result, unsigned flags);
void print_eval(FILE *out, const json_t *result, unsigned flags);
void print_questions_plan(FILE *out, const json_t *result, unsigned flags);
void print_experiment(FILE *out, const json_t *result, unsigned flags);
void print_page(FILE *out, const json_t *result, unsigned flags);
void print_devices(FILE *out, const json_t *result, unsigned flags);

/* Members of a result, for printing: "" or 0 where one is missing. Borrowed. */
const char *get_text(const json_t *object, const char *key);
double get_number(const json_t *object, const char *key);
uint64_t get_count(const json_t *object, const char *key);
/* A number's cell; "-" where there is none (null: nothing was measured). */
void cell_number(struct table *t, const json_t *object, const char *key, int decimals);

/* What uq, select and eval share (cmd_questions.c). */
struct question_options {
    struct uqm_strings data;
    const char *task, *vision_tower, *samples;
    bool dry_run;
};
struct uq_options {
    unsigned perturb;
    int repeats;
    struct dropout_option {
        bool given;
        double rate;
    } dropout;
    const char *trace;
    int method, streams; /* enum uqm_uq_method, enum uqm_streams */
    double alpha;
};

/* Rows of an option table, for a struct `type` with a member `questions` or `uq` of those types. */
#define QUESTION_OPTIONS(type)                                                                     \
    { .name = "data",                                                                              \
      .value = "[NAME=]FILE...",                                                                   \
      .set = cli_set_list,                                                                         \
      .takes = is_data_argument,                                                                   \
      .field = offsetof(type, questions.data),                                                     \
      .help = "JSON lines or a JSON array of records; NAME replaces the file's in results. Takes " \
              "all arguments up to the next option; a folder or a .yml among them is a MODEL" },   \
        { .name = "task",                                                                          \
          .value = "NAME",                                                                         \
          .set = cli_set_text,                                                                     \
          .nth = uqm_task_name,                                                                    \
          .field = offsetof(type, questions.task),                                                 \
          .help = "how the records are asked, where no tasks.json beside the data says so" },      \
        { .name = "samples",                                                                       \
          .value = "RATIO|N",                                                                      \
          .set = cli_set_text,                                                                     \
          .field = offsetof(type, questions.samples),                                              \
          .help = "only a seeded sample of each set: 0.2 is a share, 100 a number of records" },   \
        { .name = "dry-run",                                                                       \
          .set = cli_set_true,                                                                     \
          .field = offsetof(type, questions.dry_run),                                              \
          .help = "open everything and ask nothing; with -v, how the prompts would go through "    \
                  "each model's network, and what lies where in memory" },                         \
    {                                                                                              \
        .name = "vision-tower", .value = "DIR", .set = cli_set_text,                               \
        .field = offsetof(type, questions.vision_tower),                                           \
        .help = "the CLIP folder of models that do not carry their own"                            \
    }

/* Of uq and eval: recipes in a sweep. */
#define WINDOW_OPTION(type)                                                                        \
    {                                                                                              \
        .name = "window", .value = "W", .set = cli_set_int, .min = 1,                              \
        .field = offsetof(type, window),                                                           \
        .help =                                                                                    \
            "measure W recipes in one sweep over the models that they merge, which the last of "   \
            "them all does; default 1"                                                             \
    }

/* Of uq, eval and ask: a member `fast`. */
#define FAST_OPTION(type)                                                                          \
    {                                                                                              \
        .name = "fast", .set = cli_set_true, .field = offsetof(type, fast),                        \
        .help = "on a Vulkan device: matrix products with f16 inputs, f32 sums; options' "         \
                "probabilities differ from the default's by 1e-3, seldom by more"                  \
    }

#define UQ_OPTIONS(type)                                                                           \
    { .name = "perturb",                                                                           \
      .value = "image,text,model|none",                                                            \
      .set = cli_set_names,                                                                        \
      .choices = perturb_names,                                                                    \
      .field = offsetof(type, uq.perturb),                                                         \
      .help = "what is perturbed, any subset; default all three" },                                \
        { .name = "repeats",                                                                       \
          .value = "J",                                                                            \
          .set = cli_set_int,                                                                      \
          .min = 1,                                                                                \
          .max = 1024,                                                                             \
          .field = offsetof(type, uq.repeats),                                                     \
          .help = "perturbed passes a record; default 4" },                                        \
        { .name = "dropout",                                                                       \
          .value = "P",                                                                            \
          .set = set_dropout,                                                                      \
          .min = 0,                                                                                \
          .max = 0.999,                                                                            \
          .field = offsetof(type, uq.dropout),                                                     \
          .help = "rate on attention probabilities; default 0.1" },                                \
        { .name = "method",                                                                        \
          .value = "perturb|cp",                                                                   \
          .set = cli_set_choice,                                                                   \
          .choices = uq_method_names,                                                              \
          .field = offsetof(type, uq.method),                                                      \
          .help = "perturb: mutual information, without labels (the default); cp: the size of "    \
                  "conformal prediction sets, LAC and APS, which needs labels" },                  \
        { .name = "alpha",                                                                         \
          .value = "ALPHA",                                                                        \
          .set = set_alpha,                                                                        \
          .field = offsetof(type, uq.alpha),                                                       \
          .help = "of cp: how often a set may miss the truth; default 0.1" },                      \
        { .name = "streams",                                                                       \
          .value = "own|authors",                                                                  \
          .set = cli_set_choice,                                                                   \
          .choices = stream_names,                                                                 \
          .field = offsetof(type, uq.streams),                                                     \
          .help = "authors: prompts' prefixes and samples as the paper's code draws them" },       \
    {                                                                                              \
        .name = "trace", .value = "FILE", .set = cli_set_text, .field = offsetof(type, uq.trace),  \
        .help = "JSON lines of every option distribution"                                          \
    }

extern const char *const perturb_names[], *const uq_method_names[], *const stream_names[];
bool is_data_argument(const char *arg);
/* double, above 0 and below 1 */
int set_alpha(void *field, const char *value, const struct cli_option *, struct uqm_err *);
/* struct dropout_option */
int set_dropout(void *field, const char *value, const struct cli_option *, struct uqm_err *);

/* --fast with what excludes it. window: 0 where the command has none. */
int check_fast(bool fast, int window, const struct cli_common *common, struct uqm_err *err);

int fill_questions(struct uqm_question_params *out, const struct question_options *options,
                   const struct uqm_strings *models, const char *command, struct uqm_err *err);
int fill_uq(struct uqm_uq_params *out, const struct uq_options *options, const char *command,
            struct uqm_err *err);

#endif
