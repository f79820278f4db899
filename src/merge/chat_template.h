/* The chat template of the output (spec merge.md 9): the inputs' most frequent, a built-in one by
 * name, or the recipe's own text. */
#ifndef UQM_MERGE_CHAT_TEMPLATE_H
#define UQM_MERGE_CHAT_TEMPLATE_H

#include "src/merge/plan.h"

/* *out: Jinja, malloc'ed; NULL where the recipe does not speak of it, or `auto` finds none (a
 * warning was left). */
int uqm_chat_template_choose(char **out, const struct uqm_recipe_source *rs, struct uqm_err *err);

#endif
