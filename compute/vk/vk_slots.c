/* The ring of weight slots: the host fills one while kernels read the others. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "compute/vk/vk_core.h"

static unsigned count_slots(void)
{
    const char *s = getenv("UQMERGE_VK_SLOTS");
    long n = s ? strtol(s, NULL, 10) : 0;
    return n >= 1 && n <= UQM_VK_MAX_SLOTS ? (unsigned) n : 3;
}

uint64_t uqm_vk_slots_bytes(const struct uqm_vk *vk, uint64_t slot_bytes)
{
    uint64_t copies = vk->limits.unified ? 1 : 2; /* in the device's memory; staged as well */
    return count_slots() * copies * ((slot_bytes + 255) & ~UINT64_C(255));
}

int uqm_vk_slots_init(struct uqm_vk *vk, uint64_t slot_bytes, struct uqm_err *err)
{
    struct uqm_vk_slots *slots = &vk->core->slots;
    int ret = UQM_OK;
    uqm_vk_slots_finish(vk);
    slots->bytes = slot_bytes;
    for (unsigned i = 0; i < count_slots(); i++) {
        ret = uqm_vk_memory_create(&slots->device[i], vk, UQM_VK_ROLE_DEVICE, slot_bytes,
                                   "the weight slots", err);
        if (ret == UQM_OK && !uqm_vk_memory_host(slots->device[i]))
            ret = uqm_vk_memory_create(&slots->staging[i], vk, UQM_VK_ROLE_STAGING, slot_bytes,
                                       "the weights' staging", err);
        if (ret < 0)
            break;
        slots->n++;
    }
    if (slots->n == 0)
        return ret;
    /* One slot is enough to go on: copying and computing then take turns. */
    if (ret == UQM_ERR_NOMEM && !vk->lost) {
        uqm_vk_memory_destroy(vk, &slots->device[slots->n]);
        uqm_vk_memory_destroy(vk, &slots->staging[slots->n]);
        uqm_log(vk->device.env, UQM_LOG_INFO, "%s: memory for %u of %u weight slots", vk->device.id,
                slots->n, count_slots());
        ret = UQM_OK;
    }
    return ret;
}

void uqm_vk_slots_finish(struct uqm_vk *vk)
{
    struct uqm_vk_slots *slots = &vk->core->slots;
    for (unsigned i = 0; i < UQM_VK_MAX_SLOTS; i++) {
        uqm_vk_memory_destroy(vk, &slots->device[i]);
        uqm_vk_memory_destroy(vk, &slots->staging[i]);
    }
    *slots = (struct uqm_vk_slots){ .waited_ns = slots->waited_ns };
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t) t.tv_sec * 1000000000u + (uint64_t) t.tv_nsec;
}

int uqm_vk_slot_take(struct uqm_vk_slot *out, struct uqm_vk *vk, uint64_t n_bytes,
                     struct uqm_err *err)
{
    struct uqm_vk_core *core = vk->core;
    struct uqm_vk_slots *slots = &core->slots;
    struct uqm_vk_queue *queue = &core->queues[UQM_VK_COMPUTE];
    int ret = uqm_vk_alive(vk, err);
    *out = (struct uqm_vk_slot){ 0 };
    if (ret < 0)
        return ret;
    assert(slots->n > 0 && n_bytes <= slots->bytes);
    /* The host is going to be busy with weights: let the device have what is recorded. */
    if (queue->recording && uqm_vk_reached(vk, UQM_VK_COMPUTE, queue->submitted))
        ret = uqm_vk_submit(vk, UQM_VK_COMPUTE, err);
    struct uqm_memory *device = slots->device[slots->next];
    struct uqm_memory *filled = slots->staging[slots->next];
    if (!filled)
        filled = device;
    if (ret == UQM_OK && !uqm_vk_memory_idle(vk, filled)) {
        uint64_t since = now_ns();
        ret = uqm_vk_wait_memory(vk, filled, err);
        slots->waited_ns += now_ns() - since;
    }
    if (ret < 0)
        return ret;
    out->host = uqm_vk_memory_host(filled);
    out->place = (struct uqm_place){ device, 0 };
    out->n_bytes = slots->bytes;
    out->index = slots->next;
    slots->next = (slots->next + 1) % slots->n;
    return UQM_OK;
}

/* On a queue of its own a copy waits for the kernels that still read the slot, and they were
 * submitted before; kernels that read it then wait for the copy (await_transfers). */
int uqm_vk_slot_filled(struct uqm_vk *vk, const struct uqm_vk_slot *slot, uint64_t n_bytes,
                       struct uqm_err *err)
{
    struct uqm_vk_core *core = vk->core;
    struct uqm_memory *device = core->slots.device[slot->index];
    struct uqm_memory *staging = core->slots.staging[slot->index];
    struct uqm_vk_queue *compute = &core->queues[UQM_VK_COMPUTE];
    struct uqm_vk_queue *transfer = &core->queues[UQM_VK_TRANSFER];
    int ret = uqm_vk_alive(vk, err);
    if (ret == UQM_OK)
        ret = uqm_vk_memory_flush(vk, staging ? staging : device, 0, n_bytes, err);
    if (ret < 0 || !staging)
        return ret;
    uint64_t whole = (n_bytes + 3) & ~UINT64_C(3);
    if (!core->own_transfer)
        return uqm_vk_record_copy(vk, UQM_VK_COMPUTE, device, 0, staging, 0, whole, "weights", err);
    uint64_t used = device->used[UQM_VK_COMPUTE];
    if (used > compute->submitted)
        ret = uqm_vk_submit(vk, UQM_VK_COMPUTE, err);
    if (used > transfer->waited)
        transfer->waited = used < compute->submitted ? used : compute->submitted;
    if (ret == UQM_OK)
        ret = uqm_vk_record_copy(vk, UQM_VK_TRANSFER, device, 0, staging, 0, whole, "weights", err);
    return ret == UQM_OK ? uqm_vk_submit(vk, UQM_VK_TRANSFER, err) : ret;
}
