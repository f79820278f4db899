#include "src/uq/race.h"

#include <math.h>
#include <stdlib.h>

#include "src/uq/sample.h"

size_t uqm_race_size(size_t n, unsigned look)
{
    const unsigned halvings = UQM_RACE_LOOKS - 1 - look;
    size_t size = (n >> halvings) + ((n & (((size_t) 1 << halvings) - 1)) != 0);
    size = size < UQM_RACE_FIRST ? UQM_RACE_FIRST : size;
    return size < n ? size : n;
}

int uqm_race_order(size_t *place, const struct uqm_dataset *set, uint64_t seed, struct uqm_err *err)
{
    return uqm_sample_places(place, set, seed, err);
}

/* z with P(|Z| > z) = alpha, by bisection. */
static double normal_quantile(double alpha)
{
    double low = 0, high = 40;
    for (int i = 0; i < 200; i++) {
        const double mid = 0.5 * (low + high);
        if (erfc(mid / sqrt(2.0)) > alpha)
            low = mid;
        else
            high = mid;
    }
    return high;
}

/* The normal quantile, corrected (Abramowitz and Stegun, 26.7.5). */
double uqm_race_quantile(double alpha, double df)
{
    const double z = normal_quantile(alpha), z2 = z * z;
    const double g1 = (z2 + 1) * z / 4, g2 = ((5 * z2 + 16) * z2 + 3) * z / 96;
    const double g3 = (((3 * z2 + 19) * z2 + 17) * z2 - 15) * z / 384;
    return z + g1 / df + g2 / (df * df) + g3 / (df * df * df);
}

/* a - b over the records of a set that come before `end`, paired. */
static struct uqm_mean difference(const double *a, const double *b, const size_t *place, size_t n,
                                  size_t end)
{
    struct uqm_mean m = { 0 };
    double squares = 0;
    for (size_t i = 0; i < n; i++)
        if (place[i] < end && isfinite(a[i] - b[i])) {
            m.mean += a[i] - b[i];
            m.n++;
        }
    m.mean = m.n ? m.mean / (double) m.n : (double) NAN;
    for (size_t i = 0; i < n; i++)
        if (place[i] < end && isfinite(a[i] - b[i]))
            squares += (a[i] - b[i] - m.mean) * (a[i] - b[i] - m.mean);
    m.se = m.n > 1 ? sqrt(squares / (double) (m.n - 1) / (double) m.n) : (double) NAN;
    return m;
}

bool uqm_race_decided(struct uqm_mean *diff, const struct uqm_measure *a,
                      const struct uqm_measure *b, const struct uqm_survey *survey,
                      size_t *const *places, unsigned look, double from, double alpha)
{
    double squares = 0, df = 0;
    bool all = true;
    *diff = (struct uqm_mean){ 0 };
    for (size_t k = 0; k < a->n_sets; k++) {
        const size_t n = survey->sets[k].n_records, end = uqm_race_size(n, look);
        const struct uqm_mean d = difference(a->values[k], b->values[k], places[k], n, end);
        const double left = n > 0 ? 1 - (double) end / (double) n : 0;
        diff->mean += d.mean / (double) a->n_sets;
        diff->n += d.n;
        squares += left > 0 ? d.se * d.se * left : 0;
        df += d.n > 0 ? (double) d.n - 1 : 0;
        all = all && end == n;
    }
    diff->se = sqrt(squares) / (double) a->n_sets;
    if (all)
        return true;
    const double share = alpha / (UQM_RACE_LOOKS - 1);
    return df > 0 && fabs(diff->mean - from) > uqm_race_quantile(share, df) * diff->se;
}
