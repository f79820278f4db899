/*
 * Embeddings and heads rebuilt to the output's vocabulary, as a source: tensor i of it is one
 * input's, every row its own, another's, a mean, or zeros (vocab_plan.h). Rows are read as they are
 * asked for; nothing is kept but the mean that padding takes.
 */
#ifndef UQM_MERGE_VOCAB_ROWS_H
#define UQM_MERGE_VOCAB_ROWS_H

#include "src/merge/vocab_plan.h"

int uqm_vocab_rows_create(struct uqm_source **out, struct uqm_recipe_source *rs,
                          struct uqm_err *err);
/*
 * The parts of an output tensor whose dimension 0 is the vocabulary become this source's, and *t
 * gets their shape. The type is the recipe's dtype, else what the parts' promote to.
 */
int uqm_vocab_rows_add(struct uqm_source *source, struct uqm_plan_tensor *pt, struct uqm_tensor *t,
                       struct uqm_err *err);

#endif
