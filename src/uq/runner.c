#include "src/uq/runner.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"
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
    struct uqm_candidate *candidate;
    enum uqm_task_kind kind;
    const char *stage;
    struct prompts prompts;
    float *logits;  /* multiple choice */
    char **answers; /* generation */
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
        prefix = uqm_survey_prefix(s, set, index, prompt->j);

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

static int make_prompts(struct asking *a, struct uqm_err *err)
{
    const struct uqm_survey *s = a->runner->survey;
    struct prompts *p = &a->prompts;
    const size_t n = uqm_survey_n_records(s) * s->n_passes;
    p->v = malloc((n + 1) * sizeof *p->v);
    p->pass = malloc((n + 1) * sizeof *p->pass);
    if (!p->v || !p->pass)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for %zu prompts", n);
    for (size_t k = 0; k < s->n_sets; k++)
        for (size_t i = 0; s->tasks[k].kind == a->kind && i < s->sets[k].n_records; i++) {
            const size_t record = s->first_record[k] + i;
            if ((a->runner->wanted && !a->runner->wanted[record]) ||
                uqm_features_is_bad(a->runner->features, record))
                continue;
            int ret = add_record(p, s, a->candidate, k, i, err);
            if (ret < 0)
                return ret;
        }
    return UQM_OK;
}

/* An answer to a prompt without its end is about something else: said of the first such record. */
static int warn_of_cuts(const struct asking *a, struct uqm_err *err)
{
    const struct uqm_survey *s = a->runner->survey;
    const struct uqm_model_config *config = &a->candidate->config;
    struct uqm_record_where where;
    uint64_t n_cut = 0, longest = 0;
    for (size_t i = 0; i < a->prompts.n; i++) {
        const uint64_t n_rows = uqm_network_prompt_rows(config, &a->prompts.v[i]);
        if (n_rows <= config->max_length)
            continue;
        if (n_cut++ == 0) {
            const size_t record = a->prompts.pass[i] / s->n_passes;
            size_t k = 0;
            while (record >= s->first_record[k + 1])
                k++;
            uqm_record_where(&where, &s->sets[k], &s->sets[k].records[record - s->first_record[k]]);
        }
        longest = uqm_max_u64(longest, n_rows);
    }
    if (n_cut == 0 || atomic_fetch_or(&s->env->said_once, UQM_SAID_CUT) & UQM_SAID_CUT)
        return UQM_OK;
    return uqm_warn(s->env, err,
                    "%s: its prompt is cut off at its end, as %" PRIu64 " of %zu are: %s reads %u "
                    "tokens, the longest has %" PRIu64,
                    where.text, n_cut, a->prompts.n, a->candidate->source->name,
                    (unsigned) config->max_length, longest);
}

static int give_features(void *ctx, size_t prompt, size_t k, float *dst, struct uqm_err *err)
{
    const struct asking *a = ctx;
    const uint32_t n_passes = a->runner->survey->n_passes;
    const size_t pass = a->prompts.pass[prompt];
    return uqm_features_read(a->runner->features, dst, pass / n_passes, k,
                             (uint32_t) (pass % n_passes), err);
}

static int take_logits(void *ctx, size_t prompt, const float *logits, struct uqm_err *err)
{
    const struct asking *a = ctx;
    (void) err;
    memcpy(a->logits + a->prompts.pass[prompt] * UQM_N_OPTIONS, logits,
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

static int ask_letters(struct asking *a, struct uqm_network *network, struct uqm_err *err)
{
    int32_t options[UQM_N_OPTIONS];
    const struct uqm_llm_job job = {
        .n_prompts = a->prompts.n,
        .prompts = a->prompts.v,
        .features = give_features,
        .logits = take_logits,
        .ctx = a,
        .tokens = options,
        .n_tokens = UQM_N_OPTIONS,
        .stage = a->stage,
        .seed = a->candidate->env->seed,
    };
    int ret = uqm_tokenizer_option_ids(options, a->candidate->tokenizer, err);
    return ret < 0 ? ret : uqm_network_logits(network, &job, err);
}

static int take_answer(void *ctx, size_t prompt, const int32_t *ids, size_t n_ids,
                       struct uqm_err *err)
{
    const struct asking *a = ctx;
    char **text = &a->answers[a->prompts.pass[prompt]];
    return uqm_tokenizer_decode(text, a->candidate->tokenizer, ids, n_ids, err);
}

static int ask_words(struct asking *a, struct uqm_network *network, struct uqm_err *err)
{
    const struct uqm_survey *s = a->runner->survey;
    uint32_t *max_tokens = malloc((a->prompts.n + 1) * sizeof *max_tokens);
    if (!max_tokens)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for %zu prompts", a->prompts.n);
    for (size_t i = 0, set = 0; i < a->prompts.n; i++) {
        while (a->prompts.pass[i] >= s->first_record[set + 1])
            set++;
        max_tokens[i] = uqm_survey_new_tokens(s, set);
    }
    const struct uqm_generate_job job = {
        .n_prompts = a->prompts.n,
        .prompts = a->prompts.v,
        .max_tokens = max_tokens,
        .features = give_features,
        .answer = take_answer,
        .ctx = a,
        .stage = a->stage,
        .seed = a->candidate->env->seed,
    };
    int ret = uqm_network_generate(network, &job, err);
    free(max_tokens);
    return ret;
}

static int run_network(struct asking *a, uint64_t memory_bytes, struct uqm_err *err)
{
    struct uqm_candidate *c = a->candidate;
    struct uqm_network *network = NULL;
    int ret = uqm_network_create(&network, &a->runner->machine, c->weights ? c->weights : c->source,
                                 &c->config, memory_bytes, err);
    if (ret < 0)
        return ret;
    ret = a->kind == UQM_TASK_CHOICE ? ask_letters(a, network, err) : ask_words(a, network, err);
    uqm_network_destroy(&network);
    return ret;
}

static int ask(struct asking *a, struct uqm_err *err)
{
    struct uqm_runner *runner = a->runner;
    uint64_t memory;
    int ret = network_memory(&memory, runner, &a->prompts, err);
    if (ret == UQM_OK && !runner->prepared && !runner->machine.plan_only)
        ret = uqm_features_prepare(runner->features, a->candidate, &runner->machine, memory, err);
    if (ret == UQM_OK)
        ret = make_prompts(a, err);
    if (ret == UQM_OK)
        ret = warn_of_cuts(a, err);
    if (ret == UQM_OK)
        ret = network_memory(&memory, runner, &a->prompts, err);
    if (ret == UQM_OK && a->prompts.n > 0)
        ret = run_network(a, memory, err);
    prompts_finish(&a->prompts);
    return ret;
}

int uqm_runner_ask(float *logits, struct uqm_runner *runner, struct uqm_candidate *candidate,
                   const char *stage, struct uqm_err *err)
{
    const struct uqm_survey *s = runner->survey;
    const size_t n = uqm_survey_n_records(s) * s->n_passes * UQM_N_OPTIONS;
    struct asking asking = {
        .runner = runner,
        .candidate = candidate,
        .kind = UQM_TASK_CHOICE,
        .stage = stage,
        .logits = logits,
    };
    for (size_t i = 0; i < n; i++)
        logits[i] = NAN;
    return ask(&asking, err);
}

int uqm_runner_answer(char **answers, struct uqm_runner *runner, struct uqm_candidate *candidate,
                      const char *stage, struct uqm_err *err)
{
    struct asking asking = {
        .runner = runner,
        .candidate = candidate,
        .kind = UQM_TASK_GENERATION,
        .stage = stage,
        .answers = answers,
    };
    assert(runner->survey->n_passes == 1);
    for (size_t i = 0; i < uqm_survey_n_records(runner->survey); i++) {
        free(answers[i]);
        answers[i] = NULL;
    }
    return ask(&asking, err);
}
