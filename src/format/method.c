#include "src/format/method.h"

#include <stdint.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* --- parameters --- */

#define FLOAT(name, scope, def)                                                                    \
    {                                                                                              \
        name, scope, UQM_PARAM_FLOAT, false, def                                                   \
    }
#define BOOL(name, scope, def)                                                                     \
    {                                                                                              \
        name, scope, UQM_PARAM_BOOL, false, def                                                    \
    }
#define INT(name, scope, def)                                                                      \
    {                                                                                              \
        name, scope, UQM_PARAM_INT, false, def                                                     \
    }
#define WANTED(name, scope)                                                                        \
    {                                                                                              \
        name, scope, UQM_PARAM_FLOAT, true, 0                                                      \
    }

static const struct uqm_param_info linear_params[] = {
    WANTED("weight", UQM_PER_INPUT),
    BOOL("normalize", UQM_PER_OUTPUT, 1),
};
static const struct uqm_param_info t_params[] = { WANTED("t", UQM_PER_OUTPUT) };
static const struct uqm_param_info nuslerp_params[] = {
    WANTED("weight", UQM_PER_OTHER),
    BOOL("nuslerp_flatten", UQM_PER_OUTPUT, 1),
    BOOL("nuslerp_row_wise", UQM_PER_OUTPUT, 0),
};
static const struct uqm_param_info multislerp_params[] = {
    WANTED("weight", UQM_PER_OTHER),
    BOOL("normalize_weights", UQM_PER_OUTPUT, 1),
    FLOAT("eps", UQM_PER_OUTPUT, 1e-8),
};
static const struct uqm_param_info karcher_params[] = {
    INT("max_iter", UQM_PER_OUTPUT, 10),
    FLOAT("tol", UQM_PER_OUTPUT, 1e-5),
};
static const struct uqm_param_info model_stock_params[] = {
    BOOL("filter_wise", UQM_PER_OUTPUT, 0),
};
static const struct uqm_param_info sce_params[] = {
    BOOL("int8_mask", UQM_PER_OUTPUT, 0),
    FLOAT("select_topk", UQM_PER_OUTPUT, 1),
};
static const struct uqm_param_info ram_params[] = { FLOAT("epsilon", UQM_PER_OUTPUT, 1e-5) };
static const struct uqm_param_info ramplus_params[] = {
    FLOAT("r", UQM_PER_OUTPUT, 0.1),
    FLOAT("alpha", UQM_PER_OUTPUT, 0.2),
    FLOAT("epsilon", UQM_PER_OUTPUT, 1e-5),
};
/* without a scale the tensor stays as it is, and times 1 is the same */
static const struct uqm_param_info passthrough_params[] = { FLOAT("scale", UQM_PER_INPUT, 1) };

/* The task-vector family: the same six, two defaults of their own, and at most one more. */
#define TASK_PARAMS(normalize, rescale)                                                            \
    WANTED("weight", UQM_PER_OTHER), FLOAT("density", UQM_PER_OTHER, 1),                           \
        FLOAT("lambda", UQM_PER_OUTPUT, 1), BOOL("int8_mask", UQM_PER_OUTPUT, 0),                  \
        BOOL("normalize", UQM_PER_OUTPUT, normalize), BOOL("rescale", UQM_PER_OUTPUT, rescale)

static const struct uqm_param_info task_arithmetic_params[] = { TASK_PARAMS(0, 0) };
static const struct uqm_param_info ties_params[] = { TASK_PARAMS(1, 0) };
static const struct uqm_param_info dare_params[] = { TASK_PARAMS(0, 1) };
static const struct uqm_param_info breadcrumbs_params[] = {
    TASK_PARAMS(0, 0),
    FLOAT("gamma", UQM_PER_OTHER, 0.01),
};
static const struct uqm_param_info della_params[] = {
    TASK_PARAMS(1, 1),
    FLOAT("epsilon", UQM_PER_OTHER, 0.15),
};
static const struct uqm_param_info della_linear_params[] = {
    TASK_PARAMS(0, 1),
    FLOAT("epsilon", UQM_PER_OTHER, 0.15),
};

/* --- methods --- */

#define ANY SIZE_MAX
#define METHOD(id, name, pretty, link, base, least, most, params)                                  \
    {                                                                                              \
        id, name, pretty, link, base, least, most, COUNT(params), params                           \
    }
#define TASK_METHOD(id, name, pretty, link, params)                                                \
    METHOD(id, name, pretty, link, UQM_BASE_REQUIRED, 0, ANY, params)

#define DARE        "arxiv.org/abs/2311.03099"
#define BREADCRUMBS "arxiv.org/abs/2312.06795"
#define DELLA       "arxiv.org/abs/2406.11617"
#define RAM         "arxiv.org/abs/2601.13572"

static const struct uqm_method_info methods[UQM_N_METHODS] = {
    METHOD(UQM_METHOD_LINEAR, "linear", "Linear", "arxiv.org/abs/2203.05482", UQM_BASE_ORDINARY, 1,
           ANY, linear_params),
    METHOD(UQM_METHOD_SLERP, "slerp", "SLERP", "en.wikipedia.org/wiki/Slerp", UQM_BASE_REQUIRED, 1,
           1, t_params),
    METHOD(UQM_METHOD_NUSLERP, "nuslerp", "NuSLERP", NULL, UQM_BASE_OPTIONAL, 2, 2, nuslerp_params),
    METHOD(UQM_METHOD_MULTISLERP, "multislerp", "Multi-SLERP",
           "goddard.blog/posts/multislerp-wow-what-a-cool-idea", UQM_BASE_OPTIONAL, 1, ANY,
           multislerp_params),
    METHOD(UQM_METHOD_KARCHER, "karcher", "Karcher Mean", "arxiv.org/abs/2603.04972",
           UQM_BASE_ORDINARY, 1, ANY, karcher_params),
    TASK_METHOD(UQM_METHOD_TASK_ARITHMETIC, "task_arithmetic", "Task Arithmetic",
                "arxiv.org/abs/2212.04089", task_arithmetic_params),
    TASK_METHOD(UQM_METHOD_TIES, "ties", "TIES", "arxiv.org/abs/2306.01708", ties_params),
    TASK_METHOD(UQM_METHOD_DARE_TIES, "dare_ties", "DARE TIES", DARE, dare_params),
    TASK_METHOD(UQM_METHOD_DARE_LINEAR, "dare_linear", "Linear DARE", DARE, dare_params),
    TASK_METHOD(UQM_METHOD_BREADCRUMBS, "breadcrumbs", "Model Breadcrumbs", BREADCRUMBS,
                breadcrumbs_params),
    TASK_METHOD(UQM_METHOD_BREADCRUMBS_TIES, "breadcrumbs_ties", "Model Breadcrumbs with TIES",
                BREADCRUMBS, breadcrumbs_params),
    TASK_METHOD(UQM_METHOD_DELLA, "della", "DELLA", DELLA, della_params),
    TASK_METHOD(UQM_METHOD_DELLA_LINEAR, "della_linear", "Linear DELLA", DELLA,
                della_linear_params),
    METHOD(UQM_METHOD_MODEL_STOCK, "model_stock", "Model Stock", "arxiv.org/abs/2403.19522",
           UQM_BASE_REQUIRED, 2, ANY, model_stock_params),
    METHOD(UQM_METHOD_SCE, "sce", "SCE", "arxiv.org/abs/2408.07990", UQM_BASE_REQUIRED, 0, ANY,
           sce_params),
    METHOD(UQM_METHOD_NEARSWAP, "nearswap", "NearSwap",
           "huggingface.co/alchemonaut/QuartetAnemoi-70B-t0.0001", UQM_BASE_REQUIRED, 1, 1,
           t_params),
    { UQM_METHOD_ARCEE_FUSION, "arcee_fusion", "Arcee Fusion", "arcee.ai", UQM_BASE_REQUIRED, 1, 1,
      0, NULL },
    METHOD(UQM_METHOD_RAM, "ram", "Reinforced Agent Merging", RAM, UQM_BASE_REQUIRED, 0, ANY,
           ram_params),
    METHOD(UQM_METHOD_RAMPLUS_TL, "ramplus_tl", "Reinforced Agent Merging Plus (Tensor-Local)", RAM,
           UQM_BASE_REQUIRED, 0, ANY, ramplus_params),
    METHOD(UQM_METHOD_PASSTHROUGH, "passthrough", "Passthrough", NULL, UQM_BASE_ORDINARY, 1, 1,
           passthrough_params),
};

const char *const uqm_method_names[UQM_N_METHODS] = {
    "linear",           "slerp",        "nuslerp",      "multislerp",  "karcher",
    "task_arithmetic",  "ties",         "dare_ties",    "dare_linear", "breadcrumbs",
    "breadcrumbs_ties", "della",        "della_linear", "model_stock", "sce",
    "nearswap",         "arcee_fusion", "ram",          "ramplus_tl",  "passthrough",
};

const struct uqm_method_info *uqm_method_find(const char *name)
{
    for (size_t i = 0; i < UQM_N_METHODS; i++)
        if (strcmp(name, methods[i].name) == 0)
            return &methods[i];
    return NULL;
}

const struct uqm_method_info *uqm_method_of(enum uqm_method_id id)
{
    return &methods[id];
}

int uqm_method_param_index(const struct uqm_method_info *method, const char *name)
{
    for (size_t i = 0; i < method->n_params; i++)
        if (strcmp(method->params[i].name, name) == 0)
            return (int) i;
    return -1;
}

const struct uqm_param_info *uqm_method_param(const struct uqm_method_info *method,
                                              const char *name)
{
    int i = uqm_method_param_index(method, name);
    return i < 0 ? NULL : &method->params[i];
}
