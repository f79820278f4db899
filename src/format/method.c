#include "src/format/method.h"

#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const struct uqm_param_info linear_params[] = {
    { "weight", UQM_PER_INPUT, UQM_PARAM_FLOAT, true, 0 },
    { "normalize", UQM_PER_OUTPUT, UQM_PARAM_BOOL, false, 1 },
};

static const struct uqm_method_info linear = {
    "linear", "Linear", "arxiv.org/abs/2203.05482", COUNT(linear_params), linear_params,
};

const char *const uqm_method_names[] = {
    "linear",          "slerp",       "nuslerp",     "multislerp",  "karcher",          "ties",
    "task_arithmetic", "dare_ties",   "dare_linear", "breadcrumbs", "breadcrumbs_ties", "della",
    "della_linear",    "model_stock", "sce",         "nearswap",    "arcee_fusion",     "ram",
    "ramplus_tl",      "passthrough",
};
const size_t uqm_n_methods = COUNT(uqm_method_names);

static const struct uqm_method_info others[] = {
    { .name = "slerp" },       { .name = "nuslerp" },
    { .name = "multislerp" },  { .name = "karcher" },
    { .name = "ties" },        { .name = "task_arithmetic" },
    { .name = "dare_ties" },   { .name = "dare_linear" },
    { .name = "breadcrumbs" }, { .name = "breadcrumbs_ties" },
    { .name = "della" },       { .name = "della_linear" },
    { .name = "model_stock" }, { .name = "sce" },
    { .name = "nearswap" },    { .name = "arcee_fusion" },
    { .name = "ram" },         { .name = "ramplus_tl" },
    { .name = "passthrough" },
};

const struct uqm_method_info *uqm_method_find(const char *name)
{
    if (strcmp(name, linear.name) == 0)
        return &linear;
    for (size_t i = 0; i < COUNT(others); i++)
        if (strcmp(name, others[i].name) == 0)
            return &others[i];
    return NULL;
}

const struct uqm_param_info *uqm_method_param(const struct uqm_method_info *method,
                                              const char *name)
{
    for (size_t i = 0; i < method->n_params; i++)
        if (strcmp(method->params[i].name, name) == 0)
            return &method->params[i];
    return NULL;
}
