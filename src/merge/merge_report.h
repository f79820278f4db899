/*
 * What a merge did to each tensor, gathered tile by tile while it streams (docs/formats/report.md):
 * how far each input lies from the result, whether the task vectors' signs agree, where elements
 * are no numbers. Sums run over blocks of the output and are folded in the order of the elements:
 * the numbers do not depend on tiles, threads or the CPU.
 */
#ifndef UQM_MERGE_MERGE_REPORT_H
#define UQM_MERGE_MERGE_REPORT_H

#include <jansson.h>

#include "compute/threads.h"
#include "src/merge/plan.h"

#define UQM_REPORT_NAME "uqmerge.report.json"

struct uqm_merge_report;

/* Memory that create() takes of the budget, for tiles of this size. */
uint64_t uqm_merge_report_memory(const struct uqm_recipe_source *rs, size_t tile_bytes,
                                 size_t n_threads);
/*
 * Listens to the source's merged runs until it is destroyed. They come in the order of their
 * tensor's elements, none left out, cut anywhere. threads may be NULL.
 */
int uqm_merge_report_create(struct uqm_merge_report **out, struct uqm_recipe_source *rs,
                            struct uqm_threads *threads, size_t tile_bytes,
                            enum uqm_report_kind kind, struct uqm_err *err);
/*
 * UQM_ERR_FORMAT when a tile so far held a NaN that no input has at that element: the message names
 * tensor and element. To be asked after every tile, unless such NaNs are allowed.
 */
int uqm_merge_report_check(const struct uqm_merge_report *report, struct uqm_err *err);
/* The document, and of it what `merge --json` shows: everything but the tensors. New references;
 * NULL: no memory. UQM_REPORT_OFF has no document, and null
 * for a summary. */
json_t *uqm_merge_report_document(const struct uqm_merge_report *report);
json_t *uqm_merge_report_summary(const struct uqm_merge_report *report);
/* What was gathered of a tensor, to be kept for a later run, or to be filled in by it before the
 * tensor's elements come, if they do: *n sums, none where nothing is gathered. */
struct uqm_report_sums;
struct uqm_report_sums *uqm_merge_report_sums(struct uqm_merge_report *report, size_t tensor,
                                              size_t *n);
/* All sums are zero again. */
void uqm_merge_report_forget(struct uqm_merge_report *report);
void uqm_merge_report_destroy(struct uqm_merge_report **report);

#endif
