/* uqm_convert(): a passthrough merge of one model, which plans and writes it as any other; to GGUF
 * in another form of files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/fs.h"
#include "src/checkpoint/checkpoint.h"
#include "src/convert/gguf_export.h"
#include "src/format/json.h"
#include "src/format/json_edit.h"
#include "src/merge/open.h"
#include "src/merge/plan.h"
#include "src/merge/write.h"

struct convert {
    struct uqm_env env;
    const struct uqm_convert_params *params;
    struct uqm_recipe *recipe;
    struct uqm_source *source;
    struct uqm_threads *threads;
    bool relayout; /* OUT has another layout than IN: */
    enum uqm_layout layout;
    const char *dtype; /* a recipe's; NULL: as stored */
    struct uqm_gguf_export gguf;
};

static int no_memory(const struct convert *c, struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory to convert it", c->params->in);
}

/* Whether names and files change: from LLaVA's own layout to Hugging Face's, or back. Within one,
 * tensors keep their spelling. */
static int check_layouts(struct convert *c, struct uqm_err *err)
{
    const struct uqm_convert_params *p = c->params;
    const struct uqm_checkpoint_params open = { .path = p->in };
    struct uqm_checkpoint *cp = NULL;
    int ret = uqm_checkpoint_open(&cp, &c->env, &open, err);
    if (ret < 0)
        return ret;
    bool is_llava = cp->layout == UQM_LAYOUT_LLAVA, is_hf = cp->layout == UQM_LAYOUT_LLAVA_HF;
    c->layout = p->to == UQM_TO_LLAVA ? UQM_LAYOUT_LLAVA : UQM_LAYOUT_LLAVA_HF;
    c->relayout = (is_llava || is_hf) && cp->layout != c->layout;
    if (p->to == UQM_TO_LLAVA && !is_llava && !is_hf)
        ret = uqm_fail(err, UQM_ERR_ARG, "%s: a model of the layout %s has no LLaVA layout", p->in,
                       uqm_layout_name(cp->layout));
    else if (c->relayout && !cp->config_text)
        ret = uqm_fail(err, UQM_ERR_FORMAT,
                       "%s: without config.json there is none to make for the layout %s", p->in,
                       uqm_layout_name(c->layout));
    else if (p->vision_tower && !c->relayout)
        ret = uqm_fail(err, UQM_ERR_ARG,
                       "%s: --vision-tower: within a layout the tower stays where it is", p->in);
    uqm_checkpoint_close(&cp);
    return ret;
}

static int warn(void *ctx, const char *line)
{
    struct uqm_env *env = ctx;
    return uqm_warn(env, NULL, "%s", line);
}

/* Types that safetensors take have several names; NULL: as stored. */
static int check_dtype(struct convert *c, struct uqm_err *err)
{
    static const char *const words[][2] = {
        { "f16", "float16" }, { "bf16", "bfloat16" }, { "f32", "float32" }, { "f64", "float64" }
    };
    const struct uqm_convert_params *p = c->params;
    c->dtype = p->dtype;
    for (size_t i = 0; p->dtype && i < sizeof words / sizeof *words; i++)
        if (strcmp(p->dtype, words[i][0]) == 0)
            c->dtype = words[i][1];
    enum uqm_gguf_kind kind;
    if (c->dtype && uqm_gguf_kind_parse(&kind, c->dtype) &&
        (kind == UQM_GGUF_ALL_Q8_0 || kind == UQM_GGUF_Q4_K_M))
        return uqm_fail(err, UQM_ERR_USAGE, "--dtype %s: is for --to gguf", p->dtype);
    return UQM_OK;
}

/* --- GGUF --- */

/* OUT is a folder here too. */
static int check_gguf(struct convert *c, struct uqm_err *err)
{
    const struct uqm_convert_params *p = c->params;
    size_t n = strlen(p->out);
    if (n > 5 && strcmp(p->out + n - 5, ".gguf") == 0)
        return uqm_fail(err, UQM_ERR_USAGE,
                        "%s: OUT is a folder, for a model and its mmproj are two files; give its "
                        "name without .gguf",
                        p->out);
    if (p->out_shard_bytes)
        return uqm_fail(err, UQM_ERR_USAGE, "--out-shard-size: GGUF files are not cut");
    c->gguf.env = &c->env;
    c->gguf.in = p->in;
    c->gguf.vision_tower = p->vision_tower;
    c->gguf.has_kind = p->dtype != NULL;
    if (p->dtype && !uqm_gguf_kind_parse(&c->gguf.kind, p->dtype))
        return uqm_fail(err, UQM_ERR_USAGE,
                        "--dtype %s: GGUF files are of f32, f16, bf16, q8_0 or q4_k_m", p->dtype);
    uqm_gguf_export_init(&c->gguf);
    return UQM_OK;
}

/* JSON's strings are YAML's. */
static int make_recipe(struct convert *c, struct uqm_err *err)
{
    const struct uqm_convert_params *p = c->params;
    char *quoted = uqm_json_quote(p->in, strlen(p->in)), *text = NULL;
    int ret = UQM_OK;
    if (!quoted)
        ret = uqm_fail(err, UQM_ERR_UNSUPPORTED, "a path that is not UTF-8, or no memory");
    else if (asprintf(&text, "merge_method: passthrough\nmodels:\n  - model: %s\n%s%s%s", quoted,
                      c->dtype ? "dtype: " : "", c->dtype ? c->dtype : "",
                      c->dtype ? "\n" : "") < 0)
        ret = no_memory(c, err);
    else
        ret = uqm_recipe_parse(&c->recipe, text, strlen(text), "convert", warn, &c->env, err);
    free(text);
    free(quoted);
    return ret;
}

static int run(json_t **result, struct convert *c, struct uqm_err *err)
{
    const struct uqm_convert_params *p = c->params;
    struct uqm_open_params open = { .vision_tower = p->vision_tower };
    const bool to_gguf = p->to == UQM_TO_GGUF;
    const struct uqm_write_params write = {
        .out_dir = p->out,
        .overwrite = p->overwrite,
        .shard_bytes = p->out_shard_bytes,
        .no_model_card = true,
        .allow_nan = true, /* what is there goes over */
        .report = UQM_REPORT_OFF,
        .form = to_gguf ? &c->gguf.form : NULL,
    };
    int ret = uqm_check_path_text(p->in, true, err);
    if (ret == UQM_OK)
        ret = uqm_check_path_text(p->out, false, err);
    if (ret == UQM_OK)
        ret = uqm_env_init(&c->env, &p->common, err);
    if (ret == UQM_OK)
        ret = to_gguf ? check_gguf(c, err) : check_dtype(c, err);
    if (ret == UQM_OK && !to_gguf)
        ret = check_layouts(c, err);
    if (ret == UQM_OK)
        ret = make_recipe(c, err);
    open.need_vision = open.relayout = c->relayout;
    open.layout = c->layout;
    if (ret == UQM_OK)
        ret = uqm_recipe_open(&c->source, &c->env, c->recipe, &open, err);
    if (ret == UQM_OK)
        ret = uqm_threads_create(&c->threads, c->env.n_threads, err);
    if (ret == UQM_OK)
        ret = uqm_merge_write(result, &c->env, c->threads, c->source, c->recipe, &write, err);
    return ret;
}

UQM_API int uqm_convert(char **json, const struct uqm_convert_params *params, struct uqm_err *err)
{
    struct convert c = { .params = params };
    json_t *result = NULL;
    *json = NULL;
    int ret = run(&result, &c, err);
    if (ret == UQM_OK && !(*json = uqm_json_dump(result)))
        ret = no_memory(&c, err);
    json_decref(result);
    uqm_source_destroy(&c.source);
    uqm_threads_destroy(&c.threads);
    uqm_recipe_free(&c.recipe);
    uqm_gguf_export_finish(&c.gguf);
    return ret;
}
