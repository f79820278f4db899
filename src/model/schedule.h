/*
 * Weights on their way through the network. A schedule lists, before anything is read, which rows
 * of which tensors a pass needs and in which order; the pass then streams them as tiles, and the
 * blocks of the network take them in that same order, each tile once for the whole batch.
 *
 * Every block has a function that schedules and one that computes, side by side: what the first
 * lists the second takes. Taking anything else is our own mistake and asserts.
 */
#ifndef UQM_MODEL_SCHEDULE_H
#define UQM_MODEL_SCHEDULE_H

#include "compute/device.h"
#include "compute/kernels.h"
#include "src/checkpoint/source.h"

/* A run of whole rows of one tensor; a tensor of rank 1 is a single row. */
struct uqm_load {
    size_t tensor;
    uint64_t first_row, n_rows, row_elem;
};

struct uqm_schedule {
    const struct uqm_source *source;
    struct uqm_load *loads;
    size_t n, room;
};

/*
 * Append the tensor of this canonical name, whose shape must be `shape` and whose dtype one we
 * compute with. UQM_ERR_FORMAT names a tensor that is missing or of another shape.
 */
int uqm_schedule_tensor(struct uqm_schedule *schedule, unsigned rank, const uint64_t *shape,
                        struct uqm_err *err, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* The same for (n_elem) and (n_rows, row_elem). */
int uqm_schedule_vector(struct uqm_schedule *schedule, uint64_t n_elem, struct uqm_err *err,
                        const char *fmt, ...) __attribute__((format(printf, 4, 5)));
int uqm_schedule_matrix(struct uqm_schedule *schedule, uint64_t n_rows, uint64_t row_elem,
                        struct uqm_err *err, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* Append rows [first_row, first_row + n_rows) of the tensor that `like` loads. */
int uqm_schedule_rows(struct uqm_schedule *schedule, const struct uqm_load *like,
                      uint64_t first_row, uint64_t n_rows, struct uqm_err *err);
void uqm_schedule_finish(struct uqm_schedule *schedule);

/* The smallest tile that cuts each tensor in whole multiples of UQM_GEMM_COLS rows. */
uint64_t uqm_schedule_min_tile(const struct uqm_schedule *schedule);
uint64_t uqm_schedule_bytes(const struct uqm_schedule *schedule);
uint64_t uqm_schedule_elem(const struct uqm_schedule *schedule);
uint64_t uqm_schedule_row_bytes(const struct uqm_schedule *schedule, const struct uqm_load *load);
/* Rows of a load in one tile: products want whole blocks of UQM_GEMM_COLS, unless it has fewer. */
uint64_t uqm_schedule_tile_rows(const struct uqm_schedule *schedule, const struct uqm_load *load,
                                size_t tile_bytes);
/* Most elements in a row, and in a tile of this size. */
uint64_t uqm_schedule_max_row(const struct uqm_schedule *schedule);
uint64_t uqm_schedule_max_tile_elem(const struct uqm_schedule *schedule, size_t tile_bytes);

struct uqm_weights_params {
    struct uqm_env *env;
    struct uqm_threads *threads;
    struct uqm_device *device;
    const struct uqm_kernels *kernels;
    struct uqm_source *source;
    const struct uqm_schedule *schedule; /* borrowed, and all of the above */
    size_t tile_bytes;
    uint64_t memory_bytes;
    float *stage; /* room for the longest row, used within the calls below */
};

struct uqm_held;

struct uqm_weights {
    struct uqm_weights_params of;
    struct uqm_tile_stream *stream; /* NULL: of weights that are held */
    const struct uqm_held *held;
    size_t asked_load; /* how far the stream has been told; ahead of the next two */
    uint64_t asked_row;
    size_t load; /* how far the network has come */
    uint64_t row;
    double waited_s; /* for tiles */
};

/* Start a pass. `weights` must stay where it is until uqm_weights_close(), which takes a zeroed
 * one. */
int uqm_weights_open(struct uqm_weights *weights, const struct uqm_weights_params *params,
                     struct uqm_err *err);
void uqm_weights_close(struct uqm_weights *weights);

/* Take loads from the group that is held (held.h) instead, beginning anew wherever seek says. The
 * device may keep copies of them until uqm_weights_forget() of the loads [first, end). */
void uqm_weights_hold(struct uqm_weights *weights, const struct uqm_weights_params *params,
                      const struct uqm_held *held);
void uqm_weights_seek(struct uqm_weights *weights, size_t load);
void uqm_weights_forget(struct uqm_weights *weights, size_t first, size_t end);

/* Pass over a tile of the next load: its bytes, and whether the schedule has more. */
int uqm_weights_drop(struct uqm_weights *weights, size_t *n_bytes, bool *more, struct uqm_err *err);
/* The next load is a single row: widened, into dst. */
int uqm_weights_vector(struct uqm_weights *weights, struct uqm_place dst, size_t n_elem,
                       struct uqm_err *err);

/* The product with W, (n, k), being the next load: w and w_dtype are filled in. */
int uqm_weights_linear(struct uqm_weights *weights, const struct uqm_linear *product,
                       struct uqm_err *err);

/* Hand the rows of the next load to `take` one by one, as they are stored. */
typedef int (*uqm_take_row_fn)(void *ctx, uint64_t index, const void *row, enum uqm_dtype dtype,
                               struct uqm_err *err);
int uqm_weights_rows(struct uqm_weights *weights, uqm_take_row_fn take, void *ctx,
                     struct uqm_err *err);

#endif
