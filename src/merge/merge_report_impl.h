/* The report's state; between merge_report.c and merge_report_json.c. */
#ifndef UQM_MERGE_MERGE_REPORT_IMPL_H
#define UQM_MERGE_MERGE_REPORT_IMPL_H

#include "compute/compare.h"
#include "compute/kernels.h"
#include "src/merge/merge_report.h"
#include "src/merge/merge_report_sums.h"

struct uqm_merge_report {
    struct uqm_recipe_source *rs;
    enum uqm_report_kind kind;
    struct uqm_threads *threads;
    struct uqm_kernels kernels;
    struct uqm_compare_kernels compare;

    size_t records_bytes, scratch_bytes, carry_bytes;
    void *records; /* of the tile in hand: for every block the output's sums, then one a part */
    void *scratch; /* [threads] */

    /* The block that a run of elements left unfinished: the output's elements, then each part's,
     * UQM_COMPARE_BLOCK places of 8 bytes apart. */
    void *carry;
    struct uqm_range carried;    /* n_elem 0: none */
    struct uqm_seen *carry_seen; /* [max_parts] */
    struct uqm_seen *run_seen;   /* [max_parts] of the run in hand */

    struct uqm_arena arena;
    struct uqm_report_sums **tensors; /* [n_tensors]: the output's, then one a part; NULL: none */

    bool made_nan; /* the first in the order of merging */
    size_t nan_tensor;
    uint64_t nan_elem;
};

/* How many elements of a tensor are compared with the inputs', and of how many each of them stands
 * for one. */
uint64_t uqm_report_compared(const struct uqm_merge_report *report, size_t tensor);
unsigned uqm_report_weight(const struct uqm_merge_report *report, size_t tensor);

/* Which of a tensor's parts is the base, or -1. */
static inline long uqm_report_base_part(const struct uqm_plan_tensor *pt)
{
    for (size_t i = 0; i < pt->n_parts; i++)
        if (pt->parts[i].is_base)
            return (long) i;
    return -1;
}

#endif
