/*
 * The Vulkan device as operations see it: limits to choose a kernel by, memory bound as slices,
 * weights in slots, and one call that queues a dispatch. What lies below (loader, queues, barriers,
 * caches) is vk_core.h's.
 *
 * One thread at a time uses a device.
 *
 * Work runs in the order of the calls. Dispatches are recorded into batches; a batch is submitted
 * once its estimated work is enough to keep the device busy and little enough for its watchdog, or
 * when somebody waits. Barriers are derived from the slices that bindings name: an operation states
 * exactly what a kernel reads and writes and never places a barrier itself.
 */
#ifndef UQM_COMPUTE_VK_VK_H
#define UQM_COMPUTE_VK_VK_H

#ifndef VK_NO_PROTOTYPES
#define VK_NO_PROTOTYPES 1
#endif
#include <vulkan/vulkan.h>

#include "compute/device.h"

enum { UQM_VK_MAX_BINDINGS = 8, UQM_VK_MAX_SPEC = 16, UQM_VK_MAX_PUSH = 128 };

struct uqm_vk;

/* Zero means "cannot". Measured, faulty or failing the self-test: zeroed too. Kernels are chosen by
 * these and by nothing else. */
struct uqm_vk_limits {
    uint64_t max_range;    /* bytes of one storage binding, from its aligned beginning */
    uint64_t max_texels;   /* elements of one texel binding; 0: no texel path */
    uint32_t offset_align; /* bytes; a power of two; of storage and texel bindings alike */
    uint32_t max_bindings; /* storage buffers of a kernel, <= UQM_VK_MAX_BINDINGS; at least 4 */
    uint32_t max_texel_bindings;
    uint32_t max_groups[3]; /* a dispatch's grid */
    uint32_t max_local[3];  /* a workgroup's shape */
    uint32_t max_invocations;
    uint32_t shared_bytes;
    uint32_t subgroup_size;              /* that kernels get when none is asked for */
    uint32_t subgroup_min, subgroup_max; /* what may be asked for, full subgroups; 0: cannot */
    bool subgroup_arithmetic;            /* subgroupAdd, subgroupMax */
    bool subgroup_broadcast;             /* ballot and broadcast, shuffle */
    bool unpack_half; /* unpackHalf2x16 keeps subnormals; else decode by integers */
    bool texel_f16, texel_f32, texel_u32; /* uniform texel formats RGBA16F, RGBA32F, RGBA32UI */
    bool vector_texel_loads; /* texel fetches are much faster than storage loads (llvmpipe) */
    bool slow_shared;        /* shared memory and barriers cost more than they save */
    bool slow_buffer_loads;  /* storage loads go lane by lane */
    bool shader_f16;         /* 16-bit float arithmetic */
    bool shader_f64; /* 64-bit float arithmetic, sums and products rounded as IEEE 754 says */
    bool coop_f16;   /* cooperative matrices: f16 times f16 into f32, subgroup scope */
    uint32_t coop_m, coop_n, coop_k; /* the fragments' shape; powers of two, at most 32 */
    bool unified;                    /* the host writes where kernels read */
    bool discrete;                   /* a card of its own: large tiles pay */
};

/* A slice of memory for one binding. `stride` 0: n_words in a row; else rows of `width` words every
 * `stride` words, n_words from the first word to the last: kernels that write neighbouring columns
 * of one matrix then need no barrier between them. */
struct uqm_vk_slice {
    struct uqm_place place;
    uint64_t n_words;
    uint64_t width, stride;
};

enum uqm_vk_access { UQM_VK_READ, UQM_VK_WRITE };

/* A binding is either read or written. A kernel that works in place binds the slice twice. */
struct uqm_vk_binding {
    struct uqm_vk_slice slice;
    enum uqm_vk_access access;
    VkFormat texel; /* VK_FORMAT_UNDEFINED: a storage buffer; else a uniform texel buffer, read */
};

/* n_rows rows of `width` words every `stride` words; n_rows, width >= 1. */
struct uqm_vk_binding uqm_vk_read(struct uqm_place place, uint64_t n_rows, uint64_t width,
                                  uint64_t stride);
struct uqm_vk_binding uqm_vk_write(struct uqm_place place, uint64_t n_rows, uint64_t width,
                                   uint64_t stride);
/*
 * What is bound begins at the multiple of limits.offset_align at or below the place: the words from
 * there to the place, which the kernel must add to its indices. A texel binding's counts words too.
 */
uint32_t uqm_vk_lead(const struct uqm_vk *vk, const struct uqm_vk_binding *binding);
/* Words from a place that one storage binding can hold, whatever the place's alignment. */
uint64_t uqm_vk_range_words(const struct uqm_vk *vk);

/* A shader with everything that its pipeline depends on. Specialisation constant i has id i. */
struct uqm_vk_kernel {
    const char *shader; /* its name in shader_table.h; static */
    uint32_t spec[UQM_VK_MAX_SPEC];
    uint32_t n_spec;
    uint32_t n_bindings;    /* binding 0 ... n_bindings - 1 of set 0 */
    uint32_t texel_mask;    /* bit i: binding i is a uniform texel buffer */
    uint32_t push_bytes;    /* a multiple of 4, <= UQM_VK_MAX_PUSH */
    uint32_t subgroup_size; /* 0: any; else pinned, in full subgroups (limits.subgroup_min...) */
};

struct uqm_vk_dispatch {
    const struct uqm_vk_kernel *kernel;
    const char *what;                      /* "linear 65x67x129 f16": for errors and timings;
                                              borrowed for the call */
    const struct uqm_vk_binding *bindings; /* kernel->n_bindings of them, in their order */
    const void *push;                      /* kernel->push_bytes */
    uint32_t groups[3];                    /* each >= 1 and <= limits.max_groups */
    uint64_t work;                         /* FLOP, estimated; bounds what a submit holds */
    uint64_t bytes;                        /* moved, for timings; 0: unknown */
};
/* Queue it. UQM_ERR_NOMEM: the device ran out of memory. A kernel that asks for more than the
 * limits, or a slice outside its memory, is our own mistake and asserts. */
int uqm_vk_dispatch(struct uqm_vk *vk, const struct uqm_vk_dispatch *dispatch, struct uqm_err *err);
/* The most work that one dispatch should hold: larger ones are split by rows. Changes as the device
 * is measured and after a loss. */
uint64_t uqm_vk_work_limit(const struct uqm_vk *vk);

/* A small table (row starts, prompt lengths) for the dispatches of the operation under way; its
 * memory is recycled by itself. n_words <= UQM_VK_MAX_TABLE, an operation's in all at most 32 times
 * that. */
enum { UQM_VK_MAX_TABLE = 16384 };
int uqm_vk_table(struct uqm_place *out, struct uqm_vk *vk, const void *src, size_t n_words,
                 struct uqm_err *err);

/*
 * The ring of weight slots that reserve() makes. Take the next one, fill `host` (every byte of
 * n_bytes once, front to back, never read: it may be write-combined), say so, and bind `place`.
 * Taking waits only while all slots are in use. A slot is in use until the last dispatch that was
 * queued with it before the next take has run.
 *
 * Slots beside the ring, as many as uqm_vk_hold() found memory for, stay with the weights of a name
 * until uqm_vk_forget().
 */
struct uqm_vk_slot {
    void *host;
    struct uqm_place place;
    uint64_t n_bytes;           /* room */
    struct uqm_memory *staging; /* NULL: host is in place's own memory */
};
/* Which weights: those from row `row` of the W that linear's keep names. */
struct uqm_vk_slot_name {
    uint64_t keep; /* 0: no name */
    uint64_t row;
};
/* n_bytes <= what uqm_vk_ops_slot_bytes() asked for. One of the ring unless the weights have a name
 * and a slot is left to stay with it. */
int uqm_vk_slot_take(struct uqm_vk_slot *out, struct uqm_vk *vk, struct uqm_vk_slot_name name,
                     uint64_t n_bytes, struct uqm_err *err);
int uqm_vk_slot_filled(struct uqm_vk *vk, const struct uqm_vk_slot *slot, uint64_t n_bytes,
                       struct uqm_err *err);
/* Where named weights are already; false: nowhere. */
bool uqm_vk_slot_find(struct uqm_place *out, const struct uqm_vk *vk, struct uqm_vk_slot_name name);

/* The tuner's choices, kept with the pipeline cache. A key has at most 59 characters. */
bool uqm_vk_tuned_get(uint32_t *value, const struct uqm_vk *vk, const char *key);
void uqm_vk_tuned_set(struct uqm_vk *vk, const char *key, uint32_t value);

/* As the operations of the same name of compute/device.h. */
int uqm_vk_alloc(struct uqm_memory **out, struct uqm_vk *vk, uint64_t n_words, const char *what,
                 struct uqm_err *err);
void uqm_vk_free(struct uqm_vk *vk, struct uqm_memory **memory);
int uqm_vk_upload(struct uqm_vk *vk, struct uqm_place dst, const void *src, size_t n_words,
                  struct uqm_err *err);
int uqm_vk_download(struct uqm_vk *vk, void *dst, struct uqm_place src, size_t n_words,
                    struct uqm_err *err);
int uqm_vk_copy(struct uqm_vk *vk, struct uqm_place dst, struct uqm_place src, size_t n_words,
                struct uqm_err *err);
int uqm_vk_hold(struct uqm_vk *vk, size_t n_tiles, struct uqm_err *err);
void uqm_vk_forget(struct uqm_vk *vk, uint64_t first, uint64_t last);
int uqm_vk_finish(struct uqm_vk *vk, struct uqm_err *err);

struct uqm_vk_ops_state; /* the operations' own (vk_ops.c) */
struct uqm_vk_core;      /* the device layer's own (vk_core.h) */
struct uqm_vk_instance;
struct uqm_vk {
    struct uqm_device device; /* first: a pointer to it is one to the whole */
    struct uqm_vk_limits limits;
    struct uqm_threads *threads; /* for packing weights; may be NULL */
    struct uqm_vk_ops_state *ops;
    struct uqm_vk_instance *instance;
    struct uqm_vk_core *core; /* NULL: a lost device that could not be made anew */
    bool lost;                /* until it is renewed, every operation fails */
    unsigned n_renewed;
};

#endif
