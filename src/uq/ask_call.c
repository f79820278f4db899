/* uqm_ask(): one greedy answer. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"
#include "src/model/image.h"
#include "src/model/network.h"
#include "src/model/preprocess.h"
#include "src/uq/call.h"
#include "src/uq/question.h"

enum { N_TOP = 10 };

struct ask {
    struct uqm_env env;
    struct uqm_machine machine;
    const struct uqm_ask_params *params;
    struct uqm_candidate candidate;
    struct uqm_network *network;
    struct uqm_ids prompt;
    uint64_t n_rows;      /* of the prompt, as the network reads it */
    float *features;      /* of the pictures; NULL without one */
    size_t picture_bytes; /* of one picture's features */
    int32_t *ids;         /* the answer */
    size_t n_ids;
    float *first_logits; /* (vocab_size) */
};

static int fill_pixels(void *ctx, size_t image, float *dst, struct uqm_err *err)
{
    const struct ask *a = ctx;
    /* Within the eighth that the network leaves: a file and the picture itself. */
    const uint64_t max_pixels = a->env.budget.limit_bytes / 8 / 8;
    struct uqm_image picture = { 0 };
    int ret = uqm_image_load(&picture, a->params->images.v[image], max_pixels, err);
    if (ret == UQM_OK)
        ret = uqm_preprocess(dst, &picture, &a->candidate.config.preprocess, err);
    uqm_image_finish(&picture);
    return ret;
}

static char *features_of(const struct ask *a, size_t image)
{
    return (char *) a->features + image * a->picture_bytes;
}

static int take_features(void *ctx, size_t image, const float *features, struct uqm_err *err)
{
    const struct ask *a = ctx;
    (void) err;
    memcpy(features_of(a, image), features, a->picture_bytes);
    return UQM_OK;
}

static int give_features(void *ctx, size_t prompt, size_t k, float *dst, struct uqm_err *err)
{
    const struct ask *a = ctx;
    (void) prompt;
    (void) err;
    memcpy(dst, features_of(a, k), a->picture_bytes);
    return UQM_OK;
}

static int look(struct ask *a, struct uqm_err *err)
{
    const size_t n = a->params->images.n;
    if (n == 0)
        return UQM_OK;
    const struct uqm_vision_job job = {
        .n_images = n,
        .pixels = fill_pixels,
        .store = take_features,
        .ctx = a,
        .stage = n == 1 ? "looking at the picture" : "looking at the pictures",
    };
    void *block;
    int ret =
        uqm_budget_alloc(&block, &a->env, n * a->picture_bytes, 64, "the pictures' features", err);
    if (ret < 0)
        return ret;
    a->features = block;
    return uqm_network_vision(a->network, &job, err);
}

/* The user's text may say itself where pictures stand. */
static int make_prompt(struct ask *a, struct uqm_err *err)
{
    const struct uqm_ask_params *p = a->params;
    const size_t marks = uqm_question_marks(p->prompt), pictures = p->images.n;
    if (marks > pictures)
        return uqm_fail(err, UQM_ERR_USAGE, "--prompt: %zu <image> marks for %zu picture%s", marks,
                        pictures, pictures == 1 ? "" : "s");
    char *text = uqm_prompt_vicuna("", p->system, pictures - marks, p->prompt);
    if (!text)
        return uqm_fail(err, UQM_ERR_NOMEM, "--prompt: no memory");
    int ret = uqm_tokenizer_encode_prompt(&a->prompt, a->candidate.tokenizer, text, err);
    free(text);
    if (ret < 0)
        return ret;
    const struct uqm_llm_prompt prompt = { .ids = a->prompt.v, .n_ids = a->prompt.n };
    const uint64_t n_rows = uqm_network_prompt_rows(&a->candidate.config, &prompt);
    a->n_rows = uqm_min_u64(n_rows, a->candidate.config.max_length);
    if (a->n_rows == n_rows)
        return UQM_OK;
    return uqm_warn(&a->env, err,
                    "--prompt: of its %" PRIu64 " tokens %s reads the first %" PRIu64
                    "; the end is cut off, and with it what asks for an answer",
                    n_rows, p->model, a->n_rows);
}

static int open_model(struct ask *a, struct uqm_err *err)
{
    const struct uqm_ask_params *p = a->params;
    const struct uqm_open_params open = { .vision_tower = p->vision_tower,
                                          .need_vision = p->images.n > 0 };
    int ret = uqm_machine_init(&a->machine, &a->env, p->common.device, NULL, err);
    if (ret == UQM_OK && p->fast)
        ret = uqm_machine_make_fast(&a->machine, err);
    if (ret == UQM_OK)
        ret = uqm_candidate_open(&a->candidate, &a->env, p->model, &open, err);
    if (ret < 0)
        return ret;
    /* An eighth for a picture and its features, a sixteenth for the rest. */
    const struct uqm_model_config *c = &a->candidate.config;
    const uint64_t left = uqm_budget_left(&a->env);
    a->picture_bytes = uqm_network_feature_rows(c) * c->vision.hidden * sizeof *a->features;
    const uint64_t more = p->images.n > 1 ? (p->images.n - 1) * a->picture_bytes : 0;
    if (more > left / 2)
        return uqm_fail(err, UQM_ERR_NOMEM,
                        "--memory: the features of %zu pictures take %zu bytes each, %" PRIu64
                        " are left in all; give more memory",
                        p->images.n, a->picture_bytes, left);
    return uqm_network_create(&a->network, &a->machine, a->candidate.source, c,
                              left - left / 8 - left / 16 - more, err);
}

static int take_answer(void *ctx, size_t prompt, const int32_t *ids, size_t n_ids,
                       struct uqm_err *err)
{
    struct ask *a = ctx;
    (void) prompt;
    (void) err;
    memcpy(a->ids, ids, n_ids * sizeof *ids);
    a->n_ids = n_ids;
    return UQM_OK;
}

static int take_first_logits(void *ctx, size_t prompt, const float *logits, struct uqm_err *err)
{
    struct ask *a = ctx;
    (void) prompt;
    (void) err;
    memcpy(a->first_logits, logits, a->candidate.config.text.vocab_size * sizeof *logits);
    return UQM_OK;
}

static int generate(struct ask *a, struct uqm_err *err)
{
    const uint32_t max_tokens = a->params->max_tokens ? (uint32_t) a->params->max_tokens : 64;
    const struct uqm_llm_prompt prompt = { .ids = a->prompt.v, .n_ids = a->prompt.n };
    const struct uqm_generate_job job = {
        .n_prompts = 1,
        .prompts = &prompt,
        .max_tokens = &max_tokens,
        .features = give_features,
        .answer = take_answer,
        .first_logits = take_first_logits,
        .ctx = a,
        .stage = "answering",
        .seed = a->env.seed,
    };
    a->ids = calloc(max_tokens, sizeof *a->ids);
    a->first_logits = calloc(a->candidate.config.text.vocab_size, sizeof *a->first_logits);
    if (!a->ids || !a->first_logits)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for %u tokens", (unsigned) max_tokens);
    int ret = uqm_network_generate(a->network, &job, err);
    return ret < 0 ? ret : uqm_opened_check_unchanged(a->candidate.source, err);
}

/* The largest logits among the tokens that can be said, largest first, lowest id on ties. */
static json_t *top_json(const struct ask *a)
{
    const struct uqm_model_config *c = &a->candidate.config;
    uint32_t best[N_TOP], n = 0;
    for (uint32_t id = 0; id < c->text.vocab_size; id++) {
        if (!uqm_model_config_says(c, id))
            continue;
        uint32_t at = n < N_TOP ? n++ : N_TOP;
        for (; at > 0 && a->first_logits[id] > a->first_logits[best[at - 1]]; at--)
            if (at < N_TOP)
                best[at] = best[at - 1];
        if (at < N_TOP)
            best[at] = id;
    }
    json_t *top = json_array();
    for (uint32_t i = 0; top && i < n; i++)
        json_array_append_new(
            top, json_pack("{s:s, s:I, s:o}", "token",
                           uqm_tokenizer_piece(a->candidate.tokenizer, (int32_t) best[i]), "id",
                           (json_int_t) best[i], "logit",
                           uqm_measure_number((double) a->first_logits[best[i]])));
    return top;
}

static int plan(char **json, struct ask *a, struct uqm_err *err)
{
    a->machine.plan_only = true;
    int ret = generate(a, err);
    return ret < 0 ? ret
                   : uqm_call_result(json,
                                     json_pack("{s:b, s:I}", "dry_run", 1, "prompt_tokens",
                                               (json_int_t) a->n_rows),
                                     err);
}

static int result(char **json, const struct ask *a, double seconds, struct uqm_err *err)
{
    char *answer = NULL;
    int ret = uqm_tokenizer_decode(&answer, a->candidate.tokenizer, a->ids, a->n_ids, err);
    if (ret < 0)
        return ret;
    json_t *root = json_pack("{s:s, s:I, s:I, s:b, s:f}", "answer", answer, "tokens",
                             (json_int_t) a->n_ids, "prompt_tokens", (json_int_t) a->n_rows, "fast",
                             a->params->fast, "seconds", seconds);
    if (root && a->params->logits)
        json_object_set_new(root, "top", top_json(a));
    free(answer);
    return uqm_call_result(json, root, err);
}

static void ask_finish(struct ask *a)
{
    free(a->first_logits);
    free(a->ids);
    uqm_ids_finish(&a->prompt);
    void *block = a->features;
    uqm_budget_free(&block, &a->env, a->params->images.n * a->picture_bytes);
    uqm_network_destroy(&a->network);
    uqm_candidate_close(&a->candidate);
    uqm_machine_finish(&a->machine);
}

int uqm_ask(char **json, const struct uqm_ask_params *params, struct uqm_err *err)
{
    const double start = uqm_call_now();
    struct ask a = { .params = params };

    *json = NULL;
    if (!params->model || !params->prompt)
        return uqm_fail(err, UQM_ERR_USAGE, "ask: give a model and --prompt TEXT");
    if (params->max_tokens < 0 || params->max_tokens > UQM_MOST_TOKENS)
        return uqm_fail(err, UQM_ERR_USAGE, "--max-tokens %d: give a number from 1 to %d",
                        params->max_tokens, UQM_MOST_TOKENS);
    if (params->images.n > UQM_MAX_IMAGES)
        return uqm_fail(err, UQM_ERR_USAGE, "--image: %zu pictures; at most %d go with a prompt",
                        params->images.n, (int) UQM_MAX_IMAGES);
    int ret = uqm_env_init(&a.env, &params->common, err);
    if (ret < 0)
        return ret;
    ret = open_model(&a, err);
    if (ret == UQM_OK)
        ret = make_prompt(&a, err);
    if (ret == UQM_OK && params->dry_run)
        ret = plan(json, &a, err);
    else if (ret == UQM_OK && (ret = look(&a, err)) == UQM_OK &&
             (ret = generate(&a, err)) == UQM_OK)
        ret = result(json, &a, uqm_call_now() - start, err);
    ask_finish(&a);
    return ret;
}
