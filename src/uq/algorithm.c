#include "src/uq/algorithm.h"

#include <math.h>

int uqm_algorithm_run(struct uqm_algorithm_result *result,
                      const struct uqm_algorithm_params *params, uqm_step_fn step, void *ctx,
                      struct uqm_err *err)
{
    double best = (double) INFINITY;
    int n_failed = 0;

    result->n_steps = result->stopped_at = result->best = 0;
    for (size_t t = 1; t <= params->n; t++) {
        if (result->stopped_at && !params->all_steps)
            break;
        double u;
        int ret = step(ctx, t, result->best, &u, err);
        if (ret < 0)
            return ret;

        bool improved = !result->stopped_at && u < best - params->min_drop;
        result->steps[result->n_steps++] =
            (struct uqm_algorithm_step){ .u = u, .improved = improved };
        if (improved) {
            best = u;
            result->best = t;
            n_failed = 0;
        } else if (!result->stopped_at && ++n_failed > params->patience) {
            result->stopped_at = t;
        }
    }
    return UQM_OK;
}

/* Insertion: n models are few, and stability is the point. */
void uqm_algorithm_sort(size_t *indices, size_t n, const double *value, bool descending)
{
    for (size_t i = 1; i < n; i++) {
        size_t moving = indices[i], j = i;
        double v = value[moving];
        for (; j > 0; j--) {
            double before = value[indices[j - 1]];
            bool out_of_order = isnan(before) ? !isnan(v) : descending ? v > before : v < before;
            if (!out_of_order)
                break;
            indices[j] = indices[j - 1];
        }
        indices[j] = moving;
    }
}
