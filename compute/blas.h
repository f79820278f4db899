/* OpenBLAS, set up for being called single-threaded from threads of our own. */
#ifndef UQM_COMPUTE_BLAS_H
#define UQM_COMPUTE_BLAS_H

/*
 * Once per process, before the first product; further calls do nothing. No product of another
 * part of the process may be under way in OpenBLAS at the first call.
 *
 * Turns OpenBLAS's own threads off, and chooses its kernels anew where its own choice will not do,
 * unless the user has made one (OPENBLAS_CORETYPE):
 *   - Releases before 0.3.25 take a CPU newer than themselves for a Prescott and multiply in SSE3,
 *     four times slower than they could.
 *   - The kernels for Haswell, Zen and the other AVX2 CPUs give a row of the left matrix a result
 *     that depends on where it stands. Batches must not show in the results, so those CPUs get
 *     Sandybridge's kernels, which do not (tests/kernels/test_gemm.c), at half the speed.
 */
void uqm_blas_setup(void);

/* What multiplies, as OpenBLAS calls it: "SkylakeX". For reports; after the setup. */
const char *uqm_blas_core(void);

#endif
