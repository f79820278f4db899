/*
 * Final norm and head, for the last position of every prompt. Few tokens: their rows alone are
 * read and multiplied one by one. The whole vocabulary: a product like any other.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "src/model/blocks.h"

int uqm_head_init(struct uqm_head *head, const struct uqm_network *net, const int32_t *tokens,
                  size_t n_tokens, struct uqm_err *err)
{
    const uint32_t vocab = net->config.text.vocab_size;
    *head = (struct uqm_head){
        .n_tokens = tokens ? n_tokens : vocab,
        .kernels = &net->kernels,
        .width = net->config.text.hidden,
    };
    if (!tokens)
        return UQM_OK;
    if (n_tokens == 0)
        return uqm_fail(err, UQM_ERR_ARG, "logits of no token are asked for");
    head->refs = malloc(n_tokens * sizeof *head->refs);
    if (!head->refs)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for %zu tokens", n_tokens);
    for (size_t i = 0; i < n_tokens; i++) {
        if (tokens[i] < 0 || (uint32_t) tokens[i] >= vocab) {
            uqm_head_finish(head);
            return uqm_fail(err, UQM_ERR_ARG,
                            "%s: token id %" PRId32 " is outside the vocabulary of %u",
                            net->source->name, tokens[i], vocab);
        }
        head->refs[i] = (struct uqm_row_ref){ .id = tokens[i], .at = i };
    }
    qsort(head->refs, n_tokens, sizeof *head->refs, uqm_row_ref_compare);
    return UQM_OK;
}

void uqm_head_finish(struct uqm_head *head)
{
    free(head->refs);
    head->refs = NULL;
}

int uqm_head_schedule(struct uqm_schedule *schedule, const struct uqm_network *net,
                      struct uqm_head *head, struct uqm_err *err)
{
    int ret = uqm_schedule_vector(schedule, net->config.text.hidden, err,
                                  "language_model.model.norm.weight");
    if (ret < 0)
        return ret;
    const size_t before = schedule->n;
    if (head->refs)
        ret = uqm_schedule_gather(schedule, &net->head, head->refs, head->n_tokens, err);
    else
        ret = uqm_schedule_rows(schedule, &net->head, 0, net->head.n_rows, err);
    head->n_loads = schedule->n - before;
    return ret;
}

static void take_row(void *ctx, uint64_t index, const float *row)
{
    struct uqm_head *h = ctx;
    for (; h->next < h->n_tokens && (uint64_t) h->refs[h->next].id == index; h->next++)
        for (size_t r = 0; r < h->n_rows; r++)
            h->logits[r * h->n_tokens + h->refs[h->next].at] =
                h->kernels->dot_f32(h->normed + r * h->width, row, h->width);
}

int uqm_head_run(struct uqm_head *head, struct uqm_run *run, struct uqm_weights *weights,
                 float *logits, float *normed, const float *hidden, size_t n_rows,
                 struct uqm_err *err)
{
    const size_t width = head->width;
    int ret = uqm_weights_vector(weights, run->norm_w, width, err);
    if (ret < 0)
        return ret;
    uqm_rows_rmsnorm(run->net->threads, &run->net->kernels, normed, hidden, run->norm_w,
                     run->net->config.text.rms_eps, n_rows, width);
    if (!head->refs)
        return uqm_weights_linear(weights, run->gemm, logits, head->n_tokens, normed, width, n_rows,
                                  head->n_tokens, width, NULL, UQM_EPI_STORE, err);
    head->normed = normed;
    head->logits = logits;
    head->n_rows = n_rows;
    head->next = 0;
    for (size_t i = 0; ret == UQM_OK && i < head->n_loads; i++)
        ret = uqm_weights_rows(weights, run->row, take_row, head, err);
    return ret;
}
