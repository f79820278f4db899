#include "compute/device_list.h"

#include <stdio.h>
#include <stdlib.h>

#ifdef UQM_VULKAN
#include "compute/vk/vk_open.h"
#endif

int uqm_device_list_init(struct uqm_device_list *list, struct uqm_err *err)
{
    *list = (struct uqm_device_list){ 0 };
#ifdef UQM_VULKAN
    return uqm_vk_list(list, err);
#else
    (void) err;
    snprintf(list->no_vulkan, sizeof list->no_vulkan, "this program was built without Vulkan");
    return UQM_OK;
#endif
}

void uqm_device_list_finish(struct uqm_device_list *list)
{
    free(list->entries);
    *list = (struct uqm_device_list){ 0 };
}
