/* Which functions compute which method. */
#include "src/merge/linear.h"
#include "src/merge/methods/methods.h"

static const struct uqm_method_ops *const table[UQM_N_METHODS] = {
    [UQM_METHOD_LINEAR] = &uqm_linear_ops,
    [UQM_METHOD_SLERP] = &uqm_slerp_ops,
    [UQM_METHOD_NUSLERP] = &uqm_nuslerp_ops,
    [UQM_METHOD_MULTISLERP] = &uqm_multislerp_ops,
    [UQM_METHOD_KARCHER] = &uqm_karcher_ops,
    [UQM_METHOD_TASK_ARITHMETIC] = &uqm_task_ops,
    [UQM_METHOD_TIES] = &uqm_task_ops,
    [UQM_METHOD_DARE_TIES] = &uqm_random_task_ops,
    [UQM_METHOD_DARE_LINEAR] = &uqm_random_task_ops,
    [UQM_METHOD_BREADCRUMBS] = &uqm_task_ops,
    [UQM_METHOD_BREADCRUMBS_TIES] = &uqm_task_ops,
    [UQM_METHOD_DELLA] = &uqm_ranked_task_ops,
    [UQM_METHOD_DELLA_LINEAR] = &uqm_ranked_task_ops,
    [UQM_METHOD_MODEL_STOCK] = &uqm_model_stock_ops,
    [UQM_METHOD_SCE] = &uqm_sce_ops,
    [UQM_METHOD_NEARSWAP] = &uqm_nearswap_ops,
    [UQM_METHOD_ARCEE_FUSION] = &uqm_arcee_fusion_ops,
    [UQM_METHOD_RAM] = &uqm_ram_ops,
    [UQM_METHOD_RAMPLUS_TL] = &uqm_ramplus_tl_ops,
    [UQM_METHOD_PASSTHROUGH] = &uqm_passthrough_ops,
};

const struct uqm_method_ops *uqm_method_ops_of(enum uqm_method_id id)
{
    return table[id];
}
