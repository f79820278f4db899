#include "src/model/blocks.h"

/* mlp2x_gelu: linear_2(gelu(linear_1(x))), the erf form; as wide inside as the language model. */

int uqm_projector_schedule(struct uqm_schedule *schedule, const struct uqm_model_config *config,
                           struct uqm_err *err)
{
    const uint64_t in = config->vision.hidden, width = config->text.hidden;
    int ret = uqm_schedule_vector(schedule, width, err, "multi_modal_projector.linear_1.bias");
    if (ret == UQM_OK)
        ret =
            uqm_schedule_matrix(schedule, width, in, err, "multi_modal_projector.linear_1.weight");
    if (ret == UQM_OK)
        ret = uqm_schedule_vector(schedule, width, err, "multi_modal_projector.linear_2.bias");
    if (ret == UQM_OK)
        ret = uqm_schedule_matrix(schedule, width, width, err,
                                  "multi_modal_projector.linear_2.weight");
    return ret;
}

int uqm_projector_run(struct uqm_run *run, struct uqm_weights *weights, struct uqm_place out,
                      struct uqm_place mid, struct uqm_place features, size_t n_rows,
                      struct uqm_err *err)
{
    const struct uqm_model_config *c = &run->net->config;
    const size_t in = c->vision.hidden, width = c->text.hidden;
    const struct uqm_linear first = {
        .y = mid,
        .x = features,
        .ldy = width,
        .ldx = in,
        .m = n_rows,
        .n = width,
        .k = in,
        .bias = run->bias,
        .epilogue = UQM_EPI_GELU,
    };
    const struct uqm_linear second = {
        .y = out,
        .x = mid,
        .ldy = width,
        .ldx = width,
        .m = n_rows,
        .n = width,
        .k = width,
        .bias = run->bias,
        .epilogue = UQM_EPI_STORE,
    };

    int ret = uqm_weights_vector(weights, run->bias, width, err);
    if (ret == UQM_OK)
        ret = uqm_weights_linear(weights, &first, err);
    if (ret == UQM_OK)
        ret = uqm_weights_vector(weights, run->bias, width, err);
    if (ret == UQM_OK)
        ret = uqm_weights_linear(weights, &second, err);
    return ret;
}
