/*
 * Checksums of parts of a file, checked in passing: whoever streams a record of the file from its
 * begin to its end has its CRC-32 compared there. A record read in part, or out of order, is not
 * checked.
 */
#ifndef UQM_IO_RECORD_CHECK_H
#define UQM_IO_RECORD_CHECK_H

#include "src/base/err.h"

struct uqm_record_check;

/* Room for n_records, which do not overlap. */
int uqm_record_check_create(struct uqm_record_check **out, size_t n_records, struct uqm_err *err);
/* At most n_records of them, in any order. The name is copied. */
int uqm_record_check_add(struct uqm_record_check *check, const char *name, uint64_t begin,
                         uint64_t n_bytes, uint32_t crc, struct uqm_err *err);
/*
 * len bytes of the file were read at off_bytes. UQM_ERR_FORMAT names file and record where they
 * complete one whose checksum is another. Thread-safety: safe.
 */
int uqm_record_check_feed(struct uqm_record_check *check, const char *file_name, const void *bytes,
                          size_t len, uint64_t off_bytes, struct uqm_err *err);
/* Takes NULL. */
void uqm_record_check_destroy(struct uqm_record_check **check);

#endif
