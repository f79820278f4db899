#include "compute/compare.h"

#include "compute/kernels.h"

#define COMPARE_TABLE(t)                                                                           \
    ((struct uqm_compare_kernels){                                                                 \
        .compare_f32 = uqm_compare_f32_##t,                                                        \
        .compare_f16 = uqm_compare_f16_##t,                                                        \
        .compare_bf16 = uqm_compare_bf16_##t,                                                      \
        .sign_f32 = uqm_sign_f32_##t,                                                              \
        .vote_f32 = uqm_vote_f32_##t,                                                              \
        .tally_f32 = uqm_tally_f32_##t,                                                            \
        .largest_half = uqm_largest_half_##t,                                                      \
        .largest_f32 = uqm_largest_f32_##t,                                                        \
    })

void uqm_compare_kernels_init(struct uqm_compare_kernels *kernels, uint32_t cpu_flags)
{
    *kernels = COMPARE_TABLE(ref);
#if defined(UQM_X86_TIERS)
    if (cpu_flags & UQM_CPU_AVX2)
        *kernels = COMPARE_TABLE(avx2);
    if (cpu_flags & UQM_CPU_AVX512)
        *kernels = COMPARE_TABLE(avx512);
#else
    (void) cpu_flags;
#endif
}

void uqm_compare_fold(struct uqm_compared *out, const float d2[UQM_COMPARE_FOLDED],
                      const float x2[UQM_COMPARE_FOLDED], const float max[UQM_COMPARE_FOLDED])
{
    double d[4] = { 0 }, x[4] = { 0 };
    float most[4] = { 0 };
    for (size_t i = 0; i < UQM_COMPARE_FOLDED; i += 4)
        for (size_t j = 0; j < 4; j++) {
            d[j] += (double) d2[i + j];
            x[j] += (double) x2[i + j];
            most[j] = max[i + j] > most[j] ? max[i + j] : most[j];
        }
    most[0] = most[0] > most[1] ? most[0] : most[1];
    most[2] = most[2] > most[3] ? most[2] : most[3];
    *out = (struct uqm_compared){
        .sum_d2 = (d[0] + d[1]) + (d[2] + d[3]),
        .sum_x2 = (x[0] + x[1]) + (x[2] + x[3]),
        .max_abs = (double) (most[0] > most[2] ? most[0] : most[2]),
    };
}
