/*
 * A merge method run as method_ops.h says, on arrays in memory, one block after the other: what the
 * engine does, without files, threads and tiles. For methods that draw no random numbers.
 */
#ifndef UQM_TESTS_METHOD_DRIVER_H
#define UQM_TESTS_METHOD_DRIVER_H

#include "src/merge/method_ops.h"

struct driven_input {
    const void *data;
    enum uqm_dtype dtype;
    bool is_base;
};

struct driven {
    const char *method;
    const char *settings; /* as ref_named_case has them: "weight=.3,.45 normalize=0" */
    enum uqm_numerics numerics;
    enum uqm_dtype work, out;
    unsigned rank;
    uint64_t shape[4];
    size_t n_inputs;
    struct driven_input inputs[8];
    size_t merge_elem; /* merge() gets this many elements at once, rounded up to whole units */
};

/* dst: malloc'ed, the caller's; NULL when the method refuses, its message in *err. */
void *drive_method(const struct driven *d, struct uqm_err *err);

#endif
