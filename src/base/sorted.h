/* Looking up in lists that are sorted by a name, bytewise. */
#ifndef UQM_BASE_SORTED_H
#define UQM_BASE_SORTED_H

#include <stddef.h>
#include <string.h>

/* Which of n items of item_bytes each has this name, a const char * at name_off of the item; -1:
 * none. */
static inline long uqm_find_name(const void *items, size_t n, size_t item_bytes, size_t name_off,
                                 const char *name)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const char *it;
        memcpy(&it, (const char *) items + mid * item_bytes + name_off, sizeof it);
        int c = strcmp(it, name);
        if (c == 0)
            return (long) mid;
        if (c < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return -1;
}

#endif
