/* Bodies of the products of few rows; included after a lanes_*.h, the sixteen chains and WIDTH. */
#include "compute/tiers.h"

/* Weights come from memory, once: a hint, good at any address. */
enum { AHEAD_BYTES = 2048 };

/* Rows by name and not in an array: each chain is to live in a register. */
#define ONE_ROW(F)    F(0)
#define TWO_ROWS(F)   ONE_ROW(F) F(1)
#define FOUR_ROWS(F)  TWO_ROWS(F) F(2) F(3)
#define EIGHT_ROWS(F) FOUR_ROWS(F) F(4) F(5) F(6) F(7)
#define ZERO(r)       chains s##r = chains_zero();
#define STEP(r)       s##r = chains_fma(weights, chains_load(x[r], j), s##r);
#define LAST(r)       s##r = chains_fma(weights, chains_load_n(x[r], j, k - j), s##r);
#define SUM(r)        sums[r] = chains_sum(s##r);

/* One row of W against a number of rows of x. */
#define DEFINE_SUMS(name, type, load, load_n, EACH)                                                \
    static inline void name(float *sums, const float *const *x, const type *w, size_t k)           \
    {                                                                                              \
        size_t j = 0;                                                                              \
        EACH(ZERO)                                                                                 \
        for (; j + UQM_DOTS_CHAINS <= k; j += UQM_DOTS_CHAINS) {                                   \
            const chains weights = load(w, j);                                                     \
            __builtin_prefetch((const char *) (w + j) + AHEAD_BYTES);                              \
            EACH(STEP)                                                                             \
        }                                                                                          \
        if (j < k) {                                                                               \
            const chains weights = load_n(w, j, k - j);                                            \
            EACH(LAST)                                                                             \
        }                                                                                          \
        EACH(SUM)                                                                                  \
    }

/* Rows that are missing to the next of 1, 2, 4 and 8 are the last one again. */
#define DEFINE_DOTS(name, type, load, load_n)                                                      \
    DEFINE_SUMS(name##_1, type, load, load_n, ONE_ROW)                                             \
    DEFINE_SUMS(name##_2, type, load, load_n, TWO_ROWS)                                            \
    DEFINE_SUMS(name##_4, type, load, load_n, FOUR_ROWS)                                           \
    DEFINE_SUMS(name##_8, type, load, load_n, EIGHT_ROWS)                                          \
    void TIER(name)(const struct uqm_dots *d)                                                      \
    {                                                                                              \
        for (size_t c = 0; c < d->n_cols; c++) {                                                   \
            const type *w = (const type *) d->w + c * d->k;                                        \
            for (size_t first = 0; first < d->n_rows; first += WIDTH) {                            \
                const size_t n = d->n_rows - first < WIDTH ? d->n_rows - first : WIDTH;            \
                const float *x[UQM_DOTS_ROWS];                                                     \
                float sums[UQM_DOTS_ROWS];                                                         \
                for (size_t r = 0; r < WIDTH; r++)                                                 \
                    x[r] = d->x + (first + (r < n ? r : n - 1)) * d->ldx;                          \
                if (n > 4)                                                                         \
                    name##_8(sums, x, w, d->k);                                                    \
                else if (n > 2)                                                                    \
                    name##_4(sums, x, w, d->k);                                                    \
                else if (n > 1)                                                                    \
                    name##_2(sums, x, w, d->k);                                                    \
                else                                                                               \
                    name##_1(sums, x, w, d->k);                                                    \
                for (size_t r = 0; r < n; r++)                                                     \
                    d->y[(first + r) * d->ldy + c] = sums[r];                                      \
            }                                                                                      \
        }                                                                                          \
    }

DEFINE_DOTS(dots_f32, float, chains_load, chains_load_n)
DEFINE_DOTS(dots_f16, uint16_t, chains_of_f16, chains_of_f16_n)
DEFINE_DOTS(dots_bf16, uint16_t, chains_of_bf16, chains_of_bf16_n)
