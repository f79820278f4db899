#include "src/uq/score.h"

#include <math.h>

void uqm_option_softmax(double p[UQM_N_OPTIONS], const float logits[UQM_N_OPTIONS])
{
    double max = (double) logits[0], sum = 0;
    for (int k = 1; k < UQM_N_OPTIONS; k++)
        max = fmax(max, (double) logits[k]);
    /* Inf - Inf and NaN - x are NaN: one bad logit spoils the sum, hence all six. */
    for (int k = 0; k < UQM_N_OPTIONS; k++)
        sum += p[k] = exp((double) logits[k] - max);
    for (int k = 0; k < UQM_N_OPTIONS; k++)
        p[k] /= sum;
}

int uqm_option_argmax(const float logits[UQM_N_OPTIONS])
{
    int best = 0;
    for (int k = 0; k < UQM_N_OPTIONS; k++) {
        if (isnan(logits[k]))
            return -1;
        if (logits[k] > logits[best])
            best = k;
    }
    return best;
}

double uqm_entropy(const double p[UQM_N_OPTIONS])
{
    double h = 0;
    for (int k = 0; k < UQM_N_OPTIONS; k++)
        h -= p[k] * log(p[k] + 1e-10);
    return h;
}

struct uqm_score uqm_score_sample(const double *p, size_t n_passes)
{
    double mean[UQM_N_OPTIONS] = { 0 };
    struct uqm_score s = { 0 };
    for (size_t j = 0; j < n_passes; j++) {
        for (int k = 0; k < UQM_N_OPTIONS; k++)
            mean[k] += p[j * UQM_N_OPTIONS + (size_t) k];
        s.data += uqm_entropy(p + j * UQM_N_OPTIONS);
    }
    for (int k = 0; k < UQM_N_OPTIONS; k++)
        mean[k] /= (double) n_passes;
    s.total = uqm_entropy(mean);
    s.data /= (double) n_passes;
    s.u = s.total - s.data;
    return s;
}

/* Two passes: the mean first, so that the squares are of small numbers. */
static struct uqm_mean mean_of(const double *a, const double *b, size_t n)
{
    struct uqm_mean m = { 0 };
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        double d = b ? a[i] - b[i] : a[i];
        if (isfinite(d)) {
            sum += d;
            m.n++;
        }
    }
    m.n_skipped = n - m.n;
    m.mean = m.n ? sum / (double) m.n : (double) NAN;
    for (size_t i = 0; i < n; i++) {
        double d = (b ? a[i] - b[i] : a[i]) - m.mean;
        if (isfinite(d))
            squares += d * d;
    }
    m.se = m.n > 1 ? sqrt(squares / (double) (m.n - 1) / (double) m.n) : (double) NAN;
    return m;
}

struct uqm_mean uqm_score_set(const double *u, size_t n)
{
    return mean_of(u, NULL, n);
}

struct uqm_mean uqm_score_paired(const double *a, const double *b, size_t n)
{
    return mean_of(a, b, n);
}

struct uqm_mean uqm_score_model(const struct uqm_mean *sets, size_t n_sets)
{
    struct uqm_mean m = { 0 };
    double squares = 0;
    for (size_t i = 0; i < n_sets; i++) {
        m.mean += sets[i].mean;
        squares += sets[i].se * sets[i].se;
        m.n += sets[i].n;
        m.n_skipped += sets[i].n_skipped;
    }
    m.mean /= (double) n_sets;
    m.se = sqrt(squares) / (double) n_sets;
    return m;
}
