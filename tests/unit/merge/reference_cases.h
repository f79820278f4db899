/* Cases for every merge method, read from tests/golden/merge/arrays/cases.txt. */
#ifndef UQM_TESTS_REFERENCE_CASES_H
#define UQM_TESTS_REFERENCE_CASES_H

#include "tests/unit/merge/reference_merge.h"

enum { REF_MAX_CASES = 64 };

struct ref_named_case {
    char name[64], method[32];
    char settings[256]; /* "weight=.3,.45 normalize=0", as written */
    size_t n_models;    /* beside the base */
    bool with_base;
};

/* How many there are; fails the test when the file cannot be read. */
size_t ref_cases_load(struct ref_named_case *cases);
/* The case with its parameters, for models x[1..n_models] and the base x[0], which comes last. The
 * shape is the caller's. */
void ref_case_make(struct ref_case *c, const struct ref_named_case *named, enum uqm_dtype dtype,
                   double *const *x);

#endif
