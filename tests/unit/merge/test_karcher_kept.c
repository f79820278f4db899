/* karcher in mergekit's arithmetic, once more with hardly any room for its mean between the passes:
 * tensors that are too large for it are merged to the same bytes. */
#define UQM_KARCHER_KEPT_BYTES 1000
#define uqm_karcher_ops        small_karcher_ops
#include "src/merge/methods/karcher.c"
#undef uqm_karcher_ops

#include "compute/threads.h"
#include "tests/unit/merge/job_test.h"
#include "tests/unit/merge/reference_merge.h"

enum { N = 9001, MODELS = 3 };

/* Models of this type at wide angles, so that the iteration has something to do. */
static void make_models(unsigned char *models[MODELS], enum uqm_dtype dtype)
{
    struct ref_mt mt;
    size_t size = uqm_dtype_bits(dtype) / 8;
    ref_mt_init(&mt, 5);
    for (size_t i = 0; i < MODELS; i++) {
        models[i] = malloc(N * size);
        for (size_t k = 0; k < N; k++) {
            uint64_t bits = ref_bits(dtype, ref_round(dtype, ref_mt_unit(&mt) - 0.3));
            memcpy(models[i] + k * size, &bits, size);
        }
    }
}

static void run(void *dst, unsigned char *const *models, enum uqm_dtype dtype,
                const struct uqm_method_ops *ops, struct uqm_threads *threads)
{
    struct job_test t;
    struct uqm_err err = { 0 };
    job_begin(&t, UQM_METHOD_KARCHER, ops, dtype);
    job_shape(&t, 1, (const uint64_t[1]){ N });
    t.job.numerics = UQM_NUMERICS_MERGEKIT;
    for (size_t i = 0; i < MODELS; i++)
        job_input(&t, models[i], dtype);
    job_set(&t, "tol", 0); /* all ten steps */
    assert_ok(job_run(&t, dst, threads, 1, &err), err);
}

static void a_mean_that_is_not_kept_is_computed_again(void **state)
{
    (void) state;
    static const enum uqm_dtype dtypes[] = { UQM_BF16, UQM_F16, UQM_F32, UQM_F64 };
    struct uqm_threads *threads = NULL;
    struct uqm_err err = { 0 };
    assert_ok(uqm_threads_create(&threads, 2, &err), err);
    for (size_t d = 0; d < sizeof dtypes / sizeof *dtypes; d++) {
        static double kept[N], again[N];
        unsigned char *models[MODELS];
        make_models(models, dtypes[d]);
        run(kept, models, dtypes[d], NULL, threads);
        run(again, models, dtypes[d], &small_karcher_ops, threads);
        assert_memory_equal(kept, again, N * (uqm_dtype_bits(dtypes[d]) / 8));
        assert_memory_not_equal(kept, models[0], N * (uqm_dtype_bits(dtypes[d]) / 8));
        for (size_t i = 0; i < MODELS; i++)
            free(models[i]);
    }
    uqm_threads_destroy(&threads);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mean_that_is_not_kept_is_computed_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
