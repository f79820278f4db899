/* How far two tensors are apart, tile by tile, in double precision. */
#ifndef UQM_CHECKPOINT_DISTANCE_H
#define UQM_CHECKPOINT_DISTANCE_H

#include "src/base/dtype.h"

struct uqm_distance {
    enum uqm_dtype type_a, type_b;
    bool same_bytes; /* so far; never when the types differ */
    bool known;      /* both types are real numbers that we can widen */
    double sum_d2, sum_a2, sum_b2, sum_ab, max_abs;
    bool saw_nan;
};

void uqm_distance_init(struct uqm_distance *d, enum uqm_dtype type_a, enum uqm_dtype type_b);

/* The next n_elem elements of both; any alignment; a whole number of bytes. */
void uqm_distance_add(struct uqm_distance *d, const void *a, const void *b, size_t n_elem);

/* |a - b| / |a| (0 where both are zero, infinite where a alone is); max |a_i - b_i|;
 * a.b / (|a| |b|). Not finite where an element is not, or the quotient has no meaning. */
double uqm_distance_rel_l2(const struct uqm_distance *d);
double uqm_distance_max_abs(const struct uqm_distance *d);
double uqm_distance_cosine(const struct uqm_distance *d);

#endif
