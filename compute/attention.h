/* Attention of packed prompts: every prompt by itself, heads and query blocks in parallel. */
#ifndef UQM_COMPUTE_ATTENTION_H
#define UQM_COMPUTE_ATTENTION_H

#include "compute/kernels.h"
#include "compute/threads.h"
#include "src/base/env.h"

/*
 * One prompt: out[t, h*d..] = sum_j P[t, j] v[j, kv(h)*d..], P = softmax(q k^T * scale), causal or
 * full, kv(h) = h / (n_heads / n_kv_heads). Rows are tokens; a row of q and out holds n_heads * d
 * floats, one of k and v n_kv_heads * d, with the strides given.
 */
struct uqm_attention {
    const float *q, *k, *v;
    const uint16_t *k_half, *v_half; /* F16 in k's and v's place, for few queries; else NULL */
    float *out;
    size_t ldq, ldk, ldv, ldo;
    size_t n_q, n_kv; /* causal: query i stands at position n_kv - n_q + i */
    size_t n_heads, n_kv_heads, head_dim;
    float scale;
    bool causal;
    bool dropout; /* on normalised probabilities: dropped to 0, else times keep_scale */
    uint32_t drop_threshold;
    float keep_scale;
    struct uqm_rng_key drop_key;
};

struct uqm_attention_scratch;
int uqm_attention_scratch_create(struct uqm_attention_scratch **out, struct uqm_env *env,
                                 struct uqm_threads *threads, size_t max_kv, struct uqm_err *err);
void uqm_attention_scratch_destroy(struct uqm_attention_scratch **scratch);
uint64_t uqm_attention_memory(size_t max_kv, int n_threads);

/* All prompts of a batch. Results do not depend on the batch or the number of threads. */
void uqm_attention_run(struct uqm_attention_scratch *scratch, const struct uqm_kernels *kernels,
                       const struct uqm_attention *prompts, size_t n_prompts);

#endif
