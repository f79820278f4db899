/* sce by every way that its elements go: kernels of all tiers, noted variances or none, chunks and
 * threads. The results themselves are test_methods.c's. */
#include <math.h>

#include "tests/unit/merge/job_test.h"

enum { N = 9001, MODELS = 3 };

struct inputs {
    enum uqm_dtype dtype;
    float f32[MODELS + 1][N];
    uint16_t half[MODELS + 1][N];
};

/* Few values, so that where the k run out many variances are equal; a NaN in one model. */
static void make_inputs(struct inputs *in, enum uqm_dtype dtype)
{
    uint64_t state = 5;
    in->dtype = dtype;
    for (size_t m = 0; m <= MODELS; m++)
        for (size_t e = 0; e < N; e++) {
            state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            float x = (float) (int) (state >> 33) * 0x1p-31F;
            x = e % 3 ? roundf(x * 4) / 4 : x;
            in->f32[m][e] = m == 2 && e == 4000 ? NAN : x;
            in->half[m][e] =
                dtype == UQM_BF16 ? uqm_bf16_of_f32(in->f32[m][e]) : uqm_f16_of_f32(in->f32[m][e]);
        }
}

struct way {
    uint32_t cpu_flags;
    bool takes_notes;
    uint64_t chunk_blocks;
    struct uqm_threads *threads;
};

static void run(void *dst, const struct inputs *in, enum uqm_numerics numerics, double topk,
                const struct way *way)
{
    struct job_test t;
    struct uqm_err err = { 0 };
    job_begin(&t, UQM_METHOD_SCE, NULL, in->dtype);
    uqm_kernels_init(&t.kernels, way->cpu_flags);
    job_shape(&t, 1, (const uint64_t[1]){ N });
    t.job.numerics = numerics;
    t.takes_notes = way->takes_notes;
    for (size_t m = 0; m <= MODELS; m++) {
        bool narrow = in->dtype != UQM_F32 && m != 1; /* one is cast */
        job_input(&t, narrow ? (const void *) in->half[m] : in->f32[m],
                  narrow ? in->dtype : UQM_F32);
    }
    t.inputs[0].is_base = true;
    job_set(&t, "select_topk", topk);
    assert_ok(job_run(&t, dst, way->threads, way->chunk_blocks, &err), err);
}

static void notes_kernels_chunks_and_threads_change_no_byte(void **state)
{
    (void) state;
    static const enum uqm_dtype dtypes[] = { UQM_F32, UQM_BF16, UQM_F16 };
    static const double shares[] = { 1, 0.9, 0.5, 0.31, 0.02, 1e-6 };
    static float want[N], got[N];
    static struct inputs in;
    struct uqm_threads *threads = NULL;
    struct uqm_err err = { 0 };
    assert_ok(uqm_threads_create(&threads, 3, &err), err);
    const uint32_t all = uqm_cpu_flags();
    const struct way ways[] = { { all, false, 0, NULL },
                                { all, true, 0, NULL },
                                { all, true, 1, threads },
                                { 0, true, 1, NULL },
                                { all, false, 1, threads } };
    for (size_t d = 0; d < sizeof dtypes / sizeof *dtypes; d++)
        for (size_t k = 0; k < 2 * (sizeof shares / sizeof *shares); k++) {
            enum uqm_numerics how = k % 2 ? UQM_NUMERICS_MERGEKIT : UQM_NUMERICS_ACCURATE;
            const struct way plain = { .chunk_blocks = 0 };
            make_inputs(&in, dtypes[d]);
            run(want, &in, how, shares[k / 2], &plain);
            for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
                run(got, &in, how, shares[k / 2], &ways[w]);
                if (memcmp(got, want, N * (uqm_dtype_bits(dtypes[d]) / 8)) != 0)
                    fail_msg("type %zu, share %g, way %zu", d, shares[k / 2], w);
            }
        }
    uqm_threads_destroy(&threads);
}

/* The share that is asked for is changed, and no more. */
static void as_many_are_kept_as_asked_for(void **state)
{
    (void) state;
    static float got[N];
    static struct inputs in;
    const struct way way = { uqm_cpu_flags(), true, 1, NULL };
    make_inputs(&in, UQM_F32);
    for (size_t m = 0; m <= MODELS; m++) /* each model differs from the base, all by other steps */
        for (size_t e = 0; e < N; e++)
            in.f32[m][e] = m == 0 ? 1 : (float) (1 + m * (1 + e / 3000 % 2));
    run(got, &in, UQM_NUMERICS_ACCURATE, 0.4, &way);
    size_t n = 0;
    for (size_t e = 0; e < N; e++)
        n += got[e] != 1;
    assert_int_equal(n, (size_t) (0.4F * N));
    for (size_t e = 0; e < N; e++) /* the largest variances first, of equal ones the first */
        assert_true((got[e] != 1) == (e / 3000 % 2 == 1 || e < n - 3001));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(notes_kernels_chunks_and_threads_change_no_byte),
        cmocka_unit_test(as_many_are_kept_as_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
