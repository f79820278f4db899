/*
 * Tables as MMBench ships them: tab-separated, a header, one record a row, the pictures in the rows
 * as base64. They are not kept: a record says where its picture lies, and it is read when it is
 * looked at.
 *
 * Columns, in any order: index (the id), question, hint, A, B, C, D, answer (a letter), category,
 * image; others are passed over. A field in double quotes may hold tabs, line breaks and doubled
 * quotes. An empty field is none, an empty line no row. An image field of digits alone names the
 * row whose picture it is.
 */
#ifndef UQM_UQ_DATASET_TSV_H
#define UQM_UQ_DATASET_TSV_H

#include <jansson.h>

#include "src/uq/dataset.h"

/* One row: the columns that were there, as texts ("index" as "id"), without the picture. `line`:
 * where it begins, from 1. at, n_bytes: of its picture's base64; 0: none. Nonzero ends the reading.
 */
typedef int (*uqm_tsv_row_fn)(void *ctx, const json_t *row, size_t line, uint64_t at,
                              size_t n_bytes);

/*
 * Read a table, and digest its bytes. most_bytes: of all fields but the pictures. UQM_ERR_FORMAT,
 * "PATH:LINE: WHAT": a row with more or fewer fields than the header, a header without `question`
 * or with a name twice, a field that does not end, a NUL, text that is not UTF-8.
 */
int uqm_tsv_read(const char *path, uint64_t most_bytes, uqm_tsv_row_fn row, void *ctx,
                 struct uqm_xxh3_hex *digest, struct uqm_err *err);
bool uqm_is_tsv_path(const char *path);

/* A picture's bytes, decoded; *data is the caller's to free. UQM_ERR_FORMAT: it is no base64. */
int uqm_tsv_picture(uint8_t **data, size_t *len, const char *path, uint64_t at, size_t n_bytes,
                    struct uqm_err *err);

#endif
