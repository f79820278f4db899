/*
 * A world that goes wrong on purpose, between the program and the system: linked in the place of
 * the calls below (-Wl,--wrap, meson.build beside this), in the program's own objects alone.
 *
 * Operations are counted while a plan is set. All of them are done one at a time.
 */
#ifndef UQM_TESTS_WORLD_H
#define UQM_TESTS_WORLD_H

#include <stdbool.h>
#include <stddef.h>

enum world_count {
    WORLD_IO,     /* every call on files and folders; transfers count, each of them */
    WORLD_SYNCS,  /* fsync alone */
    WORLD_ALLOCS, /* of memory, of threads, of hash contexts */
};

enum world_fault {
    WORLD_NONE,  /* only count */
    WORLD_FAIL,  /* with sys_errno; an allocation: NULL */
    WORLD_SHORT, /* a transfer moves half of what it should; other calls are left alone */
    WORLD_CUT,   /* the power goes: see below */
};

/* What becomes of what was not synced, when the power goes. */
enum world_loss { WORLD_KEEP, WORLD_DROP, WORLD_GARBLE, WORLD_MIX };

struct world_plan {
    enum world_count count;
    enum world_fault fault;
    long at;       /* the operation it happens at, from 0 */
    int sys_errno; /* of WORLD_FAIL */
    enum world_loss loss;
    unsigned seed; /* of WORLD_MIX */
    bool after;    /* the cut comes when the sync is done, not before it; WORLD_SYNCS alone */
};

/* NULL: the world is as it should be again; what was counted stays. */
void world_set(const struct world_plan *plan);
/* Operations under the last plan, and whether its fault came to pass. */
long world_count(void);
bool world_has_struck(void);
/* The call that an operation on files failed in. */
const char *world_struck_in(void);
/* What a sync failed of. */
const char *world_struck_path(void);

/*
 * A cut: every write, every change of size, every new name that no sync has made sure of is kept,
 * undone or, writes alone, replaced by rubbish; then the process ends with this status. A file's
 * sync is of its bytes and size, a folder's of the names in it. Removals are never undone. For a
 * child process that begins with world_set() and does all its writing after it, unmapped and
 * through the page cache.
 */
enum { WORLD_CUT_STATUS = 77 };

#endif
