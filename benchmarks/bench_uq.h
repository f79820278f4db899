/* What the cases of bench_uq share. */
#ifndef UQM_BENCH_UQ_H
#define UQM_BENCH_UQ_H

#include "benchmarks/bench.h"
#include "src/checkpoint/checkpoint.h"
#include "src/model/network.h"
#include "src/model/pass_plan.h"
#include "src/model/tokenizer.h"

struct setup {
    struct uqm_env env;
    struct uqm_machine machine;
    uint64_t memory;
    int n_rounds;
};

/* End the program on an error, or without memory. */
void check(int ret, const struct uqm_err *err);
void *checked(void *p);

/* Arithmetic that is asked for: the products and attention's two, of the rows that matter. */
double layer_flop(const struct uqm_text_config *c, double tokens);
/* Of all layers, the last one's K and V of all tokens and no more of it. */
double prompt_flop(const struct uqm_text_config *c, double tokens);

/* n prompts of so many tokens each: words all over the vocabulary, one picture in the middle where
 * there is a tower and room for it. */
struct questions {
    const struct uqm_model_config *config;
    int32_t *ids;
    struct uqm_llm_prompt *prompts;
    size_t n;
    double tokens;         /* of one, the picture's rows included */
    bool whole_vocabulary; /* ask for all logits, not for those of six letters */
};
void make_questions(struct questions *q, const struct uqm_model_config *config, size_t n,
                    size_t tokens, double dropout);
void free_questions(struct questions *q);
int give_features(void *ctx, size_t prompt, size_t k, float *dst, struct uqm_err *err);

/* Wall and CPU seconds of one round. */
struct spent {
    double wall, cpu;
};
/* First-token logits of all of them; wish: NULL, or how. */
struct spent time_logits(struct uqm_network *network, struct questions *q,
                         const struct uqm_plan_wish *wish);

void read_config(struct uqm_model_config *config, const struct uqm_checkpoint *cp);

/* ---- the 7B shapes (bench_uq_prefill.c, bench_uq_7b.c) ---- */

/* One layer beside sgemm on the same products. */
void bench_layer(struct setup *s, size_t tokens);
/* A prompt through so many layers, from its tokens to all logits, beside sgemm on its products. */
void bench_prefill(struct setup *s, uint32_t n_layers, size_t tokens);
/* A pass over a checkpoint's layers beside its computing and its reading alone. plan: "tiles",
 * "layers", or NULL for both. */
void bench_streaming(struct setup *s, const char *path, const char *plan, size_t n_prompts,
                     size_t tokens);
/* A token for each of n prompts, the weights in memory, beside reading that memory. */
void bench_decoding(struct setup *s, size_t n_prompts);

#endif
