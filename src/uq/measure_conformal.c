/* Conformal set sizes as a measure: the records of a set that can be used, their split, the sizes.
 */
#include <math.h>
#include <stdlib.h>

#include "src/uq/authors.h"
#include "src/uq/measure.h"

/* The records of a set with a label and logits. */
struct usable {
    size_t n;
    size_t *record, *part;
    int *truth;
    double (*p)[UQM_N_OPTIONS];
    double *size;
};

static void usable_finish(struct usable *u)
{
    free(u->record);
    free(u->part);
    free(u->truth);
    free(u->p);
    free(u->size);
}

static int usable_init(struct usable *u, struct uqm_measure *m, const struct uqm_dataset *set,
                       size_t k, const float *logits, struct uqm_err *err)
{
    const size_t room = set->n_records + 1;
    *u = (struct usable){ 0 };
    u->record = malloc(room * sizeof *u->record);
    u->part = malloc(room * sizeof *u->part);
    u->truth = malloc(room * sizeof *u->truth);
    u->p = malloc(room * sizeof *u->p);
    u->size = malloc(room * sizeof *u->size);
    if (!u->record || !u->part || !u->truth || !u->p || !u->size)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for %zu records", set->path,
                        set->n_records);
    for (int o = 0; o < UQM_N_OPTIONS; o++)
        m->answers[k][o] = 0;
    for (size_t i = 0; i < set->n_records; i++, logits += UQM_N_OPTIONS) {
        double *p = u->p[u->n];
        m->values[k][i] = (double) NAN;
        uqm_option_softmax(p, logits);
        const int truth = set->records[i].answer;
        if (truth < 0 || truth >= UQM_N_OPTIONS || !isfinite(p[0]))
            continue;
        for (int o = 0; o < UQM_N_OPTIONS; o++)
            m->answers[k][o] += p[o];
        u->truth[u->n] = truth;
        u->record[u->n++] = i;
    }
    if (u->n < 2)
        return uqm_fail(err, UQM_ERR_FORMAT,
                        "%s: conformal sets need labels, and %zu of its %zu records have one",
                        set->path, u->n, set->n_records);
    return uqm_authors_permutation(u->part, u->n, err);
}

int uqm_measure_conformal(struct uqm_measure *m, struct uqm_conformal *details,
                          const struct uqm_survey *survey, const float *logits, double alpha,
                          struct uqm_err *err)
{
    bool cut = false;
    int ret = UQM_OK;
    for (size_t k = 0; ret == UQM_OK && k < m->n_sets; k++) {
        const struct uqm_dataset *set = &survey->sets[k];
        struct uqm_conformal c;
        struct usable u;
        ret = usable_init(&u, m, set, k, logits, err);
        if (ret == UQM_OK)
            ret = uqm_conformal(&c, u.size, (const double(*)[UQM_N_OPTIONS]) u.p, u.truth, u.part,
                                u.n, alpha, err);
        for (size_t i = 0; ret == UQM_OK && i < u.n; i++)
            m->values[k][u.record[i]] = u.size[i];
        usable_finish(&u);
        if (ret < 0)
            break;
        m->n_asked[k] = set->n_records - c.n_calibration;
        cut = cut || c.level_cut;
        if (details)
            details[k] = c;
        logits += set->n_records * (size_t) UQM_N_OPTIONS;
    }
    if (ret == UQM_OK && cut && !details)
        ret = uqm_warn(survey->env, err,
                       "conformal sets: with so few records no set can promise that at most %g of "
                       "them miss the truth; the largest score stands for it",
                       alpha);
    return ret;
}
