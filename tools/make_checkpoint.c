/* uqm-make-checkpoint OUT: a synthetic LLaVA checkpoint of any shape. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/cli.h"
#include "tools/synthetic.h"

struct options {
    struct cli_common common;
    struct synthetic_shape shape;
    const char *tokenizer;
};

#define SHAPE(member) offsetof(struct options, shape.member)
#define COUNT(name_, member, about)                                                                \
    {                                                                                              \
        .name = name_, .value = "N", .set = cli_set_int, .min = 1, .max = 1 << 20,                 \
        .field = SHAPE(member), .help = about                                                      \
    }

static const char *const layouts[] = { "llava-hf", "llava", "llama", NULL };
static const char *const dtypes[] = { "f16", "bf16", "f32", NULL };

static const struct cli_option table[] = {
    { .name = "layout",
      .value = "llava-hf|llava|llama",
      .set = cli_set_choice,
      .choices = layouts,
      .field = SHAPE(layout),
      .help = "how tensors are named and what is in the folder; llava keeps the tower in "
              "OUT/vision-tower; default llava-hf" },
    { .name = "dtype",
      .value = "f16|bf16|f32",
      .set = cli_set_choice,
      .choices = dtypes,
      .field = SHAPE(dtype),
      .help = "default f16" },
    COUNT("layers", layers, "decoder layers; default 32"),
    COUNT("hidden", hidden, "decoder width; default 4096"),
    COUNT("inner", inner, "width inside the decoder's MLP; default 11008"),
    COUNT("heads", heads, "attention heads; default 32"),
    COUNT("kv-heads", kv_heads, "key and value heads; default as heads"),
    COUNT("vocab", vocab, "vocabulary; default 32000 (llava-hf adds 64 rows)"),
    COUNT("max-positions", max_positions, "context length; default 4096"),
    COUNT("vision-layers", vision_layers, "vision tower layers; default 24"),
    COUNT("vision-hidden", vision_hidden, "vision tower width; default 1024"),
    COUNT("vision-inner", vision_inner, "width inside its MLP; default 4096"),
    COUNT("vision-heads", vision_heads, "its attention heads; default 16"),
    COUNT("image-size", image_size, "picture side; default 336"),
    COUNT("patch-size", patch_size, "patch side; default 14"),
    { .name = "seed",
      .value = "N",
      .set = cli_set_u64,
      .field = SHAPE(seed),
      .help = "of the decoder's and projector's weights; default 0" },
    { .name = "vision-seed",
      .value = "N",
      .set = cli_set_u64,
      .field = SHAPE(vision_seed),
      .help = "of the vision tower's: equal seeds give equal towers; default 0" },
    { .name = "shard-size",
      .value = "SIZE",
      .set = cli_set_shard_size,
      .field = SHAPE(shard_bytes),
      .help = "largest shard; default 5B, 0 is one file" },
    { .name = "tokenizer",
      .value = "DIR",
      .set = cli_set_text,
      .field = offsetof(struct options, tokenizer),
      .help = "copy the tokenizer files of this folder" },
    { 0 },
};

static const struct cli_command command = {
    .name = "uqm-make-checkpoint",
    .args = "OUT",
    .summary = "Write a LLaVA checkpoint with random weights, of the true 7B shapes or any other.",
    .options = table,
    .standalone = true,
    .options_bytes = sizeof(struct options),
    .min_args = 1,
    .max_args = 1,
};

static void set_default(int *value, int otherwise)
{
    if (*value == 0)
        *value = otherwise;
}

static int complete(struct synthetic_shape *s, struct synthetic_why *why)
{
    set_default(&s->layers, 32);
    set_default(&s->hidden, 4096);
    set_default(&s->inner, 11008);
    set_default(&s->heads, 32);
    set_default(&s->kv_heads, s->heads);
    set_default(&s->vocab, 32000);
    set_default(&s->max_positions, 4096);
    set_default(&s->vision_layers, 24);
    set_default(&s->vision_hidden, 1024);
    set_default(&s->vision_inner, 4096);
    set_default(&s->vision_heads, 16);
    set_default(&s->image_size, 336);
    set_default(&s->patch_size, 14);
    if (s->shard_bytes == 0)
        s->shard_bytes = UINT64_C(5000000000);
    if (s->hidden % (2 * s->heads) || s->heads % s->kv_heads)
        return synthetic_fail(why,
                              "hidden %d, heads %d, kv-heads %d: heads of an even width must "
                              "fill the width, and kv-heads divide them",
                              s->hidden, s->heads, s->kv_heads);
    if (s->vision_hidden % s->vision_heads || s->patch_size > s->image_size)
        return synthetic_fail(why, "the vision tower's heads must fill its width, and a patch fit "
                                   "the picture");
    return 0;
}

/* dir/name in `path`; make() has seen to it that everything fits. */
static const char *join(char path[static 4096], const char *dir, const char *name)
{
    if (snprintf(path, 4096, "%s/%s", dir, name) >= 4096)
        abort();
    return path;
}

static int write_json(const char *dir, const char *name, json_t *value, struct synthetic_why *why)
{
    char path[4096];
    join(path, dir, name);
    int ret = synthetic_write_json(path, value, why);
    json_decref(value);
    return ret;
}

static int copy_file(const char *to, const char *from, struct synthetic_why *why)
{
    char block[1 << 16];
    size_t n;
    int ret = 0;
    FILE *in = fopen(from, "rb"), *out = in ? fopen(to, "wbx") : NULL;
    if (!in || !out)
        ret = synthetic_fail(why, "%s: %s", in ? to : from, strerror(errno));
    while (ret == 0 && (n = fread(block, 1, sizeof block, in)) > 0) {
        if (fwrite(block, 1, n, out) != n)
            ret = synthetic_fail(why, "%s: %s", to, strerror(errno));
    }
    if (out && fclose(out) != 0 && ret == 0)
        ret = synthetic_fail(why, "%s: %s", to, strerror(errno));
    if (in)
        fclose(in);
    return ret;
}

static int copy_tokenizer(const char *dir, const char *from, struct synthetic_why *why)
{
    static const char *const names[] = { "tokenizer.model", "tokenizer.json",
                                         "tokenizer_config.json", "special_tokens_map.json",
                                         "added_tokens.json" };
    bool any = false;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char source[4096], target[4096];
        if (access(join(source, from, names[i]), F_OK) < 0)
            continue;
        any = true;
        if (copy_file(join(target, dir, names[i]), source, why) < 0)
            return -1;
    }
    return any ? 0 : synthetic_fail(why, "%s: no tokenizer files", from);
}

static int write_tower(const char *dir, const struct synthetic_list *tensors,
                       const struct synthetic_shape *shape, struct synthetic_why *why)
{
    char path[4096];
    if (mkdir(join(path, dir, "vision-tower"), 0755) < 0)
        return synthetic_fail(why, "%s: %s", path, strerror(errno));
    if (synthetic_write(path, tensors, shape->dtype, shape->shard_bytes, why) < 0 ||
        write_json(path, "config.json", synthetic_tower_config(shape), why) < 0)
        return -1;
    return write_json(path, "preprocessor_config.json", synthetic_preprocessor(shape), why);
}

static int fill_folder(const char *dir, const struct options *o, struct synthetic_why *why)
{
    const struct synthetic_shape *shape = &o->shape;
    struct synthetic_list model, tower;
    int ret = synthetic_tensors(&model, &tower, shape) ? 0 : synthetic_fail(why, "no memory");
    if (ret == 0)
        ret = synthetic_write(dir, &model, shape->dtype, shape->shard_bytes, why);
    if (ret == 0 && tower.n)
        ret = write_tower(dir, &tower, shape, why);
    free(model.v);
    free(tower.v);
    if (ret == 0)
        ret = write_json(dir, "config.json", synthetic_config(shape), why);
    if (ret == 0)
        ret = write_json(dir, "generation_config.json", synthetic_generation(shape), why);
    if (ret == 0 && shape->layout == SYNTHETIC_LLAVA_HF)
        ret = write_json(dir, "preprocessor_config.json", synthetic_preprocessor(shape), why);
    if (ret == 0 && o->tokenizer)
        ret = copy_tokenizer(dir, o->tokenizer, why);
    return ret;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void) st, (void) kind, (void) ftw;
    return remove(path);
}

/* Filled under another name, so that OUT is whole or absent. */
static int make(const char *out, const struct options *o, struct synthetic_why *why)
{
    char part[4096];
    size_t len = strlen(out);
    while (len > 1 && out[len - 1] == '/')
        len--;
    if (access(out, F_OK) == 0)
        return synthetic_fail(why, "%s: exists already", out);
    if (snprintf(part, sizeof part, "%.*s.part", (int) len, out) >= (int) sizeof part - 64 ||
        (o->tokenizer && strlen(o->tokenizer) >= sizeof part - 64))
        return synthetic_fail(why, "%s: the path is too long", out);
    if (mkdir(part, 0755) < 0)
        return synthetic_fail(why, "%s: %s", part, strerror(errno));
    int ret = fill_folder(part, o, why);
    if (ret == 0 && rename(part, out) < 0)
        ret = synthetic_fail(why, "%s: %s", out, strerror(errno));
    if (ret < 0)
        nftw(part, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return ret;
}

int main(int argc, char **argv)
{
    struct options options = { 0 };
    struct cli_parsed parsed;
    struct uqm_err err = { 0 };
    struct synthetic_why why = { 0 };

    int code = 2;
    if (cli_parse(&parsed, &options.common, &command, argc - 1, argv + 1, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
    } else if (options.common.help) {
        cli_help(stdout, &command);
        code = 0;
    } else if (complete(&options.shape, &why) < 0) {
        fprintf(stderr, "%s: %s\n", command.name, why.text);
    } else {
        code = make(parsed.args.v[0], &options, &why) < 0;
        if (code)
            fprintf(stderr, "%s: %s\n", command.name, why.text);
    }
    cli_parsed_finish(&parsed);
    return code;
}
