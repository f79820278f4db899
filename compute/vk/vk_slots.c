/* The ring of weight slots: the host fills one while kernels read the others. */
#include <stdlib.h>
#include <string.h>

#include "compute/vk/vk_core.h"
#include "src/base/clock.h"

static unsigned count_slots(void)
{
    const char *s = getenv("UQMERGE_VK_SLOTS");
    long n = s ? strtol(s, NULL, 10) : 0;
    return n >= 1 && n <= UQM_VK_MAX_SLOTS ? (unsigned) n : 3;
}

uint64_t uqm_vk_slots_bytes(uint64_t slot_bytes)
{
    return count_slots() * ((slot_bytes + 255) & ~UINT64_C(255));
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

static void finish_kept(struct uqm_vk *vk);

void uqm_vk_slots_finish(struct uqm_vk *vk)
{
    struct uqm_vk_slots *slots = &vk->core->slots;
    finish_kept(vk);
    for (unsigned i = 0; i < UQM_VK_MAX_SLOTS; i++) {
        uqm_vk_memory_destroy(vk, &slots->device[i]);
        uqm_vk_memory_destroy(vk, &slots->staging[i]);
    }
    *slots = (struct uqm_vk_slots){ .waited_ns = slots->waited_ns, .n_filled = slots->n_filled };
}

/* Until the host may write to it. */
static int await_slot(struct uqm_vk *vk, struct uqm_memory *filled, struct uqm_err *err)
{
    struct uqm_vk_core *core = vk->core;
    struct uqm_vk_queue *queue = &core->queues[UQM_VK_COMPUTE];
    int ret = UQM_OK;
    /* The host is going to be busy with weights: let the device have what is recorded. */
    if (queue->recording && uqm_vk_reached(vk, UQM_VK_COMPUTE, queue->submitted))
        ret = uqm_vk_submit(vk, UQM_VK_COMPUTE, err);
    if (ret == UQM_OK && !uqm_vk_memory_idle(vk, filled)) {
        uint64_t since = uqm_clock_ns();
        ret = uqm_vk_wait_memory(vk, filled, err);
        core->slots.waited_ns += uqm_clock_ns() - since;
    }
    return ret;
}

/* A slot that nobody has named. They are given out in turn, so that the one that has been free for
 * longest, and is the likeliest to be idle, comes first. */
static struct uqm_vk_kept *free_kept(struct uqm_vk_slots *slots)
{
    for (size_t i = 0; i < slots->n_kept; i++) {
        struct uqm_vk_kept *kept = &slots->kept[(slots->next_kept + i) % slots->n_kept];
        if (kept->name.keep == 0) {
            slots->next_kept = (size_t) (kept - slots->kept + 1) % slots->n_kept;
            return kept;
        }
    }
    return NULL;
}

int uqm_vk_slot_take(struct uqm_vk_slot *out, struct uqm_vk *vk, struct uqm_vk_slot_name name,
                     uint64_t n_bytes, struct uqm_err *err)
{
    struct uqm_vk_slots *slots = &vk->core->slots;
    struct uqm_vk_kept *kept = name.keep ? free_kept(slots) : NULL;
    int ret = uqm_vk_alive(vk, err);
    *out = (struct uqm_vk_slot){ 0 };
    if (ret < 0)
        return ret;
    assert(slots->n > 0 && n_bytes <= slots->bytes);
    struct uqm_memory *device = kept ? kept->device : slots->device[slots->next];
    struct uqm_memory *staging = slots->staging[slots->next];
    ret = await_slot(vk, staging ? staging : device, err);
    if (ret < 0)
        return ret;
    out->host = uqm_vk_memory_host(staging ? staging : device);
    out->place = (struct uqm_place){ device, 0 };
    out->n_bytes = slots->bytes;
    out->staging = staging;
    if (kept)
        kept->name = name;
    if (!kept || staging)
        slots->next = (slots->next + 1) % slots->n;
    return UQM_OK;
}

/* On a queue of its own a copy waits for the kernels that still read the slot, and they were
 * submitted before; kernels that read it then wait for the copy (await_transfers). */
int uqm_vk_slot_filled(struct uqm_vk *vk, const struct uqm_vk_slot *slot, uint64_t n_bytes,
                       struct uqm_err *err)
{
    struct uqm_vk_core *core = vk->core;
    struct uqm_memory *device = slot->place.memory, *staging = slot->staging;
    struct uqm_vk_queue *compute = &core->queues[UQM_VK_COMPUTE];
    struct uqm_vk_queue *transfer = &core->queues[UQM_VK_TRANSFER];
    int ret = uqm_vk_alive(vk, err);
    if (ret == UQM_OK)
        ret = uqm_vk_memory_flush(vk, staging ? staging : device, 0, n_bytes, err);
    if (ret < 0)
        return ret;
    core->slots.n_filled++;
    if (!staging)
        return UQM_OK;
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

/* ---- slots that stay ---- */

static void finish_kept(struct uqm_vk *vk)
{
    struct uqm_vk_slots *slots = &vk->core->slots;
    for (size_t i = 0; i < slots->n_kept; i++)
        uqm_vk_memory_destroy(vk, &slots->kept[i].device);
    free(slots->kept);
    slots->kept = NULL;
    slots->n_kept = slots->next_kept = 0;
}

/* What may be taken without leaving the rest of the run too little: copies and tables are made when
 * they are first needed. */
static uint64_t spare_bytes(const struct uqm_vk *vk)
{
    const uint64_t later = (uint64_t) 2 * UQM_VK_N_CHUNKS * UQM_VK_CHUNK_BYTES +
                           (uint64_t) UQM_VK_TABLE_CHUNKS * UQM_VK_MAX_TABLE * 4;
    uint64_t left = uqm_vk_memory_left(vk);
    left -= left / 8;
    return left > later ? left - later : 0;
}

static size_t count_kept(size_t wanted)
{
    const char *s = getenv("UQMERGE_VK_KEEP");
    unsigned long long most = s ? strtoull(s, NULL, 10) : wanted;
    return most < wanted ? (size_t) most : wanted;
}

int uqm_vk_hold(struct uqm_vk *vk, size_t n_tiles, struct uqm_err *err)
{
    struct uqm_vk_slots *slots = &vk->core->slots;
    size_t n_made = 0;
    finish_kept(vk);
    if (slots->n == 0)
        return UQM_OK;
    n_tiles = count_kept(n_tiles);
    if (n_tiles > spare_bytes(vk) / slots->bytes)
        n_tiles = (size_t) (spare_bytes(vk) / slots->bytes);
    struct uqm_memory **made = calloc(n_tiles + 1, sizeof *made);
    slots->kept = calloc(n_tiles + 1, sizeof *slots->kept);
    int ret = UQM_OK;
    if (made && slots->kept)
        ret = uqm_vk_memory_create_many(made, &n_made, vk, UQM_VK_ROLE_DEVICE, slots->bytes,
                                        n_tiles, "weights that stay", err);
    for (size_t i = 0; i < n_made; i++)
        slots->kept[slots->n_kept++].device = made[i];
    free(made);
    if (ret == UQM_OK)
        uqm_log(vk->device.env, UQM_LOG_DEBUG, "%s: %zu tiles of %.1f MiB stay on the device",
                vk->device.id, n_made, (double) slots->bytes / 0x1p20);
    return ret;
}

bool uqm_vk_slot_find(struct uqm_place *out, const struct uqm_vk *vk, struct uqm_vk_slot_name name)
{
    const struct uqm_vk_slots *slots = &vk->core->slots;
    for (size_t i = 0; i < slots->n_kept && name.keep; i++) {
        const struct uqm_vk_slot_name *is = &slots->kept[i].name;
        if (is->keep == name.keep && is->row == name.row) {
            *out = (struct uqm_place){ slots->kept[i].device, 0 };
            return true;
        }
    }
    return false;
}

void uqm_vk_forget(struct uqm_vk *vk, uint64_t first, uint64_t last)
{
    struct uqm_vk_slots *slots = &vk->core->slots;
    for (size_t i = 0; i < slots->n_kept; i++) {
        struct uqm_vk_slot_name *name = &slots->kept[i].name;
        if (name->keep >= first && name->keep < last)
            *name = (struct uqm_vk_slot_name){ 0 };
    }
}
