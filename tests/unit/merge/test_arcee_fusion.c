/* arcee_fusion by every way that its elements go: noted scores or none, kernels of all tiers,
 * chunks and threads. The results themselves are test_methods.c's. */
#include <math.h>

#include "tests/unit/merge/job_test.h"

enum { ROWS = 11, COLS = 1537, N = ROWS * COLS };

static float models[2][N];

static void make_models(bool with_nan)
{
    uint64_t state = 7;
    for (size_t m = 0; m < 2; m++)
        for (size_t e = 0; e < N; e++) {
            state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            models[m][e] = (float) (int) (state >> 33) * 0x1p-29F;
        }
    for (size_t e = 0; e < N; e += 5) /* scores of zero, too */
        models[1][e] = models[0][e];
    models[1][COLS + 3] = with_nan ? NAN : 1;
}

static void run(float *dst, enum uqm_numerics numerics, uint32_t cpu_flags, bool takes_notes,
                struct uqm_threads *threads)
{
    struct job_test t;
    struct uqm_err err = { 0 };
    job_begin(&t, UQM_METHOD_ARCEE_FUSION, NULL, UQM_F32);
    uqm_kernels_init(&t.kernels, cpu_flags);
    job_shape(&t, 2, (const uint64_t[2]){ ROWS, COLS });
    t.job.numerics = numerics;
    t.takes_notes = takes_notes;
    job_input(&t, models[0], UQM_F32);
    job_input(&t, models[1], UQM_F32);
    t.inputs[0].is_base = true;
    assert_ok(job_run(&t, dst, threads, threads ? 1 : 0, &err), err);
}

static void notes_kernels_chunks_and_threads_change_no_byte(void **state)
{
    (void) state;
    static float want[N], got[N];
    struct uqm_threads *threads = NULL;
    struct uqm_err err = { 0 };
    assert_ok(uqm_threads_create(&threads, 3, &err), err);
    for (unsigned k = 0; k < 4; k++) {
        enum uqm_numerics how = k % 2 ? UQM_NUMERICS_MERGEKIT : UQM_NUMERICS_ACCURATE;
        make_models(k / 2);
        run(want, how, 0, false, NULL);
        if (k / 2 == 0) { /* where no row is NaN something is taken over, and not everything */
            assert_memory_not_equal(want, models[0], sizeof want);
            assert_memory_not_equal(want, models[1], sizeof want);
        }
        for (unsigned way = 0; way < 4; way++) {
            run(got, how, way & 1 ? uqm_cpu_flags() : 0, way & 2, threads);
            assert_memory_equal(got, want, sizeof want);
        }
    }
    uqm_threads_destroy(&threads);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(notes_kernels_chunks_and_threads_change_no_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
