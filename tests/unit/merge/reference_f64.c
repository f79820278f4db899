#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/merge/reference_merge.h"

/* --- vectors --- */

static double *vector(size_t n)
{
    double *v = calloc(n + 1, sizeof *v);
    assert(v);
    return v;
}

static double dot(const double *a, const double *b, struct ref_line l)
{
    double sum = 0;
    for (size_t k = 0; k < l.n; k++)
        sum += a[l.first + k * l.stride] * b[l.first + k * l.stride];
    return sum;
}

static double norm(const double *a, struct ref_line l)
{
    return sqrt(dot(a, a, l));
}

static double clamp(double v, double low, double high)
{
    return v < low ? low : v > high ? high : v;
}

/* The inputs that are not the base: their indices. */
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

/* y = x - base, or x where there is none. */
static double *offset_of(const struct ref_case *c, size_t input)
{
    size_t n = ref_n_elem(c);
    double *y = vector(n);
    for (size_t k = 0; k < n; k++)
        y[k] = c->in[input].x[k] - (c->base >= 0 ? base_of(c)[k] : 0);
    return y;
}

/* --- task vectors, spec 2 and 3.1 --- */

static void keep_random(bool *keep, const struct ref_case *c, size_t input)
{
    for (size_t k = 0; k < ref_n_elem(c); k++)
        keep[k] = c->draw(c->draw_ctx) < c->in[input].density;
}

static void keep_by_rank(bool *keep, const struct ref_case *c, size_t input, const float *key)
{
    const struct ref_input *in = &c->in[input];
    size_t n = ref_n_elem(c), most = 0;
    double *p = vector(n);
    int axis = ref_axis_of_ranks(c);
    for (size_t i = 0; i < ref_n_lines(c, axis); i++)
        most = ref_line_at(c, axis, i).n;
    float *line_key = calloc(most + 1, sizeof *line_key);
    size_t *order = calloc(most + 1, sizeof *order);
    assert(line_key && order);
    for (size_t i = 0; i < ref_n_lines(c, axis); i++) {
        struct ref_line l = ref_line_at(c, axis, i);
        for (size_t k = 0; k < l.n; k++)
            line_key[k] = key[l.first + k * l.stride];
        ref_rank_ascending(order, line_key, l.n);
        for (size_t r = 0; r < l.n; r++)
            p[l.first + order[r] * l.stride] =
                l.n == 1 ? in->density
                         : in->density - in->epsilon +
                               2 * in->epsilon * ((double) r / (double) (l.n - 1));
    }
    for (size_t k = 0; k < n; k++)
        keep[k] = in->density > 0 && c->draw(c->draw_ctx) < p[k];
    free(line_key);
    free(order);
    free(p);
}

static void sparsify(double *delta, const struct ref_case *c, const struct ref_family *family,
                     size_t input)
{
    const struct ref_input *in = &c->in[input];
    size_t n = ref_n_elem(c);
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
    case REF_RANDOM: keep_random(keep, c, input); break;
    default: keep_by_rank(keep, c, input, key); break;
    }
    double before = 0, after = 0;
    for (size_t k = 0; k < n; k++) {
        before += fabs(delta[k]);
        delta[k] = keep[k] ? delta[k] : 0;
        after += fabs(delta[k]);
    }
    if (c->rescale && before >= 1e-7 && after >= 1e-7)
        for (size_t k = 0; k < n; k++)
            delta[k] *= before / after;
    free(keep);
    free(key);
}

static int sign_of(double v)
{
    return (v > 0) - (v < 0);
}

static void task_vectors(double *out, const struct ref_case *c, const struct ref_family *family)
{
    size_t n = ref_n_elem(c), index[REF_INPUTS], n_others = others(index, c);
    double *e[REF_INPUTS], w[REF_INPUTS];
    for (size_t i = 0; i < n_others; i++) {
        e[i] = offset_of(c, index[i]);
        w[i] = c->in[index[i]].weight;
        sparsify(e[i], c, family, index[i]);
        for (size_t k = 0; k < n; k++)
            e[i][k] *= w[i];
    }
    for (size_t k = 0; k < n; k++) {
        double sum = 0, mix = 0, divisor = 0;
        for (size_t i = 0; i < n_others; i++)
            sum += e[i][k];
        for (size_t i = 0; i < n_others; i++) {
            bool counts = !family->consensus || sign_of(e[i][k]) == (sum >= 0 ? 1 : -1);
            mix += counts ? e[i][k] : 0;
            divisor += counts ? w[i] : 0;
        }
        if (family->consensus ? divisor == 0 : fabs(divisor) < 1e-8)
            divisor = 1;
        out[k] = base_of(c)[k] + (c->normalize ? mix / divisor : mix) * c->lambda;
    }
    for (size_t i = 0; i < n_others; i++)
        free(e[i]);
}

/* --- linear, passthrough --- */

static void linear(double *out, const struct ref_case *c)
{
    double total = 0;
    for (size_t i = 0; i < c->n_inputs; i++)
        total += c->in[i].weight;
    for (size_t k = 0; k < ref_n_elem(c); k++) {
        double sum = 0;
        for (size_t i = 0; i < c->n_inputs; i++)
            sum += c->in[i].weight * c->in[i].x[k];
        out[k] = c->normalize ? sum / total : sum;
    }
}

static void passthrough(double *out, const struct ref_case *c)
{
    assert(c->n_inputs == 1);
    for (size_t k = 0; k < ref_n_elem(c); k++)
        out[k] = c->in[0].x[k] * (c->in[0].has_scale ? c->in[0].scale : 1);
}

/* --- along great circles --- */

static void slerp(double *out, const struct ref_case *c)
{
    size_t index[REF_INPUTS];
    assert(others(index, c) == 1);
    const double *a = base_of(c), *b = c->in[index[0]].x;
    struct ref_line all = ref_line_at(c, REF_FLAT, 0);
    double na = norm(a, all), nb = norm(b, all), ca = 1 - c->t, cb = c->t;
    na = na <= 1e-8 ? 1 : na;
    nb = nb <= 1e-8 ? 1 : nb;
    double d = clamp(dot(a, b, all) / na / nb, -1, 1);
    if (fabs(d) <= 0.9995) {
        double theta = acos(d);
        ca = sin((1 - c->t) * theta) / sin(theta);
        cb = sin(c->t * theta) / sin(theta);
    }
    for (size_t k = 0; k < all.n; k++)
        out[k] = ca * a[k] + cb * b[k];
}

static void nuslerp_line(double *out, const double *v0, const double *v1, struct ref_line l,
                         double t)
{
    double n0 = fmax(norm(v0, l), 1e-7), n1 = fmax(norm(v1, l), 1e-7);
    double cosine = clamp(dot(v0, v1, l) / (n0 * n1), -1, 1), c0 = 1 - t, c1 = t;
    if (1 - cosine * cosine > 1e-16) {
        double theta = acos(cosine);
        c0 = sin((1 - t) * theta) / sin(theta);
        c1 = sin(t * theta) / sin(theta);
    }
    for (size_t k = 0; k < l.n; k++) {
        size_t at = l.first + k * l.stride;
        out[at] = c0 * v0[at] + c1 * v1[at];
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
        nuslerp_line(out, v0, v1, ref_line_at(c, axis, i), t);
    for (size_t k = 0; c->base >= 0 && k < ref_n_elem(c); k++)
        out[k] += base_of(c)[k];
    free(v0);
    free(v1);
}

/* out = the spherical mean of y[0..n_y) with weights w, of which there are more than one. */
static bool multislerp_of(double *out, double *const *y, size_t n_y, const double *w, double eps,
                          struct ref_line all)
{
    double scale[REF_INPUTS], average = 0;
    double *m = vector(all.n), *tau = vector(all.n);
    for (size_t i = 0; i < n_y; i++) {
        double n = norm(y[i], all);
        average += n * w[i];
        scale[i] = 1 / (n + eps);
        for (size_t k = 0; k < all.n; k++)
            m[k] += y[i][k] * scale[i] * w[i];
    }
    double length = norm(m, all);
    bool vanishes = length < eps;
    for (size_t k = 0; k < all.n; k++)
        m[k] /= vanishes ? 1 : length;
    for (size_t i = 0; i < n_y; i++) {
        double along = dot(y[i], m, all) * scale[i];
        for (size_t k = 0; k < all.n; k++)
            tau[k] += (y[i][k] * scale[i] - along * m[k]) * w[i];
    }
    double h = norm(tau, all) + eps;
    for (size_t k = 0; k < all.n; k++)
        out[k] = vanishes ? y[0][k] * w[0] + y[1][k] * w[1]
                          : (m[k] * cos(h) + tau[k] * (sin(h) / h)) * average;
    free(m);
    free(tau);
    return !vanishes || n_y == 2;
}

static bool multislerp(double *out, const struct ref_case *c)
{
    size_t n = ref_n_elem(c), index[REF_INPUTS], n_others = others(index, c);
    double *y[REF_INPUTS], w[REF_INPUTS], total = 0;
    if (n_others == 1) {
        memcpy(out, c->in[index[0]].x, n * sizeof *out);
        return true;
    }
    for (size_t i = 0; i < n_others; i++) {
        y[i] = offset_of(c, index[i]);
        total += c->in[index[i]].weight;
    }
    for (size_t i = 0; i < n_others; i++)
        w[i] = c->in[index[i]].weight / (c->normalize_weights ? total : 1);
    bool ok = multislerp_of(out, y, n_others, w, c->eps, ref_line_at(c, REF_FLAT, 0));
    for (size_t k = 0; c->base >= 0 && k < n; k++)
        out[k] += base_of(c)[k];
    for (size_t i = 0; i < n_others; i++)
        free(y[i]);
    return ok;
}

/* One step of the iteration; false: the mean stands still. */
static bool karcher_step(double *m, double *const *u, size_t n_u, double tol, struct ref_line all)
{
    double *tangent = vector(all.n);
    for (size_t i = 0; i < n_u; i++) {
        double cosine = clamp(dot(m, u[i], all), -1, 1), theta = acos(cosine);
        for (size_t k = 0; theta >= tol && k < all.n; k++)
            tangent[k] += theta / sin(theta) / (double) n_u * (u[i][k] - cosine * m[k]);
    }
    double step = norm(tangent, all);
    for (size_t k = 0; step >= tol && k < all.n; k++)
        m[k] = m[k] * cos(step) + tangent[k] / step * sin(step);
    free(tangent);
    double length = norm(m, all);
    for (size_t k = 0; step >= tol && length > tol && k < all.n; k++)
        m[k] /= length;
    return step >= tol;
}

static void karcher(double *out, const struct ref_case *c)
{
    struct ref_line all = ref_line_at(c, REF_FLAT, 0);
    double *u[REF_INPUTS], scale = 0;
    size_t n_u = 0;
    if (c->n_inputs == 1) {
        memcpy(out, c->in[0].x, all.n * sizeof *out);
        return;
    }
    for (size_t i = 0; i < c->n_inputs; i++) {
        double length = norm(c->in[i].x, all);
        scale += length / (double) c->n_inputs;
        if (length <= c->tol)
            continue;
        u[n_u] = vector(all.n);
        for (size_t k = 0; k < all.n; k++)
            u[n_u][k] = c->in[i].x[k] / length;
        n_u++;
    }
    double *m = vector(all.n);
    for (size_t i = 0; i < n_u; i++)
        for (size_t k = 0; k < all.n; k++)
            m[k] += u[i][k] / (double) n_u;
    double length = norm(m, all);
    for (size_t k = 0; n_u > 0 && k < all.n; k++)
        m[k] = length < c->tol ? u[0][k] : m[k] / length;
    for (int it = 0; n_u > 0 && it < c->max_iter; it++)
        if (!karcher_step(m, u, n_u, c->tol, all))
            break;
    for (size_t k = 0; k < all.n; k++)
        out[k] = m[k] * scale;
    free(m);
    for (size_t i = 0; i < n_u; i++)
        free(u[i]);
}

/* --- model_stock --- */

static double stock_t(double *const *delta, size_t n_d, struct ref_line l)
{
    double sum = 0, n = (double) n_d;
    for (size_t i = 0; i < n_d; i++)
        for (size_t j = i + 1; j < n_d; j++)
            sum += clamp(dot(delta[i], delta[j], l) /
                             fmax(norm(delta[i], l) * norm(delta[j], l), 1e-6),
                         -1, 1);
    double cosine = sum / (n * (n - 1) / 2), den = 1 + (n - 1) * cosine;
    return fabs(den) < 1e-6 ? 0 : n * cosine / den;
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
        double t = stock_t(delta, n_others, l);
        for (size_t k = 0; k < l.n; k++) {
            size_t at = l.first + k * l.stride;
            double average = 0;
            for (size_t i = 0; i < n_others; i++)
                average += c->in[index[i]].x[at] / (double) n_others;
            out[at] = t * average + (1 - t) * base_of(c)[at];
        }
    }
    for (size_t i = 0; i < n_others; i++)
        free(delta[i]);
}

/* --- sce --- */

/* Zero what is not among the k positions of largest variance. */
static void sce_select(double *const *delta, size_t n_d, const struct ref_case *c)
{
    size_t n = ref_n_elem(c), n_nonzero = 0;
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
        variance[k] = (float) (squares / (double) n_d);
        n_nonzero += variance[k] != 0;
    }
    size_t n_kept = 0;
    if (c->select_topk > 0)
        n_kept = (size_t) ((float) n_nonzero * (float) c->select_topk);
    ref_rank_ascending(order, variance, n);
    for (size_t r = 0; r + n_kept < n; r++)
        for (size_t i = 0; i < n_d; i++)
            delta[i][order[r]] = 0;
    free(variance);
    free(order);
}

static void sce(double *out, const struct ref_case *c)
{
    size_t n = ref_n_elem(c), index[REF_INPUTS], n_others = others(index, c);
    double *delta[REF_INPUTS], q[REF_INPUTS], total = 0;
    for (size_t i = 0; i < n_others; i++)
        delta[i] = offset_of(c, index[i]);
    if (c->select_topk < 1)
        sce_select(delta, n_others, c);
    for (size_t i = 0; i < n_others; i++) {
        q[i] = dot(delta[i], delta[i], ref_line_at(c, REF_FLAT, 0)) / (double) n;
        total += q[i];
    }
    for (size_t i = 0; i < n_others; i++)
        q[i] = fabs(total) < 1e-6 ? 1 / (double) n_others : q[i] / total;
    for (size_t k = 0; k < n; k++) {
        double sum = 0, mix = 0, divisor = 0;
        for (size_t i = 0; i < n_others; i++)
            sum += delta[i][k];
        for (size_t i = 0; i < n_others; i++) {
            bool counts = sign_of(delta[i][k]) == (sum >= 0 ? 1 : -1);
            mix += counts ? delta[i][k] * q[i] : 0;
            divisor += counts ? q[i] : 0;
        }
        out[k] = base_of(c)[k] + mix / fmax(divisor, 1e-6);
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
        double w = clamp(c->t / fmax(fabs(a[k] - b[k]), 1e-6), 0, 1);
        out[k] = w * b[k] + (1 - w) * a[k];
    }
}

/* The probabilities of one line, each with 1e-8 added. */
static void softmax_line(double *p, const double *x, struct ref_line l)
{
    double most = -HUGE_VAL, sum = 0;
    for (size_t k = 0; k < l.n; k++)
        most = fmax(most, x[l.first + k * l.stride]);
    for (size_t k = 0; k < l.n; k++)
        sum += p[k] = exp(x[l.first + k * l.stride] - most);
    for (size_t k = 0; k < l.n; k++)
        p[k] = p[k] / sum + 1e-8;
}

/* What lies at position trunc(f (n - 1)) of the sorted keys. */
static double quartile(const float *key, const size_t *order, size_t n, double f)
{
    return (double) key[order[(size_t) (f * (double) (n - 1))]];
}

static void arcee_fusion(double *out, const struct ref_case *c)
{
    size_t n = ref_n_elem(c), index[REF_INPUTS];
    assert(others(index, c) == 1);
    const double *b = base_of(c), *x = c->in[index[0]].x;
    float *score = calloc(n + 1, sizeof *score);
    size_t *order = calloc(n + 1, sizeof *order);
    double *p = vector(n), *q = vector(n);
    assert(score && order);
    for (size_t r = 0; r < ref_n_lines(c, ref_last_axis(c)); r++) {
        struct ref_line l = ref_line_at(c, ref_last_axis(c), r);
        double kl = 0;
        softmax_line(p, x, l);
        softmax_line(q, b, l);
        for (size_t k = 0; k < l.n; k++)
            kl += p[k] * log(p[k] / q[k]);
        for (size_t k = 0; k < l.n; k++)
            score[l.first + k] = (float) (fabs(x[l.first + k] - b[l.first + k]) * kl);
    }
    ref_rank_ascending(order, score, n);
    double threshold = 0;
    if (n > 0)
        threshold = quartile(score, order, n, .5) +
                    1.5 * (quartile(score, order, n, .75) - quartile(score, order, n, .25));
    for (size_t k = 0; k < n; k++)
        out[k] = (double) score[k] >= threshold ? b[k] + (x[k] - b[k]) : b[k];
    free(score);
    free(order);
    free(p);
    free(q);
}

/* --- ram --- */

static void ram(double *out, const struct ref_case *c, bool plus)
{
    size_t n = ref_n_elem(c), index[REF_INPUTS], n_others = others(index, c);
    double *delta[REF_INPUTS], *count = vector(n), gain[REF_INPUTS];
    for (size_t i = 0; i < n_others; i++) {
        delta[i] = offset_of(c, index[i]);
        for (size_t k = 0; k < n; k++) {
            delta[i][k] = fabs(delta[i][k]) > c->ram_epsilon ? delta[i][k] : 0;
            count[k] += delta[i][k] != 0;
        }
    }
    for (size_t i = 0; i < n_others; i++) {
        double shared = 0, alone = 0;
        for (size_t k = 0; k < n; k++) {
            shared += delta[i][k] != 0 && count[k] > 1;
            alone += delta[i][k] != 0 && count[k] == 1;
        }
        double rho = shared / fmax(alone, c->ram_epsilon);
        gain[i] = plus ? 1 + c->r * clamp(rho, 0, c->alpha) : 1;
    }
    for (size_t k = 0; k < n; k++) {
        double sum = 0;
        for (size_t i = 0; i < n_others; i++)
            sum += count[k] > 1 ? delta[i][k] / count[k] : delta[i][k] * gain[i];
        out[k] = base_of(c)[k] + sum;
    }
    for (size_t i = 0; i < n_others; i++)
        free(delta[i]);
    free(count);
}

bool ref_merge_f64(double *out, const struct ref_case *c)
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
    else if (strcmp(m, "ram") == 0)
        ram(out, c, false);
    else {
        assert(strcmp(m, "ramplus_tl") == 0);
        ram(out, c, true);
    }
    return true;
}
