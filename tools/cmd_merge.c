#include "tools/commands.h"

#include <string.h>

struct options {
    struct cli_common common;
    const char *vision_tower;
    uint64_t shard_bytes;
    int numerics, report;
    bool overwrite, dry_run, no_copy_tokenizer, no_model_card, truncate_embeddings, allow_crimes,
        allow_nan;
    bool foreign_device;
};

#define FIELD(member) offsetof(struct options, member)

static const char *const numerics[] = { "accurate", "mergekit", NULL };
static const char *const reports[] = { "sampled", "full", "off", NULL };

/* mergekit's --device takes PyTorch's names: they are accepted as its --cuda is. */
static int set_device(void *field, const char *value, const struct cli_option *option,
                      struct uqm_err *err)
{
    (void) option;
    struct options *o = field;
    if (strncmp(value, "cuda", 4) == 0 || strncmp(value, "mps", 3) == 0) {
        o->foreign_device = true;
        return UQM_OK;
    }
    return cli_set_device(&o->common.uqm.device, value, option, err);
}

#define NOTED(name_, value_, why)                                                                  \
    {                                                                                              \
        .name = name_, .value = value_, .help = why, .state = CLI_NOTED                            \
    }

static const char cpu_only[] = "merging runs on the CPU";
static const char streamed[] = "weights are always streamed tile by tile";
static const char no_lora[] = "adapters (LoRA) are not merged in this version";
static const char no_hub[] = "models are folders on this machine; no code of theirs is run";

static const struct cli_option table[] = {
    { .name = "dry-run",
      .set = cli_set_true,
      .field = FIELD(dry_run),
      .help = "print the plan and write nothing" },
    { .name = "overwrite",
      .set = cli_set_true,
      .field = FIELD(overwrite),
      .help = "replace a finished OUT, atomically" },
    { .name = "out-shard-size",
      .value = "SIZE",
      .set = cli_set_shard_size,
      .field = FIELD(shard_bytes),
      .help = "largest shard; default 5B. K, M, B are 10^3, 10^6, 10^9 as mergekit reads them; "
              "0 is one file" },
    { .name = "no-copy-tokenizer",
      .set = cli_set_true,
      .field = FIELD(no_copy_tokenizer),
      .help = "leave the tokenizer's files out" },
    { .name = "copy-tokenizer",
      .set = cli_set_false,
      .field = FIELD(no_copy_tokenizer),
      .state = CLI_SILENT },
    { .name = "no-write-model-card",
      .set = cli_set_true,
      .field = FIELD(no_model_card),
      .help = "write neither README.md nor mergekit_config.yml" },
    { .name = "write-model-card",
      .set = cli_set_false,
      .field = FIELD(no_model_card),
      .state = CLI_SILENT },
    { .name = "unsafe-truncate-embeddings",
      .set = cli_set_true,
      .field = FIELD(truncate_embeddings),
      .help = "cut vocabularies that differ to the shortest; config.json keeps its vocab_size" },
    { .name = "no-unsafe-truncate-embeddings",
      .set = cli_set_false,
      .field = FIELD(truncate_embeddings),
      .state = CLI_SILENT },
    { .name = "allow-crimes",
      .set = cli_set_true,
      .field = FIELD(allow_crimes),
      .help = "merge models of different architectures" },
    { .name = "no-allow-crimes",
      .set = cli_set_false,
      .field = FIELD(allow_crimes),
      .state = CLI_SILENT },
    { .name = "allow-nan",
      .set = cli_set_true,
      .field = FIELD(allow_nan),
      .help = "write elements that became NaN though no input is NaN there" },
    { .name = "vision-tower",
      .value = "DIR",
      .set = cli_set_text,
      .field = FIELD(vision_tower),
      .help = "the CLIP folder of models that do not carry their own" },
    { .name = "numerics",
      .value = "accurate|mergekit",
      .set = cli_set_choice,
      .choices = numerics,
      .field = FIELD(numerics),
      .help = "accurate: widen once, round once. mergekit: its roundings and random stream, "
              "operation by operation. Default accurate" },
    { .name = "report",
      .value = "sampled|full|off",
      .set = cli_set_choice,
      .choices = reports,
      .field = FIELD(report),
      .help = "what is said of each tensor, in uqmerge.report.json and at the end; sampled: "
              "large tensors are compared with their inputs in every 64th block. Default sampled" },
    { .name = "device", .value = "auto|cpu", .set = set_device, .state = CLI_SILENT },
    { .name = "no-safe-serialization",
      .help = "merges are written as safetensors",
      .state = CLI_ABSENT },
    NOTED("cuda", NULL, cpu_only),
    NOTED("read-to-gpu", NULL, cpu_only),
    NOTED("multi-gpu", NULL, cpu_only),
    NOTED("gpu-rich", NULL, cpu_only),
    NOTED("low-cpu-memory", NULL, "--memory is the ceiling in every case"),
    NOTED("lazy-unpickle", NULL, streamed),
    NOTED("async-write", NULL, "shards are always written in the background"),
    NOTED("write-threads", "N", "shards are always written in the background"),
    NOTED("clone-tensors", NULL, streamed),
    NOTED("lora-merge-cache", "DIR", no_lora),
    NOTED("lora-merge-dtype", "TYPE", no_lora),
    NOTED("transformers-cache", "DIR", no_hub),
    NOTED("trust-remote-code", NULL, no_hub),
    { .name = "safe-serialization",
      .help = "merges are always written as safetensors",
      .state = CLI_NOTED },
    { 0 },
};

static int run(struct cli_common *common, const struct uqm_strings *args)
{
    const struct options *o = (const struct options *) common;
    struct session s;
    struct uqm_err err = { 0 };
    char *json = NULL;

    session_init(&s, common);
    if (o->foreign_device)
        common->uqm.log(&s, UQM_LOG_INFO,
                        "merge: --device: has no effect: merging runs on the CPU");
    struct uqm_merge_params params = {
        .common = common->uqm,
        .recipe_path = args->v[0],
        .recipes = { args->v, args->n > 2 ? args->n - 1 : 0 },
        .out_dir = args->v[args->n - 1],
        .overwrite = o->overwrite,
        .dry_run = o->dry_run,
        .out_shard_bytes = o->shard_bytes,
        .no_copy_tokenizer = o->no_copy_tokenizer,
        .no_model_card = o->no_model_card,
        .truncate_embeddings = o->truncate_embeddings,
        .allow_crimes = o->allow_crimes,
        .allow_nan = o->allow_nan,
        .vision_tower = o->vision_tower,
        .numerics = (enum uqm_numerics) o->numerics,
        .report = (enum uqm_report_kind) o->report,
    };
    int ret = uqm_merge(&json, &params, &err);
    return session_finish(&s, ret, &json, o->dry_run ? print_plan : print_merge, 0, &err);
}

const struct cli_command cmd_merge = {
    .name = "merge",
    .args = "RECIPE... OUT",
    .summary = "Merge the checkpoints of a mergekit recipe into a new checkpoint folder.",
    .details = "RECIPE is mergekit YAML, with all of its merge methods. Model paths are taken "
               "relative to the working directory, then to the recipe's folder. OUT must not "
               "exist; it appears whole or not at all, with a manifest that verify checks. Several "
               "recipes are merged in one pass over their inputs, each to a folder in OUT that "
               "is called as its file.",
    .options = table,
    .runs = true,
    .options_bytes = sizeof(struct options),
    .min_args = 2,
    .max_args = CLI_MANY,
    .run = run,
};
