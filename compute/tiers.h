/* The kernels' names: uqm_KERNEL_TIER, each tier having all of them. */
#ifndef UQM_COMPUTE_TIERS_H
#define UQM_COMPUTE_TIERS_H

#include "compute/kernels.h"

#define UQM_DECLARE_TIER(t)                                                                        \
    void uqm_f32_of_f16_##t(float *restrict dst, const uint16_t *restrict src, size_t n_elem);     \
    void uqm_f32_of_bf16_##t(float *restrict dst, const uint16_t *restrict src, size_t n_elem);    \
    void uqm_f16_of_f32_##t(uint16_t *restrict dst, const float *restrict src, size_t n_elem);     \
    void uqm_bf16_of_f32_##t(uint16_t *restrict dst, const float *restrict src, size_t n_elem);    \
    void uqm_fma_f16_##t(float *restrict acc, const uint16_t *restrict src, float w,               \
                         size_t n_elem);                                                           \
    void uqm_fma_bf16_##t(float *restrict acc, const uint16_t *restrict src, float w,              \
                          size_t n_elem);                                                          \
    void uqm_fma_f32_##t(float *restrict acc, const float *restrict src, float w, size_t n_elem);  \
    void uqm_div_f32_##t(float *x, float d, size_t n_elem);                                        \
    void uqm_add_f32_##t(float *restrict y, const float *restrict x, size_t n_elem);               \
    void uqm_silu_mul_f32_##t(float *restrict y, const float *restrict x, size_t n_elem);          \
    void uqm_quick_gelu_f32_##t(float *x, size_t n_elem);                                          \
    void uqm_gelu_f32_##t(float *x, size_t n_elem);                                                \
    void uqm_rmsnorm_f32_##t(float *y, const float *x, const float *w, float eps, size_t n_elem);  \
    void uqm_layernorm_f32_##t(float *y, const float *x, const float *w, const float *b,           \
                               float eps, size_t n_elem);                                          \
    void uqm_rope_f32_##t(float *x, const float *cos, const float *sin, size_t head_dim);          \
    void uqm_softmax_f32_##t(float *x, float scale, size_t n_elem);                                \
    void uqm_dropout_f32_##t(float *x, struct uqm_rng_key key, uint32_t head, uint32_t query,      \
                             uint32_t threshold, float scale, size_t n_elem);                      \
    float uqm_dot_f32_##t(const float *a, const float *b, size_t n_elem);                          \
    float uqm_dot_f16_##t(const uint16_t *a, const float *b, size_t n_elem);                       \
    void uqm_dots_f32_##t(const struct uqm_dots *d);                                               \
    void uqm_dots_f16_##t(const struct uqm_dots *d);                                               \
    void uqm_dots_bf16_##t(const struct uqm_dots *d)

#define UQM_TIER_TABLE(t)                                                                          \
    ((struct uqm_kernels){                                                                         \
        .tier = #t,                                                                                \
        .f32_of_f16 = uqm_f32_of_f16_##t,                                                          \
        .f32_of_bf16 = uqm_f32_of_bf16_##t,                                                        \
        .f16_of_f32 = uqm_f16_of_f32_##t,                                                          \
        .bf16_of_f32 = uqm_bf16_of_f32_##t,                                                        \
        .fma_f16 = uqm_fma_f16_##t,                                                                \
        .fma_bf16 = uqm_fma_bf16_##t,                                                              \
        .fma_f32 = uqm_fma_f32_##t,                                                                \
        .div_f32 = uqm_div_f32_##t,                                                                \
        .add_f32 = uqm_add_f32_##t,                                                                \
        .silu_mul_f32 = uqm_silu_mul_f32_##t,                                                      \
        .quick_gelu_f32 = uqm_quick_gelu_f32_##t,                                                  \
        .gelu_f32 = uqm_gelu_f32_##t,                                                              \
        .rmsnorm_f32 = uqm_rmsnorm_f32_##t,                                                        \
        .layernorm_f32 = uqm_layernorm_f32_##t,                                                    \
        .rope_f32 = uqm_rope_f32_##t,                                                              \
        .softmax_f32 = uqm_softmax_f32_##t,                                                        \
        .dropout_f32 = uqm_dropout_f32_##t,                                                        \
        .dot_f32 = uqm_dot_f32_##t,                                                                \
        .dot_f16 = uqm_dot_f16_##t,                                                                \
        .dots_f32 = uqm_dots_f32_##t,                                                              \
        .dots_f16 = uqm_dots_f16_##t,                                                              \
        .dots_bf16 = uqm_dots_bf16_##t,                                                            \
    })

UQM_DECLARE_TIER(ref);
UQM_DECLARE_TIER(avx2);
UQM_DECLARE_TIER(avx512);

extern const struct uqm_product_kernel uqm_product_avx2, uqm_product_avx512;

#endif
