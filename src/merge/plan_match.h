/* Which tensors of which inputs a slice takes, and what they are called in the output; between
 * plan_match.c and plan_index.c. */
#ifndef UQM_MERGE_PLAN_MATCH_H
#define UQM_MERGE_PLAN_MATCH_H

#include "src/merge/plan.h"

enum { UQM_MOST_OUTPUT_LAYERS = 100000 };

/* One source's tensors of one slice, ascending by key: the canonical name in the output. */
struct uqm_match_item {
    const char *key;
    size_t tensor; /* index into the checkpoint's */
};
struct uqm_match_view {
    size_t n, at;                 /* at: the next to be matched */
    struct uqm_match_item *items; /* the caller frees them */
};

/* A module's tensors in every input that its slices name. */
struct uqm_match_index;

/*
 * slices: the module's. UQM_ERR_FORMAT: nothing belongs to the module; layers of several kinds
 * where they are to be sliced; models that are merged whole with different numbers of layers
 * (unless allow_crimes); a layer_range beyond a model's end.
 */
int uqm_match_index_create(struct uqm_match_index **out, struct uqm_recipe_source *rs,
                           size_t module, const struct uqm_plan_slice *slices, bool allow_crimes,
                           struct uqm_err *err);
void uqm_match_index_destroy(struct uqm_match_index **index);

/* The canonical prefix of the layers, with the dot; NULL: there are none, or several. */
const char *uqm_match_prefix(const struct uqm_match_index *index);
/* What source i gives to the slice, whose first_layer is set. */
int uqm_match_view(struct uqm_match_view *out, const struct uqm_match_index *index,
                   const struct uqm_plan_slice *slice, size_t i, struct uqm_err *err);

/* Whether towers beside the models are among the views: where all of the models is merged whole. */
bool uqm_match_takes_beside(const struct uqm_recipe_source *rs);

#endif
