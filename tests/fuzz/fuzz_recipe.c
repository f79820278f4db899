/* A recipe's YAML, accepted or refused with a line. Whatever is accepted can be resolved. */
#include "src/format/recipe.h"
#include "tests/fuzz/fuzz.h"

static int hear(void *ctx, const char *line)
{
    (void) ctx;
    FUZZ_CHECK(line[0] && !strchr(line, '\n'));
    return UQM_OK;
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
    uqm_recipe_free(&recipe);
    return 0;
}
