#include "tools/commands.h"

struct options {
    struct cli_common common;
    struct uqm_strings images;
    const char *prompt, *system, *vision_tower;
    int max_tokens;
    bool logits, dry_run, fast;
};

#define FIELD(member) offsetof(struct options, member)

/* Each picture has a --image of its own: what follows may be the model. */
static bool takes_no_more(const char *arg)
{
    (void) arg;
    return false;
}

static const struct cli_option table[] = {
    { .name = "image",
      .value = "FILE",
      .set = cli_set_list,
      .takes = takes_no_more,
      .field = FIELD(images),
      .help = "a JPEG, PNG or WebP picture; again for each further one, in the order of the "
              "prompt's <image> marks; without it the prompt is text alone" },
    { .name = "prompt",
      .value = "TEXT",
      .set = cli_set_text,
      .field = FIELD(prompt),
      .help = "the question; required" },
    { .name = "system",
      .value = "TEXT",
      .set = cli_set_text,
      .field = FIELD(system),
      .help = "in place of the conversation's system sentence" },
    { .name = "max-tokens",
      .value = "N",
      .set = cli_set_int,
      .min = 1,
      .max = 1 << 20,
      .field = FIELD(max_tokens),
      .help = "how long the answer may be; default 64" },
    { .name = "logits",
      .set = cli_set_true,
      .field = FIELD(logits),
      .help = "show the first new token's largest logits" },
    { .name = "dry-run",
      .set = cli_set_true,
      .field = FIELD(dry_run),
      .help = "open everything and ask nothing; with -v, how the prompt would go through the "
              "network, and what lies where in memory" },
    { .name = "vision-tower",
      .value = "DIR",
      .set = cli_set_text,
      .field = FIELD(vision_tower),
      .help = "the CLIP folder of a model that does not carry its own" },
    FAST_OPTION(struct options),
    { 0 },
};

static int run(struct cli_common *common, const struct uqm_strings *args)
{
    const struct options *o = (const struct options *) common;
    struct session s;
    struct uqm_err err = { 0 };
    char *json = NULL;

    if (!o->prompt)
        return session_refuse(cli_fail(&err, UQM_ERR_ARG, "ask: --prompt: is required"), &err);
    int ret = check_fast(o->fast, 0, common, &err);
    if (ret < 0)
        return session_refuse(ret, &err);

    session_init(&s, common);
    struct uqm_ask_params params = {
        .common = common->uqm,
        .model = args->v[0],
        .vision_tower = o->vision_tower,
        .images = o->images,
        .prompt = o->prompt,
        .system = o->system,
        .max_tokens = o->max_tokens,
        .logits = o->logits,
        .dry_run = o->dry_run,
        .fast = o->fast,
    };
    ret = uqm_ask(&json, &params, &err);
    return session_finish(&s, ret, &json, o->dry_run ? print_questions_plan : print_ask, 0, &err);
}

const struct cli_command cmd_ask = {
    .name = "ask",
    .args = "MODEL [--image FILE]... --prompt TEXT",
    .summary = "One greedy answer of one model.",
    .details = "MODEL is a checkpoint folder, or a recipe (.yml) whose weights are merged while "
               "they are loaded.",
    .options = table,
    .runs = true,
    .options_bytes = sizeof(struct options),
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
