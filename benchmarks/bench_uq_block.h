/*
 * Weights that are made up, F16, in one block of memory that tensors may share, so that no disk
 * takes part.
 */
#ifndef UQM_BENCH_UQ_BLOCK_H
#define UQM_BENCH_UQ_BLOCK_H

#include "benchmarks/bench_uq.h"

enum { N_TENSORS = 128, LAYER_ELEM = 4 * 4096 * 4096 + 3 * 4096 * 11008 };

struct block_source {
    struct uqm_source source;
    struct uqm_tensor own[N_TENSORS];
    char names[N_TENSORS][96];
    uint64_t shapes[N_TENSORS][2];
    size_t n_elem; /* of the block; tensors begin anew at its start when they come to its end */
    uint16_t *block;
};

/* A LLaMA of 7B shapes without a tower. */
struct uqm_model_config config_7b(uint32_t n_layers, uint32_t vocab_size);
/* Its weights, in a block of n_elem. */
struct block_source *make_layers(struct uqm_env *env, const struct uqm_text_config *c,
                                 size_t n_elem);
void free_block(struct block_source *b);

#endif
