#include "src/model/saved.h"

#include "src/base/checked.h"
#include "src/model/pass.h"

enum { EVERY_LAYERS = 4 };

static bool is_saved(const struct uqm_saved *s, size_t at)
{
    return s->n_seqs > 0 && at >= s->first && at - s->first < s->n_seqs;
}

uint32_t uqm_saved_behind(const struct uqm_saved *saved, size_t at)
{
    return is_saved(saved, at) ? saved->n_behind : 0;
}

size_t uqm_saved_limit(const struct uqm_saved *saved, size_t at, size_t n_prompts)
{
    return is_saved(saved, at) ? saved->first + saved->n_seqs : n_prompts;
}

static size_t row_words(const struct uqm_asking *a, size_t first, size_t n_seqs)
{
    size_t rows = 0;
    for (size_t i = first; i < first + n_seqs; i++)
        rows += a->seqs[i].n_rows;
    return rows * a->net->config.text.hidden;
}

const float *uqm_saved_rows(const struct uqm_asking *asking, size_t at)
{
    const struct uqm_saved *s = &asking->saved;
    return s->rows + row_words(asking, s->first, at - s->first);
}

/* What other passes still need of an earlier loss is not overwritten. */
bool uqm_saved_is_due(const struct uqm_asking *asking, size_t n_seqs, uint32_t n_behind)
{
    const struct uqm_saved *s = &asking->saved;
    const struct uqm_plan_wish *wish = asking->job->wish;
    const uint32_t every = wish && wish->save_every ? wish->save_every : EVERY_LAYERS;
    const bool needed = is_saved(s, asking->n_done) && is_saved(s, asking->n_done + n_seqs);
    return uqm_device_may_fail(asking->run.device) && !s->off && !needed && n_behind % every == 0 &&
           n_behind < asking->net->config.text.n_layers;
}

/* An eighth stays free for what a device makes when it first needs it. */
static bool has_room(const struct uqm_asking *a, uint64_t bytes)
{
    const struct uqm_env *env = a->net->env;
    const uint64_t left = uqm_budget_left(env), share = a->net->memory_bytes;
    const uint64_t used = a->left_before > left ? a->left_before - left : 0;
    return bytes <= SIZE_MAX && used + bytes + share / 8 <= share &&
           bytes + env->budget.limit_bytes / 8 <= left;
}

static bool take_room(struct uqm_asking *a, uint64_t bytes)
{
    struct uqm_saved *s = &a->saved;
    struct uqm_err err = { 0 };
    void *block;
    if (s->rows && s->bytes >= bytes)
        return true;
    uqm_saved_finish(s, a->net->env);
    if (!has_room(a, bytes) ||
        uqm_budget_alloc(&block, a->net->env, (size_t) bytes, 64, "saved hidden states", &err) < 0)
        return false;
    s->rows = block;
    s->bytes = (size_t) bytes;
    return true;
}

int uqm_saved_begin(float **rows, struct uqm_asking *asking, size_t n_seqs, struct uqm_err *err)
{
    struct uqm_device *device = asking->run.device;
    int ret = device->ops->finish(device, err);
    *rows = NULL;
    if (ret < 0)
        return ret;
    asking->saved.n_seqs = 0;
    if (take_room(asking, row_words(asking, asking->n_done, n_seqs) * sizeof(float)))
        *rows = asking->saved.rows;
    return UQM_OK;
}

void uqm_saved_end(struct uqm_asking *asking, size_t n_seqs, uint32_t n_behind)
{
    struct uqm_saved *s = &asking->saved;
    s->first = asking->n_done;
    s->n_seqs = n_seqs;
    s->n_behind = n_behind;
}

void uqm_saved_finish(struct uqm_saved *saved, struct uqm_env *env)
{
    void *block = saved->rows;
    uqm_budget_free(&block, env, saved->bytes);
    *saved = (struct uqm_saved){ .off = saved->off };
}
