/*
 * Prefill at 7B shapes beside OpenBLAS on the same products: a decoder layer, and a prompt from its
 * tokens to its logits.
 */
#include <cblas.h>

#include "benchmarks/bench_uq_block.h"
#include "compute/blas.h"
#include "compute/threads.h"

static struct spent time_network(struct setup *s, uint32_t n_layers, uint32_t vocab_size,
                                 size_t tokens, bool whole_vocabulary)
{
    struct uqm_model_config config = config_7b(n_layers, vocab_size);
    struct block_source *b = make_layers(&s->env, &config.text, LAYER_ELEM);
    struct uqm_network *network = NULL;
    struct questions q;
    struct uqm_err err = { 0 };

    make_questions(&q, &config, 1, tokens, 0.1);
    q.whole_vocabulary = whole_vocabulary;
    check(uqm_network_create(&network, &s->machine, &b->source, &config, s->memory, &err), &err);
    const struct spent spent = time_logits(network, &q, NULL);
    uqm_network_destroy(&network);
    free_questions(&q);
    free_block(b);
    return spent;
}

static struct spent time_layers(struct setup *s, uint32_t n_layers, size_t tokens)
{
    return time_network(s, n_layers, 512, tokens, false);
}

/* ---- OpenBLAS by itself, threaded as it likes ---- */

/* n_layers of a layer's products, and n_kv of K's and V's alone. */
static void multiply(size_t tokens, uint32_t n_layers, uint32_t n_kv, const float *x,
                     const float *w, float *y)
{
    static const struct {
        int n, k;
        bool is_kv;
    } shapes[] = {
        { 4096, 4096, true },   { 4096, 4096, true },   { 4096, 4096, false },
        { 4096, 4096, false },  { 11008, 4096, false }, { 11008, 4096, false },
        { 4096, 11008, false },
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (uint32_t k = 0; k < n_layers + (shapes[i].is_kv ? n_kv : 0); k++)
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int) tokens, shapes[i].n,
                        shapes[i].k, 1.0f, x, shapes[i].k, w, shapes[i].k, 0.0f, y, shapes[i].n);
}

static struct spent time_sgemm(int n_threads, size_t tokens, uint32_t n_layers, uint32_t n_kv)
{
    const size_t w_elem = (size_t) 4096 * 11008;
    float *x = checked(calloc(tokens * 11008, sizeof *x));
    float *y = checked(calloc(tokens * 11008, sizeof *y));
    float *w = checked(calloc(w_elem, sizeof *w));
    for (size_t i = 0; i < w_elem; i++)
        w[i] = (float) (i % 31) * 0.001f;
    for (size_t i = 0; i < tokens * 11008; i++)
        x[i] = (float) (i % 29) * 0.01f;
    memset(y, 1, tokens * 11008 * sizeof *y); /* its pages are ours before the clock runs */

    uqm_blas_setup(); /* as the CPU device does: the program may run on another */
    openblas_set_num_threads(n_threads);
    const double start = bench_now(), cpu = bench_cpu();
    multiply(tokens, n_layers, n_kv, x, w, y);
    const struct spent spent = { bench_now() - start, bench_cpu() - cpu };
    openblas_set_num_threads(1);
    free(x);
    free(y);
    free(w);
    return spent;
}

static void put_rates(const char *wall_key, const char *cpu_key, double flop,
                      const struct bench_times *wall, const struct bench_times *cpu)
{
    bench_number(wall_key, flop / bench_median(wall) * 1e-9);
    bench_number(cpu_key, flop / bench_median(cpu) * 1e-9);
}

/* ---- the cases ---- */

struct contest {
    struct bench_times ours, ours_cpu, sgemm, sgemm_cpu;
};

static void add_round(struct contest *c, struct spent ours, struct spent sgemm)
{
    bench_add(&c->ours, ours.wall);
    bench_add(&c->ours_cpu, ours.cpu);
    bench_add(&c->sgemm, sgemm.wall);
    bench_add(&c->sgemm_cpu, sgemm.cpu);
}

static void put_contest(const struct contest *c, double flop, double products)
{
    const double more = flop / products;
    bench_number("seconds", bench_median(&c->ours));
    bench_number("cpu_seconds", bench_median(&c->ours_cpu));
    put_rates("gflops", "gflop_per_cpu_s", flop, &c->ours, &c->ours_cpu);
    put_rates("sgemm_gflops", "sgemm_gflop_per_cpu_s", products, &c->sgemm, &c->sgemm_cpu);
    bench_number("ratio", more * bench_median(&c->sgemm) / bench_median(&c->ours));
    bench_number("cpu_ratio", more * bench_median(&c->sgemm_cpu) / bench_median(&c->ours_cpu));
    bench_end();
}

/* One layer by the difference of a network of three and one of one. */
void bench_layer(struct setup *s, size_t tokens)
{
    const struct uqm_model_config c = config_7b(1, 512);
    const int n_threads = uqm_threads_count(s->machine.threads);
    struct contest contest = { 0 };

    for (int i = 0; i < s->n_rounds; i++) {
        const struct spent theirs = time_sgemm(n_threads, tokens, 1, 0);
        const struct spent three = time_layers(s, 3, tokens), one = time_layers(s, 1, tokens);
        const struct spent half = { (three.wall - one.wall) / 2, (three.cpu - one.cpu) / 2 };
        add_round(&contest, half, theirs);
    }
    bench_begin("uq", "layer_7b");
    bench_number("tokens", (double) tokens);
    put_contest(&contest, layer_flop(&c.text, (double) tokens), 2.0 * (double) tokens * LAYER_ELEM);
}

/* What is compared is the products of all tokens' rows, attention's two with ours; the time is of
 * all that is done: embedding, norms, the last token's products, a head of 32000 words. */
void bench_prefill(struct setup *s, uint32_t n_layers, size_t tokens)
{
    enum { VOCABULARY = 32000, KV_ELEM = 2 * 4096 * 4096 };
    const struct uqm_model_config c = config_7b(n_layers, VOCABULARY);
    const int n_threads = uqm_threads_count(s->machine.threads);
    const double elem = (n_layers - 1.0) * LAYER_ELEM + KV_ELEM;
    struct contest contest = { 0 };

    for (int i = 0; i < s->n_rounds; i++) {
        const struct spent theirs = time_sgemm(n_threads, tokens, n_layers - 1, 1);
        add_round(&contest, time_network(s, n_layers, VOCABULARY, tokens, true), theirs);
    }
    bench_begin("uq", "prefill_7b");
    bench_number("layers", n_layers);
    bench_number("tokens", (double) tokens);
    put_contest(&contest, prompt_flop(&c.text, (double) tokens), 2.0 * (double) tokens * elem);
}
