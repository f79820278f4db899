/*
 * Below vk.h: the instance, the device with its queues, memory, batches of commands, pipelines.
 * Private to compute/vk and its tests.
 */
#ifndef UQM_COMPUTE_VK_VK_CORE_H
#define UQM_COMPUTE_VK_VK_CORE_H

#include <pthread.h>
#include <stdatomic.h>

#include "compute/vk/vk.h"
#include "compute/vk/vk_api.h"
#include "compute/vk/vk_cache.h"
#include "compute/vk/vk_hazard.h"
#include "compute/vk/vk_info.h"

/* ---- instance (vk_instance.c) ---- */

struct uqm_vk_instance {
    struct uqm_vk_api api; /* global and instance entries */
    VkInstance handle;
    const struct uqm_env *env; /* for the log; may be NULL */
    bool validating;
    VkDebugUtilsMessengerEXT messenger;
    pthread_mutex_t lock;
    _Atomic unsigned n_messages; /* of the validation layers */
    char first_message[384];
    struct uqm_vk_info *infos;
    size_t n_infos;
};

/* How tests change what a device is made of. NULL functions are not called. */
struct uqm_vk_hooks {
    void (*api)(struct uqm_vk_api *api, void *ctx); /* after entries were loaded */
    void (*info)(struct uqm_vk_info *info, void *ctx);
    void *ctx;
};

/* Open the loader, make an instance, list its devices. UQM_ERR_UNSUPPORTED: no Vulkan, and why.
 * With UQMERGE_VK_VALIDATE=1 under the validation layer, which must then be there. */
int uqm_vk_instance_create(struct uqm_vk_instance **out, const struct uqm_env *env,
                           const struct uqm_vk_hooks *hooks, struct uqm_err *err);
void uqm_vk_instance_destroy(struct uqm_vk_instance **instance);

/* ---- memory (vk_memory.c) ---- */

enum uqm_vk_role { UQM_VK_ROLE_DEVICE, UQM_VK_ROLE_STAGING, UQM_VK_ROLE_READBACK, UQM_VK_N_ROLES };
enum uqm_vk_queue_id { UQM_VK_COMPUTE, UQM_VK_TRANSFER, UQM_VK_N_QUEUES };

/* One vkAllocateMemory with one buffer over all of it, cut into memories. */
struct uqm_vk_block {
    struct uqm_vk_block *next;
    VkDeviceMemory memory;
    VkBuffer buffer;
    uint8_t *mapped; /* NULL: the host cannot see it */
    void *imported;  /* the host's own pages, or NULL */
    uint64_t bytes, imported_bytes;
    enum uqm_vk_role role;
    bool coherent;
    bool counted;             /* in the environment's budget */
    struct uqm_memory *first; /* in order of offsets */
};

struct uqm_memory {
    struct uqm_memory *next; /* in its block */
    struct uqm_vk_block *block;
    uint64_t offset, bytes; /* in the block */
    /* Timeline values of the last work that touches it; 0: none. */
    uint64_t used[UQM_VK_N_QUEUES];
};

/* As uqm_vk_alloc, of another role. */
int uqm_vk_memory_create(struct uqm_memory **out, struct uqm_vk *vk, enum uqm_vk_role role,
                         uint64_t bytes, const char *what, struct uqm_err *err);
/* n memories of one size in as few allocations as hold them. UQM_OK with *n_made < n: there was
 * memory for no more. */
int uqm_vk_memory_create_many(struct uqm_memory **out, size_t *n_made, struct uqm_vk *vk,
                              enum uqm_vk_role role, uint64_t bytes, size_t n, const char *what,
                              struct uqm_err *err);
/* Waits until nothing uses it. */
void uqm_vk_memory_destroy(struct uqm_vk *vk, struct uqm_memory **memory);
/* Where the host sees it; NULL: it cannot. */
void *uqm_vk_memory_host(const struct uqm_memory *memory);
/* After the host wrote, before it reads bytes of non-coherent memory; nothing otherwise. */
int uqm_vk_memory_flush(struct uqm_vk *vk, const struct uqm_memory *memory, uint64_t at_bytes,
                        uint64_t n_bytes, struct uqm_err *err);
int uqm_vk_memory_invalidate(struct uqm_vk *vk, const struct uqm_memory *memory, uint64_t at_bytes,
                             uint64_t n_bytes, struct uqm_err *err);
/* Choose the memory type of each role. UQM_ERR_UNSUPPORTED: there is none. */
int uqm_vk_memory_init(struct uqm_vk *vk, struct uqm_err *err);
/* Frees every block, whatever still points into them. */
void uqm_vk_memory_finish(struct uqm_vk *vk);
/* Bytes that may still be allocated on the device, asked of the driver again. */
uint64_t uqm_vk_memory_left(const struct uqm_vk *vk);

/* ---- the scheduler (vk_batch.c) ---- */

enum { UQM_VK_N_BATCHES = 4, UQM_VK_BATCH_DISPATCHES = 128 };

/* Commands on their way: recorded, submitted, done once the queue's timeline reached `value`. */
struct uqm_vk_batch {
    VkCommandPool pool;
    VkCommandBuffer commands;
    VkDescriptorPool sets;
    VkQueryPool times;
    VkBufferView *views; /* destroyed when it is done */
    size_t n_views;
    uint64_t value; /* 0: idle */
    uint64_t work;
    unsigned n_dispatches;
    char first[96], last[96];                /* what it runs */
    size_t profile[UQM_VK_BATCH_DISPATCHES]; /* entry of core->profile a dispatch */
};

struct uqm_vk_queue {
    VkQueue handle;
    uint32_t family;
    VkSemaphore timeline;
    uint64_t submitted; /* the last value that a submit signals */
    uint64_t done;      /* the last value seen */
    uint64_t waited;    /* of the other queue's timeline: submits wait for it */
    struct uqm_vk_batch batches[UQM_VK_N_BATCHES];
    unsigned current;
    bool recording;
};

int uqm_vk_queue_init(struct uqm_vk *vk, enum uqm_vk_queue_id id, uint32_t family, uint32_t index,
                      struct uqm_err *err);
void uqm_vk_queue_finish(struct uqm_vk *vk, enum uqm_vk_queue_id id);
/* The batch to record into, begun. */
int uqm_vk_batch_begin(struct uqm_vk_batch **out, struct uqm_vk *vk, enum uqm_vk_queue_id id,
                       struct uqm_err *err);
/* Submit what is recorded, if anything is. */
int uqm_vk_submit(struct uqm_vk *vk, enum uqm_vk_queue_id id, struct uqm_err *err);
/* Submit if need be, and wait until the queue's timeline has reached `value`. */
int uqm_vk_wait(struct uqm_vk *vk, enum uqm_vk_queue_id id, uint64_t value, struct uqm_err *err);
/* Whether it has, without waiting. */
bool uqm_vk_reached(struct uqm_vk *vk, enum uqm_vk_queue_id id, uint64_t value);
/* Wait until no queue uses the memory. */
int uqm_vk_wait_memory(struct uqm_vk *vk, const struct uqm_memory *memory, struct uqm_err *err);
bool uqm_vk_memory_idle(struct uqm_vk *vk, const struct uqm_memory *memory);
/* Record a copy between memories on a queue; on the compute queue barriers are derived. */
int uqm_vk_record_copy(struct uqm_vk *vk, enum uqm_vk_queue_id id, struct uqm_memory *dst,
                       uint64_t dst_bytes, struct uqm_memory *src, uint64_t src_bytes,
                       uint64_t n_bytes, const char *what, struct uqm_err *err);
/* Make what was written visible to the host, in the batch that is being recorded. */
int uqm_vk_record_host_read(struct uqm_vk *vk, struct uqm_err *err);

/* ---- pipelines (vk_pipeline.c) and their file (vk_cache.h) ---- */

struct uqm_vk_layout {
    uint32_t n_bindings, texel_mask, push_bytes;
    VkDescriptorSetLayout set;
    VkPipelineLayout pipeline;
};
struct uqm_vk_pipeline {
    struct uqm_vk_kernel kernel;
    const struct uqm_vk_layout *layout;
    VkPipeline handle; /* VK_NULL_HANDLE: the driver refuses it, for `reason` */
    VkResult reason;
};
struct uqm_vk_pipelines {
    VkPipelineCache cache;
    struct uqm_vk_layout *layouts[32];
    size_t n_layouts;
    struct uqm_vk_pipeline **list;
    size_t n, capacity;
};
/* cached: what the driver kept the last time; NULL and 0: nothing. */
int uqm_vk_pipelines_init(struct uqm_vk *vk, const void *cached, size_t n_cached,
                          struct uqm_err *err);
void uqm_vk_pipelines_finish(struct uqm_vk *vk);
/* Created when it is new. UQM_ERR_UNSUPPORTED: the driver refuses the kernel. */
int uqm_vk_pipeline_get(const struct uqm_vk_pipeline **out, struct uqm_vk *vk,
                        const struct uqm_vk_kernel *kernel, struct uqm_err *err);

/* Whether it was compiled into the program. */
bool uqm_vk_has_shader(const char *name);

/* ---- slots (vk_slots.c) ---- */

enum { UQM_VK_MAX_SLOTS = 4, UQM_VK_N_CHUNKS = 2, UQM_VK_CHUNK_BYTES = 2 << 20 };

struct uqm_vk_slots {
    struct uqm_memory *device[UQM_VK_MAX_SLOTS];
    struct uqm_memory *staging[UQM_VK_MAX_SLOTS]; /* none when unified */
    unsigned n, next;
    uint64_t bytes;     /* of one */
    uint64_t waited_ns; /* for a free slot */
    uint64_t n_filled;
    struct uqm_vk_kept *kept; /* of named weights; malloc'ed */
    size_t n_kept, next_kept;
};
struct uqm_vk_kept {
    struct uqm_memory *device;
    struct uqm_vk_slot_name name; /* keep 0: free */
};
/* Of all slots in the device's memory, and as much again where they are staged. */
uint64_t uqm_vk_slots_bytes(uint64_t slot_bytes);
int uqm_vk_slots_init(struct uqm_vk *vk, uint64_t slot_bytes, struct uqm_err *err);
void uqm_vk_slots_finish(struct uqm_vk *vk);

/* ---- tables (vk_transfer.c) ---- */

enum { UQM_VK_TABLE_CHUNKS = 32 };

/* Chunks that tables are cut from, one after the other. One is used again when the operation that
 * filled it is over and no work uses it. */
struct uqm_vk_tables {
    struct uqm_memory *chunk[UQM_VK_TABLE_CHUNKS];
    uint64_t operation[UQM_VK_TABLE_CHUNKS]; /* that took from it last */
    unsigned n, current;
    uint64_t used; /* bytes of the current one */
};

/* ---- the device ---- */

/* Time spent in one kind of kernel, with UQMERGE_VK_PROFILE=1. */
struct uqm_vk_profile {
    char what[64];
    uint64_t calls, ns, work, bytes;
};

enum { UQM_VK_MAX_PROFILE = 128 };

struct uqm_vk_core {
    struct uqm_vk_hooks hooks;
    struct uqm_vk_info info;
    struct uqm_vk_api api;
    VkDevice device;
    struct uqm_vk_queue queues[UQM_VK_N_QUEUES];
    bool own_transfer; /* a queue of its own for copies into slots */
    bool import;       /* staging in the host's own pages */

    uint32_t type_of[UQM_VK_N_ROLES];
    struct uqm_vk_block *blocks;
    uint64_t device_bytes; /* allocated in device memory that is no system RAM */
    unsigned n_allocations;

    struct uqm_vk_hazards hazards;
    struct uqm_vk_pipelines pipelines;
    struct uqm_vk_slots slots;
    struct uqm_memory *upload[UQM_VK_N_CHUNKS], *download[UQM_VK_N_CHUNKS];
    unsigned next_upload;
    struct uqm_vk_tables tables;
    uint64_t operation; /* counts the calls of device.h's table */

    struct uqm_vk_cache cache;
    char *cache_path; /* NULL: nothing is kept */
    bool cache_changed;

    uint64_t work_limit;   /* FLOP a submit */
    uint64_t work_ceiling; /* that it may grow to: lower after a loss */
    uint64_t watch_ns;     /* without progress: say so */
    uint64_t n_barriers, n_submits, n_dispatches;
    bool sync;      /* UQMERGE_VK_SYNC=1 */
    bool profiling; /* UQMERGE_VK_PROFILE=1 */
    struct uqm_vk_profile *profile;
    size_t n_profile;
    char lost_message[sizeof((struct uqm_err *) 0)->msg];
};

/*
 * Every VkResult passes here. VK_SUCCESS: UQM_OK. Out of memory: UQM_ERR_NOMEM. Device lost:
 * UQM_ERR_DEVICE, vk->lost is set and the error names what ran. Else UQM_ERR_IO. fmt says what was
 * tried.
 */
int uqm_vk_check(struct uqm_vk *vk, VkResult result, struct uqm_err *err, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* UQM_OK, or the loss that was reported before. */
int uqm_vk_alive(const struct uqm_vk *vk, struct uqm_err *err);

/* The logical device of one of vk->instance's infos with queues, memory, pipelines; not the
 * operations. */
int uqm_vk_core_create(struct uqm_vk *vk, const struct uqm_vk_info *info,
                       const struct uqm_vk_hooks *hooks, struct uqm_err *err);
void uqm_vk_core_destroy(struct uqm_vk *vk);

/* ---- opening (vk_open.c) ---- */

/* As uqm_vk_open, with hooks. */
int uqm_vk_open_hooked(struct uqm_device **out, struct uqm_env *env, struct uqm_threads *threads,
                       const char *spec, const struct uqm_vk_hooks *hooks, struct uqm_err *err);

#endif
