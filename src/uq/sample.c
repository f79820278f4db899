#include "src/uq/sample.h"

#include <math.h>
#include <stdlib.h>

#include "src/base/rng.h"
#include "src/uq/authors.h"

struct draw {
    uint64_t number;
    size_t index;
};

int uqm_sample_size(size_t *out, size_t n, double ratio, uint64_t count, struct uqm_err *err)
{
    if (!(ratio >= 0 && ratio <= 1))
        return uqm_fail(err, UQM_ERR_USAGE,
                        "--samples %g: give a share in (0, 1] or a number of "
                        "records",
                        ratio);
    *out = n;
    if (count > 0) {
        *out = count < n ? (size_t) count : n;
    } else if (ratio > 0) {
        /* Less a hair: 0.1 * 120 is no more than 12. */
        size_t wanted = (size_t) ceil(ratio * (double) n - 1e-9);
        *out = wanted < 1 ? 1 : wanted < n ? wanted : n;
    }
    return UQM_OK;
}

static int by_number(const void *a, const void *b)
{
    const struct draw *x = a, *y = b;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static int by_index(const void *a, const void *b)
{
    const struct draw *x = a, *y = b;
    return (x->index > y->index) - (x->index < y->index);
}

/* Every record's draw, the smallest first; the caller's to free. NULL: no memory. */
static struct draw *draw_all(const struct uqm_dataset *set, uint64_t seed)
{
    struct draw *draws = malloc((set->n_records + 1) * sizeof *draws);
    if (!draws)
        return NULL;
    for (size_t i = 0; i < set->n_records; i++) {
        struct uqm_rng rng;
        uqm_rng_init(&rng,
                     uqm_rng_stream(seed, UQM_RNG_SAMPLE, set->name, set->records[i].id, 0, 0));
        uint64_t high = uqm_rng_u32(&rng);
        draws[i] = (struct draw){ .number = high << 32 | uqm_rng_u32(&rng), .index = i };
    }
    qsort(draws, set->n_records, sizeof *draws, by_number);
    return draws;
}

int uqm_sample_places(size_t *place, const struct uqm_dataset *set, uint64_t seed,
                      struct uqm_err *err)
{
    struct draw *draws = draw_all(set, seed);
    if (!draws)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for a sample", set->path);
    for (size_t i = 0; i < set->n_records; i++)
        place[draws[i].index] = i;
    free(draws);
    return UQM_OK;
}

static int by_size(const void *a, const void *b)
{
    const size_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

int uqm_sample_keep(struct uqm_dataset *set, size_t n, uint64_t seed, struct uqm_err *err)
{
    if (n >= set->n_records)
        return UQM_OK;
    struct draw *draws = draw_all(set, seed);
    if (!draws)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for a sample", set->path);
    qsort(draws, n, sizeof *draws, by_index);
    for (size_t i = 0; i < n; i++)
        set->records[i] = set->records[draws[i].index]; /* index >= i: nothing is overwritten */
    set->n_records = n;
    free(draws);
    return UQM_OK;
}

int uqm_sample_keep_authors(struct uqm_dataset *set, size_t n, struct uqm_err *err)
{
    if (n >= set->n_records)
        return UQM_OK;
    size_t *perm = malloc(set->n_records * sizeof *perm);
    if (!perm)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for a sample", set->path);
    int ret = uqm_authors_permutation(perm, set->n_records, err);
    if (ret == UQM_OK) {
        qsort(perm, n, sizeof *perm, by_size);
        for (size_t i = 0; i < n; i++)
            set->records[i] = set->records[perm[i]];
        set->n_records = n;
    }
    free(perm);
    return ret;
}

void uqm_sample_shuffle(size_t *indices, size_t n, uint64_t seed)
{
    struct uqm_rng rng;
    uqm_rng_init(&rng, uqm_rng_stream(seed, UQM_RNG_SAMPLE, "", "order", 0, 0));
    for (size_t i = 0; i < n; i++)
        indices[i] = i;
    for (size_t i = n; i > 1; i--) {
        size_t j = uqm_rng_below(&rng, (uint32_t) i);
        size_t swap = indices[i - 1];
        indices[i - 1] = indices[j];
        indices[j] = swap;
    }
}
