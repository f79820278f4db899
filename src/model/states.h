/*
 * The hidden states of all prompts of a pass, batch by batch, while the layers' weights go by: on
 * the device where they fit, else in the host's memory, else in a scratch file that is read ahead
 * and written behind.
 */
#ifndef UQM_MODEL_STATES_H
#define UQM_MODEL_STATES_H

#include "compute/device.h"
#include "io/scratch.h"

enum uqm_states_kind {
    UQM_STATES_DEVICE,
    UQM_STATES_HOST, /* for devices with memory of their own */
    UQM_STATES_FILE,
    UQM_N_STATES_KINDS,
};
const char *uqm_states_kind_name(enum uqm_states_kind kind); /* "in a scratch file" */

struct uqm_states;

struct uqm_states_params {
    struct uqm_env *env;
    struct uqm_device *device;
    enum uqm_states_kind kind;
    const size_t *rows; /* of each batch; copied */
    size_t n_batches;
    size_t width;            /* words of a row */
    const char *scratch_dir; /* as uqm_scratch_init() takes it */
};

/* What create() takes of the device's memory and of the host's, in bytes. */
struct uqm_states_memory {
    uint64_t device_bytes, host_bytes;
};
struct uqm_states_memory uqm_states_memory(enum uqm_states_kind kind, uint64_t total_rows,
                                           uint64_t most_rows, size_t width);

int uqm_states_create(struct uqm_states **out, const struct uqm_states_params *params,
                      struct uqm_err *err);
/* Takes NULL. */
void uqm_states_destroy(struct uqm_states **states);

/* A batch's rows are wanted next: where they will be. n_rows of them are there, 0: they are about
 * to be made. */
struct uqm_states_turn {
    size_t batch, n_rows;
};
/*
 * Bring a batch's rows to *hidden, where they stay until the next call. next: whose turn is after
 * it, NULL: nobody's; that batch is read meanwhile.
 */
int uqm_states_fetch(struct uqm_states *states, struct uqm_place *hidden,
                     const struct uqm_states_turn *turn, const struct uqm_states_turn *next,
                     struct uqm_err *err);
/* The rows of the batch that was fetched last have changed: keep the first n_rows. */
int uqm_states_keep(struct uqm_states *states, size_t n_rows, struct uqm_err *err);

/* A batch's first n_rows rows, as they were kept, to dst. Not of a scratch file. */
int uqm_states_save(struct uqm_states *states, float *dst, size_t batch, size_t n_rows,
                    struct uqm_err *err);

/* All of a scratch file, whose batches have been kept in full, to another of its size. */
int uqm_states_save_file(struct uqm_states *states, const struct uqm_scratch *to,
                         struct uqm_err *err);

/* Of the scratch file, and seconds that the caller waited for it. */
struct uqm_states_use {
    uint64_t bytes_moved;
    double waited_s;
};
struct uqm_states_use uqm_states_use(const struct uqm_states *states);

#endif
