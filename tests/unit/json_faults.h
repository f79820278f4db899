/* Jansson's n-th allocation fails. */
#ifndef UQM_TESTS_JSON_FAULTS_H
#define UQM_TESTS_JSON_FAULTS_H

#include <jansson.h>
#include <stdlib.h>

static long json_allocs_left = -1; /* until one fails; negative: none will */

static inline void *json_malloc_or_fail(size_t n)
{
    if (json_allocs_left >= 0 && json_allocs_left-- == 0)
        return NULL;
    return malloc(n);
}

/* From here on the n-th (from 0) of jansson's allocations fails, once. */
static inline void json_fail_at(long n)
{
    json_allocs_left = n;
    json_set_alloc_funcs(json_malloc_or_fail, free);
}

/* All is well again; returns whether one failed. */
static inline bool json_has_failed(void)
{
    const bool failed = json_allocs_left < 0;
    json_set_alloc_funcs(malloc, free);
    return failed;
}

#endif
