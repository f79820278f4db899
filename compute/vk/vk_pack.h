/* Weights as the shaders want them (shaders/weights.glsl): panels of 8 rows, blocks of 8 columns.
 */
#ifndef UQM_COMPUTE_VK_VK_PACK_H
#define UQM_COMPUTE_VK_VK_PACK_H

#include <stdint.h>

#include "compute/threads.h"
#include "src/base/dtype.h"

enum { UQM_VK_PANEL = 8 };

/* Bytes of W (n, k), packed; k >= 1. */
uint64_t uqm_vk_packed_bytes(enum uqm_dtype dtype, uint64_t n, uint64_t k);

/* dst = W (n, k) packed, zeros past n and k. Writes every byte once, those of a thread's share
 * front to back, and reads none: dst may be write-combined. 16-byte aligned. threads may be NULL.
 */
void uqm_vk_pack(void *dst, const void *w, enum uqm_dtype dtype, uint64_t n, uint64_t k,
                 struct uqm_threads *threads);

#endif
