/* The merge methods by name, and the parameters that each reads (spec merge.md 3). */
#ifndef UQM_FORMAT_METHOD_H
#define UQM_FORMAT_METHOD_H

#include <stdbool.h>
#include <stddef.h>

/* Where a parameter is looked up. */
enum uqm_param_scope {
    UQM_PER_INPUT,  /* a model's own parameters, then the recipe's, then the default */
    UQM_PER_OUTPUT, /* the recipe's, then the default; never a model's */
};
enum uqm_param_type { UQM_PARAM_FLOAT, UQM_PARAM_BOOL };

struct uqm_param_info {
    const char *name;
    enum uqm_param_scope scope;
    enum uqm_param_type type;
    bool required;
    double def; /* when not required; bools as 0 and 1 */
};

struct uqm_method_info {
    const char *name;   /* "linear" */
    const char *pretty; /* "Linear"; NULL: known, but not computed by this version */
    const char *link;   /* where it is described, without https:// */
    size_t n_params;
    const struct uqm_param_info *params;
};

/* NULL when no method is called that. */
const struct uqm_method_info *uqm_method_find(const char *name);
/* All names, for "did you mean". */
extern const char *const uqm_method_names[];
extern const size_t uqm_n_methods;
/* NULL when the method has no such parameter. */
const struct uqm_param_info *uqm_method_param(const struct uqm_method_info *method,
                                              const char *name);

#endif
