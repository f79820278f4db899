/* Few large blocks of device memory, small allocations cut from shared ones. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "compute/vk/vk_core.h"
#include "src/base/checked.h"

#define MIB (UINT64_C(1) << 20)

enum {
    ALIGN_BYTES = 256,       /* the largest alignment that Vulkan lets a device ask of a slice */
    SHARED_BYTES = 4 << 20,  /* of a block that small memories share */
    SMALL_BYTES = 512 << 10, /* larger ones have a block of their own */
};

/* ---- types ---- */

static uint32_t find_type(const struct uqm_vk_info *info, uint32_t allowed,
                          VkMemoryPropertyFlags wanted, VkMemoryPropertyFlags unwanted)
{
    uint32_t found = UINT32_MAX;
    uint64_t heap_bytes = 0;
    for (uint32_t i = 0; i < info->memory.memoryTypeCount; i++) {
        const VkMemoryType *type = &info->memory.memoryTypes[i];
        uint64_t bytes = info->memory.memoryHeaps[type->heapIndex].size;
        if ((allowed & (UINT32_C(1) << i)) && (type->propertyFlags & wanted) == wanted &&
            !(type->propertyFlags & unwanted) && bytes > heap_bytes) {
            found = i;
            heap_bytes = bytes;
        }
    }
    return found;
}

enum {
    LOCAL = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT,
    VISIBLE = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT,
    COHERENT = VK_MEMORY_PROPERTY_HOST_COHERENT_BIT,
    CACHED = VK_MEMORY_PROPERTY_HOST_CACHED_BIT,
    ODD = VK_MEMORY_PROPERTY_LAZILY_ALLOCATED_BIT | VK_MEMORY_PROPERTY_PROTECTED_BIT |
          0x40 /* AMD's device-coherent: slow */ | 0x80,
};

/* The first wish that some type fulfils. */
static const struct {
    VkMemoryPropertyFlags wanted, unwanted;
} wishes[UQM_VK_N_ROLES][4] = {
    [UQM_VK_ROLE_DEVICE] = { { LOCAL, ODD }, { 0, ODD } },
    [UQM_VK_ROLE_STAGING] = { { VISIBLE | COHERENT, LOCAL | CACHED | ODD },
                              { VISIBLE | COHERENT, LOCAL | ODD },
                              { VISIBLE, LOCAL | ODD },
                              { VISIBLE, ODD } },
    [UQM_VK_ROLE_READBACK] = { { VISIBLE | CACHED | COHERENT, ODD },
                               { VISIBLE | CACHED, ODD },
                               { VISIBLE, ODD } },
};
/* Unified: the host writes weights where kernels read them; cached, so that it may read results. */
static const struct {
    VkMemoryPropertyFlags wanted, unwanted;
} unified_wishes[] = {
    { LOCAL | VISIBLE | COHERENT | CACHED, ODD },
    { LOCAL | VISIBLE | COHERENT, ODD },
    { LOCAL | VISIBLE, ODD },
};

int uqm_vk_memory_init(struct uqm_vk *vk, struct uqm_err *err)
{
    struct uqm_vk_core *core = vk->core;
    VkBuffer probe;
    VkMemoryRequirements needs;
    VkBufferCreateInfo create = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
        .size = 65536,
        .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_UNIFORM_TEXEL_BUFFER_BIT |
                 VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT,
    };
    int ret = uqm_vk_check(vk, core->api.CreateBuffer(core->device, &create, NULL, &probe), err,
                           "a buffer");
    if (ret < 0)
        return ret;
    core->api.GetBufferMemoryRequirements(core->device, probe, &needs);
    core->api.DestroyBuffer(core->device, probe, NULL);

    for (int role = 0; role < UQM_VK_N_ROLES; role++) {
        uint32_t type = UINT32_MAX;
        if (role == UQM_VK_ROLE_DEVICE && vk->limits.unified)
            for (size_t i = 0;
                 i < sizeof unified_wishes / sizeof unified_wishes[0] && type == UINT32_MAX; i++)
                type = find_type(&core->info, needs.memoryTypeBits, unified_wishes[i].wanted,
                                 unified_wishes[i].unwanted);
        for (size_t i = 0; i < 4 && type == UINT32_MAX; i++)
            if (wishes[role][i].unwanted)
                type = find_type(&core->info, needs.memoryTypeBits, wishes[role][i].wanted,
                                 wishes[role][i].unwanted);
        if (type == UINT32_MAX)
            return uqm_fail(err, UQM_ERR_UNSUPPORTED, "%s (%s): it has no memory that %s",
                            vk->device.id, vk->device.name,
                            role == UQM_VK_ROLE_DEVICE ? "holds buffers" : "the host can see");
        core->type_of[role] = type;
    }
    return UQM_OK;
}

/* As the driver sees it. A software device's heap is a figure that it does not keep to. */
static uint64_t heap_left(const struct uqm_vk *vk)
{
    const struct uqm_vk_core *core = vk->core;
    if (core->info.type == VK_PHYSICAL_DEVICE_TYPE_CPU)
        return UINT64_MAX;
    VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT,
    };
    VkPhysicalDeviceMemoryProperties2 m = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
        .pNext = core->info.memory_budget ? &budget : NULL,
    };
    uint32_t heap = core->info.memory.memoryTypes[core->type_of[UQM_VK_ROLE_DEVICE]].heapIndex;
    core->api.GetPhysicalDeviceMemoryProperties2(core->info.handle, &m);
    uint64_t total = m.memoryProperties.memoryHeaps[heap].size / 10 * 8;
    uint64_t used = core->device_bytes;
    if (core->info.memory_budget && budget.heapBudget[heap]) {
        total = budget.heapBudget[heap];
        used = budget.heapUsage[heap];
    }
    return used < total ? total - used : 0;
}

/* Whatever --memory says. */
static uint64_t device_left(const struct uqm_vk *vk)
{
    const uint64_t left = heap_left(vk), fake = vk->core->info.budget_bytes;
    const uint64_t used = vk->core->device_bytes;
    return fake ? uqm_min_u64(left, used < fake ? fake - used : 0) : left;
}

uint64_t uqm_vk_memory_left(const struct uqm_vk *vk)
{
    const uint64_t left = device_left(vk);
    return vk->device.limits.on_host ? uqm_min_u64(left, uqm_budget_left(vk->device.env)) : left;
}

/* ---- blocks ---- */

static void destroy_block(struct uqm_vk *vk, struct uqm_vk_block *block)
{
    struct uqm_vk_core *core = vk->core;
    if (block->buffer)
        core->api.DestroyBuffer(core->device, block->buffer, NULL);
    if (block->memory) { /* freeing unmaps */
        core->api.FreeMemory(core->device, block->memory, NULL);
        core->n_allocations--;
    }
    if (block->imported)
        munmap(block->imported, block->imported_bytes);
    if (block->role == UQM_VK_ROLE_DEVICE && block->memory)
        core->device_bytes -= block->bytes;
    if (block->counted)
        uqm_budget_give(vk->device.env, block->bytes);
    free(block);
}

/* ---- the host's own pages as staging (VK_EXT_external_memory_host) ---- */

/* Shared by the queues' families, which `families` gets. */
static VkBufferCreateInfo buffer_of(const struct uqm_vk *vk, const struct uqm_vk_block *block,
                                    uint32_t families[2])
{
    const struct uqm_vk_core *core = vk->core;
    families[0] = core->info.compute_family;
    families[1] = core->info.transfer_family;
    const bool concurrent = core->own_transfer && families[0] != families[1];
    return (VkBufferCreateInfo){
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
        .size = block->bytes,
        .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_UNIFORM_TEXEL_BUFFER_BIT |
                 VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT,
        .sharingMode = concurrent ? VK_SHARING_MODE_CONCURRENT : VK_SHARING_MODE_EXCLUSIVE,
        .queueFamilyIndexCount = concurrent ? 2 : 0,
        .pQueueFamilyIndices = concurrent ? families : NULL,
    };
}

static void drop_import(struct uqm_vk *vk, struct uqm_vk_block *block)
{
    struct uqm_vk_core *core = vk->core;
    if (block->buffer)
        core->api.DestroyBuffer(core->device, block->buffer, NULL);
    if (block->memory)
        core->api.FreeMemory(core->device, block->memory, NULL);
    if (block->imported)
        munmap(block->imported, block->imported_bytes);
    block->buffer = VK_NULL_HANDLE;
    block->memory = VK_NULL_HANDLE;
    block->imported = NULL;
}

/* Anonymous pages, aligned as the import wants them, huge ones if there are any. */
static bool take_pages(struct uqm_vk_block *block, uint64_t align)
{
    const uint64_t bytes = (block->bytes + align - 1) / align * align;
    uint8_t *p =
        mmap(NULL, bytes + align, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return false;
    const uint64_t skip = (align - (uintptr_t) p % align) % align;
    if (skip)
        munmap(p, skip);
    if (align > skip)
        munmap(p + skip + bytes, align - skip);
    block->imported = p + skip;
    block->imported_bytes = bytes;
    madvise(block->imported, bytes, MADV_HUGEPAGE); /* a hint */
    return true;
}

/* The type to import the pages as: one that the driver and the buffer take, without flushes. */
static uint32_t import_type(const struct uqm_vk *vk, const struct uqm_vk_block *block)
{
    const struct uqm_vk_core *core = vk->core;
    VkMemoryHostPointerPropertiesEXT p = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_HOST_POINTER_PROPERTIES_EXT,
    };
    VkMemoryRequirements needs;
    if (core->api.GetMemoryHostPointerPropertiesEXT(
            core->device, VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT, block->imported,
            &p) != VK_SUCCESS)
        return UINT32_MAX;
    core->api.GetBufferMemoryRequirements(core->device, block->buffer, &needs);
    if (needs.size > block->imported_bytes)
        return UINT32_MAX;
    return find_type(&core->info, p.memoryTypeBits & needs.memoryTypeBits, VISIBLE | COHERENT, ODD);
}

/* false: the driver will not, and the block is as it was. */
static bool import_block(struct uqm_vk *vk, struct uqm_vk_block *block)
{
    struct uqm_vk_core *core = vk->core;
    const VkExternalMemoryBufferCreateInfo external = {
        .sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO,
        .handleTypes = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT,
    };
    uint32_t families[2];
    VkBufferCreateInfo create = buffer_of(vk, block, families);
    create.pNext = &external;
    if (!core->import || !take_pages(block, core->info.host_import_align))
        return false;
    bool done = core->api.CreateBuffer(core->device, &create, NULL, &block->buffer) == VK_SUCCESS;
    if (!done)
        block->buffer = VK_NULL_HANDLE;
    const uint32_t type = done ? import_type(vk, block) : UINT32_MAX;
    const VkImportMemoryHostPointerInfoEXT import = {
        .sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT,
        .handleType = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT,
        .pHostPointer = block->imported,
    };
    const VkMemoryAllocateInfo allocate = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
        .pNext = &import,
        .allocationSize = block->imported_bytes,
        .memoryTypeIndex = type,
    };
    if (type == UINT32_MAX ||
        core->api.AllocateMemory(core->device, &allocate, NULL, &block->memory) != VK_SUCCESS) {
        block->memory = VK_NULL_HANDLE;
        drop_import(vk, block);
        return false;
    }
    if (core->api.BindBufferMemory(core->device, block->buffer, block->memory, 0) != VK_SUCCESS) {
        drop_import(vk, block);
        return false;
    }
    core->n_allocations++;
    block->coherent = true;
    block->mapped = block->imported;
    return true;
}

static int fill_block(struct uqm_vk *vk, struct uqm_vk_block *block, const char *what,
                      struct uqm_err *err)
{
    struct uqm_vk_core *core = vk->core;
    uint32_t families[2];
    VkMemoryRequirements needs;
    VkBufferCreateInfo create = buffer_of(vk, block, families);
    if (block->role == UQM_VK_ROLE_STAGING && import_block(vk, block))
        return UQM_OK;
    double mib = (double) block->bytes / (double) MIB;
    int ret = uqm_vk_check(vk, core->api.CreateBuffer(core->device, &create, NULL, &block->buffer),
                           err, "a buffer of %.1f MiB for %s", mib, what);
    if (ret < 0) {
        block->buffer = VK_NULL_HANDLE;
        return ret;
    }
    core->api.GetBufferMemoryRequirements(core->device, block->buffer, &needs);
    uint32_t type = core->type_of[block->role];
    VkMemoryAllocateInfo allocate = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
        .allocationSize = needs.size,
        .memoryTypeIndex = type,
    };
    ret = uqm_vk_check(vk, core->api.AllocateMemory(core->device, &allocate, NULL, &block->memory),
                       err, "%.1f MiB for %s (%.1f MiB are left)", mib, what,
                       (double) uqm_vk_memory_left(vk) / (double) MIB);
    if (ret < 0) {
        block->memory = VK_NULL_HANDLE;
        return ret;
    }
    core->n_allocations++;
    if (block->role == UQM_VK_ROLE_DEVICE)
        core->device_bytes += block->bytes;
    ret =
        uqm_vk_check(vk, core->api.BindBufferMemory(core->device, block->buffer, block->memory, 0),
                     err, "binding %.1f MiB for %s", mib, what);
    VkMemoryPropertyFlags flags = core->info.memory.memoryTypes[type].propertyFlags;
    bool visible = (flags & VISIBLE) && (block->role != UQM_VK_ROLE_DEVICE || vk->limits.unified);
    block->coherent = flags & COHERENT;
    if (ret < 0 || !visible)
        return ret;
    void *mapped = NULL;
    ret = uqm_vk_check(
        vk, core->api.MapMemory(core->device, block->memory, 0, VK_WHOLE_SIZE, 0, &mapped), err,
        "mapping %.1f MiB for %s", mib, what);
    block->mapped = ret == UQM_OK ? mapped : NULL;
    return ret;
}

static int create_block(struct uqm_vk_block **out, struct uqm_vk *vk, enum uqm_vk_role role,
                        uint64_t bytes, const char *what, struct uqm_err *err)
{
    struct uqm_vk_core *core = vk->core;
    struct uqm_vk_block *block;
    uint64_t left = device_left(vk);
    int ret;

    bool counted = role != UQM_VK_ROLE_DEVICE || vk->device.limits.on_host;
    if (role == UQM_VK_ROLE_DEVICE && bytes > left)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s (%s): %s need %.1f MiB, %.1f MiB are left",
                        vk->device.id, vk->device.name, what, (double) bytes / (double) MIB,
                        (double) left / (double) MIB);
    if (bytes > core->info.max_allocation)
        return uqm_fail(err, UQM_ERR_NOMEM,
                        "%s (%s): %s need %.1f MiB, one allocation may have %.1f MiB",
                        vk->device.id, vk->device.name, what, (double) bytes / (double) MIB,
                        (double) core->info.max_allocation / (double) MIB);
    block = calloc(1, sizeof *block);
    if (!block)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", what);
    block->role = role;
    block->bytes = bytes;
    if (counted) {
        ret = uqm_budget_take(vk->device.env, bytes, what, err);
        if (ret < 0) {
            free(block);
            return ret;
        }
        block->counted = true;
    }
    ret = fill_block(vk, block, what, err);
    if (ret < 0) {
        destroy_block(vk, block);
        return ret;
    }
    block->next = core->blocks;
    core->blocks = block;
    *out = block;
    return UQM_OK;
}

/* ---- memories ---- */

/* Put `memory` into the first gap of the block that holds it. */
static bool place_in(struct uqm_vk_block *block, struct uqm_memory *memory)
{
    uint64_t at = 0;
    struct uqm_memory **link = &block->first;
    for (; *link; link = &(*link)->next) {
        if ((*link)->offset - at >= memory->bytes)
            break;
        at = (*link)->offset + (*link)->bytes;
    }
    if (!*link && block->bytes - at < memory->bytes)
        return false;
    memory->block = block;
    memory->offset = at;
    memory->next = *link;
    *link = memory;
    return true;
}

int uqm_vk_memory_create(struct uqm_memory **out, struct uqm_vk *vk, enum uqm_vk_role role,
                         uint64_t bytes, const char *what, struct uqm_err *err)
{
    struct uqm_memory *memory;
    struct uqm_vk_block *block = NULL;
    int ret = uqm_vk_alive(vk, err);
    *out = NULL;
    if (ret < 0)
        return ret;
    if (bytes > UINT64_MAX - ALIGN_BYTES)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: %" PRIu64 " bytes are too many", what, bytes);
    memory = calloc(1, sizeof *memory);
    if (!memory)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", what);
    memory->bytes = (bytes ? bytes + ALIGN_BYTES - 1 : ALIGN_BYTES) & ~(uint64_t) (ALIGN_BYTES - 1);
    bool small = memory->bytes <= SMALL_BYTES;
    for (block = vk->core->blocks; block && small; block = block->next)
        if (block->role == role && block->bytes == SHARED_BYTES && place_in(block, memory)) {
            *out = memory;
            return UQM_OK;
        }
    ret = create_block(&block, vk, role, small ? SHARED_BYTES : memory->bytes, what, err);
    if (ret == UQM_ERR_NOMEM && small && !vk->lost)
        ret = create_block(&block, vk, role, memory->bytes, what, err);
    if (ret < 0) {
        free(memory);
        return ret;
    }
    place_in(block, memory);
    *out = memory;
    return UQM_OK;
}

/* k memories in a block of their own. */
static int create_row(struct uqm_memory **out, struct uqm_vk *vk, enum uqm_vk_role role,
                      uint64_t bytes, size_t k, const char *what, struct uqm_err *err)
{
    struct uqm_vk_block *block;
    size_t made = 0;
    while (made < k && (out[made] = calloc(1, sizeof **out)))
        made++;
    int ret = made == k ? create_block(&block, vk, role, k * bytes, what, err)
                        : uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", what);
    for (size_t i = 0; i < made; i++) {
        if (ret == UQM_OK) {
            out[i]->bytes = bytes;
            place_in(block, out[i]);
        } else {
            free(out[i]);
            out[i] = NULL;
        }
    }
    return ret;
}

int uqm_vk_memory_create_many(struct uqm_memory **out, size_t *n_made, struct uqm_vk *vk,
                              enum uqm_vk_role role, uint64_t bytes, size_t n, const char *what,
                              struct uqm_err *err)
{
    int ret = uqm_vk_alive(vk, err);
    *n_made = 0;
    bytes = (bytes + ALIGN_BYTES - 1) & ~(uint64_t) (ALIGN_BYTES - 1);
    assert(bytes > 0);
    size_t most = (size_t) (vk->core->info.max_allocation / bytes);
    while (ret == UQM_OK && *n_made < n && most > 0) {
        size_t k = n - *n_made < most ? n - *n_made : most;
        ret = create_row(out + *n_made, vk, role, bytes, k, what, err);
        if (ret == UQM_OK)
            *n_made += k;
        else if (ret == UQM_ERR_NOMEM && !vk->lost) {
            most = k / 2;
            ret = UQM_OK;
        }
    }
    return ret;
}

void uqm_vk_memory_destroy(struct uqm_vk *vk, struct uqm_memory **memory)
{
    struct uqm_memory *m = *memory, **link;
    struct uqm_vk_block *block, **of;
    *memory = NULL;
    if (!m)
        return;
    if (uqm_vk_wait_memory(vk, m, NULL) < 0)
        vk->core->api.DeviceWaitIdle(vk->core->device); /* lost: nothing of it runs on after this */
    uqm_vk_hazards_forget(&vk->core->hazards, m);
    block = m->block;
    for (link = &block->first; *link != m;)
        link = &(*link)->next;
    *link = m->next;
    free(m);
    if (block->first)
        return;
    for (of = &vk->core->blocks; *of != block;)
        of = &(*of)->next;
    *of = block->next;
    destroy_block(vk, block);
}

void uqm_vk_memory_finish(struct uqm_vk *vk)
{
    while (vk->core->blocks) {
        struct uqm_vk_block *block = vk->core->blocks;
        vk->core->blocks = block->next;
        while (block->first) {
            struct uqm_memory *m = block->first;
            block->first = m->next;
            free(m);
        }
        destroy_block(vk, block);
    }
}

void *uqm_vk_memory_host(const struct uqm_memory *memory)
{
    return memory->block->mapped ? memory->block->mapped + memory->offset : NULL;
}

/* The mapped range around [at, at + n), in whole atoms. */
static VkMappedMemoryRange atoms(const struct uqm_vk *vk, const struct uqm_memory *memory,
                                 uint64_t at, uint64_t n)
{
    uint64_t atom = vk->core->info.non_coherent_atom;
    uint64_t begin = (memory->offset + at) / atom * atom;
    uint64_t end = (memory->offset + at + n + atom - 1) / atom * atom;
    return (VkMappedMemoryRange){
        .sType = VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE,
        .memory = memory->block->memory,
        .offset = begin,
        .size = end < memory->block->bytes ? end - begin : VK_WHOLE_SIZE,
    };
}

int uqm_vk_memory_flush(struct uqm_vk *vk, const struct uqm_memory *memory, uint64_t at_bytes,
                        uint64_t n_bytes, struct uqm_err *err)
{
    struct uqm_vk_core *core = vk->core;
    if (memory->block->coherent || n_bytes == 0)
        return UQM_OK;
    VkMappedMemoryRange range = atoms(vk, memory, at_bytes, n_bytes);
    return uqm_vk_check(vk, core->api.FlushMappedMemoryRanges(core->device, 1, &range), err,
                        "flushing %" PRIu64 " bytes", n_bytes);
}

int uqm_vk_memory_invalidate(struct uqm_vk *vk, const struct uqm_memory *memory, uint64_t at_bytes,
                             uint64_t n_bytes, struct uqm_err *err)
{
    struct uqm_vk_core *core = vk->core;
    if (memory->block->coherent || n_bytes == 0)
        return UQM_OK;
    VkMappedMemoryRange range = atoms(vk, memory, at_bytes, n_bytes);
    return uqm_vk_check(vk, core->api.InvalidateMappedMemoryRanges(core->device, 1, &range), err,
                        "reading %" PRIu64 " bytes back", n_bytes);
}

int uqm_vk_alloc(struct uqm_memory **out, struct uqm_vk *vk, uint64_t n_words, const char *what,
                 struct uqm_err *err)
{
    if (n_words > UINT64_MAX / 4 - ALIGN_BYTES) {
        *out = NULL;
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: %" PRIu64 " words are too many", what, n_words);
    }
    return uqm_vk_memory_create(out, vk, UQM_VK_ROLE_DEVICE, n_words * 4, what, err);
}

void uqm_vk_free(struct uqm_vk *vk, struct uqm_memory **memory)
{
    uqm_vk_memory_destroy(vk, memory);
}
