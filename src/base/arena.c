#include "src/base/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct uqm_arena_block {
    struct uqm_arena_block *next;
    size_t size, used;
    _Alignas(16) unsigned char bytes[];
};

enum { BLOCK_BYTES = 32 * 1024 };

void *uqm_arena_alloc(struct uqm_arena *a, size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes) || bytes > PTRDIFF_MAX / 2)
        return NULL;
    bytes = (bytes + 15) & ~(size_t) 15;

    struct uqm_arena_block *b = a->head;
    if (!b || b->size - b->used < bytes) {
        size_t cap = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
        b = calloc(1, sizeof *b + cap);
        if (!b)
            return NULL;
        b->size = cap;
        /* A block made for one large thing is full: keep filling the one before it. */
        if (a->head && bytes > BLOCK_BYTES) {
            b->next = a->head->next;
            a->head->next = b;
        } else {
            b->next = a->head;
            a->head = b;
        }
    }
    void *p = b->bytes + b->used;
    b->used += bytes;
    a->used_bytes += bytes;
    return p;
}

char *uqm_arena_strndup(struct uqm_arena *a, const char *s, size_t len)
{
    char *p = uqm_arena_alloc(a, len + 1, 1);
    if (p && len > 0) /* s may be NULL then */
        memcpy(p, s, len);
    return p;
}

char *uqm_arena_printf(struct uqm_arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *text = NULL;
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0)
        return NULL;
    char *p = uqm_arena_strndup(a, text, (size_t) n);
    free(text);
    return p;
}

void uqm_arena_finish(struct uqm_arena *a)
{
    struct uqm_arena_block *b = a->head;
    while (b) {
        struct uqm_arena_block *next = b->next;
        free(b);
        b = next;
    }
    *a = (struct uqm_arena){ 0 };
}
