/* Ranges that a stream has asked to be read and not yet handed out, in order. For both kinds of
 * source: the io stream asks for pieces ahead of the consumer, who takes tiles in the same order.
 */
#ifndef UQM_CHECKPOINT_RANGE_QUEUE_H
#define UQM_CHECKPOINT_RANGE_QUEUE_H

#include "src/checkpoint/source.h"

struct uqm_range_queue { /* zero: empty */
    struct uqm_range *ring;
    size_t head, n, cap;
};

/* false: no memory, and the queue is as it was. */
bool uqm_range_queue_push(struct uqm_range_queue *queue, const struct uqm_range *range);
/* The oldest range, or NULL; good until the next push. */
const struct uqm_range *uqm_range_queue_first(const struct uqm_range_queue *queue);
/* Take the oldest range off; there is one. */
struct uqm_range uqm_range_queue_pop(struct uqm_range_queue *queue);
void uqm_range_queue_finish(struct uqm_range_queue *queue);

#endif
