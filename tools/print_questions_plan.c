#include "tools/commands.h"

/* Of uq, select, eval, and of ask, whose one prompt is counted in tokens. */
void print_questions_plan(FILE *out, const json_t *r, unsigned flags)
{
    const json_t *models = json_object_get(r, "models");
    (void) flags;
    if (models)
        fprintf(out, "%zu model%s, %llu prompts each; nothing was asked\n", json_array_size(models),
                json_array_size(models) == 1 ? "" : "s",
                (unsigned long long) get_count(r, "prompts"));
    else
        fprintf(out, "a prompt of %llu tokens; nothing was asked\n",
                (unsigned long long) get_count(r, "prompt_tokens"));
}
