/* Plans of small models, for the tests of planning. */
#ifndef UQM_TESTS_PLAN_TEST_H
#define UQM_TESTS_PLAN_TEST_H

#include "src/merge/plan.h"
#include "tests/unit/merge/merge_test.h"

static float numbers[64] = { 1, 2, 3, 4, 5, 6, 7, 8 };
static struct uqm_env *env;

struct plan {
    char *dir;
    struct uqm_recipe *recipe;
    struct uqm_source *source;
    struct uqm_recipe_source *rs;
};

static inline void start(struct plan *p)
{
    *p = (struct plan){ .dir = test_mkdtemp() };
    env = test_env(64 << 20, 1);
}

static inline int try_plan(struct plan *p, const char *text, const struct uqm_open_params *params,
                           struct uqm_err *err)
{
    struct uqm_open_params none = { 0 };
    p->recipe = make_recipe(in_dir(p->dir, "r.yml"), text);
    p->source = NULL;
    int ret = uqm_recipe_open(&p->source, env, p->recipe, params ? params : &none, err);
    if (ret < 0)
        uqm_recipe_free(&p->recipe);
    else
        p->rs = uqm_recipe_source_of(p->source);
    return ret;
}

static inline void plan(struct plan *p, const char *text)
{
    struct uqm_err err = { 0 };
    assert_ok(try_plan(p, text, NULL, &err), err);
}

static inline void done(struct plan *p)
{
    uqm_source_destroy(&p->source);
    uqm_recipe_free(&p->recipe);
}

static inline const struct uqm_plan_tensor *of(const struct plan *p, const char *canonical)
{
    long i = uqm_source_find(p->source, canonical);
    if (i < 0)
        fail_msg("no tensor %s", canonical);
    return &p->rs->plan[i];
}

static inline const struct uqm_tensor *tensor(const struct plan *p, const char *canonical)
{
    of(p, canonical);
    return &p->source->tensors[uqm_source_find(p->source, canonical)];
}

static inline struct made_tensor vector(const char *name, enum uqm_dtype dtype)
{
    return (struct made_tensor){ name, dtype, 1, { 4 }, numbers };
}

#endif
