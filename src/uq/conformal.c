#include "src/uq/conformal.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

enum { N_BINS = 15 };

/* Options from the most probable down; of equals the first. */
static void rank_options(int order[UQM_N_OPTIONS], const double p[UQM_N_OPTIONS])
{
    for (int i = 0; i < UQM_N_OPTIONS; i++) {
        int at = i;
        for (; at > 0 && p[i] > p[order[at - 1]]; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
}

static double aps_score(const double p[UQM_N_OPTIONS], int truth)
{
    int order[UQM_N_OPTIONS];
    double sum = 0;
    rank_options(order, p);
    for (int i = 0; i < UQM_N_OPTIONS; i++) {
        sum += p[order[i]];
        if (order[i] == truth)
            break;
    }
    return sum;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *) a, y = *(const double *) b;
    return (x > y) - (x < y);
}

static double quantile(double *scores, size_t n, double alpha, bool *cut)
{
    const double level = ceil((double) (n + 1) * (1 - alpha)) / (double) n;
    *cut = level > 1;
    qsort(scores, n, sizeof *scores, ascending);
    return scores[(size_t) ceil(fmin(level, 1) * (double) (n - 1))];
}

/* Members as bits. */
static unsigned lac_set(const double p[UQM_N_OPTIONS], double qhat)
{
    int order[UQM_N_OPTIONS];
    unsigned set = 0;
    rank_options(order, p);
    for (int k = 0; k < UQM_N_OPTIONS; k++)
        if (p[k] >= 1 - qhat)
            set |= 1U << k;
    return set ? set : 1U << order[0];
}

static unsigned aps_set(const double p[UQM_N_OPTIONS], double qhat)
{
    int order[UQM_N_OPTIONS];
    unsigned set = 0;
    double sum = 0;
    rank_options(order, p);
    for (int i = 0; i < UQM_N_OPTIONS && sum + p[order[i]] <= qhat; i++) {
        sum += p[order[i]];
        set |= 1U << order[i];
    }
    return set ? set : 1U << order[0];
}

/* Mean and largest distance of how sure from how often right, bins weighted by what is in them. */
struct calibration {
    double sure[N_BINS], right[N_BINS];
    size_t n[N_BINS];
};

static void calibration_add(struct calibration *c, double sure, bool right)
{
    int bin = (int) ceil(sure * N_BINS) - 1; /* (low, high], as the usual definition has them */
    bin = bin < 0 ? 0 : bin >= N_BINS ? N_BINS - 1 : bin;
    c->sure[bin] += sure;
    c->right[bin] += right;
    c->n[bin]++;
}

static void calibration_end(struct uqm_conformal *out, const struct calibration *c)
{
    double gaps = 0;
    for (int b = 0; b < N_BINS; b++) {
        if (c->n[b] == 0)
            continue;
        const double gap = fabs(c->sure[b] - c->right[b]);
        gaps += gap;
        out->mce = fmax(out->mce, gap / (double) c->n[b]);
    }
    out->ece = gaps / (double) out->n_test;
}

/* What the tested records add up to: whole numbers, divided once at the end. */
struct tally {
    size_t lac_size, aps_size, lac_hits, aps_hits, right, e, f;
    struct calibration calibration;
};

/* The mean of the two sets' sizes. */
static double test_record(struct tally *t, const struct uqm_conformal *found,
                          const double p[UQM_N_OPTIONS], int truth)
{
    const unsigned lac = lac_set(p, found->lac.qhat), aps = aps_set(p, found->aps.qhat);
    const unsigned n_lac = (unsigned) __builtin_popcount(lac),
                   n_aps = (unsigned) __builtin_popcount(aps);
    int order[UQM_N_OPTIONS];
    rank_options(order, p);
    t->lac_size += n_lac;
    t->aps_size += n_aps;
    t->lac_hits += lac >> truth & 1;
    t->aps_hits += aps >> truth & 1;
    t->right += order[0] == truth;
    t->e += order[0] == 4;
    t->f += order[0] == 5;
    calibration_add(&t->calibration, p[order[0]], order[0] == truth);
    return 0.5 * (n_lac + n_aps);
}

static void tally_end(struct uqm_conformal *out, const struct tally *t)
{
    const double n = (double) out->n_test;
    out->lac.mean_size = (double) t->lac_size / n;
    out->aps.mean_size = (double) t->aps_size / n;
    out->lac.coverage = (double) t->lac_hits / n;
    out->aps.coverage = (double) t->aps_hits / n;
    out->accuracy = (double) t->right / n;
    out->e_rate = (double) t->e / n;
    out->f_rate = (double) t->f / n;
    calibration_end(out, &t->calibration);
}

int uqm_conformal(struct uqm_conformal *out, double *size, const double (*p)[UQM_N_OPTIONS],
                  const int *truth, const size_t *part, size_t n, double alpha, struct uqm_err *err)
{
    assert(n >= 2);
    struct tally tally = { 0 };
    const size_t n_calibration = n / 2, n_test = n - n_calibration;
    *out = (struct uqm_conformal){ .n_calibration = n_calibration, .n_test = n_test };
    double *scores = malloc(n_calibration * sizeof *scores);
    if (!scores)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for the scores of %zu records", n);
    for (size_t i = 0; i < n_calibration; i++) {
        const size_t r = part[n_test + i];
        scores[i] = 1 - p[r][truth[r]];
        size[r] = (double) NAN;
    }
    out->lac.qhat = quantile(scores, n_calibration, alpha, &out->level_cut);
    for (size_t i = 0; i < n_calibration; i++)
        scores[i] = aps_score(p[part[n_test + i]], truth[part[n_test + i]]);
    out->aps.qhat = quantile(scores, n_calibration, alpha, &out->level_cut);
    free(scores);
    for (size_t i = 0; i < n_test; i++)
        size[part[i]] = test_record(&tally, out, p[part[i]], truth[part[i]]);
    tally_end(out, &tally);
    return UQM_OK;
}
