/* The shaders of shaders/, compiled with the program and embedded in it, by name. */
#ifndef UQM_COMPUTE_VK_SHADER_TABLE_H
#define UQM_COMPUTE_VK_SHADER_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct uqm_vk_shader {
    const char *name;     /* "gemm_f16" */
    const uint32_t *code; /* SPIR-V */
    size_t n_bytes;
};
extern const struct uqm_vk_shader uqm_vk_shaders[];
extern const size_t uqm_vk_n_shaders;

#endif
