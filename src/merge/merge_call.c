/* uqm_merge(): recipe, plan, write. */
#include "src/format/json.h"
#include "src/merge/dry_run.h"
#include "src/merge/open.h"

/* A dry run has a second, so it reads no more than this of vision towers. */
#define MOST_TOWER_BYTES (UINT64_C(256) << 20)

static int warn(void *ctx, const char *line)
{
    return uqm_warn(ctx, NULL, "%s", line);
}

static int execute(json_t **result, struct uqm_env *env, struct uqm_source *source,
                   const struct uqm_recipe *recipe, const struct uqm_merge_params *params,
                   struct uqm_err *err)
{
    struct uqm_threads *threads = NULL;
    const struct uqm_write_params write = {
        .out_dir = params->out_dir,
        .overwrite = params->overwrite,
        .shard_bytes = params->out_shard_bytes,
        .no_copy_tokenizer = params->no_copy_tokenizer,
        .no_model_card = params->no_model_card,
        .allow_nan = params->allow_nan,
    };
    if (params->dry_run)
        return uqm_merge_dry_run(result, env, source, recipe, &write, err);
    int ret = uqm_threads_create(&threads, env->n_threads, err);
    if (ret == UQM_OK)
        ret = uqm_merge_write(result, env, threads, source, recipe, &write, err);
    uqm_threads_destroy(&threads);
    return ret;
}

UQM_API int uqm_merge(char **json, const struct uqm_merge_params *params, struct uqm_err *err)
{
    struct uqm_env env;
    struct uqm_recipe *recipe = NULL;
    struct uqm_source *source = NULL;
    json_t *result = NULL;
    const struct uqm_open_params open = { .most_tower_bytes =
                                              params->dry_run ? MOST_TOWER_BYTES : 0,
                                          .allow_crimes = params->allow_crimes,
                                          .truncate_embeddings = params->truncate_embeddings,
                                          .vision_tower = params->vision_tower,
                                          .numerics = params->numerics };

    *json = NULL;
    int ret = uqm_env_init(&env, &params->common, err);
    if (ret == UQM_OK && params->vision_tower)
        uqm_log(&env, UQM_LOG_INFO,
                "--vision-tower has no effect here: a tower that lies beside "
                "its model is not part of a merge");
    if (ret == UQM_OK)
        ret = uqm_recipe_load(&recipe, params->recipe_path, warn, &env, err);
    if (ret == UQM_OK)
        ret = uqm_recipe_open(&source, &env, recipe, &open, err);
    if (ret == UQM_OK)
        ret = execute(&result, &env, source, recipe, params, err);
    if (ret == UQM_OK && !(*json = uqm_json_dump(result)))
        ret = uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for the result", params->out_dir);
    json_decref(result);
    uqm_source_destroy(&source);
    uqm_recipe_free(&recipe);
    return ret;
}
