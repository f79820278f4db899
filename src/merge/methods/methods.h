/* The methods beside linear, for the table (method_table.c). */
#ifndef UQM_MERGE_METHODS_H
#define UQM_MERGE_METHODS_H

#include "src/merge/method_ops.h"

/* task_arithmetic, ties, breadcrumbs, breadcrumbs_ties */
extern const struct uqm_method_ops uqm_task_ops;
extern const struct uqm_method_ops uqm_random_task_ops; /* dare_ties, dare_linear */
extern const struct uqm_method_ops uqm_ranked_task_ops; /* della, della_linear */
extern const struct uqm_method_ops uqm_slerp_ops;
extern const struct uqm_method_ops uqm_nuslerp_ops;
extern const struct uqm_method_ops uqm_multislerp_ops;
extern const struct uqm_method_ops uqm_karcher_ops;
extern const struct uqm_method_ops uqm_model_stock_ops;
extern const struct uqm_method_ops uqm_sce_ops;
extern const struct uqm_method_ops uqm_nearswap_ops;
extern const struct uqm_method_ops uqm_arcee_fusion_ops;
extern const struct uqm_method_ops uqm_ram_ops;
extern const struct uqm_method_ops uqm_ramplus_tl_ops;
extern const struct uqm_method_ops uqm_passthrough_ops;

#endif
