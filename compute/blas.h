/* OpenBLAS, set up for being called single-threaded from threads of our own. */
#ifndef UQM_COMPUTE_BLAS_H
#define UQM_COMPUTE_BLAS_H

/*
 * Once per process, before the first product; further calls do nothing. No product of another
 * part of the process may be under way in OpenBLAS at the first call.
 *
 * It turns OpenBLAS's own threads off. Releases before 0.3.25 take a CPU newer than themselves
 * for a Prescott and multiply in SSE3, four times slower than they could: where that happened and
 * the user has not named a core type (OPENBLAS_CORETYPE), the right one is chosen.
 */
void uqm_blas_setup(void);

#endif
