/*
 * The random streams that the paper's code seeds (spec uq.md 1.3, 5.3): NumPy's global generator,
 * an MT19937 seeded with 42. Its pictures and dropout masks were never seeded and cannot be had
 * again.
 */
#ifndef UQM_UQ_AUTHORS_H
#define UQM_UQ_AUTHORS_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"

/* np.random.seed(42); np.random.permutation(n), n <= 2^24. */
int uqm_authors_permutation(size_t *perm, size_t n, struct uqm_err *err);

/*
 * The texts that the passes of a survey draw, one after the other: record by record, pass by pass.
 * Begin a set before its first draw; the generator starts anew with a set called mmbench, oodcv or
 * scienceqa (or a name that begins so, in any case), where the code seeds it, and goes on with any
 * other; it starts with the first set.
 */
struct uqm_mt_stream;
struct uqm_authors_texts {
    struct uqm_mt_stream *stream;
    uint64_t n_drawn;
};
int uqm_authors_texts_init(struct uqm_authors_texts *texts, struct uqm_err *err);
void uqm_authors_texts_finish(struct uqm_authors_texts *texts);
void uqm_authors_texts_begin(struct uqm_authors_texts *texts, const char *set);
/* 0 to 8: the word's low four bits, drawn again while they are more. */
uint8_t uqm_authors_texts_draw(struct uqm_authors_texts *texts);

#endif
