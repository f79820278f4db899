#include "tools/commands.h"

struct options {
    struct cli_common common;
    const char *vision_tower;
    int to, dtype;
    bool has_to, overwrite;
    uint64_t shard_bytes;
};

#define FIELD(member) offsetof(struct options, member)

static const char *const layouts[] = { "hf", "llava", "gguf", NULL };
static const char *const dtypes[] = { "stored", "f16",     "bf16",     "f32",     "f64",     "q8_0",
                                      "q4_k_m", "float16", "bfloat16", "float32", "float64", NULL };

static int set_to(void *field, const char *value, const struct cli_option *option,
                  struct uqm_err *err)
{
    struct options *o = field;
    o->has_to = true;
    return cli_set_choice(&o->to, value, option, err);
}

static const struct cli_option table[] = {
    { .name = "to",
      .value = "hf|llava|gguf",
      .set = set_to,
      .field = 0,
      .choices = layouts,
      .help = "the layout that OUT is to have: hf, as transformers has it, or LLaVA's own. A LLaVA "
              "goes from one to the other, other models stay in theirs. gguf: the files of "
              "llama.cpp, NAME-TYPE.gguf and mmproj-NAME-TYPE.gguf in OUT, NAME being that of IN, "
              "which may be a recipe then" },
    { .name = "vision-tower",
      .value = "DIR",
      .set = cli_set_text,
      .field = FIELD(vision_tower),
      .help = "the CLIP folder of a model that does not carry its own" },
    { .name = "dtype",
      .value = "TYPE",
      .set = cli_set_choice,
      .field = FIELD(dtype),
      .choices = dtypes,
      .help = "what the weights are rounded to: float16, bfloat16, float32, float64, or f16, bf16, "
              "f32, f64; of GGUF also q8_0 and q4_k_m, but not f64; default as they are stored" },
    { .name = "out-shard-size",
      .value = "SIZE",
      .set = cli_set_shard_size,
      .field = FIELD(shard_bytes),
      .help = "as in merge; default 5B" },
    { .name = "overwrite",
      .set = cli_set_true,
      .field = FIELD(overwrite),
      .help = "replace a finished OUT, atomically" },
    { 0 },
};

static int run(struct cli_common *common, const struct uqm_strings *args)
{
    const struct options *o = (const struct options *) common;
    struct session s;
    struct uqm_err err = { 0 };
    char *json = NULL;

    if (!o->has_to)
        return session_refuse(cli_fail(&err, UQM_ERR_ARG, "convert: --to: is required"), &err);
    session_init(&s, common);
    struct uqm_convert_params params = {
        .common = common->uqm,
        .in = args->v[0],
        .out = args->v[1],
        .to = (enum uqm_convert_to) o->to,
        .vision_tower = o->vision_tower,
        .dtype = o->dtype > 0 ? dtypes[o->dtype] : NULL,
        .out_shard_bytes = o->shard_bytes,
        .overwrite = o->overwrite,
    };
    int ret = uqm_convert(&json, &params, &err);
    return session_finish(&s, ret, &json, print_merge, 0, &err);
}

const struct cli_command cmd_convert = {
    .name = "convert",
    .args = "IN OUT",
    .summary = "Write a checkpoint anew, as safetensors or GGUF.",
    .details =
        "IN is a folder, an archive or a weight file, of PyTorch or safetensors. OUT, a folder, "
        "gets "
        "the weights as safetensors, with config and tokenizer, or as GGUF; and a manifest that "
        "`verify` checks.",
    .options = table,
    .runs = true,
    .options_bytes = sizeof(struct options),
    .min_args = 2,
    .max_args = 2,
    .run = run,
};
