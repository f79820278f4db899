/*
 * Random numbers by counter: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers:
 * as easy as 1, 2, 3"). A stream is a 64-bit key made from the user's seed and what the
 * numbers are for; any number of a stream can be had without those before it. So nothing
 * depends on batching, threads, or which samples are asked.
 */
#ifndef UQM_BASE_RNG_H
#define UQM_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

struct uqm_rng_key {
    uint32_t k[2];
};

/* out = Philox4x32-10(counter, key). */
void uqm_philox4x32(uint32_t out[4], const uint32_t counter[4], struct uqm_rng_key key);

enum uqm_rng_purpose {
    UQM_RNG_IMAGE = 1,
    UQM_RNG_TEXT = 2,
    UQM_RNG_DROPOUT = 3,
    UQM_RNG_SAMPLE = 4,
    UQM_RNG_GUESS = 5,
    UQM_RNG_MERGE = 6 /* dataset: the output tensor, j: the input */
};

/*
 * The stream of one perturbed pass: XXH3-64, seeded with the user's seed, over
 *     purpose u32, j u32, layer u32, XXH3-64(dataset), XXH3-64(sample)
 * (layer: of dropout; of images the picture's number in its record, from 0; else 0)
 * little-endian. Never the model or the step: all models see the same perturbations
 * (common random numbers, spec 1.2).
 */
struct uqm_rng_key uqm_rng_stream(uint64_t seed, enum uqm_rng_purpose purpose, const char *dataset,
                                  const char *sample, uint32_t j, uint32_t layer);

/* One stream read front to back: words 0..3 of counter 0, then of counter 1, ... */
struct uqm_rng {
    struct uqm_rng_key key;
    uint64_t n_drawn;
    uint32_t block[4];
};
void uqm_rng_init(struct uqm_rng *rng, struct uqm_rng_key key);
uint32_t uqm_rng_u32(struct uqm_rng *rng);
/* Uniform in [0, n), without bias (redraws); n > 0. */
uint32_t uqm_rng_below(struct uqm_rng *rng, uint32_t n);
/* Uniform in [0, 1), 24 bits of one word. */
double uqm_rng_unit(struct uqm_rng *rng);
/* Exponential with mean 1: -log(u), u uniform in (0, 1]. */
double uqm_rng_exponential(struct uqm_rng *rng);

#endif
