/*
 * Synthetic models to merge: a base of normally distributed weights, deviation 0.02, and models
 * that differ from it by normal noise of 3e-4, as fine-tuned ones do: thresholds, ranks and equal
 * magnitudes fall as they do in earnest.
 */
#ifndef UQM_BENCH_MERGE_MODELS_H
#define UQM_BENCH_MERGE_MODELS_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/dtype.h"
#include "src/base/err.h"

struct merge_models {
    const char *dir;      /* a model is dir/base, dir/model-1, ... */
    int n_models;         /* beside the base */
    size_t n_tensors;     /* in every one, of ... */
    size_t tensor_bytes;  /* a multiple of 1 MiB */
    enum uqm_dtype dtype; /* F32, F16 or BF16 */
    uint64_t file_bytes;  /* out: of one model's file ... */
    uint64_t n_elem;      /* ... which holds so many elements */
};

int merge_models_make(struct merge_models *models, struct uqm_err *err);
/* The weights of a model, 0 the base. */
void merge_models_path(char *path, size_t cap, const struct merge_models *models, int model);

#endif
