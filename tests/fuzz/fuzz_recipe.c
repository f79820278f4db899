/* A recipe's YAML, accepted or refused with a line. Whatever is accepted can be resolved: every
 * parameter of every input of every slice has a value, or is named as missing. */
#include "src/format/recipe.h"
#include "tests/fuzz/fuzz.h"

static int hear(void *ctx, const char *line)
{
    (void) ctx;
    FUZZ_CHECK(line[0] && !strchr(line, '\n'));
    return UQM_OK;
}

static void resolve_all(const struct uqm_recipe *r, const struct uqm_recipe_module *m,
                        const struct uqm_recipe_slice *s, size_t i)
{
    for (size_t k = 0; k < r->method->n_params; k++) {
        const struct uqm_param_info *param = &r->method->params[k];
        struct uqm_err err = { 0 };
        double v = 0;
        const struct uqm_recipe_place place = {
            .module = m,
            .slice = s,
            .input = param->scope == UQM_PER_OUTPUT ? NULL : &s->inputs[i],
            .tensor = "model.layers.0.mlp.up_proj.weight",
            .t = 0.3,
        };
        if (uqm_recipe_resolve(&v, r, param, &place, &err) < 0)
            fuzz_check_refusal(err.code, &err);
        else
            FUZZ_CHECK(v == v);
    }
}

static void check(const struct uqm_recipe *r)
{
    FUZZ_CHECK(r->n_models > 0 && r->n_modules > 0 && r->base < (long) r->n_models);
    FUZZ_CHECK(r->tokenizer.model_index < (long) r->n_models);
    for (size_t t = 0; t < r->tokenizer.n_tokens; t++)
        FUZZ_CHECK(r->tokenizer.tokens[t].model < r->n_models);
    size_t left = 100; /* inputs: an alias makes thousands of one */
    for (size_t m = 0; m < r->n_modules; m++)
        for (size_t s = 0; s < r->modules[m].n_slices; s++)
            for (size_t i = 0; i < r->modules[m].slices[s].n_inputs && left; i++, left--) {
                const struct uqm_recipe_slice *slice = &r->modules[m].slices[s];
                FUZZ_CHECK(slice->inputs[i].model < r->n_models);
                FUZZ_CHECK(slice->inputs[i].first <= slice->inputs[i].end);
                resolve_all(r, &r->modules[m], slice, i);
            }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct uqm_recipe *recipe = NULL;
    struct uqm_err err = { 0 };
    const int ret =
        uqm_recipe_parse(&recipe, (const char *) data, size, "recipe.yml", hear, NULL, &err);
    if (ret < 0) {
        fuzz_check_refusal(ret, &err);
        FUZZ_CHECK(!recipe);
        return 0;
    }
    FUZZ_CHECK(recipe->method && recipe->text_len == size);
    check(recipe);
    uqm_recipe_free(&recipe);
    return 0;
}
