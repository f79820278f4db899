#include "src/model/rates.h"

#include <string.h>

#include "src/base/checked.h"
#include "src/base/clock.h"

enum {
    READ_BYTES = 64 << 20, /* some 30 ms of a fast drive */
    MOST_SHARE = 64,       /* of the weights, no more than this part */
    MOST_ROWS = 512,       /* of a product: the rate of large batches */
    MOST_TIMES = 16,
};
static const double ENOUGH_S = 0.02;

/* ---- reading ---- */

/* Matrices from the middle on, where no file begins. */
static int schedule_some(struct uqm_schedule *some, const struct uqm_schedule *whole,
                         struct uqm_err *err)
{
    const uint64_t most = uqm_min_u64(READ_BYTES, uqm_schedule_bytes(whole) / MOST_SHARE);
    uint64_t bytes = 0;
    int ret = UQM_OK;
    for (size_t i = whole->n / 2; ret == UQM_OK && i < whole->n && bytes < most; i++) {
        const struct uqm_load *l = &whole->loads[i];
        const uint64_t row = uqm_schedule_row_bytes(whole, l);
        const uint64_t n = uqm_min_u64(l->n_rows, (most - bytes) / row);
        if (l->n_rows == 1 || n == 0)
            continue;
        ret = uqm_schedule_rows(some, l, l->first_row, n, err);
        bytes += n * row;
    }
    return ret;
}

/* What comes with the first tile is latency, and what it cost to open the stream. */
static int time_reading(double *rate, struct uqm_run *run, const struct uqm_schedule *some,
                        struct uqm_err *err)
{
    struct uqm_env *env = run->net->env;
    const uint64_t before = atomic_load(&env->bytes_read);
    struct uqm_weights weights = { 0 };
    uint64_t bytes = 0;
    double start = 0;
    int ret = uqm_run_open(run, &weights, some, err);
    for (bool more = some->n > 0; ret == UQM_OK && more;) {
        size_t n_bytes = 0;
        ret = uqm_weights_drop(&weights, &n_bytes, &more, err);
        if (start > 0)
            bytes += n_bytes;
        else
            start = uqm_clock_s();
    }
    const double seconds = uqm_clock_s() - start;
    uqm_weights_close(&weights);
    atomic_fetch_sub(&env->bytes_read, atomic_load(&env->bytes_read) - before);
    if (ret == UQM_OK && bytes > 0 && seconds > 0)
        *rate = (double) bytes / seconds;
    return ret;
}

static int measure_reading(double *rate, struct uqm_run *run, const struct uqm_schedule *whole,
                           struct uqm_err *err)
{
    struct uqm_schedule some = { .source = whole->source };
    int ret = schedule_some(&some, whole, err);
    if (ret == UQM_OK)
        ret = time_reading(rate, run, &some, err);
    uqm_schedule_finish(&some);
    return ret;
}

/* ---- computing ---- */

/* The first matrix of the network's own width. */
static const struct uqm_load *find_matrix(const struct uqm_schedule *whole, uint64_t width)
{
    for (size_t i = whole->n / 2; i < whole->n; i++)
        if (whole->loads[i].n_rows > 1 && whole->loads[i].row_elem == width)
            return &whole->loads[i];
    return NULL;
}

static int time_products(double *rate, struct uqm_run *run, const struct uqm_linear *product,
                         struct uqm_err *err)
{
    struct uqm_device *device = run->device;
    int ret = device->ops->linear(device, product, err); /* makes what the first one needs */
    if (ret == UQM_OK)
        ret = device->ops->finish(device, err);
    const double start = uqm_clock_s();
    double seconds = 0;
    size_t n = 0;
    for (; ret == UQM_OK && n < MOST_TIMES && seconds < ENOUGH_S; n++) {
        ret = device->ops->linear(device, product, err);
        if (ret == UQM_OK)
            ret = device->ops->finish(device, err);
        seconds = uqm_clock_s() - start;
    }
    if (ret == UQM_OK && seconds > 0)
        *rate = 2.0 * (double) (product->m * product->n * product->k) * (double) n / seconds;
    return ret;
}

/* Rows to the device and back; they are the product's x. */
static int time_copies(double *rate, struct uqm_run *run, float *rows, struct uqm_place x,
                       size_t n_words, struct uqm_err *err)
{
    struct uqm_device *device = run->device;
    double start = 0;
    int ret = UQM_OK;
    for (int i = 0; ret == UQM_OK && i < 2; i++) { /* the first one touches memory */
        start = uqm_clock_s();
        ret = device->ops->upload(device, x, rows, n_words, err);
        if (ret == UQM_OK)
            ret = device->ops->download(device, rows, x, n_words, err);
    }
    const double seconds = uqm_clock_s() - start;
    if (ret == UQM_OK && seconds > 0)
        *rate = 2.0 * (double) n_words * sizeof *rows / seconds;
    return ret;
}

static int measure_device(struct uqm_rates *rates, struct uqm_run *run,
                          const struct uqm_schedule *whole, const struct uqm_load *matrix, size_t m,
                          struct uqm_err *err)
{
    const size_t k = (size_t) matrix->row_elem;
    const size_t n = (size_t) uqm_schedule_tile_rows(whole, matrix, run->tile_bytes);
    const size_t tile_bytes = n * (size_t) uqm_schedule_row_bytes(whole, matrix);
    const size_t row_words = (size_t) uqm_part_words(m * k);
    const size_t bytes = row_words * sizeof(float) + tile_bytes;
    void *block;
    int ret = uqm_budget_alloc(&block, run->net->env, bytes, 64, "measuring the device", err);
    if (ret < 0)
        return ret;
    float *rows = block;
    void *tile = rows + row_words;
    const struct uqm_linear product = {
        .x = uqm_run_place(run, 0),
        .y = uqm_run_place(run, uqm_part_words(m * k)),
        .ldx = k,
        .ldy = n,
        .m = m,
        .n = n,
        .k = k,
        .w = tile,
        .w_dtype = whole->source->tensors[matrix->tensor].dtype,
    };
    memset(tile, 0x3c, tile_bytes); /* bits that are small numbers in every type */
    if (!run->device->limits.on_host)
        ret = time_copies(&rates->copy_bytes, run, rows, product.x, m * k, err);
    else
        ret = run->device->ops->upload(run->device, product.x, rows, m * k, err);
    if (ret == UQM_OK)
        ret = time_products(&rates->flop, run, &product, err);
    uqm_budget_free(&block, run->net->env, bytes);
    return ret;
}

int uqm_rates_measure(struct uqm_rates *rates, struct uqm_run *run,
                      const struct uqm_schedule *whole, size_t batch_rows, struct uqm_err *err)
{
    const struct uqm_load *matrix = find_matrix(whole, run->net->config.text.hidden);
    const size_t m = uqm_padded_rows((size_t) uqm_min_u64(batch_rows, MOST_ROWS));
    *rates = (struct uqm_rates){ 0 };
    if (!matrix)
        return UQM_OK;
    const uint64_t words = uqm_part_words(m * matrix->row_elem) +
                           m * uqm_schedule_tile_rows(whole, matrix, run->tile_bytes);
    const uint64_t bytes = words * sizeof(float); /* and less than as much on the host */
    if (bytes > uqm_run_arena_room(run) / 2 || 2 * bytes > uqm_run_host_room(run))
        return UQM_OK;
    int ret = uqm_run_take_arena(run, bytes, "measuring the device", err);
    if (ret == UQM_OK)
        ret = measure_device(rates, run, whole, matrix, m, err);
    uqm_run_give_arena(run);
    if (ret == UQM_OK)
        ret = measure_reading(&rates->read_bytes, run, whole, err);
    if (rates->read_bytes <= 0 || rates->flop <= 0)
        *rates = (struct uqm_rates){ 0 };
    return ret;
}

double uqm_rates_rows(const struct uqm_rates *rates, double flop_a_row, double weights_bytes)
{
    return rates->read_bytes > 0 ? rates->flop * weights_bytes / rates->read_bytes / flop_a_row : 0;
}
