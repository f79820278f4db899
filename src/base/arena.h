/*
 * An arena: small things that live and die together (a plan, an index). Not for tile
 * buffers. Memory is zeroed. Thread-safety: one thread at a time.
 */
#ifndef UQM_BASE_ARENA_H
#define UQM_BASE_ARENA_H

#include <stdarg.h>
#include <stddef.h>

struct uqm_arena {
    struct uqm_arena_block *head;
    size_t used_bytes; /* over all blocks, for limits */
};

/* n * size zeroed bytes, 16-aligned; NULL when the system has none or the product wraps. */
void *uqm_arena_alloc(struct uqm_arena *a, size_t n, size_t size);
/* A NUL-terminated copy of len bytes. */
char *uqm_arena_strndup(struct uqm_arena *a, const char *s, size_t len);
char *uqm_arena_printf(struct uqm_arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Frees everything; the arena is empty and usable again. */
void uqm_arena_finish(struct uqm_arena *a);

#endif
