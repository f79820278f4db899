/*
 * An engine for tests: does what its interface (io/engine.h) allows and nobody likes. Operations
 * come back in another order than they were submitted in, late, and in pieces; the n-th transfer
 * fails. Linked in the place of uqm_io_create_with() (-Wl,--wrap).
 */
#ifndef UQM_TESTS_ENGINE_FAULTY_H
#define UQM_TESTS_ENGINE_FAULTY_H

#include <stdbool.h>

struct faulty_plan {
    unsigned seed;   /* of order, delays and pieces */
    bool reorders;   /* else first in, first out */
    bool shortens;   /* a transfer moves a part of what it should */
    bool delays;     /* some take a moment */
    long fail_at;    /* the transfer, over all engines, that fails; < 0: none */
    long n_failures; /* ... and how many in a row */
    int sys_errno;
};

/* NULL: the engine that the program would have taken. */
void faulty_set(const struct faulty_plan *plan);
/* Transfers since then. */
long faulty_count(void);

#endif
