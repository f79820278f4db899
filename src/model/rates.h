/*
 * How fast weights come, how fast the device computes and how fast the host's memory and its own
 * meet: measured in a fraction of a second before the plan of a job that could go through the
 * network in several ways (pass_plan.h). No result depends on them.
 */
#ifndef UQM_MODEL_RATES_H
#define UQM_MODEL_RATES_H

#include "src/model/blocks.h"

struct uqm_rates {     /* a second; all zero: not measured */
    double read_bytes; /* of the source's weights, merged where it is a recipe */
    double flop;       /* of products with tiles of these shapes, their way to the device in it */
    double copy_bytes; /* between the host's memory and the device's; 0: they are one */
};

/*
 * Of a run that has been initialised and whose arena nobody holds, with batches of up to batch_rows
 * rows. Some tens of MiB of the weights in `whole` are read; they do not count as the network's
 * (bytes_read). No room for the products: all zero. Other errors are those of the source and the
 * device.
 */
int uqm_rates_measure(struct uqm_rates *rates, struct uqm_run *run,
                      const struct uqm_schedule *whole, size_t batch_rows, struct uqm_err *err);

/* Rows that a pass needs for computing to take as long as reading; 0: not measured. */
double uqm_rates_rows(const struct uqm_rates *rates, double flop_a_row, double weights_bytes);

#endif
