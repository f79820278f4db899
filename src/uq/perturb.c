#include "src/uq/perturb.h"

#include <assert.h>

#include "src/base/rng.h"

static const char *const prompts[UQM_N_PERTURB_PROMPTS] = {
    "you are a helpful assistant",
    "you are a question-answering assistant",
    "you are a nice assistant",
    "You are a helpful assistant",
    "You are a question-answering assistant",
    "You are a nice assistant",
    "You are a helpful assistant.",
    "You are a question-answering assistant.",
    "You are a nice assistant.",
};

const char *uqm_perturb_prompt(uint32_t index)
{
    assert(index < UQM_N_PERTURB_PROMPTS);
    return prompts[index];
}

const char *uqm_perturb_prefix(uint64_t seed, const char *dataset, const char *sample, uint32_t j)
{
    struct uqm_rng rng;
    uqm_rng_init(&rng, uqm_rng_stream(seed, UQM_RNG_TEXT, dataset, sample, j, 0));
    return prompts[uqm_rng_below(&rng, UQM_N_PERTURB_PROMPTS)];
}
