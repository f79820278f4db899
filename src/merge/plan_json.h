/* A plan as JSON: what every output tensor is made of, and what becomes of every input tensor. */
#ifndef UQM_MERGE_PLAN_JSON_H
#define UQM_MERGE_PLAN_JSON_H

#include <jansson.h>

#include "src/merge/plan.h"

/* The output's tensors in the order of writing; NULL: no memory. */
json_t *uqm_plan_tensors_json(const struct uqm_recipe_source *rs);
/* The tensors of input k that nothing is made of, each with the reason. */
json_t *uqm_plan_unused_json(const struct uqm_recipe_source *rs, size_t k);
/* The method's parameters as the recipe sets them: for the whole, and for each input, the least and
 * the greatest value over the tensors. */
json_t *uqm_plan_parameters_json(const struct uqm_recipe_source *rs);

#endif
