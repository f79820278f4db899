/*
 * Devices that are worse than the one at hand, and faults at will: only in builds with tests.
 *
 * A profile changes what a device says of itself, a fault plan replaces entries of the function
 * table. Unit tests hand both to uqm_vk_open_hooked(); for tests of the whole program they come
 * from the environment:
 *
 *   UQMERGE_VK_FAKE=range=1048576,shared=4096,align=256,budget=67108864,invocations=128,groups=4,
 *                   one-queue,two-queues,non-coherent,no-subgroups,no-texels,no-unpack,staged,
 *                   discrete,integrated
 *   UQMERGE_VK_FAULT=alloc:N[:COUNT],submit-oom:N[:COUNT],submit-lost:N[:COUNT],pipeline:N[:COUNT],
 *                    pipeline-refused:N[:COUNT]
 *
 * N counts calls from 1; COUNT (1) calls from there on fail. A lost device stays lost until another
 * one is created.
 */
#ifndef UQM_COMPUTE_VK_VK_FAULT_H
#define UQM_COMPUTE_VK_VK_FAULT_H

#include "compute/vk/vk_core.h"

/* "two-queues" are two timelines that share one VkQueue; "staged": the host cannot see the device's
 * memory; "discrete" is staged in a card of its own, which `auto` takes. Unknown words assert. */
void uqm_vk_fake_apply(struct uqm_vk_info *info, const char *profile);

/* Start anew with this plan; NULL or "": nothing fails. Counts calls either way. */
void uqm_vk_fault_plan(const char *plan);
/* Put the plan's functions in the place of those that are loaded. For hooks.api. */
void uqm_vk_fault_install(struct uqm_vk_api *api, void *ctx);
/* How often each was called since the plan was set. */
struct uqm_vk_fault_counts {
    unsigned allocs, frees, submits, pipelines, flushes, invalidates;
};
struct uqm_vk_fault_counts uqm_vk_fault_counts(void);

/* What the environment asks for; NULL: nothing. */
const struct uqm_vk_hooks *uqm_vk_fault_hooks(void);

#endif
