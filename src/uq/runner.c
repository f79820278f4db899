#include "src/uq/runner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"
#include "src/uq/perturb.h"
#include "src/uq/question.h"

/* What is left to the small allocations of a run: paths, headers, plans. */
enum { RESERVE_BYTES = 8 << 20 };

/* The prompts of one model; tokens differ between models, so each has its own. */
struct prompts {
    struct uqm_llm_prompt *v;
    size_t *pass; /* record * n_passes + j, of each prompt */
    size_t n;
    struct uqm_arena ids;
};

struct asking {
    struct uqm_runner *runner;
    const struct prompts *prompts;
    float *logits;
};

int uqm_runner_init(struct uqm_runner *out, struct uqm_survey *survey, const char *scratch_dir,
                    const char *device, struct uqm_err *err)
{
    *out = (struct uqm_runner){ .survey = survey };
    int ret = uqm_machine_init(&out->machine, survey->env, device, scratch_dir, err);
    return ret < 0 ? ret : uqm_features_create(&out->features, survey, scratch_dir, err);
}

void uqm_runner_finish(struct uqm_runner *runner)
{
    uqm_features_destroy(&runner->features);
    uqm_machine_finish(&runner->machine);
}

static void prompts_finish(struct prompts *p)
{
    free(p->v);
    free(p->pass);
    uqm_arena_finish(&p->ids);
}

/* Token ids of one pass, kept in the arena. */
static int encode(struct prompts *p, struct uqm_llm_prompt *prompt, const struct uqm_survey *s,
                  const struct uqm_candidate *c, size_t set, size_t index, struct uqm_err *err)
{
    const struct uqm_dataset *data = &s->sets[set];
    const struct uqm_record *record = &data->records[index];
    const char *prefix = "";
    if (s->perturb & UQM_PERTURB_TEXT)
        prefix = uqm_perturb_prefix(s->env->seed, data->name, record->id, prompt->j);

    char *text = NULL;
    struct uqm_ids ids = { 0 };
    int ret = uqm_question_prompt(&text, data, record, &s->tasks[set], prefix, err);
    if (ret == UQM_OK)
        ret = uqm_tokenizer_encode_prompt(&ids, c->tokenizer, text, err);
    if (ret == UQM_OK) {
        int32_t *kept = uqm_arena_alloc(&p->ids, ids.n, sizeof *kept);
        if (kept)
            memcpy(kept, ids.v, ids.n * sizeof *kept);
        else
            ret = uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for its prompts", data->path);
        prompt->ids = kept;
        prompt->n_ids = ids.n;
    }
    uqm_ids_finish(&ids);
    free(text);
    return ret;
}

static int add_record(struct prompts *p, const struct uqm_survey *s, const struct uqm_candidate *c,
                      size_t set, size_t index, struct uqm_err *err)
{
    const struct uqm_dataset *data = &s->sets[set];
    for (uint32_t j = 0; j < s->n_passes; j++) {
        struct uqm_llm_prompt *prompt = &p->v[p->n];
        *prompt = (struct uqm_llm_prompt){
            .dropout = s->dropout,
            .dataset = data->name,
            .sample = data->records[index].id,
            .j = j,
        };
        if (j > 0 && !(s->perturb & UQM_PERTURB_TEXT)) {
            prompt->ids = prompt[-1].ids;
            prompt->n_ids = prompt[-1].n_ids;
        } else {
            int ret = encode(p, prompt, s, c, set, index, err);
            if (ret < 0)
                return ret;
        }
        p->pass[p->n++] = (s->first_record[set] + index) * s->n_passes + j;
    }
    return UQM_OK;
}

static int make_prompts(struct prompts *p, const struct uqm_runner *runner,
                        const struct uqm_candidate *c, struct uqm_err *err)
{
    const struct uqm_survey *s = runner->survey;
    const size_t n = uqm_survey_n_records(s) * s->n_passes;
    p->v = malloc((n + 1) * sizeof *p->v);
    p->pass = malloc((n + 1) * sizeof *p->pass);
    if (!p->v || !p->pass)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for %zu prompts", n);
    for (size_t k = 0; k < s->n_sets; k++)
        for (size_t i = 0; i < s->sets[k].n_records; i++) {
            if (uqm_features_is_bad(runner->features, s->first_record[k] + i))
                continue;
            int ret = add_record(p, s, c, k, i, err);
            if (ret < 0)
                return ret;
        }
    return UQM_OK;
}

static int give_features(void *ctx, size_t prompt, size_t k, float *dst, struct uqm_err *err)
{
    const struct asking *a = ctx;
    const uint32_t n_passes = a->runner->survey->n_passes;
    const size_t pass = a->prompts->pass[prompt];
    (void) k; /* a record has one picture */
    return uqm_features_read(a->runner->features, dst, pass / n_passes,
                             (uint32_t) (pass % n_passes), err);
}

static int take_logits(void *ctx, size_t prompt, const float *logits, struct uqm_err *err)
{
    const struct asking *a = ctx;
    (void) err;
    memcpy(a->logits + a->prompts->pass[prompt] * UQM_N_OPTIONS, logits,
           UQM_N_OPTIONS * sizeof *logits);
    return UQM_OK;
}

/* What the network may have, once our own records, prompts and logits are set aside. */
static int network_memory(uint64_t *out, const struct uqm_runner *runner, const struct prompts *p,
                          struct uqm_err *err)
{
    const struct uqm_survey *s = runner->survey;
    const uint64_t n = uqm_survey_n_records(s) * s->n_passes;
    const uint64_t ours = RESERVE_BYTES + runner->other_bytes + uqm_survey_bytes(s) +
                          p->ids.used_bytes +
                          n * (sizeof *p->v + sizeof *p->pass + UQM_N_OPTIONS * sizeof(float));
    const uint64_t left = uqm_budget_left(s->env);
    if (ours >= left)
        return uqm_fail(
            err, UQM_ERR_NOMEM,
            "--memory: the questions alone take %.1f MiB of the %.1f MiB that are left; "
            "give more memory",
            (double) ours / 0x1p20, (double) left / 0x1p20);
    *out = left - ours;
    return UQM_OK;
}

static int run_network(struct asking *a, struct uqm_candidate *c, const char *stage,
                       uint64_t memory_bytes, struct uqm_err *err)
{
    struct uqm_network *network = NULL;
    int32_t options[UQM_N_OPTIONS];
    int ret = uqm_tokenizer_option_ids(options, c->tokenizer, err);
    if (ret == UQM_OK)
        ret = uqm_network_create(&network, &a->runner->machine, c->source, &c->config, memory_bytes,
                                 err);
    if (ret < 0)
        return ret;
    const struct uqm_llm_job job = {
        .n_prompts = a->prompts->n,
        .prompts = a->prompts->v,
        .features = give_features,
        .logits = take_logits,
        .ctx = a,
        .tokens = options,
        .n_tokens = UQM_N_OPTIONS,
        .stage = stage,
        .seed = c->env->seed,
    };
    ret = uqm_network_logits(network, &job, err);
    uqm_network_destroy(&network);
    return ret;
}

int uqm_runner_ask(float *logits, struct uqm_runner *runner, struct uqm_candidate *candidate,
                   const char *stage, struct uqm_err *err)
{
    const struct uqm_survey *s = runner->survey;
    const size_t n = uqm_survey_n_records(s) * s->n_passes * UQM_N_OPTIONS;
    struct prompts prompts = { 0 };
    struct asking asking = { .runner = runner, .prompts = &prompts, .logits = logits };
    uint64_t memory;

    for (size_t i = 0; i < n; i++)
        logits[i] = NAN;
    int ret = network_memory(&memory, runner, &prompts, err);
    if (ret == UQM_OK)
        ret = uqm_features_prepare(runner->features, candidate, &runner->machine, memory, err);
    if (ret == UQM_OK)
        ret = make_prompts(&prompts, runner, candidate, err);
    if (ret == UQM_OK)
        ret = network_memory(&memory, runner, &prompts, err);
    if (ret == UQM_OK && prompts.n > 0)
        ret = run_network(&asking, candidate, stage, memory, err);
    prompts_finish(&prompts);
    return ret;
}
