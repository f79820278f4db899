/* The task-vector family, run by the engine, against the references. */
#include <math.h>

#include "tests/unit/merge/job_test.h"
#include "tests/unit/merge/reference_cases.h"

static struct ref_named_case cases[REF_MAX_CASES];
static size_t n_cases;
static struct uqm_threads *threads;

/* --- inputs: a base and models about it --- */

struct arrays {
    uint64_t n_elem;
    size_t n_models;
    double *x[REF_INPUTS];
    void *bits[REF_INPUTS];
};

static double normal(struct ref_mt *mt)
{
    double u = 1 - ref_mt_unit(mt), v = ref_mt_unit(mt);
    return sqrt(-2 * log(u)) * cos(2 * M_PI * v);
}

static void make_arrays(struct arrays *a, uint64_t n_elem, enum uqm_dtype stored,
                        enum uqm_dtype work, double sigma)
{
    struct ref_mt mt;
    ref_mt_init(&mt, 11);
    *a = (struct arrays){ .n_elem = n_elem, .n_models = 4 };
    size_t size = uqm_dtype_bits(stored) / 8;
    double *base = calloc(n_elem, sizeof *base);
    for (size_t i = 0; i <= a->n_models; i++) {
        a->x[i] = calloc(n_elem, sizeof *a->x[i]);
        a->bits[i] = calloc(n_elem, size);
        for (size_t k = 0; k < n_elem; k++) {
            base[k] = i == 0 ? normal(&mt) * 0.5 : base[k];
            double v = base[k] + (i == 0 ? 0 : sigma * normal(&mt));
            uint64_t b = ref_bits(stored, ref_round(stored, v));
            memcpy((char *) a->bits[i] + k * size, &b, size);
            a->x[i][k] = ref_round(work, ref_value(stored, b));
        }
    }
    free(base);
}

static void free_arrays(struct arrays *a)
{
    for (size_t i = 0; i < REF_INPUTS; i++) {
        free(a->x[i]);
        free(a->bits[i]);
    }
}

/* --- the accurate mode's numbers, as sparsify.c documents them --- */

struct draws {
    const struct job_test *t;
    size_t input; /* the one that draws */
    uint64_t next;
    struct ref_mt mt;
};

static double draw_by_counter(void *ctx)
{
    struct draws *d = ctx;
    const struct uqm_job *job = &d->t->job;
    if (d->next == job->n_elem) {
        d->next = 0;
        d->input++;
    }
    while (!job->ops->draws(job, d->input))
        d->input++;
    uint64_t e = d->next++;
    uint32_t high[4], low[4];
    const uint32_t at_high[4] = { (uint32_t) (e / 8), 0, 0, 0 };
    const uint32_t at_low[4] = { (uint32_t) e, 0, 1, 0 };
    uqm_philox4x32(high, at_high, d->t->inputs[d->input].key);
    uqm_philox4x32(low, at_low, d->t->inputs[d->input].key);
    uint32_t half = high[e % 8 / 2] >> (e % 2 ? 16 : 0) & 0xFFFF;
    return ((double) half + (double) low[0] * 0x1p-32) * 0x1p-16;
}

static double draw_mt(void *ctx)
{
    struct draws *d = ctx;
    return ref_mt_unit(&d->mt);
}

/* --- a trial --- */

struct trial {
    const struct ref_named_case *named;
    unsigned rank;
    uint64_t shape[3];
    enum uqm_dtype stored, work;
    enum uqm_numerics numerics;
    double sigma;
    uint64_t chunk_blocks;
};

static void set_job(struct job_test *t, const struct trial *trial, const struct ref_case *c,
                    const struct arrays *a)
{
    job_begin(t, uqm_method_find(trial->named->method)->id, NULL, trial->work);
    t->seed = 42;
    t->job.numerics = trial->numerics;
    job_shape(t, trial->rank, trial->shape);
    job_set(t, "lambda", c->lambda);
    job_set(t, "normalize", c->normalize);
    job_set(t, "rescale", c->rescale);
    for (size_t i = 0; i < c->n_inputs; i++) {
        bool is_base = (long) i == c->base;
        job_input(t, a->bits[is_base ? 0 : i + 1], trial->stored);
        t->inputs[i].is_base = is_base;
        job_set_input(t, i, "weight", c->in[i].weight);
        job_set_input(t, i, "density", c->in[i].density);
        if (uqm_method_param_index(t->job.method, "gamma") >= 0)
            job_set_input(t, i, "gamma", c->in[i].gamma);
        if (uqm_method_param_index(t->job.method, "epsilon") >= 0)
            job_set_input(t, i, "epsilon", c->in[i].epsilon);
    }
}

static bool is_right(const struct trial *t, double got, double want, double most)
{
    if (t->work == UQM_F64)
        return fabs(got - want) <= most * 1e-12;
    if (t->numerics == UQM_NUMERICS_ACCURATE)
        return fabs(got - want) <= ref_ulp(t->work, want);
    return t->work == UQM_F32 ? fabs(got - want) <= most * 1e-5 : got == want;
}

static size_t count_wrong(const struct trial *t, const struct ref_case *c, const void *dst)
{
    size_t n = ref_n_elem(c), n_wrong = 0, size = uqm_dtype_bits(t->work) / 8;
    double *want = calloc(n, sizeof *want), most = 0;
    assert_true(t->numerics == UQM_NUMERICS_ACCURATE ? ref_merge_f64(want, c)
                                                     : ref_merge_mergekit(want, c));
    for (size_t k = 0; k < n; k++)
        most = fmax(most, fabs(want[k]));
    for (size_t k = 0; k < n; k++) {
        uint64_t bits = 0;
        memcpy(&bits, (const char *) dst + k * size, size);
        n_wrong += !is_right(t, ref_value(t->work, bits), want[k], most);
    }
    free(want);
    return n_wrong;
}

static void assert_trial(const struct trial *trial)
{
    struct arrays a;
    struct ref_case c;
    struct job_test t;
    struct uqm_err err = { 0 };
    uint64_t n = 1;
    for (unsigned d = 0; d < trial->rank; d++)
        n *= trial->shape[d];
    make_arrays(&a, n, trial->stored, trial->work, trial->sigma);
    ref_case_make(&c, trial->named, trial->work, a.x);
    c.rank = trial->rank;
    for (unsigned d = 0; d < trial->rank; d++)
        c.shape[d] = (size_t) trial->shape[d];
    set_job(&t, trial, &c, &a);
    struct draws draws = { .t = &t };
    ref_mt_init(&draws.mt, t.seed);
    c.draw = trial->numerics == UQM_NUMERICS_ACCURATE ? draw_by_counter : draw_mt;
    c.draw_ctx = &draws;
    void *dst = calloc(n, 8);
    assert_ok(job_run(&t, dst, trial->chunk_blocks % 2 ? threads : NULL, trial->chunk_blocks, &err),
              err);
    size_t n_wrong = count_wrong(trial, &c, dst);
    if (n_wrong > 0)
        fail_msg("%s, %s, %s as %s, %zu elements, rank %u, sigma %g: %zu are wrong",
                 trial->named->name,
                 trial->numerics == UQM_NUMERICS_ACCURATE ? "accurate" : "mergekit",
                 uqm_dtype_name(trial->stored), uqm_dtype_name(trial->work), (size_t) n,
                 trial->rank, trial->sigma, n_wrong);
    free(dst);
    free_arrays(&a);
}

static bool is_mine(const struct ref_named_case *named)
{
    return ref_family_of(named->method) != NULL;
}

static void run_trials(enum uqm_numerics numerics)
{
    static const struct {
        unsigned rank;
        uint64_t shape[3];
    } shapes[] = {
        { 2, { 2, 4 } }, { 1, { 1 } },        { 1, { 4097 } },    { 2, { 13, 1031 } },
        { 0, { 0 } },    { 3, { 5, 37, 9 } }, { 2, { 5000, 1 } }, { 2, { 1, 9001 } },
    };
    static const enum uqm_dtype dtypes[] = { UQM_BF16, UQM_F16, UQM_F32, UQM_F64 };
    static const double sigmas[] = { 0.3, 0.002 };
    size_t n_run = 0;
    for (size_t i = 0; i < n_cases; i++)
        for (size_t s = 0; is_mine(&cases[i]) && s < sizeof shapes / sizeof *shapes; s++)
            for (size_t d = 0; d < 4; d++, n_run++)
                assert_trial(&(struct trial){
                    .named = &cases[i],
                    .rank = shapes[s].rank,
                    .shape = { shapes[s].shape[0], shapes[s].shape[1], shapes[s].shape[2] },
                    .stored = dtypes[d],
                    .work = (s + d) % 5 == 4 ? dtypes[(d + 1) % 4] : dtypes[d],
                    .numerics = numerics,
                    .sigma = sigmas[(s + d) % 2],
                    .chunk_blocks = s % 4 });
    assert_true(n_run > 100);
}

static void accurate_results_lie_within_an_ulp_of_f64(void **state)
{
    (void) state;
    run_trials(UQM_NUMERICS_ACCURATE);
}

static void mergekits_arithmetic_and_draws_are_followed_to_the_bit(void **state)
{
    (void) state;
    run_trials(UQM_NUMERICS_MERGEKIT);
}

/* --- the published vectors, merge.md 3.3 --- */

static const uint16_t published[4][8] = {
    { 0x3F80, 0xBF00, 0x3E80, 0x4000, 0xBFC0, 0x3E00, 0x3F40, 0xBD80 },
    { 0x3F88, 0xBF08, 0x3EB3, 0x3FE6, 0xBF9A, 0x3E0A, 0x3F2E, 0xBD70 },
    { 0x3F7B, 0xBEE6, 0x3EB8, 0x3FEF, 0xBFAD, 0x3DE7, 0x3F54, 0xBD67 },
    { 0x3F84, 0xBF0F, 0x3E24, 0x3FE0, 0xBFCD, 0x3E14, 0x3F4A, 0xBD86 },
};

/* bf16, (2, 4), weights .3 .45 .2, the base last. */
static void begin_published(struct job_test *t, enum uqm_method_id id, double density)
{
    static const double weights[3] = { .3, .45, .2 };
    static const uint64_t shape[2] = { 2, 4 };
    job_begin(t, id, NULL, UQM_BF16);
    t->seed = 42;
    t->job.numerics = UQM_NUMERICS_MERGEKIT;
    job_shape(t, 2, shape);
    for (size_t i = 0; i < 3; i++) {
        size_t k = job_input(t, published[i + 1], UQM_BF16);
        job_set_input(t, k, "weight", weights[i]);
        job_set_input(t, k, "density", density);
    }
    t->inputs[job_input(t, published[0], UQM_BF16)].is_base = true;
}

static void assert_published(struct job_test *t, const uint16_t want[8])
{
    uint16_t got[8];
    struct uqm_err err = { 0 };
    assert_ok(job_run(t, got, NULL, 0, &err), err);
    assert_memory_equal(got, want, sizeof got);
}

static void the_published_vectors_come_out(void **state)
{
    (void) state;
    static const struct {
        enum uqm_method_id id;
        double density;
        const char *set; /* an output's parameter, or of the inputs where `of_inputs` */
        double value;
        bool of_inputs;
        uint16_t want[8];
    } v[] = {
        { UQM_METHOD_TASK_ARITHMETIC,
          1,
          NULL,
          0,
          false,
          { 0x3F82, 0xBEFF, 0x3E9F, 0x3FEA, 0xBFAF, 0x3E01, 0x3F46, 0xBD72 } },
        { UQM_METHOD_TIES,
          .5,
          NULL,
          0,
          false,
          { 0x3F80, 0xBF0F, 0x3EB6, 0x3FE9, 0xBFA5, 0x3E00, 0x3F54, 0xBD80 } },
        { UQM_METHOD_TIES,
          .5,
          "rescale",
          1,
          false,
          { 0x3F80, 0xBF12, 0x3EC0, 0x3FE5, 0xBFA1, 0x3E00, 0x3F58, 0xBD80 } },
        { UQM_METHOD_DARE_TIES,
          .5,
          NULL,
          0,
          false,
          { 0x3F80, 0xBE8E, 0x3E9A, 0x4000, 0xBFAD, 0x3E0A, 0x3F37, 0xBD12 } },
        { UQM_METHOD_DARE_LINEAR,
          .5,
          NULL,
          0,
          false,
          { 0x3F80, 0xBE8E, 0x3E84, 0x4000, 0xBFB3, 0x3E0A, 0x3F3C, 0xBD12 } },
        { UQM_METHOD_DELLA,
          .5,
          "epsilon",
          .2,
          true,
          { 0x3F80, 0xBEB1, 0x3ED5, 0x3FD0, 0xBF81, 0x3E00, 0x3F22, 0xBD80 } },
        { UQM_METHOD_DELLA_LINEAR,
          .5,
          "epsilon",
          .2,
          true,
          { 0x3F80, 0xBEDC, 0x3E8E, 0x3FE1, 0xBFB0, 0x3E00, 0x3F3A, 0xBD80 } },
        { UQM_METHOD_BREADCRUMBS,
          .5,
          "gamma",
          .125,
          true,
          { 0x3F82, 0xBEFA, 0x3E9F, 0x3FF1, 0xBFC3, 0x3E00, 0x3F46, 0xBD80 } },
        { UQM_METHOD_BREADCRUMBS_TIES,
          .5,
          "gamma",
          .125,
          true,
          { 0x3F82, 0xBEF4, 0x3EA8, 0x3FF1, 0xBFC3, 0x3E00, 0x3F4B, 0xBD80 } },
    };
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        struct job_test t;
        begin_published(&t, v[i].id, v[i].density);
        for (size_t k = 0; k < 3 && v[i].of_inputs; k++)
            job_set_input(&t, k, v[i].set, v[i].value);
        if (v[i].set && !v[i].of_inputs)
            job_set(&t, v[i].set, v[i].value);
        assert_published(&t, v[i].want);
    }
    struct job_test t;
    static const uint16_t want[8] = {
        0x3F82, 0xBEFF, 0x3E9A, 0x3FEE, 0xBFB1, 0x3E01, 0x3F45, 0xBD74
    };
    begin_published(&t, UQM_METHOD_TASK_ARITHMETIC, 1);
    job_set(&t, "lambda", .8);
    job_set(&t, "normalize", 1);
    assert_published(&t, want);
}

/* --- long tensors --- */

/* Two models and a base of n elements, in f32 or bf16, many magnitudes equal. */
struct many {
    struct job_test t;
    struct arrays a;
};

static void begin_long(struct many *m, enum uqm_method_id id, enum uqm_numerics numerics,
                       uint64_t rows, uint64_t cols)
{
    const uint64_t shape[2] = { rows, cols };
    make_arrays(&m->a, rows * cols, UQM_BF16, UQM_BF16, 0.002);
    job_begin(&m->t, id, NULL, UQM_BF16);
    m->t.seed = 5;
    m->t.job.numerics = numerics;
    job_shape(&m->t, 2, shape);
    for (size_t i = 0; i < 3; i++) {
        size_t k = job_input(&m->t, m->a.bits[i], UQM_BF16);
        m->t.inputs[k].is_base = i == 0;
        job_set_input(&m->t, k, "weight", i == 0 ? (double) NAN : 0.4);
        job_set_input(&m->t, k, "density", 0.3);
    }
}

static const enum uqm_method_id family[] = {
    UQM_METHOD_TASK_ARITHMETIC, UQM_METHOD_TIES,         UQM_METHOD_DARE_TIES,
    UQM_METHOD_DARE_LINEAR,     UQM_METHOD_BREADCRUMBS,  UQM_METHOD_BREADCRUMBS_TIES,
    UQM_METHOD_DELLA,           UQM_METHOD_DELLA_LINEAR,
};

static void chunks_threads_and_tiers_change_no_byte(void **state)
{
    (void) state;
    enum { ROWS = 300, COLS = 701, N = ROWS * COLS }; /* several segments */
    uint16_t *a = calloc(N, 2), *b = calloc(N, 2);
    struct uqm_err err = { 0 };
    for (size_t i = 0; i < sizeof family / sizeof *family; i++)
        for (int numerics = 0; numerics < 2; numerics++) {
            struct many m;
            begin_long(&m, family[i], (enum uqm_numerics) numerics, ROWS, COLS);
            if (uqm_method_param_index(m.t.job.method, "rescale") >= 0)
                job_set(&m.t, "rescale", 1);
            assert_ok(job_run(&m.t, a, NULL, 0, &err), err);
            static const uint64_t chunks[] = { 1, 7, 20 };
            for (size_t k = 0; k < 3; k++) {
                uqm_kernels_init(&m.t.kernels, k == 0 ? 0 : uqm_cpu_flags() & (k == 1 ? 1 : 3));
                assert_ok(job_run(&m.t, b, k ? threads : NULL, chunks[k], &err), err);
                assert_memory_equal(a, b, N * 2);
            }
            free_arrays(&m.a);
        }
    free(a);
    free(b);
}

/* Of rows that begin with no byte of the notes, too, and of runs that begin within a block. */
static void what_is_noted_of_the_draws_changes_no_byte(void **state)
{
    (void) state;
    enum { ROWS = 60, COLS = 701, N = ROWS * COLS };
    static const enum uqm_method_id drawn[] = { UQM_METHOD_DARE_TIES, UQM_METHOD_DARE_LINEAR,
                                                UQM_METHOD_DELLA, UQM_METHOD_DELLA_LINEAR };
    uint16_t *a = calloc(N, 2), *b = calloc(N, 2);
    struct uqm_err err = { 0 };
    for (size_t i = 0; i < sizeof drawn / sizeof *drawn; i++)
        for (int numerics = 0; numerics < 2; numerics++) {
            struct many m;
            begin_long(&m, drawn[i], (enum uqm_numerics) numerics, ROWS, COLS);
            job_set(&m.t, "rescale", 1);
            assert_ok(job_run(&m.t, a, NULL, 0, &err), err);
            assert_true(m.t.job.ops->note_bytes(&m.t.job) >= (uint64_t) N / 8);
            m.t.takes_notes = true;
            for (uint64_t from = 0; from < 4; from++) {
                m.t.merge_from = from;
                assert_ok(job_run(&m.t, b, from % 2 ? threads : NULL, from, &err), err);
                assert_memory_equal(a, b, N * 2);
            }
            free_arrays(&m.a);
        }
    free(a);
    free(b);
}

static void of_equal_magnitudes_the_first_are_kept_and_no_more_than_asked(void **state)
{
    (void) state;
    enum { N = 250000 };
    uint16_t *base = calloc(N, 2), *x = calloc(N, 2), *got = calloc(N, 2);
    struct uqm_err err = { 0 };
    for (int numerics = 0; numerics < 2; numerics++) {
        struct job_test t;
        const uint64_t n = N;
        for (size_t e = 0; e < N; e++) /* 1, -1 and, twice, 2 */
            x[e] = e == 7 || e == N - 1 ? 0x4000 : e % 3 ? 0x3F80 : 0xBF80;
        job_begin(&t, UQM_METHOD_TIES, NULL, UQM_BF16);
        t.job.numerics = (enum uqm_numerics) numerics;
        job_shape(&t, 1, &n);
        t.inputs[job_input(&t, base, UQM_BF16)].is_base = true;
        size_t k = job_input(&t, x, UQM_BF16);
        job_set_input(&t, k, "weight", 1);
        job_set_input(&t, k, "density", 0.7);
        assert_ok(job_run(&t, got, threads, 3, &err), err);
        size_t n_kept = 175000 - 1; /* the last one, which is larger, is in */
        for (size_t e = 0; e < N; e++)
            if (got[e] != (e < n_kept || e == N - 1 ? x[e] : 0))
                fail_msg("element %zu: %04x", e, got[e]);
    }
    free(base);
    free(x);
    free(got);
}

/* What dare and della keep of one model: the share, and per third of the ranks. */
static void a_seed_decides_which_are_dropped_at_the_rate_asked_for(void **state)
{
    (void) state;
    enum { ROWS = 200, COLS = 1500, N = ROWS * COLS };
    uint16_t *base = calloc(N, 2), *x = calloc(N, 2), *got[3];
    struct uqm_err err = { 0 };
    const uint64_t shape[2] = { ROWS, COLS };
    for (size_t e = 0; e < N; e++) /* magnitudes that ascend along the row */
        x[e] = (uint16_t) (0x3F80 + e % COLS / 10);
    for (int numerics = 0; numerics < 2; numerics++)
        for (int ranked = 0; ranked < 2; ranked++) {
            for (size_t s = 0; s < 3; s++) {
                struct job_test t;
                job_begin(&t, ranked ? UQM_METHOD_DELLA_LINEAR : UQM_METHOD_DARE_LINEAR, NULL,
                          UQM_BF16);
                t.seed = s == 2 ? 8 : 7;
                t.job.numerics = (enum uqm_numerics) numerics;
                job_shape(&t, 2, shape);
                job_set(&t, "rescale", 0);
                t.inputs[job_input(&t, base, UQM_BF16)].is_base = true;
                size_t k = job_input(&t, x, UQM_BF16);
                job_set_input(&t, k, "weight", 1);
                job_set_input(&t, k, "density", 0.4);
                if (ranked)
                    job_set_input(&t, k, "epsilon", 0.3);
                got[s] = calloc(N, 2);
                assert_ok(job_run(&t, got[s], threads, 5, &err), err);
            }
            size_t kept = 0, third[3] = { 0 };
            for (size_t e = 0; e < N; e++) {
                assert_true(got[0][e] == 0 || got[0][e] == x[e]);
                kept += got[0][e] != 0;
                third[e % COLS / (COLS / 3)] += got[0][e] != 0;
            }
            double sd = sqrt(N * 0.4 * 0.6);
            assert_true(fabs((double) kept - N * 0.4) < 5 * sd);
            for (int i = 0; i < 3; i++) {
                double want = ranked ? 0.4 + 0.2 * (i - 1) : 0.4;
                assert_true(fabs((double) third[i] - N / 3 * want) < 5 * sd);
            }
            assert_memory_equal(got[0], got[1], N * 2);
            assert_memory_not_equal(got[0], got[2], N * 2);
            for (size_t s = 0; s < 3; s++)
                free(got[s]);
        }
    free(base);
    free(x);
}

/* --- what cannot be --- */

static void assert_refused(enum uqm_method_id id, const char *param, double value,
                           const char *message)
{
    struct job_test t;
    uint16_t got[8];
    struct uqm_err err = { 0 };
    begin_published(&t, id, .5);
    job_set_input(&t, 1, param, value);
    assert_fails(job_run(&t, got, NULL, 0, &err), err, UQM_ERR_FORMAT, message);
}

static void parameters_out_of_their_domain_are_refused_by_name(void **state)
{
    (void) state;
    assert_refused(UQM_METHOD_TIES, "weight", (double) INFINITY,
                   "test.yml: tensor w: ties: a weight is no finite number");
    assert_refused(UQM_METHOD_TIES, "density", (double) NAN, "a density is no number");
    assert_refused(UQM_METHOD_DARE_TIES, "density", -.1, "dare_ties: a density is negative");
    assert_refused(UQM_METHOD_BREADCRUMBS, "gamma", -.1, "gamma is negative");
    assert_refused(UQM_METHOD_DELLA, "epsilon", .5, "density - epsilon must be above 0");
    assert_refused(UQM_METHOD_DELLA, "density", .9, "density + epsilon below 1");

    struct job_test t;
    uint16_t got[8];
    struct uqm_err err = { 0 };
    begin_published(&t, UQM_METHOD_TIES, .5);
    t.inputs[3].is_base = false;
    job_set_input(&t, 3, "weight", 1);
    assert_fails(job_run(&t, got, NULL, 0, &err), err, UQM_ERR_FORMAT,
                 "the base model does not have it");
    begin_published(&t, UQM_METHOD_TASK_ARITHMETIC, 1);
    job_set(&t, "lambda", (double) NAN);
    assert_fails(job_run(&t, got, NULL, 0, &err), err, UQM_ERR_FORMAT, "lambda is no finite");
}

static void a_row_of_more_than_a_million_is_not_ranked(void **state)
{
    (void) state;
    const uint64_t n = (1 << 20) + 1;
    struct job_test t;
    struct uqm_err err = { 0 };
    begin_published(&t, UQM_METHOD_DELLA, .5);
    job_shape(&t, 1, &n);
    assert_fails(uqm_job_init(&t.job, &err), err, UQM_ERR_UNSUPPORTED,
                 "tensor w: della works on rows as a whole");
}

static int setup(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    n_cases = ref_cases_load(cases);
    return uqm_threads_create(&threads, 3, &err);
}

static int teardown(void **state)
{
    (void) state;
    uqm_threads_destroy(&threads);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_vectors_come_out),
        cmocka_unit_test(accurate_results_lie_within_an_ulp_of_f64),
        cmocka_unit_test(mergekits_arithmetic_and_draws_are_followed_to_the_bit),
        cmocka_unit_test(chunks_threads_and_tiers_change_no_byte),
        cmocka_unit_test(what_is_noted_of_the_draws_changes_no_byte),
        cmocka_unit_test(of_equal_magnitudes_the_first_are_kept_and_no_more_than_asked),
        cmocka_unit_test(a_seed_decides_which_are_dropped_at_the_rate_asked_for),
        cmocka_unit_test(parameters_out_of_their_domain_are_refused_by_name),
        cmocka_unit_test(a_row_of_more_than_a_million_is_not_ranked),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
