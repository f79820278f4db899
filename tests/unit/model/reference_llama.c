#include "tests/unit/model/reference_llama.h"

#include <math.h>

#include "tests/unit/test.h"

struct model {
    const struct memory_source *m;
    const struct uqm_text_config *c;
    size_t n; /* positions */
};

static double *weights(const struct model *r, uint32_t layer, const char *name)
{
    char full[128];
    snprintf(full, sizeof full, "language_model.model.layers.%u.%s.weight", layer, name);
    return memory_source_values(r->m, full);
}

/* y (n, rows) = x (n, k) W^T */
static double *linear(const struct model *r, const double *x, double *w, size_t rows, size_t k)
{
    double *y = calloc(r->n * rows, sizeof *y);
    assert_non_null(y);
    for (size_t t = 0; t < r->n; t++)
        for (size_t i = 0; i < rows; i++)
            for (size_t e = 0; e < k; e++)
                y[t * rows + i] += x[t * k + e] * w[i * k + e];
    free(w);
    return y;
}

static double *norm(const struct model *r, const double *x, double *w)
{
    const size_t h = r->c->hidden;
    double *y = calloc(r->n * h, sizeof *y);
    assert_non_null(y);
    for (size_t t = 0; t < r->n; t++) {
        double sum = 0;
        for (size_t e = 0; e < h; e++)
            sum += x[t * h + e] * x[t * h + e];
        const double scale = 1 / sqrt(sum / (double) h + (double) r->c->rms_eps);
        for (size_t e = 0; e < h; e++)
            y[t * h + e] = x[t * h + e] * scale * w[e];
    }
    free(w);
    return y;
}

static void rotate(const struct model *r, double *x, size_t n_heads)
{
    const size_t d = r->c->head_dim, half = d / 2;
    for (size_t t = 0; t < r->n; t++)
        for (size_t h = 0; h < n_heads; h++)
            for (size_t i = 0; i < half; i++) {
                double *p = x + (t * n_heads + h) * d + i;
                const double f = pow(r->c->rope_theta, -2.0 * (double) i / (double) d);
                const double c = cos((double) t * f), s = sin((double) t * f);
                const double a = p[0], b = p[half];
                p[0] = a * c - b * s;
                p[half] = b * c + a * s;
            }
}

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static double *attention(const struct model *r, const double *q, const double *k, const double *v)
{
    const size_t d = r->c->head_dim, nh = r->c->n_heads, nkv = r->c->n_kv_heads;
    double *out = calloc(r->n * nh * d, sizeof *out), *p = calloc(r->n, sizeof *p);
    assert_true(out && p);
    for (size_t t = 0; t < r->n; t++)
        for (size_t h = 0; h < nh; h++) {
            const size_t g = h / (nh / nkv);
            double sum = 0;
            for (size_t j = 0; j <= t; j++)
                sum += p[j] =
                    exp(dot(q + (t * nh + h) * d, k + (j * nkv + g) * d, d) / sqrt((double) d));
            for (size_t j = 0; j <= t; j++)
                for (size_t e = 0; e < d; e++)
                    out[(t * nh + h) * d + e] += p[j] / sum * v[(j * nkv + g) * d + e];
        }
    free(p);
    return out;
}

static void add(double *x, double *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] += y[i];
    free(y);
}

static void layer(const struct model *r, double *x, uint32_t i)
{
    const struct uqm_text_config *c = r->c;
    const size_t h = c->hidden, qw = (size_t) c->n_heads * c->head_dim;
    const size_t kvw = (size_t) c->n_kv_heads * c->head_dim;

    double *y = norm(r, x, weights(r, i, "input_layernorm"));
    double *q = linear(r, y, weights(r, i, "self_attn.q_proj"), qw, h);
    double *k = linear(r, y, weights(r, i, "self_attn.k_proj"), kvw, h);
    double *v = linear(r, y, weights(r, i, "self_attn.v_proj"), kvw, h);
    free(y);
    rotate(r, q, c->n_heads);
    rotate(r, k, c->n_kv_heads);
    double *a = attention(r, q, k, v);
    free(q);
    free(k);
    free(v);
    add(x, linear(r, a, weights(r, i, "self_attn.o_proj"), h, qw), r->n * h);
    free(a);

    y = norm(r, x, weights(r, i, "post_attention_layernorm"));
    double *gate = linear(r, y, weights(r, i, "mlp.gate_proj"), c->inner, h);
    double *up = linear(r, y, weights(r, i, "mlp.up_proj"), c->inner, h);
    for (size_t e = 0; e < r->n * c->inner; e++)
        gate[e] *= up[e] / (1 + exp(-gate[e]));
    add(x, linear(r, gate, weights(r, i, "mlp.down_proj"), h, c->inner), r->n * h);
    free(y);
    free(gate);
    free(up);
}

void reference_llama(double *logits, const struct memory_source *m,
                     const struct uqm_text_config *config, const int32_t *ids, size_t n_ids)
{
    const struct model r = { .m = m, .c = config, .n = n_ids };
    const size_t h = config->hidden;
    double *embed = memory_source_values(m, "language_model.model.embed_tokens.weight");
    double *head = config->tied_head
                       ? memory_source_values(m, "language_model.model.embed_tokens.weight")
                       : memory_source_values(m, "language_model.lm_head.weight");
    double *x = calloc(n_ids * h, sizeof *x);
    assert_non_null(x);
    for (size_t t = 0; t < n_ids; t++)
        memcpy(x + t * h, embed + (size_t) ids[t] * h, h * sizeof *x);
    for (uint32_t i = 0; i < config->n_layers; i++)
        layer(&r, x, i);
    double *y = norm(&r, x, memory_source_values(m, "language_model.model.norm.weight"));
    for (size_t i = 0; i < config->vocab_size; i++)
        logits[i] = dot(y + (n_ids - 1) * h, head + i * h, h);
    free(x);
    free(y);
    free(embed);
    free(head);
}
