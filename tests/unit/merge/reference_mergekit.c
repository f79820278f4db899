/* Every step is one operation in double and one rounding: exact products, sums, quotients and roots
 * of two f32 rounded to f32 are what f32 arithmetic gives. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/merge/reference_merge.h"

/* Rounding of one case: to the working type, and of its accumulators and scalars. */
static double rd(const struct ref_case *c, double v)
{
    return ref_round(c->dtype, v);
}

static double wide(const struct ref_case *c, double v)
{
    return c->dtype == UQM_F64 ? v : (double) (float) v;
}

static double *vector(size_t n)
{
    double *v = calloc(n + 1, sizeof *v);
    assert(v);
    return v;
}

static double clamp(double v, double low, double high)
{
    return v < low ? low : v > high ? high : v;
}

static size_t others(size_t *index, const struct ref_case *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n_inputs; i++)
        if ((long) i != c->base)
            index[n++] = i;
    return n;
}

static const double *base_of(const struct ref_case *c)
{
    assert(c->base >= 0);
    return c->in[c->base].x;
}

/* rd(x - base), or x. */
static double *offset_of(const struct ref_case *c, size_t input)
{
    size_t n = ref_n_elem(c);
    double *y = vector(n);
    for (size_t k = 0; k < n; k++)
        y[k] = c->base < 0 ? c->in[input].x[k] : rd(c, c->in[input].x[k] - base_of(c)[k]);
    return y;
}

static void add_base(double *out, const struct ref_case *c)
{
    for (size_t k = 0; c->base >= 0 && k < ref_n_elem(c); k++)
        out[k] = rd(c, base_of(c)[k] + out[k]);
}

/* R5, before the last rounding. */
static double norm(const double *a, struct ref_line l)
{
    double sum = 0;
    for (size_t k = 0; k < l.n; k++)
        sum += a[l.first + k * l.stride] * a[l.first + k * l.stride];
    return sqrt(sum);
}

/* The sum of products that are rounded first. */
static double dot_rounded(const struct ref_case *c, const double *a, const double *b,
                          struct ref_line l)
{
    double sum = 0;
    for (size_t k = 0; k < l.n; k++)
        sum += rd(c, a[l.first + k * l.stride] * b[l.first + k * l.stride]);
    return rd(c, sum);
}

/* --- sparsifiers, spec 2 --- */

static void keep_random(bool *keep, const struct ref_case *c, double density, enum uqm_dtype work)
{
    double p = ref_round(work, density);
    for (size_t k = 0; k < ref_n_elem(c); k++)
        keep[k] = c->draw(c->draw_ctx) < p;
}

/* The probability of 0-based rank r out of m. */
static double della_p(const struct ref_input *in, size_t r, size_t m, enum uqm_dtype work)
{
    if (m == 1)
        return in->density;
    double least = ref_round(work, 1),
           most = ref_round(work, ref_round(work, (double) (m - 1)) + 1);
    double rank = ref_round(work, ref_round(work, (double) r) + 1);
    double q =
        clamp(ref_round(work, ref_round(work, rank - least) / ref_round(work, most - least)), 0, 1);
    double span = ref_round(work, ref_round(work, 2 * q) * (double) (float) in->epsilon);
    return ref_round(work, ref_round(work, in->density - in->epsilon) + span);
}

static void keep_by_rank(bool *keep, const struct ref_case *c, const struct ref_input *in,
                         const float *key, enum uqm_dtype work)
{
    size_t n = ref_n_elem(c);
    int axis = ref_axis_of_ranks(c);
    double *p = vector(n);
    float *line_key = calloc(n + 1, sizeof *line_key);
    size_t *order = calloc(n + 1, sizeof *order);
    assert(line_key && order);
    for (size_t i = 0; i < ref_n_lines(c, axis); i++) {
        struct ref_line l = ref_line_at(c, axis, i);
        for (size_t k = 0; k < l.n; k++)
            line_key[k] = key[l.first + k * l.stride];
        ref_rank_ascending(order, line_key, l.n);
        for (size_t r = 0; r < l.n; r++)
            p[l.first + order[r] * l.stride] = della_p(in, r, l.n, work);
    }
    for (size_t k = 0; k < n; k++)
        keep[k] = in->density > 0 && c->draw(c->draw_ctx) < p[k];
    free(line_key);
    free(order);
    free(p);
}

static void sparsify(double *delta, const struct ref_case *c, const struct ref_family *family,
                     const struct ref_input *in)
{
    size_t n = ref_n_elem(c);
    bool draws = family->sparsifier == REF_RANDOM || family->sparsifier == REF_DELLA;
    enum uqm_dtype work = !draws || c->dtype == UQM_BF16 ? c->dtype : UQM_F32;
    if (family->sparsifier == REF_DENSE || in->density >= 1)
        return;
    bool *keep = calloc(n + 1, sizeof *keep);
    float *key = calloc(n + 1, sizeof *key);
    assert(keep && key);
    for (size_t k = 0; k < n; k++)
        key[k] = (float) fabs(delta[k]);
    switch (family->sparsifier) {
    case REF_MAGNITUDE: ref_keep_magnitude(keep, key, n, in->density); break;
    case REF_OUTLIERS: ref_keep_outliers(keep, key, n, in->density, in->gamma); break;
    case REF_RANDOM: keep_random(keep, c, in->density, work); break;
    default: keep_by_rank(keep, c, in, key, work); break;
    }
    double before = 0, after = 0;
    for (size_t k = 0; k < n; k++) {
        double v = ref_round(work, delta[k]);
        before += fabs(v);
        delta[k] = keep[k] ? v : 0;
        after += fabs(delta[k]);
    }
    before = ref_round(work, before);
    after = ref_round(work, after);
    double least = ref_round(work, 1e-7);
    if (c->rescale && !(before < least || after < least))
        for (size_t k = 0; k < n; k++)
            delta[k] = ref_round(work, delta[k] * ref_round(work, before / after));
    for (size_t k = 0; k < n; k++)
        delta[k] = rd(c, delta[k]);
    free(keep);
    free(key);
}

/* --- task vectors, spec 3.1 --- */

static int sign_of(double v)
{
    return (v > 0) - (v < 0);
}

/* R4: one element's sum over the models, of those that count. */
static double sum_models(const struct ref_case *c, const double *v, const bool *counts, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum = wide(c, sum + (!counts || counts[i] ? v[i] : 0));
    return rd(c, sum);
}

/* Who agrees with the sign of the sum. */
static void consensus(bool *agrees, const struct ref_case *c, const double *e, size_t n)
{
    int majority = sum_models(c, e, NULL, n) >= 0 ? 1 : -1;
    for (size_t i = 0; i < n; i++)
        agrees[i] = sign_of(e[i]) == majority;
}

static void task_vectors(double *out, const struct ref_case *c, const struct ref_family *family)
{
    size_t n = ref_n_elem(c), index[REF_INPUTS], n_others = others(index, c);
    double *delta[REF_INPUTS], w[REF_INPUTS];
    for (size_t i = 0; i < n_others; i++) {
        delta[i] = offset_of(c, index[i]);
        w[i] = rd(c, c->in[index[i]].weight);
        sparsify(delta[i], c, family, &c->in[index[i]]);
    }
    for (size_t k = 0; k < n; k++) {
        double e[REF_INPUTS];
        bool counts[REF_INPUTS];
        for (size_t i = 0; i < n_others; i++)
            e[i] = rd(c, delta[i][k] * w[i]);
        if (family->consensus)
            consensus(counts, c, e, n_others);
        double mix = sum_models(c, e, family->consensus ? counts : NULL, n_others);
        double divisor = sum_models(c, w, family->consensus ? counts : NULL, n_others);
        if (family->consensus ? divisor == 0 : fabs(divisor) < rd(c, 1e-8))
            divisor = 1;
        mix = c->normalize ? rd(c, mix / divisor) : mix;
        mix = c->lambda != 1 ? rd(c, mix * wide(c, c->lambda)) : mix;
        out[k] = rd(c, base_of(c)[k] + mix);
    }
    for (size_t i = 0; i < n_others; i++)
        free(delta[i]);
}

/* --- linear, passthrough --- */

static void linear(double *out, const struct ref_case *c)
{
    double total = 0;
    for (size_t i = 0; i < c->n_inputs; i++)
        total = wide(c, total + wide(c, c->in[i].weight));
    for (size_t k = 0; k < ref_n_elem(c); k++) {
        double sum = 0;
        for (size_t i = 0; i < c->n_inputs; i++) {
            double x = c->in[i].x[k], w = c->in[i].weight;
            sum = c->dtype == UQM_F64 ? fma(x, w, sum)
                                      : (double) fmaf((float) x, (float) w, (float) sum);
        }
        out[k] = rd(c, c->normalize ? wide(c, sum / total) : sum);
    }
}

static void passthrough(double *out, const struct ref_case *c)
{
    assert(c->n_inputs == 1);
    for (size_t k = 0; k < ref_n_elem(c); k++)
        out[k] =
            c->in[0].has_scale ? rd(c, c->in[0].x[k] * wide(c, c->in[0].scale)) : c->in[0].x[k];
}

/* --- slerp, nuslerp --- */

static void slerp(double *out, const struct ref_case *c)
{
    size_t index[REF_INPUTS];
    assert(others(index, c) == 1);
    const double *a = base_of(c), *b = c->in[index[0]].x;
    struct ref_line all = ref_line_at(c, REF_FLAT, 0);
    double na = wide(c, norm(a, all)), nb = wide(c, norm(b, all)), sum = 0;
    na = na > 1e-8 ? na : 1;
    nb = nb > 1e-8 ? nb : 1;
    for (size_t k = 0; k < all.n; k++)
        sum += wide(c, a[k] / na) * wide(c, b[k] / nb);
    double d = clamp(wide(c, sum), -1, 1);
    double cb = wide(c, c->t), ca = wide(c, 1 - cb);
    if (!(fabs(d) > wide(c, 0.9995))) {
        double theta = wide(c, acos(d)), s = wide(c, sin(theta));
        ca = wide(c, wide(c, sin(wide(c, ca * theta))) / s);
        cb = wide(c, wide(c, sin(wide(c, cb * theta))) / s);
    }
    for (size_t k = 0; k < all.n; k++)
        out[k] = rd(c, wide(c, wide(c, ca * a[k]) + wide(c, cb * b[k])));
}

static void nuslerp_line(double *out, const struct ref_case *c, const double *v0, const double *v1,
                         struct ref_line l, double t)
{
    double n0 = fmax(rd(c, norm(v0, l)), rd(c, 1e-7)), n1 = fmax(rd(c, norm(v1, l)), rd(c, 1e-7));
    double sum = 0, left = wide(c, 1 - t), right = wide(c, t);
    for (size_t k = 0; k < l.n; k++) {
        size_t at = l.first + k * l.stride;
        sum += rd(c, rd(c, v0[at] / n0) * rd(c, v1[at] / n1));
    }
    double cosine = clamp(rd(c, sum), -1, 1);
    bool collinear = rd(c, 1 - rd(c, cosine * cosine)) <= rd(c, 1e-16);
    double theta = rd(c, acos(collinear ? 0 : cosine)), s = rd(c, sin(theta));
    double s0 = rd(c, sin(rd(c, left * theta))), s1 = rd(c, sin(rd(c, right * theta)));
    for (size_t k = 0; k < l.n; k++) {
        size_t at = l.first + k * l.stride;
        out[at] = collinear ? rd(c, rd(c, left * v0[at]) + rd(c, right * v1[at]))
                            : rd(c, rd(c, rd(c, s0 * v0[at]) + rd(c, s1 * v1[at])) / s);
    }
}

static void nuslerp(double *out, const struct ref_case *c)
{
    size_t index[REF_INPUTS];
    assert(others(index, c) == 2);
    double w0 = c->in[index[0]].weight, w1 = c->in[index[1]].weight;
    double t = fabs(w0 + w1) < 1e-6 ? 0.5 : w1 / (w0 + w1);
    double *v0 = offset_of(c, index[0]), *v1 = offset_of(c, index[1]);
    int axis = c->flatten || c->rank == 0 ? REF_FLAT : c->row_wise ? 0 : (int) c->rank - 1;
    for (size_t i = 0; i < ref_n_lines(c, axis); i++)
        nuslerp_line(out, c, v0, v1, ref_line_at(c, axis, i), t);
    add_base(out, c);
    free(v0);
    free(v1);
}

/* --- multislerp --- */

struct many {
    const struct ref_case *c;
    size_t n;
    double **y, w[REF_INPUTS], norms[REF_INPUTS];
    struct ref_line all;
};

/* What every element's terms add up to, weighted. */
static void weighted_sum(double *out, const struct many *s, double *const *v)
{
    for (size_t k = 0; k < s->all.n; k++) {
        double term[REF_INPUTS];
        for (size_t i = 0; i < s->n; i++)
            term[i] = rd(s->c, v[i][k] * s->w[i]);
        out[k] = sum_models(s->c, term, NULL, s->n);
    }
}

/* The way from the mean m to the result: u[i] are the unit vectors, overwritten. */
static void along_tangent(double *out, const struct many *s, double **u, const double *m)
{
    const struct ref_case *c = s->c;
    double *tau = vector(s->all.n), average = 0;
    for (size_t i = 0; i < s->n; i++) {
        double d = dot_rounded(c, u[i], m, s->all);
        for (size_t k = 0; k < s->all.n; k++)
            u[i][k] = rd(c, u[i][k] - rd(c, d * m[k]));
        average += rd(c, s->norms[i] * s->w[i]);
    }
    weighted_sum(tau, s, u);
    double h = rd(c, rd(c, norm(tau, s->all)) + rd(c, c->eps));
    double cosine = rd(c, cos(h)), sine = rd(c, rd(c, sin(h)) / h);
    for (size_t k = 0; k < s->all.n; k++)
        out[k] = rd(c, rd(c, rd(c, m[k] * cosine) + rd(c, tau[k] * sine)) * rd(c, average));
    free(tau);
}

static bool spherical_mean(double *out, struct many *s)
{
    const struct ref_case *c = s->c;
    double *u[REF_INPUTS], *m = vector(s->all.n);
    for (size_t i = 0; i < s->n; i++) {
        u[i] = vector(s->all.n);
        s->norms[i] = rd(c, norm(s->y[i], s->all));
        for (size_t k = 0; k < s->all.n; k++)
            u[i][k] = rd(c, s->y[i][k] / rd(c, s->norms[i] + rd(c, c->eps)));
    }
    weighted_sum(m, s, u);
    double length = rd(c, norm(m, s->all));
    bool vanishes = length < rd(c, c->eps);
    for (size_t k = 0; k < s->all.n; k++)
        m[k] = rd(c, m[k] / length);
    if (!vanishes)
        along_tangent(out, s, u, m);
    else
        for (size_t k = 0; k < s->all.n; k++)
            out[k] = rd(c, rd(c, s->y[0][k] * s->w[0]) + rd(c, s->y[1][k] * s->w[1]));
    for (size_t i = 0; i < s->n; i++)
        free(u[i]);
    free(m);
    return !vanishes || s->n == 2;
}

static bool multislerp(double *out, const struct ref_case *c)
{
    size_t n = ref_n_elem(c), index[REF_INPUTS];
    double *y[REF_INPUTS], total = 0;
    struct many s = { .c = c, .n = others(index, c), .y = y, .all = ref_line_at(c, REF_FLAT, 0) };
    if (s.n == 1) {
        memcpy(out, c->in[index[0]].x, n * sizeof *out);
        return true;
    }
    for (size_t i = 0; i < s.n; i++) {
        y[i] = offset_of(c, index[i]);
        s.w[i] = rd(c, c->in[index[i]].weight);
        total += s.w[i];
    }
    for (size_t i = 0; i < s.n && c->normalize_weights; i++)
        s.w[i] = rd(c, s.w[i] / rd(c, total));
    bool ok = spherical_mean(out, &s);
    add_base(out, c);
    for (size_t i = 0; i < s.n; i++)
        free(y[i]);
    return ok;
}

/* --- karcher --- */

static bool karcher_step(double *m, const struct ref_case *c, double *const *u, size_t n_u,
                         const double *alpha)
{
    struct ref_line all = ref_line_at(c, REF_FLAT, 0);
    double *tangent = vector(all.n);
    for (size_t i = 0; i < n_u; i++) {
        double sum = 0;
        for (size_t k = 0; k < all.n; k++)
            sum += m[k] * u[i][k];
        double cosine = clamp(rd(c, sum), -1, 1), theta = rd(c, acos(cosine));
        double gain = rd(c, wide(c, alpha[i]) * rd(c, theta / rd(c, sin(theta))));
        for (size_t k = 0; theta >= c->tol && k < all.n; k++)
            tangent[k] = rd(c, tangent[k] + rd(c, gain * rd(c, u[i][k] - rd(c, cosine * m[k]))));
    }
    double step = wide(c, norm(tangent, all));
    double cosine = rd(c, wide(c, cos(step))), sine = rd(c, wide(c, sin(step)));
    for (size_t k = 0; step >= c->tol && k < all.n; k++)
        m[k] = rd(c, rd(c, cosine * m[k]) + rd(c, sine * rd(c, tangent[k] / step)));
    double length = wide(c, norm(m, all));
    for (size_t k = 0; step >= c->tol && length > c->tol && k < all.n; k++)
        m[k] = rd(c, m[k] / length);
    free(tangent);
    return step >= c->tol;
}

static void karcher(double *out, const struct ref_case *c)
{
    struct ref_line all = ref_line_at(c, REF_FLAT, 0);
    double *u[REF_INPUTS], alpha[REF_INPUTS], scale = 0, total = 0, each = 1 / (double) c->n_inputs;
    size_t n_u = 0;
    if (c->n_inputs == 1) {
        memcpy(out, c->in[0].x, all.n * sizeof *out);
        return;
    }
    for (size_t i = 0; i < c->n_inputs; i++) {
        double length = wide(c, norm(c->in[i].x, all));
        scale = wide(c, scale + wide(c, wide(c, each) * length));
        if (!(length > c->tol))
            continue;
        u[n_u] = vector(all.n);
        for (size_t k = 0; k < all.n; k++)
            u[n_u][k] = rd(c, c->in[i].x[k] / length);
        n_u++;
        total += each;
    }
    double *m = vector(all.n);
    for (size_t i = 0; i < n_u; i++) {
        alpha[i] = each / total;
        for (size_t k = 0; k < all.n; k++)
            m[k] = rd(c, m[k] + rd(c, wide(c, alpha[i]) * u[i][k]));
    }
    double length = wide(c, norm(m, all));
    for (size_t k = 0; n_u > 0 && k < all.n; k++)
        m[k] = length < c->tol ? u[0][k] : rd(c, m[k] / length);
    for (int it = 0; n_u > 0 && it < c->max_iter; it++)
        if (!karcher_step(m, c, u, n_u, alpha))
            break;
    for (size_t k = 0; k < all.n; k++)
        out[k] = rd(c, rd(c, scale) * m[k]);
    free(m);
    for (size_t i = 0; i < n_u; i++)
        free(u[i]);
}

/* --- model_stock --- */

static double stock_t(const struct ref_case *c, double *const *delta, size_t n_d, struct ref_line l)
{
    double sum = 0, count = (double) n_d, norms[REF_INPUTS];
    for (size_t i = 0; i < n_d; i++)
        norms[i] = rd(c, norm(delta[i], l));
    for (size_t i = 0; i < n_d; i++)
        for (size_t j = i + 1; j < n_d; j++) {
            double product = fmax(rd(c, norms[i] * norms[j]), rd(c, 1e-6));
            double d = dot_rounded(c, delta[i], delta[j], l);
            sum = wide(c, sum + clamp(rd(c, d / product), -1, 1));
        }
    double cosine = rd(c, sum / (count * (count - 1) / 2));
    double den = rd(c, 1 + rd(c, (count - 1) * cosine));
    return fabs(den) < rd(c, 1e-6) ? 0 : rd(c, rd(c, count * cosine) / den);
}

static void model_stock(double *out, const struct ref_case *c)
{
    size_t index[REF_INPUTS], n_others = others(index, c);
    double *delta[REF_INPUTS];
    assert(n_others >= 2);
    for (size_t i = 0; i < n_others; i++)
        delta[i] = offset_of(c, index[i]);
    int axis = c->filter_wise ? ref_last_axis(c) : REF_FLAT;
    for (size_t r = 0; r < ref_n_lines(c, axis); r++) {
        struct ref_line l = ref_line_at(c, axis, r);
        double t = stock_t(c, delta, n_others, l);
        for (size_t k = 0; k < l.n; k++) {
            size_t at = l.first + k * l.stride;
            double average = 0;
            for (size_t i = 0; i < n_others; i++)
                average = rd(c, average + c->in[index[i]].x[at]);
            average = rd(c, average / (double) n_others);
            out[at] = rd(c, rd(c, t * average) + rd(c, rd(c, 1 - t) * base_of(c)[at]));
        }
    }
    for (size_t i = 0; i < n_others; i++)
        free(delta[i]);
}

/* --- sce --- */

static void sce_select(double *const *delta, size_t n_d, const struct ref_case *c)
{
    size_t n = ref_n_elem(c), n_nonzero = 0, n_kept = 0;
    float *variance = calloc(n + 1, sizeof *variance);
    size_t *order = calloc(n + 1, sizeof *order);
    assert(variance && order);
    for (size_t k = 0; k < n; k++) {
        double mean = 0, squares = 0;
        for (size_t i = 0; i < n_d; i++)
            mean += delta[i][k];
        mean /= (double) n_d;
        for (size_t i = 0; i < n_d; i++)
            squares += (delta[i][k] - mean) * (delta[i][k] - mean);
        variance[k] = (float) rd(c, squares / (double) n_d);
        n_nonzero += variance[k] != 0;
    }
    if (c->select_topk > 0)
        n_kept = (size_t) ((float) n_nonzero * (float) c->select_topk);
    ref_rank_ascending(order, variance, n);
    for (size_t r = 0; r + n_kept < n; r++)
        for (size_t i = 0; i < n_d; i++)
            delta[i][order[r]] = 0;
    free(variance);
    free(order);
}

static void sce_weights(double *q, double *const *delta, size_t n_d, const struct ref_case *c)
{
    size_t n = ref_n_elem(c);
    double total = 0;
    for (size_t i = 0; i < n_d; i++) {
        double sum = 0;
        for (size_t k = 0; k < n; k++)
            sum += rd(c, delta[i][k] * delta[i][k]);
        q[i] = rd(c, sum / (double) n);
        total += q[i];
    }
    total = rd(c, total);
    for (size_t i = 0; i < n_d; i++)
        q[i] = fabs(total) < 1e-6 ? rd(c, 1 / (double) n_d) : rd(c, q[i] / total);
}

static void sce(double *out, const struct ref_case *c)
{
    size_t n = ref_n_elem(c), index[REF_INPUTS], n_others = others(index, c);
    double *delta[REF_INPUTS], q[REF_INPUTS];
    for (size_t i = 0; i < n_others; i++)
        delta[i] = offset_of(c, index[i]);
    if (c->select_topk < 1)
        sce_select(delta, n_others, c);
    sce_weights(q, delta, n_others, c);
    for (size_t k = 0; k < n; k++) {
        double d[REF_INPUTS], term[REF_INPUTS];
        bool agrees[REF_INPUTS];
        for (size_t i = 0; i < n_others; i++) {
            d[i] = delta[i][k];
            term[i] = rd(c, d[i] * q[i]);
        }
        consensus(agrees, c, d, n_others);
        double mix = sum_models(c, term, agrees, n_others);
        double divisor = fmax(sum_models(c, q, agrees, n_others), rd(c, 1e-6));
        out[k] = rd(c, base_of(c)[k] + rd(c, mix / divisor));
    }
    for (size_t i = 0; i < n_others; i++)
        free(delta[i]);
}

/* --- nearswap, arcee_fusion --- */

static void nearswap(double *out, const struct ref_case *c)
{
    size_t index[REF_INPUTS];
    assert(others(index, c) == 1);
    const double *a = base_of(c), *b = c->in[index[0]].x;
    for (size_t k = 0; k < ref_n_elem(c); k++) {
        double gap = fmax(fabs(rd(c, a[k] - b[k])), rd(c, 1e-6));
        double w = clamp(rd(c, rd(c, 1 / gap) * wide(c, c->t)), 0, 1);
        out[k] = rd(c, rd(c, w * b[k]) + rd(c, rd(c, 1 - w) * a[k]));
    }
}

static void softmax_line(double *p, const struct ref_case *c, const double *x, struct ref_line l)
{
    double most = -HUGE_VAL, sum = 0;
    for (size_t k = 0; k < l.n; k++)
        most = fmax(most, x[l.first + k]);
    for (size_t k = 0; k < l.n; k++)
        sum += p[k] = exp(x[l.first + k] - most);
    for (size_t k = 0; k < l.n; k++)
        p[k] = rd(c, rd(c, p[k] / sum) + rd(c, 1e-8));
}

static void arcee_scores(float *score, const struct ref_case *c, const double *x, const double *b)
{
    size_t n = ref_n_elem(c);
    double *p = vector(n), *q = vector(n);
    for (size_t r = 0; r < ref_n_lines(c, ref_last_axis(c)); r++) {
        struct ref_line l = ref_line_at(c, ref_last_axis(c), r);
        double kl = 0;
        softmax_line(p, c, x, l);
        softmax_line(q, c, b, l);
        for (size_t k = 0; k < l.n; k++)
            kl += rd(c, p[k] * rd(c, log(rd(c, p[k] / q[k]))));
        kl = rd(c, kl);
        for (size_t k = l.first; k < l.first + l.n; k++)
            score[k] = (float) rd(c, fabs(rd(c, x[k] - b[k])) * kl);
    }
    free(p);
    free(q);
}

static double quartile(const float *key, const size_t *order, size_t n, double f)
{
    return (double) key[order[(size_t) (f * (double) (n - 1))]];
}

static void arcee_fusion(double *out, const struct ref_case *c)
{
    size_t n = ref_n_elem(c), index[REF_INPUTS];
    assert(others(index, c) == 1 && n > 0);
    const double *b = base_of(c), *x = c->in[index[0]].x;
    float *score = calloc(n, sizeof *score);
    size_t *order = calloc(n, sizeof *order);
    assert(score && order);
    arcee_scores(score, c, x, b);
    ref_rank_ascending(order, score, n);
    double spread = rd(c, quartile(score, order, n, .75) - quartile(score, order, n, .25));
    double threshold = rd(c, quartile(score, order, n, .5) + rd(c, 1.5 * spread));
    for (size_t k = 0; k < n; k++)
        out[k] = (double) score[k] >= threshold ? wide(c, b[k] + rd(c, x[k] - b[k])) : b[k];
    free(score);
    free(order);
}

/* --- ram --- */

static void ram_gains(double *gain, const struct ref_case *c, double *const *z, size_t n_z,
                      const double *count)
{
    for (size_t i = 0; i < n_z; i++) {
        double shared = 0, alone = 0;
        for (size_t k = 0; k < ref_n_elem(c); k++) {
            shared += z[i][k] != 0 && count[k] > 1;
            alone += z[i][k] != 0 && count[k] == 1;
        }
        float least = (float) c->ram_epsilon, rho = (float) shared;
        rho /= (float) alone > least ? (float) alone : least;
        gain[i] = (double) (1 + (float) c->r * fminf(fmaxf(rho, 0), (float) c->alpha));
    }
}

static void ram(double *out, const struct ref_case *c, bool plus)
{
    size_t n = ref_n_elem(c), index[REF_INPUTS], n_others = others(index, c);
    double *z[REF_INPUTS], *count = vector(n), gain[REF_INPUTS];
    for (size_t i = 0; i < n_others; i++) {
        z[i] = offset_of(c, index[i]);
        for (size_t k = 0; k < n; k++) {
            z[i][k] = fabs(z[i][k]) > rd(c, c->ram_epsilon) ? z[i][k] : 0;
            count[k] += z[i][k] != 0;
        }
    }
    ram_gains(gain, c, z, n_others, count);
    for (size_t k = 0; k < n; k++) {
        double sum = 0;
        for (size_t i = 0; i < n_others; i++) {
            double alone = plus ? wide(c, z[i][k] * gain[i]) : z[i][k];
            sum = wide(c, sum + (count[k] > 1 ? rd(c, z[i][k] / count[k]) : alone));
        }
        out[k] = plus ? wide(c, base_of(c)[k] + sum) : rd(c, base_of(c)[k] + rd(c, sum));
    }
    for (size_t i = 0; i < n_others; i++)
        free(z[i]);
    free(count);
}

bool ref_merge_mergekit(double *out, const struct ref_case *c)
{
    const struct ref_family *family = ref_family_of(c->method);
    const char *m = c->method;
    assert(c->n_inputs >= 1 && c->n_inputs <= REF_INPUTS);
    if (family)
        task_vectors(out, c, family);
    else if (strcmp(m, "linear") == 0)
        linear(out, c);
    else if (strcmp(m, "passthrough") == 0)
        passthrough(out, c);
    else if (strcmp(m, "slerp") == 0)
        slerp(out, c);
    else if (strcmp(m, "nuslerp") == 0)
        nuslerp(out, c);
    else if (strcmp(m, "multislerp") == 0)
        return multislerp(out, c);
    else if (strcmp(m, "karcher") == 0)
        karcher(out, c);
    else if (strcmp(m, "model_stock") == 0)
        model_stock(out, c);
    else if (strcmp(m, "sce") == 0)
        sce(out, c);
    else if (strcmp(m, "nearswap") == 0)
        nearswap(out, c);
    else if (strcmp(m, "arcee_fusion") == 0)
        arcee_fusion(out, c);
    else {
        assert(strcmp(m, "ram") == 0 || strcmp(m, "ramplus_tl") == 0);
        ram(out, c, strcmp(m, "ramplus_tl") == 0);
    }
    return true;
}
