/*
 * Which elements are kept by draws whose chances rise with the rank of a magnitude in its row
 * (spec merge.md 2, della_magprune); for sparsify.c.
 */
#ifndef UQM_MERGE_ROW_DRAWS_H
#define UQM_MERGE_ROW_DRAWS_H

#include "src/merge/method_ops.h"

/* Scratch, 64-byte aligned. */
size_t uqm_row_draw_bytes(const struct uqm_job *job);
/* As uqm_sparse_draw(). */
void uqm_row_draw(uint8_t *keep, const struct uqm_job *job, const struct uqm_span *span,
                  size_t input, const uint32_t *keys, void *scratch);

#endif
