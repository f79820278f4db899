/* A file of several recipes. Accepted ones have names that are all different, one is the output,
 * and what one takes from another is found under its name. */
#include "src/format/recipe_stream.h"
#include "tests/fuzz/fuzz.h"

static int hear(void *ctx, const char *line)
{
    (void) ctx;
    FUZZ_CHECK(line[0] && !strchr(line, '\n'));
    return UQM_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct uqm_recipe_stream *stream = NULL;
    struct uqm_err err = { 0 };
    const int ret = uqm_recipe_stream_parse(&stream, (const char *) data, size, "recipes.yml", hear,
                                            NULL, &err);
    if (ret < 0) {
        fuzz_check_refusal(ret, &err);
        FUZZ_CHECK(!stream);
        return 0;
    }
    FUZZ_CHECK(stream->n > 0 && stream->n <= UQM_RECIPE_STREAM_MOST && stream->output < stream->n);
    size_t unnamed = 0;
    for (size_t i = 0; i < stream->n; i++) {
        const struct uqm_recipe *r = stream->v[i];
        FUZZ_CHECK(r->method && r->text_len == size);
        unnamed += i != stream->output && !r->name;
        for (size_t j = 0; j < i; j++)
            FUZZ_CHECK(!r->name || !stream->v[j]->name || i == stream->output ||
                       j == stream->output || strcmp(r->name, stream->v[j]->name) != 0);
    }
    FUZZ_CHECK(unnamed == 0);
    FUZZ_CHECK(!uqm_recipe_stream_find(stream, "no recipe is called so"));
    uqm_recipe_stream_free(&stream);
    return 0;
}
