/*
 * Blocks of weights as ggml stores them (spec formats.md 3): a few bits an element, scales a block.
 * What a block's bytes mean is the format's; which bytes stand for given weights is chosen here so
 * that the squared error is small.
 *
 * All return false, and leave the block as it may be, where an element is not finite or its block
 * would need a scale beyond F16. Results are the same on every machine.
 */
#ifndef UQM_COMPUTE_QUANT_H
#define UQM_COMPUTE_QUANT_H

#include <stdbool.h>
#include <stdint.h>

enum {
    UQM_Q8_0_ELEM = 32,
    UQM_Q8_0_BYTES = 34,
    UQM_QK_ELEM = 256, /* of Q4_K and Q6_K */
    UQM_Q4_K_BYTES = 144,
    UQM_Q6_K_BYTES = 210,
};

/* f16 d, i8 q[32]; x = d q. d = max|x| / 127, q the nearest, halves away from zero: as the format
 * has it, to the bit. */
bool uqm_quant_q8_0(uint8_t block[UQM_Q8_0_BYTES], const float x[UQM_Q8_0_ELEM]);

/*
 * f16 d, dmin, 12 bytes of 6-bit scales and minima, 4 bits an element; x = d sc q - dmin m for each
 * of 8 sub-blocks of 32. Scale and minimum of a sub-block: the best of a row of trial steps, each
 * followed by least squares; then each pair of 6-bit numbers once more among its neighbours.
 */
bool uqm_quant_q4_k(uint8_t block[UQM_Q4_K_BYTES], const float x[UQM_QK_ELEM]);

/* u8 ql[128], qh[64], i8 sc[16], f16 d; x = d sc (q - 32) for each of 16 sub-blocks of 16, q of 6
 * bits. Scales as above. */
bool uqm_quant_q6_k(uint8_t block[UQM_Q6_K_BYTES], const float x[UQM_QK_ELEM]);

#endif
