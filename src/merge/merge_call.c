/* uqm_merge(): recipes, plans, write. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/fs.h"
#include "src/format/json.h"
#include "src/merge/dry_run.h"
#include "src/merge/plan.h"

/* A dry run has a second, so it reads no more than this of vision towers. */
#define MOST_TOWER_BYTES (UINT64_C(256) << 20)

/* One recipe on its way to its folder. */
struct job {
    struct uqm_source *source;
    const struct uqm_recipe *recipe; /* the source's */
    char *out_dir;                   /* NULL: the caller's */
};

struct call {
    struct uqm_env env;
    const struct uqm_merge_params *params;
    size_t n;
    struct job *jobs;
    struct uqm_digest_cache digests; /* a tower that recipes share is read once */
    bool made_dir;
};

static int no_memory(const struct call *c, struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", c->params->out_dir);
}

static int open_jobs(struct call *c, struct uqm_err *err)
{
    const struct uqm_merge_params *p = c->params;
    const struct uqm_open_params open = {
        .most_tower_bytes = p->dry_run ? MOST_TOWER_BYTES : 0,
        .allow_crimes = p->allow_crimes,
        .truncate_embeddings = p->truncate_embeddings,
        .vision_tower = p->vision_tower,
        .numerics = p->numerics,
        .digests = &c->digests,
    };
    for (size_t i = 0; i < c->n; i++) {
        const char *path = p->recipes.n ? p->recipes.v[i] : p->recipe_path;
        int ret = uqm_recipe_file_open(&c->jobs[i].source, &c->env, path, &open, err);
        if (ret < 0)
            return ret;
        c->jobs[i].recipe = uqm_recipe_source_of(c->jobs[i].source)->recipe;
    }
    return UQM_OK;
}

/* OUT/NAME for each recipe; OUT is made when it is not there. */
static int name_outputs(struct call *c, struct uqm_err *err)
{
    const char *out = c->params->out_dir;
    for (size_t i = 0; i < c->n; i++) {
        const struct uqm_recipe *r = c->jobs[i].recipe;
        for (size_t j = 0; j < i; j++)
            if (strcmp(c->jobs[j].recipe->name, r->name) == 0)
                return uqm_fail(err, UQM_ERR_ARG, "%s: its output would be %s/%s, as that of %s",
                                r->where, out, r->name, c->jobs[j].recipe->where);
        c->jobs[i].out_dir = uqm_path_join(out, r->name);
        if (!c->jobs[i].out_dir)
            return no_memory(c, err);
    }
    if (c->params->dry_run || uqm_is_dir(out))
        return UQM_OK;
    c->made_dir = true; /* or it is not there, which does no harm */
    return uqm_make_dir(out, err);
}

static struct uqm_write_params write_params(const struct call *c, size_t i)
{
    return (struct uqm_write_params){
        .out_dir = c->jobs[i].out_dir ? c->jobs[i].out_dir : c->params->out_dir,
        .overwrite = c->params->overwrite,
        .shard_bytes = c->params->out_shard_bytes,
        .no_copy_tokenizer = c->params->no_copy_tokenizer,
        .no_model_card = c->params->no_model_card,
        .allow_nan = c->params->allow_nan,
        .report = c->params->report,
    };
}

static struct uqm_write_job *make_jobs(const struct call *c)
{
    struct uqm_write_job *jobs = calloc(c->n, sizeof *jobs);
    for (size_t i = 0; i < c->n && jobs; i++)
        jobs[i] = (struct uqm_write_job){
            .source = c->jobs[i].source,
            .recipe = c->jobs[i].recipe,
            .params = write_params(c, i),
        };
    return jobs;
}

static int dry_run(json_t **result, struct call *c, struct uqm_err *err)
{
    struct uqm_write_job *jobs = make_jobs(c);
    int ret = jobs ? UQM_OK : no_memory(c, err);
    for (size_t i = 0; i < c->n && ret == UQM_OK; i++)
        if (!uqm_is_dir(c->params->out_dir)) /* would be made: what holds for it holds for them */
            jobs[i].params.out_dir = c->params->out_dir;
    if (ret == UQM_OK)
        ret = uqm_merge_dry_run(result, &c->env, jobs, c->n, c->params->recipes.n > 0, err);
    json_t *outputs = ret == UQM_OK ? json_object_get(*result, "outputs") : NULL;
    for (size_t i = 0; i < json_array_size(outputs) && ret == UQM_OK; i++)
        if (json_object_set_new(json_array_get(outputs, i), "out",
                                json_string(c->jobs[i].out_dir)) != 0)
            ret = no_memory(c, err);
    free(jobs);
    return ret;
}

static int write_jobs(json_t **result, struct call *c, struct uqm_err *err)
{
    struct uqm_threads *threads = NULL;
    struct uqm_write_job *jobs = make_jobs(c);
    int ret = jobs ? UQM_OK : no_memory(c, err);
    if (ret == UQM_OK)
        ret = uqm_threads_create(&threads, c->env.n_threads, err);
    if (ret == UQM_OK)
        ret = uqm_merge_write_many(result, &c->env, threads, jobs, c->n, c->params->recipes.n > 0,
                                   err);
    uqm_threads_destroy(&threads);
    free(jobs);
    return ret;
}

static int run(json_t **result, struct call *c, struct uqm_err *err)
{
    const struct uqm_strings *recipes = &c->params->recipes;
    int ret = uqm_check_path_text(c->params->out_dir, false, err);
    for (size_t i = 0; i < recipes->n && ret == UQM_OK; i++) /* outputs are called as they are */
        ret = uqm_check_path_text(recipes->v[i], false, err);
    if (ret == UQM_OK)
        ret = uqm_env_init(&c->env, &c->params->common, err);
    if (ret == UQM_OK && c->params->vision_tower)
        uqm_log(&c->env, UQM_LOG_INFO,
                "--vision-tower has no effect here: a tower that lies beside "
                "its model is not part of a merge");
    if (ret == UQM_OK)
        ret = open_jobs(c, err);
    if (ret == UQM_OK && c->params->recipes.n)
        ret = name_outputs(c, err);
    if (ret == UQM_OK)
        ret = c->params->dry_run ? dry_run(result, c, err) : write_jobs(result, c, err);
    return ret;
}

static void finish(struct call *c, bool failed)
{
    for (size_t i = 0; i < c->n && c->jobs; i++) {
        uqm_source_destroy(&c->jobs[i].source);
        free(c->jobs[i].out_dir);
    }
    if (failed && c->made_dir)
        rmdir(c->params->out_dir);
    uqm_digest_cache_finish(&c->digests);
    free(c->jobs);
}

UQM_API int uqm_merge(char **json, const struct uqm_merge_params *params, struct uqm_err *err)
{
    struct call c = { .params = params, .n = params->recipes.n ? params->recipes.n : 1 };
    json_t *result = NULL;
    *json = NULL;
    c.jobs = calloc(c.n, sizeof *c.jobs);
    int ret = c.jobs ? run(&result, &c, err) : no_memory(&c, err);
    if (ret == UQM_OK && !(*json = uqm_json_dump(result)))
        ret = no_memory(&c, err);
    json_decref(result);
    finish(&c, ret < 0);
    return ret;
}
