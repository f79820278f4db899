/*
 * Pieces of made files (file.h), made ahead of whoever waits for them. A piece is taken apart into
 * what its file makes in one go: an archive's blocks. What a part is made of is read through an
 * engine, as many at once as there are buffers for, by one thread; others make the parts whose
 * sources have come. So the disk does not wait for the unpacking, nor one for the other's order.
 * Parts of neighbouring pieces that are made of the same bytes share them.
 *
 * Only the stream includes this. Thread-safety: one thread calls; the threads are its own.
 */
#ifndef UQM_IO_MAKER_H
#define UQM_IO_MAKER_H

#include "io/file.h"

struct uqm_io_faults;

/* One piece on its way: the caller's until it is submitted, and again when wait() has returned. */
struct uqm_make {
    struct uqm_file *file;
    void *buf;
    size_t n_bytes;
    uint64_t off_bytes;
    struct uqm_err failure; /* UQM_OK: the bytes are there; else of the first part that failed */
    /* the maker's */
    size_t n_begun;   /* bytes of it that parts have been made of */
    size_t failed_at; /* with a failure */
    unsigned n_parts; /* under way */
    bool done;
    struct uqm_make *next;
};

struct uqm_maker;

/* On env->n_threads threads and one that reads. Buffers for what is read come from the budget, from
 * the first piece on, and are a small share of it; without any, the making threads read. faults: as
 * for uqm_io_create_with(). */
int uqm_maker_create(struct uqm_maker **out, struct uqm_env *env,
                     const struct uqm_io_faults *faults, struct uqm_err *err);
/* Parts under way are finished, the others are dropped. Takes NULL. */
void uqm_maker_destroy(struct uqm_maker **maker);
/* Taken up in the order they are submitted. */
void uqm_maker_submit(struct uqm_maker *maker, struct uqm_make *make);
/* Until this one is done. */
void uqm_maker_wait(struct uqm_maker *maker, const struct uqm_make *make);

#endif
