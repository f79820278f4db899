/* Between io/journal.c and io/publish.c: the kind of record that only the latter writes. */
#ifndef UQM_IO_JOURNAL_IMPL_H
#define UQM_IO_JOURNAL_IMPL_H

#include "io/journal.h"

/* Payload: u64 inode of what is about to get its name. */
enum { UQM_RECORD_PUBLISH = 0 };

/* The last record of that kind among all that was found at opening; false: none. */
bool uqm_journal_find_publish(const struct uqm_journal *journal, uint64_t *inode);
int uqm_journal_append_publish(struct uqm_journal *journal, uint64_t inode, struct uqm_err *err);

#endif
