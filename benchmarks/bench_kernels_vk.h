/* bench_kernels.c's Vulkan cases. */
#ifndef UQM_BENCH_KERNELS_VK_H
#define UQM_BENCH_KERNELS_VK_H

#include <stdbool.h>
#include <stddef.h>

struct bench_vk_options {
    const char *device; /* as --device */
    bool products, attention;
    size_t m, n, k; /* m 0: the built-in shapes */
    bool all;       /* every kernel, not the chosen one alone */
    bool fast;      /* products in the mode `fast`, beside the default ones */
    int n_threads, n_rounds;
};
void bench_kernels_vk(const struct bench_vk_options *options);

#endif
