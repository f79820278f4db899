#include "src/uq/algorithm.h"

#include <math.h>

static void stop(struct uqm_algorithm_result *result, size_t t, enum uqm_stop why)
{
    result->stopped_at = t;
    result->stop = why;
}

/* What a step that was asked for before the stop means. */
static void judge(struct uqm_algorithm_result *result, const struct uqm_algorithm_params *params,
                  size_t t, int *n_failed)
{
    struct uqm_algorithm_step *now = &result->steps[t - 1];
    const bool collapsed = params->guards && now->collapsed && result->best > 0;
    const bool narrowed = now->narrowed && result->best > 0;
    now->improved = !collapsed && !narrowed && now->drop > params->min_drop;
    if (now->improved) {
        result->best = t;
        *n_failed = 0;
    } else if (collapsed || narrowed) {
        stop(result, t, collapsed ? UQM_STOP_COLLAPSE : UQM_STOP_SPREAD);
    } else if (++*n_failed > params->patience) {
        stop(result, t, UQM_STOP_VALUE);
    }
}

int uqm_algorithm_run(struct uqm_algorithm_result *result,
                      const struct uqm_algorithm_params *params, uqm_step_fn step, void *ctx,
                      struct uqm_err *err)
{
    int n_failed = 0;

    result->n_steps = result->stopped_at = result->best = 0;
    result->stop = UQM_STOP_NONE;
    for (size_t t = 1; t <= params->n; t++) {
        if (!result->stopped_at && result->best > 0 && params->guards &&
            params->guards(ctx, t, result->best))
            stop(result, t, UQM_STOP_GUARD);
        if (result->stopped_at && !params->all_steps)
            break;
        result->steps[t - 1] = (struct uqm_algorithm_step){ 0 };
        int ret = step(ctx, &result->steps[t - 1], t, result->best, err);
        if (ret < 0)
            return ret;
        result->n_steps = t;
        if (!result->stopped_at)
            judge(result, params, t, &n_failed);
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
