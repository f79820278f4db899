/* What this machine could run networks on, besides the CPU. */
#ifndef UQM_COMPUTE_DEVICE_LIST_H
#define UQM_COMPUTE_DEVICE_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"

enum { UQM_MAX_FEATURES = 24 };

struct uqm_device_entry {
    char id[32]; /* "vulkan:0" */
    char name[256], driver[256];
    char type[16]; /* "discrete", "integrated", "virtual", "software", "other" */
    char uuid[40]; /* as --device takes it */
    uint64_t memory_bytes;
    char features[UQM_MAX_FEATURES][48];
    size_t n_features;
    bool usable;
    bool automatic;   /* the one that "auto" takes */
    char reason[160]; /* why it cannot be used, or why auto does not take it; "": it does */
};

struct uqm_device_list {
    struct uqm_device_entry *entries;
    size_t n;
    char no_vulkan[256]; /* why there is no Vulkan at all; "": there is */
};

/* Fails only for want of memory. */
int uqm_device_list_init(struct uqm_device_list *list, struct uqm_err *err);
void uqm_device_list_finish(struct uqm_device_list *list);

#endif
