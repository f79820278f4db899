#include "compute/kernels.h"

#include <assert.h>
#include <string.h>

#include "compute/merge_kernels.h"
#include "compute/tiers.h"

void uqm_kernels_init(struct uqm_kernels *kernels, uint32_t cpu_flags)
{
    *kernels = UQM_TIER_TABLE(ref);
    kernels->wide = &uqm_wide_ref;
    kernels->merge = &uqm_merge_kernels_ref;
#if defined(UQM_X86_TIERS)
    if (cpu_flags & UQM_CPU_AVX2) {
        *kernels = UQM_TIER_TABLE(avx2);
        kernels->product = &uqm_product_avx2;
        kernels->wide = &uqm_wide_avx2;
        kernels->merge = &uqm_merge_kernels_avx2;
    }
    if (cpu_flags & UQM_CPU_AVX512) {
        *kernels = UQM_TIER_TABLE(avx512);
        kernels->product = &uqm_product_avx512;
        kernels->wide = &uqm_wide_avx512;
        kernels->merge = &uqm_merge_kernels_avx512;
    }
#else
    (void) cpu_flags;
#endif
}

void uqm_widen(const struct uqm_kernels *k, float *dst, const void *src, enum uqm_dtype dtype,
               size_t n_elem)
{
    switch (dtype) {
    case UQM_F16: k->f32_of_f16(dst, src, n_elem); break;
    case UQM_BF16: k->f32_of_bf16(dst, src, n_elem); break;
    case UQM_F32: memcpy(dst, src, n_elem * sizeof *dst); break;
    default: assert(0 && "not a dtype of weights");
    }
}

void uqm_narrow(const struct uqm_kernels *k, void *dst, enum uqm_dtype dtype, const float *src,
                size_t n_elem)
{
    switch (dtype) {
    case UQM_F16: k->f16_of_f32(dst, src, n_elem); break;
    case UQM_BF16: k->bf16_of_f32(dst, src, n_elem); break;
    case UQM_F32: memcpy(dst, src, n_elem * sizeof *src); break;
    default: assert(0 && "not a dtype of weights");
    }
}
