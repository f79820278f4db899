#include "compute/vk/vk_tune.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compute/vk/vk_core.h"
#include "src/base/checked.h"
#include "src/base/clock.h"

enum {
    LEAST_ROWS = 64,   /* fewer are not worth a choice */
    LEAST_WORK = 1024, /* n k / 1024: below, nothing is */
    PIECE_ROWS = 512,
    PIECE_COLS = 2048,
    N_RUNS = 2, /* after one that compiles and warms up, each of so many in a row: */
    IN_A_ROW = 3,
    MOST_MS = 1500, /* of all kernels of a shape; those that come later are not timed */
};

/* Rows of x in classes, as the size of a grid decides. */
static size_t rows_class(size_t m)
{
    return m < 128 ? 64 : m < 512 ? 128 : 512;
}

static bool is_wanted(const struct uqm_vk *vk, const struct uqm_linear *a,
                      const struct uqm_vk_gemm *table)
{
    const char *asked = getenv("UQMERGE_VK_TUNE");
    if (asked && strcmp(asked, "0") == 0)
        return false;
    if (!asked && vk->core->info.type == VK_PHYSICAL_DEVICE_TYPE_CPU)
        return false;
    return !a->skinny && table->path != UQM_VK_GEMM_COOP && a->m >= LEAST_ROWS &&
           (uint64_t) a->n * a->k / 1024 >= LEAST_WORK;
}

/* What the cache's file holds of a kernel: enough to know it among the candidates. */
static uint32_t mark_of(const struct uqm_vk_gemm *g)
{
    return (uint32_t) g->path << 28 | (uint32_t) g->tm << 23 | (uint32_t) g->tn << 18 |
           (uint32_t) (g->bm / 8) << 10 | (uint32_t) (g->bn / 8) << 2 | (uint32_t) (g->bk == 16);
}

/* The product's first rows and columns, its weights in a slot, results into memory of its own. */
struct piece {
    struct uqm_linear args;
    struct uqm_vk_slot slot;
    struct uqm_memory *y;
    float *first, *got; /* the table's results, and another's */
    size_t n_words;
};

static int piece_init(struct piece *p, struct uqm_vk *vk, const struct uqm_linear *a,
                      const struct uqm_vk_gemm *table, struct uqm_err *err)
{
    *p = (struct piece){ .args = *a };
    p->args.m = uqm_min_u64(a->m, PIECE_ROWS);
    p->args.n = uqm_min_u64(a->n, uqm_min_u64(PIECE_COLS, uqm_vk_linear_cols(vk, a, table)));
    p->args.ldy = p->args.n;
    p->args.bias = (struct uqm_place){ 0 };
    p->args.epilogue = UQM_EPI_STORE;
    p->args.keep = 0;
    p->n_words = p->args.m * p->args.n;
    p->first = calloc(p->n_words + 1, sizeof *p->first);
    p->got = calloc(p->n_words + 1, sizeof *p->got);
    if (p->n_words == 0 || !p->first || !p->got)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for tuning products");
    int ret = uqm_vk_alloc(&p->y, vk, p->n_words, "tuning products", err);
    p->args.y = (struct uqm_place){ p->y, 0 };
    return ret < 0 ? ret : uqm_vk_linear_fill(&p->slot, vk, &p->args, err);
}

static void piece_finish(struct piece *p, struct uqm_vk *vk)
{
    uqm_vk_free(vk, &p->y);
    free(p->first);
    free(p->got);
}

static int run_some(struct piece *p, struct uqm_vk *vk, const struct uqm_vk_gemm *g, int n,
                    struct uqm_err *err)
{
    int ret = UQM_OK;
    for (int i = 0; ret == UQM_OK && i < n; i++)
        ret = uqm_vk_linear_filled(vk, &p->args, g, &p->slot, err);
    return ret == UQM_OK ? uqm_vk_finish(vk, err) : ret;
}

/* The best of its runs in seconds; 0: its results are not the first's. */
static int time_one(double *best, struct piece *p, struct uqm_vk *vk, const struct uqm_vk_gemm *g,
                    bool is_first, struct uqm_err *err)
{
    float *to = is_first ? p->first : p->got;
    int ret = run_some(p, vk, g, 1, err);
    *best = 0;
    if (ret == UQM_OK)
        ret = uqm_vk_download(vk, to, p->args.y, p->n_words, err);
    if (ret == UQM_OK && memcmp(to, p->first, p->n_words * sizeof *to) != 0)
        return UQM_OK;
    for (int run = 0; ret == UQM_OK && run < N_RUNS; run++) {
        const double start = uqm_clock_s();
        ret = run_some(p, vk, g, IN_A_ROW, err);
        const double seconds = uqm_clock_s() - start;
        if (run == 0 || seconds < *best)
            *best = seconds;
    }
    return ret;
}

static int time_all(struct uqm_vk_gemm *gemm, struct piece *p, struct uqm_vk *vk,
                    const struct uqm_vk_gemm_shape *shape, struct uqm_err *err)
{
    struct uqm_vk_gemm all[UQM_VK_MAX_GEMMS];
    const size_t n = uqm_vk_gemm_candidates(all, vk, shape);
    const double start = uqm_clock_s();
    double best = 0;
    int ret = UQM_OK;
    for (size_t i = 0; ret == UQM_OK && i < n; i++) {
        double seconds = 0;
        if (i > 0 && ((uqm_clock_s() - start) * 1e3 > MOST_MS || mark_of(&all[i]) == mark_of(all) ||
                      uqm_vk_linear_cols(vk, &p->args, &all[i]) < p->args.n))
            continue;
        ret = time_one(&seconds, p, vk, &all[i], i == 0, err);
        if (ret == UQM_ERR_UNSUPPORTED && i > 0) /* the driver does not take it */
            ret = UQM_OK;
        /* worth leaving the table's for: a twentieth less */
        if (ret == UQM_OK && seconds > 0 && (i == 0 || seconds < best * 0.95)) {
            best = seconds;
            *gemm = all[i];
        }
    }
    return ret;
}

int uqm_vk_tune(struct uqm_vk_gemm *gemm, struct uqm_vk *vk, const struct uqm_linear *args,
                const struct uqm_vk_gemm_shape *shape, struct uqm_err *err)
{
    struct uqm_vk_gemm all[UQM_VK_MAX_GEMMS];
    char key[UQM_VK_CACHE_KEY];
    uint32_t mark;
    if (!is_wanted(vk, args, gemm))
        return UQM_OK;
    snprintf(key, sizeof key, "gemm %s %zux%zux%zu%s", uqm_dtype_name(args->w_dtype),
             rows_class(args->m), args->n, args->k,
             shape->halves    ? " fast"
             : shape->x_quads ? ""
                              : " odd");
    if (uqm_vk_tuned_get(&mark, vk, key)) {
        const size_t n = uqm_vk_gemm_candidates(all, vk, shape);
        for (size_t i = 0; i < n; i++)
            if (mark_of(&all[i]) == mark) {
                *gemm = all[i];
                break;
            }
        return UQM_OK;
    }
    struct piece piece;
    struct uqm_err why = { 0 };
    int ret = piece_init(&piece, vk, args, gemm, &why);
    if (ret == UQM_OK)
        ret = time_all(gemm, &piece, vk, shape, &why);
    piece_finish(&piece, vk);
    if (ret == UQM_ERR_NOMEM && !vk->lost)
        return UQM_OK;
    if (ret < 0) {
        if (err)
            *err = why;
        return ret;
    }
    uqm_vk_tuned_set(vk, key, mark_of(gemm));
    uqm_log(vk->device.env, UQM_LOG_DEBUG, "%s: %s: kernel %#" PRIx32 " is the fastest",
            vk->device.id, key, mark_of(gemm));
    return UQM_OK;
}
