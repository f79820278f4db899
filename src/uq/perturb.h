/* The text perturbation: one of nine prompts, put straight in front of the conversation (spec 1.4).
 */
#ifndef UQM_UQ_PERTURB_H
#define UQM_UQ_PERTURB_H

#include <stdint.h>

enum { UQM_N_PERTURB_PROMPTS = 9 };

/* index < UQM_N_PERTURB_PROMPTS; static. */
const char *uqm_perturb_prompt(uint32_t index);

/* The prompt of pass j of a sample: uniform, a function of seed, dataset, sample and j alone. */
const char *uqm_perturb_prefix(uint64_t seed, const char *dataset, const char *sample, uint32_t j);

#endif
