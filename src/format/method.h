/*
 * The merge methods by name: what each is called, how many models it takes, and the parameters that
 * it reads (spec merge.md 3, 3.1). How they compute is src/merge's.
 */
#ifndef UQM_FORMAT_METHOD_H
#define UQM_FORMAT_METHOD_H

#include <stdbool.h>
#include <stddef.h>

/* Where a parameter is looked up, and for whom it is resolved (spec 6). */
enum uqm_param_scope {
    UQM_PER_OUTPUT, /* "S": one value a tensor: slice, module, recipe, default; never a model's */
    UQM_PER_INPUT,  /* "I": one value an input, the base included: its own, then as above */
    UQM_PER_OTHER,  /* "N": the same for every input but the base, which has none */
};
enum uqm_param_type { UQM_PARAM_FLOAT, UQM_PARAM_BOOL, UQM_PARAM_INT };

struct uqm_param_info {
    const char *name;
    enum uqm_param_scope scope;
    enum uqm_param_type type;
    bool required;
    double def; /* when not required; bools as 0 and 1 */
};

enum uqm_method_id {
    UQM_METHOD_LINEAR,
    UQM_METHOD_SLERP,
    UQM_METHOD_NUSLERP,
    UQM_METHOD_MULTISLERP,
    UQM_METHOD_KARCHER,
    UQM_METHOD_TASK_ARITHMETIC,
    UQM_METHOD_TIES,
    UQM_METHOD_DARE_TIES,
    UQM_METHOD_DARE_LINEAR,
    UQM_METHOD_BREADCRUMBS,
    UQM_METHOD_BREADCRUMBS_TIES,
    UQM_METHOD_DELLA,
    UQM_METHOD_DELLA_LINEAR,
    UQM_METHOD_MODEL_STOCK,
    UQM_METHOD_SCE,
    UQM_METHOD_NEARSWAP,
    UQM_METHOD_ARCEE_FUSION,
    UQM_METHOD_RAM,
    UQM_METHOD_RAMPLUS_TL,
    UQM_METHOD_PASSTHROUGH,
    UQM_N_METHODS
};

/* What `base_model` is to a method. */
enum uqm_base_rule {
    UQM_BASE_ORDINARY, /* an input like the others; last when it is not listed */
    UQM_BASE_OPTIONAL, /* task vectors are taken from it when there is one */
    UQM_BASE_REQUIRED,
};

struct uqm_method_info {
    enum uqm_method_id id;
    const char *name;        /* "linear" */
    const char *pretty;      /* "Linear" */
    const char *link;        /* where it is described, without https://; NULL: nowhere */
    enum uqm_base_rule base; /* ... */
    size_t least, most;      /* inputs beside the base; UQM_BASE_ORDINARY: all inputs.
                                most: SIZE_MAX for any number */
    size_t n_params;
    const struct uqm_param_info *params; /* a plan's values stand in this order */
};

enum { UQM_MOST_PARAMS = 8 }; /* of any method */

/* NULL when no method is called that. */
const struct uqm_method_info *uqm_method_find(const char *name);
const struct uqm_method_info *uqm_method_of(enum uqm_method_id id);
/* All names, in the order of the ids, for "did you mean". */
extern const char *const uqm_method_names[UQM_N_METHODS];
/* NULL when the method has no such parameter. */
const struct uqm_param_info *uqm_method_param(const struct uqm_method_info *method,
                                              const char *name);
/* The parameter's place in the method's table, or -1: for who reads a plan's values. */
int uqm_method_param_index(const struct uqm_method_info *method, const char *name);

#endif
