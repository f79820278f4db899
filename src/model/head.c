/*
 * Final norm and head, for the last position of every prompt. Few tokens: their rows alone are
 * read, put side by side and multiplied as a skinny product, the same to the bit however many there
 * are. The whole vocabulary: a product like any other.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"
#include "src/model/blocks.h"

static int take_rows(struct uqm_head *head, const struct uqm_network *net, const int32_t *tokens,
                     struct uqm_err *err)
{
    const uint32_t vocab = net->config.text.vocab_size;
    head->refs = malloc(head->n_tokens * sizeof *head->refs);
    if (!head->refs)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for %zu tokens", head->n_tokens);
    for (size_t i = 0; i < head->n_tokens; i++) {
        if (tokens[i] < 0 || (uint32_t) tokens[i] >= vocab)
            return uqm_fail(err, UQM_ERR_ARG,
                            "%s: token id %" PRId32 " is outside the vocabulary of %u",
                            net->source->name, tokens[i], vocab);
        head->refs[i] = (struct uqm_row_ref){ .id = tokens[i], .at = i };
    }
    qsort(head->refs, head->n_tokens, sizeof *head->refs, uqm_row_ref_compare);

    uint64_t bytes;
    if (!uqm_mul_u64(&bytes, head->n_tokens, head->width * (uqm_dtype_bits(head->dtype) / 8)) ||
        bytes > SIZE_MAX)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for the rows of %zu tokens", head->n_tokens);
    head->rows_bytes = (size_t) bytes;
    return uqm_budget_alloc(&head->rows, net->env, head->rows_bytes, 64, "the head's rows", err);
}

int uqm_head_init(struct uqm_head *head, const struct uqm_network *net, const int32_t *tokens,
                  size_t n_tokens, struct uqm_err *err)
{
    *head = (struct uqm_head){
        .env = net->env,
        .n_tokens = tokens ? n_tokens : net->config.text.vocab_size,
        .width = net->config.text.hidden,
        .dtype = net->source->tensors[net->head.tensor].dtype,
    };
    if (!tokens)
        return UQM_OK;
    if (n_tokens == 0)
        return uqm_fail(err, UQM_ERR_ARG, "logits of no token are asked for");
    int ret = take_rows(head, net, tokens, err);
    if (ret < 0)
        uqm_head_finish(head);
    return ret;
}

void uqm_head_finish(struct uqm_head *head)
{
    if (!head->env)
        return;
    uqm_budget_free(&head->rows, head->env, head->rows_bytes);
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

static int take_row(void *ctx, uint64_t index, const void *row, enum uqm_dtype dtype,
                    struct uqm_err *err)
{
    struct uqm_head *h = ctx;
    const size_t bytes = h->width * (uqm_dtype_bits(dtype) / 8);
    (void) err;
    for (; h->next < h->n_tokens && (uint64_t) h->refs[h->next].id == index; h->next++)
        memcpy((char *) h->rows + h->refs[h->next].at * bytes, row, bytes);
    return UQM_OK;
}

/* No more columns at a time than a tile of the head has. */
static int multiply_rows(const struct uqm_head *head, struct uqm_run *run,
                         struct uqm_linear product, struct uqm_err *err)
{
    const size_t most = (size_t) uqm_min_u64(UQM_GEMM_COLS, run->net->head.n_rows);
    const size_t row_bytes = head->width * (uqm_dtype_bits(head->dtype) / 8);
    const struct uqm_place logits = product.y;
    int ret = UQM_OK;
    product.w_dtype = head->dtype;
    product.skinny = true;
    for (size_t i = 0; ret == UQM_OK && i < head->n_tokens; i += most) {
        product.y = uqm_place_add(logits, i);
        product.w = (const char *) head->rows + i * row_bytes;
        product.n = (size_t) uqm_min_u64(most, head->n_tokens - i);
        ret = run->device->ops->linear(run->device, &product, err);
    }
    return ret;
}

int uqm_head_run(struct uqm_head *head, struct uqm_run *run, struct uqm_weights *weights,
                 struct uqm_place logits, struct uqm_place normed, struct uqm_place hidden,
                 size_t n_rows, struct uqm_err *err)
{
    struct uqm_device *device = run->device;
    const struct uqm_norm norm = {
        .y = normed,
        .x = hidden,
        .weight = run->norm_w,
        .eps = run->net->config.text.rms_eps,
        .n_rows = n_rows,
        .width = head->width,
    };
    const struct uqm_linear product = {
        .y = logits,
        .x = normed,
        .ldy = head->n_tokens,
        .ldx = head->width,
        .m = n_rows,
        .n = head->n_tokens,
        .k = head->width,
        .epilogue = UQM_EPI_STORE,
    };
    int ret = uqm_weights_vector(weights, run->norm_w, head->width, err);
    if (ret == UQM_OK)
        ret = device->ops->norm(device, &norm, err);
    if (ret < 0)
        return ret;
    if (!head->refs)
        return uqm_weights_linear(weights, &product, err);
    head->next = 0;
    for (size_t i = 0; ret == UQM_OK && i < head->n_loads; i++)
        ret = uqm_weights_rows(weights, take_row, head, err);
    return ret < 0 ? ret : multiply_rows(head, run, product, err);
}
