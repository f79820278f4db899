#include "src/checkpoint/range_queue.h"

#include <assert.h>
#include <stdlib.h>

enum { FIRST_CAP = 64 };

static bool grow(struct uqm_range_queue *queue)
{
    size_t cap = queue->cap ? queue->cap * 2 : FIRST_CAP;
    struct uqm_range *ring = malloc(cap * sizeof *ring);
    if (!ring)
        return false;
    for (size_t i = 0; i < queue->n; i++)
        ring[i] = queue->ring[(queue->head + i) % queue->cap];
    free(queue->ring);
    queue->ring = ring;
    queue->head = 0;
    queue->cap = cap;
    return true;
}

bool uqm_range_queue_push(struct uqm_range_queue *queue, const struct uqm_range *range)
{
    if (queue->n == queue->cap && !grow(queue))
        return false;
    queue->ring[(queue->head + queue->n++) % queue->cap] = *range;
    return true;
}

const struct uqm_range *uqm_range_queue_first(const struct uqm_range_queue *queue)
{
    return queue->n ? &queue->ring[queue->head] : NULL;
}

struct uqm_range uqm_range_queue_pop(struct uqm_range_queue *queue)
{
    assert(queue->n);
    struct uqm_range range = queue->ring[queue->head];
    queue->head = (queue->head + 1) % queue->cap;
    queue->n--;
    return range;
}

void uqm_range_queue_finish(struct uqm_range_queue *queue)
{
    free(queue->ring);
    *queue = (struct uqm_range_queue){ 0 };
}
