/* Which functions compute which method. linear has a file of its own (linear.h). */
#include "src/merge/method_ops.h"

static const struct uqm_method_ops *const table[UQM_N_METHODS] = {
    [UQM_METHOD_LINEAR] = NULL,
};

const struct uqm_method_ops *uqm_method_ops_of(enum uqm_method_id id)
{
    return table[id];
}
