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
    for (int b = 0; b < N_BINS; b++) {
        if (c->n[b] == 0)
            continue;
        const double gap = fabs(c->sure[b] - c->right[b]);
        out->ece += gap / (double) out->n_test;
        out->mce = fmax(out->mce, gap / (double) c->n[b]);
    }
}

static void test_record(struct uqm_conformal *out, struct calibration *c, double *size,
                        const double p[UQM_N_OPTIONS], int truth)
{
    const double share = 1 / (double) out->n_test;
    const unsigned lac = lac_set(p, out->lac.qhat), aps = aps_set(p, out->aps.qhat);
    const int n_lac = __builtin_popcount(lac), n_aps = __builtin_popcount(aps);
    int order[UQM_N_OPTIONS];
    rank_options(order, p);
    *size = 0.5 * (n_lac + n_aps);
    out->lac.mean_size += share * n_lac;
    out->aps.mean_size += share * n_aps;
    out->lac.coverage += share * (lac >> truth & 1);
    out->aps.coverage += share * (aps >> truth & 1);
    out->accuracy += share * (order[0] == truth);
    out->e_rate += share * (order[0] == 4);
    out->f_rate += share * (order[0] == 5);
    calibration_add(c, p[order[0]], order[0] == truth);
}

int uqm_conformal(struct uqm_conformal *out, double *size, const double (*p)[UQM_N_OPTIONS],
                  const int *truth, const size_t *part, size_t n, double alpha, struct uqm_err *err)
{
    assert(n >= 2);
    struct calibration c = { 0 };
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
        test_record(out, &c, &size[part[i]], p[part[i]], truth[part[i]]);
    calibration_end(out, &c);
    return UQM_OK;
}
