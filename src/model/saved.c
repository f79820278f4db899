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

/* Out of the file by way of the stage. */
static int load_from_file(const struct uqm_asking *a, struct uqm_place to, uint64_t from,
                          size_t n_words, struct uqm_err *err)
{
    const struct uqm_run *run = &a->run;
    int ret = UQM_OK;
    for (size_t done = 0, n; ret == UQM_OK && done < n_words; done += n) {
        n = (size_t) uqm_min_u64(n_words - done, run->stage_elem);
        ret = uqm_scratch_read(&a->saved.file, run->stage, n * sizeof *run->stage,
                               (from + done) * sizeof *run->stage, err);
        if (ret == UQM_OK)
            ret =
                run->device->ops->upload(run->device, uqm_place_add(to, done), run->stage, n, err);
    }
    return ret;
}

int uqm_saved_load(const struct uqm_asking *asking, struct uqm_place to, size_t at, size_t n_words,
                   struct uqm_err *err)
{
    const struct uqm_saved *s = &asking->saved;
    struct uqm_device *device = asking->run.device;
    const size_t from = row_words(asking, s->first, at - s->first);
    if (s->has_file)
        return load_from_file(asking, to, from, n_words, err);
    return device->ops->upload(device, to, s->rows + from, n_words, err);
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
    uqm_saved_finish(s, a->net->env); /* a file too: the rows are in one place */
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

/* A disk that is full is no reason to stop. */
static bool take_file(struct uqm_asking *a, uint64_t bytes)
{
    struct uqm_saved *s = &a->saved;
    struct uqm_err err = { 0 };
    if (s->has_file && s->file_bytes >= bytes)
        return true;
    uqm_saved_finish(s, a->net->env);
    s->has_file = uqm_scratch_init(&s->file, a->net->machine->scratch_dir, bytes, &err) == UQM_OK;
    s->file_bytes = bytes;
    return s->has_file;
}

int uqm_saved_begin_file(const struct uqm_scratch **file, struct uqm_asking *asking, size_t n_seqs,
                         struct uqm_err *err)
{
    struct uqm_device *device = asking->run.device;
    int ret = device->ops->finish(device, err);
    *file = NULL;
    if (ret < 0)
        return ret;
    asking->saved.n_seqs = 0;
    if (take_file(asking, row_words(asking, asking->n_done, n_seqs) * sizeof(float)))
        *file = &asking->saved.file;
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
    if (saved->has_file)
        uqm_scratch_finish(&saved->file);
    *saved = (struct uqm_saved){ .off = saved->off };
}
