#include "src/uq/candidate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/fs.h"
#include "src/base/utf8.h"
#include "src/checkpoint/checkpoint.h"
#include "src/checkpoint/model_file.h"

enum { MAX_CONFIG_BYTES = 16 << 20 };

/* A config file that may be absent: *out stays NULL then. */
static int read_optional(char **out, const char *dir, const char *name, struct uqm_err *err)
{
    size_t len;
    if (*out || !dir)
        return UQM_OK;
    char *path = uqm_path_join(dir, name);
    if (!path)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", dir);
    int ret = uqm_find_model_file(path, NULL, err);
    if (ret > 0)
        ret = uqm_read_model_file(out, &len, path, MAX_CONFIG_BYTES, err);
    free(path);
    return ret;
}

/* Config texts are in the source's home and, in LLaVA's own layout, with its vision tower. */
static int read_config(struct uqm_candidate *c, const struct uqm_open_params *open,
                       struct uqm_err *err)
{
    struct uqm_checkpoint *home = NULL;
    const struct uqm_checkpoint_params params = {
        .path = c->source->home,
        .vision_tower = open->vision_tower,
        .need_vision = open->need_vision,
        .quiet = true, /* it is open as the source, or as an input of it, already */
    };
    char *preprocessor = NULL, *processor = NULL, *tokenizer = NULL, *generation = NULL;
    char *merged = NULL;
    int ret = uqm_checkpoint_open(&home, c->env, &params, err);
    if (ret < 0)
        return ret;
    if ((ret = read_optional(&preprocessor, home->path, "preprocessor_config.json", err)) < 0 ||
        (ret = read_optional(&preprocessor, home->vision_tower_path, "preprocessor_config.json",
                             err)) < 0 ||
        (ret = read_optional(&processor, home->path, "processor_config.json", err)) < 0 ||
        (ret = read_optional(&tokenizer, home->path, "tokenizer_config.json", err)) < 0 ||
        (ret = read_optional(&generation, home->path, "generation_config.json", err)) < 0 ||
        (ret = uqm_source_config(&merged, c->source, err)) < 0)
        goto out;

    const struct uqm_config_texts texts = {
        .where = home->path,
        .config = merged ? merged : home->config_text,
        .vision_config = home->vision_config_text,
        .preprocessor = preprocessor,
        .processor = processor,
        .tokenizer_config = tokenizer,
        .generation = generation,
    };
    ret = uqm_model_config_parse(&c->config, &texts, err);
    if (ret == UQM_OK && open->need_vision && !c->config.has_vision)
        ret = uqm_fail(err, UQM_ERR_FORMAT,
                       "%s: the model has no vision tower, but there are "
                       "pictures to look at",
                       home->path);
out:
    free(merged);
    free(preprocessor);
    free(processor);
    free(tokenizer);
    free(generation);
    uqm_checkpoint_close(&home);
    return ret;
}

static int finish_open(struct uqm_candidate *c, const struct uqm_open_params *params,
                       struct uqm_err *err)
{
    c->digests = params->digests;
    int ret = read_config(c, params, err);
    if (ret == UQM_OK)
        ret = uqm_tokenizer_open(&c->tokenizer, c->source->home, err);
    if (ret < 0)
        uqm_candidate_close(c);
    return ret;
}

int uqm_candidate_open(struct uqm_candidate *out, struct uqm_env *env, const char *model,
                       const struct uqm_open_params *params, struct uqm_err *err)
{
    *out = (struct uqm_candidate){ .env = env };
    int ret = uqm_model_open(&out->source, env, model, params, err);
    return ret < 0 ? ret : finish_open(out, params, err);
}

/* mergekit's name of a merge dtype. */
static const char *dtype_word(enum uqm_dtype dtype)
{
    return dtype == UQM_F16    ? "float16"
           : dtype == UQM_BF16 ? "bfloat16"
           : dtype == UQM_F32  ? "float32"
           : dtype == UQM_F64  ? "float64"
                               : NULL;
}

/* Whether every arithmetic tensor of the model has *dtype (any, as long as it is UQM_N_DTYPES). */
static int common_dtype(bool *common, enum uqm_dtype *dtype, struct uqm_env *env, const char *model,
                        const struct uqm_open_params *params, struct uqm_err *err)
{
    struct uqm_source *source = NULL;
    struct uqm_open_params open = *params;
    open.quiet = true; /* it is opened once more, to be merged */
    int ret = uqm_model_open(&source, env, model, &open, err);
    if (ret < 0)
        return ret;
    for (size_t i = 0; i < source->n_tensors; i++) {
        const struct uqm_tensor *t = &source->tensors[i];
        if (!uqm_dtype_is_arithmetic(t->dtype) ||
            (t->part != UQM_PART_LANGUAGE && t->part != UQM_PART_ADAPTER))
            continue;
        if (*dtype == UQM_N_DTYPES)
            *dtype = t->dtype;
        *common &= t->dtype == *dtype;
    }
    uqm_source_destroy(&source);
    return UQM_OK;
}

int uqm_candidate_merge_text(char **out, struct uqm_env *env, const struct uqm_merge_rule *rule,
                             const char *const *models, size_t n,
                             const struct uqm_open_params *params, struct uqm_err *err)
{
    enum uqm_dtype dtype = UQM_N_DTYPES;
    bool common = true;
    int ret = UQM_OK;

    *out = NULL;
    for (size_t i = 0; i < n && ret == UQM_OK; i++)
        ret = common_dtype(&common, &dtype, env, models[i], params, err);
    if (ret < 0)
        return ret;
    *out = uqm_merge_rule_recipe(rule, models, n, common ? dtype_word(dtype) : NULL);
    return *out ? UQM_OK : uqm_fail(err, UQM_ERR_NOMEM, "no memory for a recipe of %zu models", n);
}

static int warn(void *ctx, const char *line)
{
    struct uqm_env *env = ctx;
    return uqm_warn(env, NULL, "%s", line);
}

int uqm_candidate_open_merge(struct uqm_candidate *out, struct uqm_env *env,
                             const struct uqm_merge_rule *rule, const char *const *models, size_t n,
                             const struct uqm_open_params *params, struct uqm_err *err)
{
    struct uqm_open_params open = *params;
    char *text;
    *out = (struct uqm_candidate){ .env = env };
    open.quiet |= rule->quiet;
    int ret = uqm_candidate_merge_text(&text, env, rule, models, n, params, err);
    if (ret < 0)
        return ret;
    ret = uqm_recipe_parse(&out->recipe, text, strlen(text), uqm_merge_rule_where(rule),
                           rule->quiet ? NULL : warn, env, err);
    free(text);
    if (ret == UQM_OK)
        ret = uqm_recipe_open(&out->source, env, out->recipe, &open, err);
    if (ret < 0) {
        uqm_candidate_close(out);
        return ret;
    }
    return finish_open(out, params, err);
}

void uqm_candidate_close(struct uqm_candidate *candidate)
{
    uqm_tokenizer_close(&candidate->tokenizer);
    uqm_source_destroy(&candidate->source);
    uqm_recipe_free(&candidate->recipe); /* the source is planned on it */
    *candidate = (struct uqm_candidate){ .env = candidate->env };
}

/* Results are JSON: a name that is no UTF-8 has \xNN in its place. Takes over `base`. */
static char *as_text(char *base)
{
    struct uqm_printable shown;
    if (!base || uqm_utf8_valid((const uint8_t *) base, strlen(base)))
        return base;
    uqm_printable(&shown, base, strlen(base));
    free(base);
    return strdup(shown.text);
}

static char *name_of(const char *model)
{
    char *base = uqm_path_base(model);
    if (!base || (*base && strcmp(base, ".") != 0 && strcmp(base, "..") != 0))
        return as_text(base);
    free(base);
    char *real = realpath(model, NULL);
    base = uqm_path_base(real ? real : model);
    free(real);
    return as_text(base);
}

static bool is_taken(char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(names[i], name))
            return true;
    return false;
}

int uqm_candidate_names(char **names, const struct uqm_strings *models, struct uqm_err *err)
{
    size_t n = 0;
    for (; n < models->n; n++) {
        char *base = name_of(models->v[n]);
        names[n] = base ? strdup(base) : NULL;
        for (unsigned k = 2; names[n] && is_taken(names, n, names[n]); k++) {
            free(names[n]);
            if (asprintf(&names[n], "%s#%u", base, k) < 0)
                names[n] = NULL;
        }
        free(base);
        if (!names[n])
            break;
    }
    if (n == models->n)
        return UQM_OK;
    while (n > 0)
        free(names[--n]);
    return uqm_fail(err, UQM_ERR_NOMEM, "no memory for the models' names");
}
