/* A merge whose tensors are larger than the chunks of a hash tree. */
#ifndef UQM_TESTS_LARGE_MERGE_H
#define UQM_TESTS_LARGE_MERGE_H

#include "tests/unit/merge/merge_test.h"

enum { LARGE_COLS = 1024, LARGE_ROWS_MOST = 700, LARGE_MOST = 3 };

/* DIR/out is the merge, of one file, of the model DIR/m: n_large f32 tensors of rows x 1024, named
 * a.weight, b.weight, ..., and a last one of 16 numbers. Returns DIR, for test_rm(). */
static inline char *large_merge(size_t n_large, size_t rows)
{
    static float numbers[LARGE_ROWS_MOST * LARGE_COLS];
    static const char *const names[] = { "a.weight", "b.weight", "c.weight", "d.weight" };
    char *dir = test_mkdtemp(), *json, recipe[512], out[512];
    struct made_tensor t[LARGE_MOST + 1];
    struct uqm_err err = { 0 };
    assert_true(n_large <= LARGE_MOST && rows <= LARGE_ROWS_MOST);
    for (size_t i = 0; i < rows * LARGE_COLS; i++)
        numbers[i] = (float) (i * 2654435761u % 65521) / 8192;
    for (size_t i = 0; i < n_large; i++)
        t[i] = (struct made_tensor){ names[i], UQM_F32, 2, { rows, LARGE_COLS }, numbers };
    t[n_large] = (struct made_tensor){ names[n_large], UQM_F32, 1, { 16 }, numbers };
    make_model(dir, "m", "{}", t, n_large + 1);
    write_text(in_dir(dir, "r.yml"), "merge_method: passthrough\nmodels:\n  - model: m\n");
    snprintf(recipe, sizeof recipe, "%s/r.yml", dir);
    snprintf(out, sizeof out, "%s/out", dir);
    const struct uqm_merge_params params = { .common.memory = 64 << 20,
                                             .recipe_path = recipe,
                                             .out_dir = out };
    assert_ok(uqm_merge(&json, &params, &err), err);
    free(json);
    return dir;
}

#endif
