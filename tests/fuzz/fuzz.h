/*
 * What a fuzz target is: one function that takes any bytes, and checks what must hold of whatever a
 * parser accepts or refuses. libFuzzer drives it in builds with -Dfuzz=true; fuzz_replay.c
 * elsewhere.
 */
#ifndef UQM_TESTS_FUZZ_FUZZ_H
#define UQM_TESTS_FUZZ_FUZZ_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As assert(), but never compiled away. */
#define FUZZ_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);          \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* A refusal: a code of its own, one line of text. */
static inline void fuzz_check_refusal(int ret, const struct uqm_err *err)
{
    FUZZ_CHECK(ret < 0 && (int) err->code == ret);
    FUZZ_CHECK(err->msg[0] && !strchr(err->msg, '\n'));
}

/* Touch every byte of a string, so that a sanitizer sees where it leads. */
static inline void fuzz_touch(const char *text)
{
    static volatile size_t sink;
    sink = sink + strlen(text);
}

#endif
