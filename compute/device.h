/*
 * Where the layers of the network run: a table of operations on f32 rows that live in the device's
 * memory, and limits. The CPU (device_cpu.c) and Vulkan (vk/) fill in the same table; the blocks of
 * the network know no other way to touch an activation.
 *
 * Operations are queued and run in the order of the calls; only `download` and `finish` wait. An
 * error of the device may therefore surface in a later call than the one that caused it, and then
 * names the operation: UQM_ERR_NOMEM when its memory does not suffice (the caller may free, release
 * and try with less), UQM_ERR_DEVICE when it is lost (nothing but free, release, renew and destroy
 * makes sense then).
 * Results depend on a row's own inputs alone: never on the batch, on how weights are cut into
 * tiles, or on timing.
 *
 * Between devices results agree within 1e-4 on logits (spec vulkan.md 7), in the mode `fast` within
 * 2e-2; dropout masks agree to the bit.
 */
#ifndef UQM_COMPUTE_DEVICE_H
#define UQM_COMPUTE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "compute/gemm.h"
#include "compute/mix.h"
#include "src/base/dtype.h"
#include "src/base/env.h"
#include "src/base/rng.h"

struct uqm_device;
struct uqm_memory; /* one allocation of the device's */

/* A place in the device's memory; `at` counts 4-byte words from the allocation's start. */
struct uqm_place {
    struct uqm_memory *memory; /* NULL: nowhere (an operand that is left out) */
    uint64_t at;
};
static inline struct uqm_place uqm_place_add(struct uqm_place place, uint64_t n_words)
{
    place.at += n_words;
    return place;
}

/* y[r, i] = epilogue(sum_k x[r, k] W[i, k] + bias[i]) for r < m, i < n (compute/gemm.h). y may lie
 * in the same memory as x, but their rows must not overlap. */
struct uqm_linear {
    struct uqm_place y, x;
    size_t ldy, ldx; /* words from row to row */
    size_t m, n, k;
    const void *w;          /* (n, k) packed in the host's memory; see keep */
    enum uqm_dtype w_dtype; /* F16, BF16 or F32 */
    /* NULL; or W is this mixture, of type w_dtype, and w is not looked at. For devices that say
     * limits.mixes, after a reserve() for it. */
    const struct uqm_mix *mix;
    struct uqm_place bias; /* (n), or nowhere */
    enum uqm_epilogue epilogue;
    /* Few rows against much weight, as in decoding: kernels that read W once and do not pack it.
     * The caller's word, not m, decides: results must not change with the batch. */
    bool skinny;
    /* Not 0: a name for exactly these weights (w, n, k). The same bytes will be asked again under
     * it, and stay where they are until forget(): a device may keep a copy of its own, or use them
     * in place. 0: w is borrowed for the call only. */
    uint64_t keep;
};

/* y = norm(x) over rows of `width`, packed both; y may be x. */
struct uqm_norm {
    struct uqm_place y, x, weight;
    struct uqm_place bias; /* LayerNorm's; nowhere: RMSNorm */
    float eps;
    size_t n_rows, width;
};

/* Rotate the heads of x (n_rows, n_heads * head_dim), packed, in place (kernels.h, rope_f32). */
struct uqm_rotate {
    struct uqm_place x;
    struct uqm_place cos, sin;  /* (n_positions, head_dim / 2) */
    struct uqm_place positions; /* (n_rows) uint32 */
    size_t n_rows, n_heads, head_dim;
};

/* One prompt's attention: compute/attention.h, with places for pointers. F16 k and v are what a
 * cache holds: there are few queries then. */
struct uqm_attend {
    struct uqm_place q, k, v, out;
    size_t ldq, ldk, ldv, ldo; /* elements from row to row */
    bool half_kv;              /* k and v are F16, two to a word, ldk and ldv even */
    size_t n_q, n_kv;          /* causal: query i stands at position n_kv - n_q + i */
    size_t n_heads, n_kv_heads, head_dim;
    float scale;
    bool causal;
    bool dropout;
    uint32_t drop_threshold;
    float keep_scale;
    struct uqm_rng_key drop_key;
};

/* y[i] = x[index[i]], or y[i] += x[index[i]], rows of `width`; rows whose index is UQM_NO_ROW stay
 * as they are. y and x do not overlap. */
#define UQM_NO_ROW UINT32_MAX
struct uqm_gather {
    struct uqm_place y, x;
    size_t ldy, ldx;
    struct uqm_place index; /* (n_rows) uint32 */
    size_t n_rows, width;
    bool add;
};

struct uqm_device_limits {
    bool on_host;           /* memory is the host's and counts against --memory: activations here
                               need no second copy to be spilled */
    uint64_t memory_bytes;  /* what alloc() may take in all; reserve() brings it up to date */
    uint64_t largest_bytes; /* of one allocation */
    bool mixes;             /* linear() takes mixtures */
};

/* What a run is going to ask for at most: scratch, pipelines and weight slots are made before it,
 * nothing is allocated inside the loop over layers. */
struct uqm_device_needs {
    size_t tile_bytes, tile_elem; /* of one W */
    size_t max_k;                 /* elements of its longest row */
    size_t max_kv;                /* n_kv of any prompt; 0: no attention */
    enum uqm_mixes mixes;         /* which W may be */
};

struct uqm_device_bytes {
    uint64_t host; /* of the host's memory: the budget's */
    uint64_t own;  /* of a memory that is the device's alone */
};

struct uqm_device_ops {
    /* What reserve() would take. */
    struct uqm_device_bytes (*reserve_bytes)(const struct uqm_device *device,
                                             const struct uqm_device_needs *needs);
    int (*reserve)(struct uqm_device *device, const struct uqm_device_needs *needs,
                   struct uqm_err *err);
    void (*release)(struct uqm_device *device); /* what reserve() took; between runs */

    /* Aligned, zeroed or not. The error names `what`, the bytes wanted and what is left. */
    int (*alloc)(struct uqm_memory **out, struct uqm_device *device, uint64_t n_words,
                 const char *what, struct uqm_err *err);
    void (*free)(struct uqm_device *device, struct uqm_memory **memory);

    /* src may be reused when the call returns. */
    int (*upload)(struct uqm_device *device, struct uqm_place dst, const void *src, size_t n_words,
                  struct uqm_err *err);
    /* Waits for everything before it. */
    int (*download)(struct uqm_device *device, void *dst, struct uqm_place src, size_t n_words,
                    struct uqm_err *err);
    /* Not overlapping. */
    int (*copy)(struct uqm_device *device, struct uqm_place dst, struct uqm_place src,
                size_t n_words, struct uqm_err *err);

    int (*linear)(struct uqm_device *device, const struct uqm_linear *args, struct uqm_err *err);
    int (*norm)(struct uqm_device *device, const struct uqm_norm *args, struct uqm_err *err);
    int (*rotate)(struct uqm_device *device, const struct uqm_rotate *args, struct uqm_err *err);
    /* Memory for so many W that are named (linear's keep) at one time, once all that the run needs
     * has been taken: as many of them as fit are sent to the device once. 0: give it back, as
     * release() does. NULL where linear() keeps nothing. */
    int (*hold)(struct uqm_device *device, size_t n_tiles, struct uqm_err *err);
    /* The weights named first, first + 1, ... last - 1 will not be asked for again; their bytes may
     * go when it returns. NULL where linear() keeps nothing and uses nothing in place. */
    void (*forget)(struct uqm_device *device, uint64_t first, uint64_t last);
    /* All prompts of a batch. */
    int (*attend)(struct uqm_device *device, const struct uqm_attend *prompts, size_t n_prompts,
                  struct uqm_err *err);
    int (*gather)(struct uqm_device *device, const struct uqm_gather *args, struct uqm_err *err);
    /* dst (n_elem F16, two to a word; n_elem even) = round to nearest even of src (f32). */
    int (*narrow)(struct uqm_device *device, struct uqm_place dst, struct uqm_place src,
                  size_t n_elem, struct uqm_err *err);

    /* From now on products with F16 weights take x rounded to F16, each row after a power of two
     * that keeps it within F16's range; sums, residuals and everything else stay f32, and so do
     * products with other weights and skinny ones. To be called once, before reserve().
     * UQM_ERR_UNSUPPORTED: its kernels for that compute wrongly. NULL where there is no such mode.
     */
    int (*make_fast)(struct uqm_device *device, struct uqm_err *err);

    /* Wait until nothing is under way; the first error that is still unreported. */
    int (*finish)(struct uqm_device *device, struct uqm_err *err);
    /* After UQM_ERR_DEVICE, everything freed and released: make it anew, for shorter submits;
     * limits may have changed. UQM_ERR_DEVICE: it was lost a second time. NULL where a device
     * cannot be lost. */
    int (*renew)(struct uqm_device *device, struct uqm_err *err);
    void (*destroy)(struct uqm_device *device);
};

struct uqm_device {
    const struct uqm_device_ops *ops;
    struct uqm_env *env;
    struct uqm_device_limits limits;
    char id[32];    /* "cpu", "vulkan:0" */
    char name[256]; /* as drivers call it */
    bool fast;      /* make_fast() has been called */
    /* An operation has ended with UQM_ERR_UNSUPPORTED: the driver refuses its kernel, or a shape is
     * beyond the limits. Another device may do it. */
    bool refuses;
};

/* The CPU does not: what it needs is known before. */
static inline bool uqm_device_may_fail(const struct uqm_device *device)
{
    return device->ops->renew != NULL;
}

/* The CPU: OpenBLAS or packed kernels on `threads`, memory from the environment's budget. threads
 * must outlive it. As compute/gemm.h says, x of a product has room for, and finite numbers in, m
 * rounded up to UQM_GEMM_ROWS rows. */
int uqm_device_cpu_create(struct uqm_device **out, struct uqm_env *env, struct uqm_threads *threads,
                          struct uqm_err *err);

/*
 * The device that --device names: "auto" or NULL, "cpu", "vulkan", "vulkan:N",
 * "vulkan:PART-OF-NAME", "vulkan:UUID"; NULL looks at UQMERGE_DEVICE first. "auto" takes a real
 * GPU, never a software one, and the CPU quietly when there is none. UQM_ERR_USAGE: none of
 * these; UQM_ERR_ARG: an ambiguous or unknown name, with the candidates; UQM_ERR_UNSUPPORTED: the
 * named one cannot be used, with the reason.
 */
int uqm_device_open(struct uqm_device **out, struct uqm_env *env, struct uqm_threads *threads,
                    const char *spec, struct uqm_err *err);
void uqm_device_destroy(struct uqm_device **device);

#endif
