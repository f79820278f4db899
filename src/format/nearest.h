/* "Did you mean": the nearest of the right names to a wrong one. */
#ifndef UQM_FORMAT_NEAREST_H
#define UQM_FORMAT_NEAREST_H

#include <stddef.h>

/* By letters inserted, dropped, changed or swapped with a neighbour, case aside; NULL when more
 * than a third of the word would have to change. The first of equals. */
const char *uqm_nearest(const char *word, const char *const *names, size_t n);

#endif
