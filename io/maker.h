/*
 * Threads that read pieces of made files (file.h) ahead of whoever waits for them. Only the stream
 * includes this. Thread-safety: one thread calls; the threads are its own.
 */
#ifndef UQM_IO_MAKER_H
#define UQM_IO_MAKER_H

#include "io/file.h"

/* One piece on its way: the caller's until it is submitted, and again when wait() has returned. */
struct uqm_make {
    struct uqm_file *file;
    void *buf;
    size_t n_bytes;
    uint64_t off_bytes;
    struct uqm_err failure; /* UQM_OK: the bytes are there */
    bool done;              /* the maker's */
    struct uqm_make *next;
};

struct uqm_maker;

int uqm_maker_create(struct uqm_maker **out, int n_threads, struct uqm_err *err);
/* Pieces under way are finished, queued ones are dropped. Takes NULL. */
void uqm_maker_destroy(struct uqm_maker **maker);
/* Taken up in the order they are submitted. */
void uqm_maker_submit(struct uqm_maker *maker, struct uqm_make *make);
/* Until this one is done. */
void uqm_maker_wait(struct uqm_maker *maker, const struct uqm_make *make);

#endif
