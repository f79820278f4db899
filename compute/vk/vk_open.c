/* Vulkan behind the table of compute/device.h. */
#include "compute/vk/vk_open.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compute/vk/vk_core.h"
#ifdef UQM_VK_TESTING
#include "compute/vk/vk_fault.h"
#endif
#include "compute/vk/vk_gemm.h"
#include "compute/vk/vk_ops.h"
#include "compute/vk/vk_selftest.h"

static struct uqm_vk *vk_of(struct uqm_device *device)
{
    return (struct uqm_vk *) (void *) device;
}

/* Every operation begins here. */
static int begin(struct uqm_device *device, struct uqm_err *err)
{
    struct uqm_vk *vk = vk_of(device);
    int ret = uqm_vk_alive(vk, err);
    if (ret == UQM_OK)
        vk->core->operation++;
    return ret;
}

/* So ends every one that needs a kernel. */
static int end(struct uqm_device *device, int ret)
{
    device->refuses |= ret == UQM_ERR_UNSUPPORTED;
    return ret;
}

/* ---- the table ---- */

static struct uqm_device_bytes op_reserve_bytes(const struct uqm_device *device,
                                                const struct uqm_device_needs *needs)
{
    const struct uqm_vk *vk = (const struct uqm_vk *) (const void *) device;
    const uint64_t slots = uqm_vk_slots_bytes(uqm_vk_ops_slot_bytes(vk, needs));
    const uint64_t staging = vk->limits.unified ? 0 : slots;
    struct uqm_device_bytes bytes = {
        .host = staging + (uint64_t) 2 * UQM_VK_N_CHUNKS * UQM_VK_CHUNK_BYTES,
        .own = slots + uqm_vk_ops_reserve_bytes(vk, needs),
    };
    if (device->limits.on_host) {
        bytes.host += bytes.own;
        bytes.own = 0;
    }
    return bytes;
}

static void op_release(struct uqm_device *device)
{
    struct uqm_vk *vk = vk_of(device);
    if (!vk->core)
        return;
    uqm_vk_ops_release(vk);
    uqm_vk_slots_finish(vk);
    if (!vk->lost)
        vk->device.limits.memory_bytes = uqm_vk_memory_left(vk);
}

static int op_reserve(struct uqm_device *device, const struct uqm_device_needs *needs,
                      struct uqm_err *err)
{
    struct uqm_vk *vk = vk_of(device);
    int ret = begin(device, err);
    if (ret < 0)
        return ret;
    ret = uqm_vk_slots_init(vk, uqm_vk_ops_slot_bytes(vk, needs), err);
    if (ret == UQM_OK)
        ret = uqm_vk_ops_reserve(vk, needs, err);
    if (ret < 0)
        op_release(device);
    else
        vk->device.limits.memory_bytes = uqm_vk_memory_left(vk);
    return end(device, ret);
}

static int op_alloc(struct uqm_memory **out, struct uqm_device *device, uint64_t n_words,
                    const char *what, struct uqm_err *err)
{
    int ret = begin(device, err);
    return ret == UQM_OK ? uqm_vk_alloc(out, vk_of(device), n_words, what, err) : ret;
}

static void op_free(struct uqm_device *device, struct uqm_memory **memory)
{
    uqm_vk_free(vk_of(device), memory);
}

static int op_upload(struct uqm_device *device, struct uqm_place dst, const void *src,
                     size_t n_words, struct uqm_err *err)
{
    int ret = begin(device, err);
    return ret == UQM_OK ? uqm_vk_upload(vk_of(device), dst, src, n_words, err) : ret;
}

static int op_download(struct uqm_device *device, void *dst, struct uqm_place src, size_t n_words,
                       struct uqm_err *err)
{
    int ret = begin(device, err);
    return ret == UQM_OK ? uqm_vk_download(vk_of(device), dst, src, n_words, err) : ret;
}

static int op_copy(struct uqm_device *device, struct uqm_place dst, struct uqm_place src,
                   size_t n_words, struct uqm_err *err)
{
    int ret = begin(device, err);
    return ret == UQM_OK ? uqm_vk_copy(vk_of(device), dst, src, n_words, err) : ret;
}

static int op_linear(struct uqm_device *device, const struct uqm_linear *args, struct uqm_err *err)
{
    int ret = begin(device, err);
    return ret == UQM_OK ? end(device, uqm_vk_linear(vk_of(device), args, err)) : ret;
}

static int op_hold(struct uqm_device *device, size_t n_tiles, struct uqm_err *err)
{
    int ret = begin(device, err);
    return ret == UQM_OK ? uqm_vk_hold(vk_of(device), n_tiles, err) : ret;
}

static void op_forget(struct uqm_device *device, uint64_t first, uint64_t last)
{
    if (vk_of(device)->core)
        uqm_vk_forget(vk_of(device), first, last);
}

static int op_norm(struct uqm_device *device, const struct uqm_norm *args, struct uqm_err *err)
{
    int ret = begin(device, err);
    return ret == UQM_OK ? end(device, uqm_vk_norm(vk_of(device), args, err)) : ret;
}

static int op_rotate(struct uqm_device *device, const struct uqm_rotate *args, struct uqm_err *err)
{
    int ret = begin(device, err);
    return ret == UQM_OK ? end(device, uqm_vk_rotate(vk_of(device), args, err)) : ret;
}

static int op_attend(struct uqm_device *device, const struct uqm_attend *prompts, size_t n_prompts,
                     struct uqm_err *err)
{
    int ret = begin(device, err);
    return ret == UQM_OK ? end(device, uqm_vk_attend(vk_of(device), prompts, n_prompts, err)) : ret;
}

static int op_gather(struct uqm_device *device, const struct uqm_gather *args, struct uqm_err *err)
{
    int ret = begin(device, err);
    return ret == UQM_OK ? end(device, uqm_vk_gather(vk_of(device), args, err)) : ret;
}

static int op_narrow(struct uqm_device *device, struct uqm_place dst, struct uqm_place src,
                     size_t n_elem, struct uqm_err *err)
{
    int ret = begin(device, err);
    return ret == UQM_OK ? end(device, uqm_vk_narrow(vk_of(device), dst, src, n_elem, err)) : ret;
}

static int op_finish(struct uqm_device *device, struct uqm_err *err)
{
    int ret = begin(device, err);
    return ret == UQM_OK ? uqm_vk_finish(vk_of(device), err) : ret;
}

static void op_destroy(struct uqm_device *device)
{
    struct uqm_vk *vk = vk_of(device);
    uqm_vk_ops_finish(vk);
    uqm_vk_core_destroy(vk);
    uqm_vk_instance_destroy(&vk->instance);
    free(vk);
}

static void say_fast(const struct uqm_vk *vk)
{
    const struct uqm_vk_gemm_shape shape = {
        .m = 512, .n = 512, .k = 512, .w_dtype = UQM_F16, .x_quads = true, .halves = true
    };
    const struct uqm_vk_gemm gemm = uqm_vk_gemm_choose(vk, &shape);
    uqm_log(vk->device.env, UQM_LOG_DEBUG,
            "%s: --fast: products with F16 weights take activations in F16, %s; decoding takes "
            "them in F32",
            vk->device.id,
            gemm.path == UQM_VK_GEMM_COOP
                ? "one product of cooperative matrices instead of two"
                : "half the bytes in the same kernels: the device has no cooperative matrices");
}

/* Tested where the device is, once asked for: most runs never are. */
static int op_make_fast(struct uqm_device *device, struct uqm_err *err)
{
    static const char key[] = "self-test fast";
    struct uqm_vk *vk = vk_of(device);
    const char *asked = getenv("UQMERGE_VK_SELFTEST");
    uint32_t passed = 0;
    assert(!device->fast);
    device->fast = true;
    const bool known = asked ? strcmp(asked, "0") == 0 : uqm_vk_tuned_get(&passed, vk, key);
    const int ret = known ? UQM_OK : uqm_vk_selftest_fast(vk, err);
    if (ret < 0)
        return ret;
    if (!known)
        uqm_vk_tuned_set(vk, key, 1);
    say_fast(vk);
    return UQM_OK;
}

static int op_renew(struct uqm_device *device, struct uqm_err *err);

static const struct uqm_device_ops table = {
    .reserve_bytes = op_reserve_bytes,
    .reserve = op_reserve,
    .release = op_release,
    .alloc = op_alloc,
    .free = op_free,
    .upload = op_upload,
    .download = op_download,
    .copy = op_copy,
    .linear = op_linear,
    .hold = op_hold,
    .forget = op_forget,
    .norm = op_norm,
    .rotate = op_rotate,
    .attend = op_attend,
    .gather = op_gather,
    .narrow = op_narrow,
    .make_fast = op_make_fast,
    .finish = op_finish,
    .renew = op_renew,
    .destroy = op_destroy,
};

/* ---- opening ---- */

static void take_info(struct uqm_vk *vk, const struct uqm_vk_info *info)
{
    vk->device.ops = &table;
    snprintf(vk->device.id, sizeof vk->device.id, "vulkan:%u", info->n);
    snprintf(vk->device.name, sizeof vk->device.name, "%s", info->name);
    vk->device.limits.on_host = info->on_host;
    vk->device.limits.largest_bytes = info->max_allocation;
}

/* Test once a device, driver and set of shaders, then go by what was found. "0" leaves it out, "1"
 * tests again. */
static int test_device(struct uqm_vk *vk, struct uqm_err *err)
{
    struct uqm_vk_cache *cache = &vk->core->cache;
    const char *asked = getenv("UQMERGE_VK_SELFTEST");
    if (asked && strcmp(asked, "0") == 0)
        return uqm_vk_ops_init(vk, err);
    if (cache->tested && !asked) {
        uqm_vk_switch_off(&vk->limits, cache->off);
        return uqm_vk_ops_init(vk, err);
    }
    uint32_t off = 0;
    int ret = uqm_vk_selftest(&off, vk, err);
    if (ret < 0)
        return ret;
    cache->tested = true;
    cache->off = off;
    vk->core->cache_changed = true;
    return UQM_OK;
}

/* On a GPU they come for nothing beside reading; a software device is slower at it than the host.
 */
static bool takes_mixes(const struct uqm_vk *vk)
{
    const char *asked = getenv("UQMERGE_VK_MIX");
    if (asked && *asked)
        return vk->limits.shader_f64 && strcmp(asked, "0") != 0;
    return vk->limits.shader_f64 && vk->core->info.type != VK_PHYSICAL_DEVICE_TYPE_CPU;
}

static int open_info(struct uqm_vk *vk, const struct uqm_vk_info *info,
                     const struct uqm_vk_hooks *hooks, struct uqm_err *err)
{
    take_info(vk, info);
    int ret = uqm_vk_core_create(vk, info, hooks, err);
    if (ret == UQM_OK)
        ret = test_device(vk, err);
    if (ret == UQM_OK)
        vk->device.limits.memory_bytes = uqm_vk_memory_left(vk);
    vk->device.limits.mixes = ret == UQM_OK && takes_mixes(vk);
    return ret;
}

static int op_renew(struct uqm_device *device, struct uqm_err *err)
{
    struct uqm_vk *vk = vk_of(device);
    assert(vk->lost);
    if (!vk->core || vk->n_renewed > 0)
        return uqm_vk_alive(vk, err);
    struct uqm_vk_info info = vk->core->info;
    struct uqm_vk_hooks hooks = vk->core->hooks;
    uint32_t off = vk->core->cache.off;
    uint64_t work = vk->core->work_limit / 4;
    uqm_log(vk->device.env, UQM_LOG_WARN, "%s (%s): the device was lost: %s; starting it anew",
            vk->device.id, vk->device.name, vk->core->lost_message);
    uqm_vk_ops_finish(vk);
    uqm_vk_core_destroy(vk);
    vk->n_renewed++;
    vk->lost = false; /* or its creation would refuse at once */
    int ret = uqm_vk_core_create(vk, &info, &hooks, err);
    if (ret == UQM_OK) {
        /* Whatever a watchdog took for hung is now a quarter as long. */
        vk->core->work_limit = vk->core->work_ceiling = work;
        uqm_vk_switch_off(&vk->limits, off);
        ret = uqm_vk_ops_init(vk, err);
    }
    if (ret < 0)
        vk->lost = true;
    else
        vk->device.limits.memory_bytes = uqm_vk_memory_left(vk);
    return ret;
}

/* "auto" takes the CPU instead: quietly where there is no GPU, with a warning where one is but
 * cannot be opened, be it that others have taken its memory. */
static int give_up(struct uqm_env *env, const char *spec, bool found, int ret, struct uqm_err *err)
{
    if (strcmp(spec, "auto") != 0)
        return ret;
    uqm_log(env, found ? UQM_LOG_WARN : UQM_LOG_DEBUG, "the CPU is used: %s", err->msg);
    return UQM_OK;
}

int uqm_vk_open_hooked(struct uqm_device **out, struct uqm_env *env, struct uqm_threads *threads,
                       const char *spec, const struct uqm_vk_hooks *hooks, struct uqm_err *err)
{
    const struct uqm_vk_info *info = NULL;
    struct uqm_err why = { 0 };
    struct uqm_vk *vk = calloc(1, sizeof *vk);
    *out = NULL;
    if (!vk)
        return uqm_fail(err, UQM_ERR_NOMEM, "--device %s: no memory", spec);
    vk->device.env = env;
    vk->threads = threads;
    vk->device.ops = &table;

    int ret = uqm_vk_instance_create(&vk->instance, env, hooks, &why);
    if (ret == UQM_OK)
        ret = uqm_vk_info_choose(&info, vk->instance->infos, vk->instance->n_infos, spec, &why);
    if (ret == UQM_OK && !info)
        ret = uqm_fail(&why, UQM_ERR_UNSUPPORTED, "Vulkan lists no GPU");
    if (ret == UQM_OK)
        ret = open_info(vk, info, hooks, &why);
    if (ret < 0) {
        struct uqm_device *device = &vk->device;
        uqm_device_destroy(&device);
        ret = give_up(env, spec, info, ret, &why);
        if (ret < 0 && err)
            *err = why;
        return ret;
    }
    uqm_log(env, UQM_LOG_DEBUG, "%s: %s, %s%s%s", vk->device.id, info->name, info->driver,
            info->quirks[0] ? "; quirks: " : "", info->quirks);
    *out = &vk->device;
    return UQM_OK;
}

int uqm_vk_open(struct uqm_device **out, struct uqm_env *env, struct uqm_threads *threads,
                const char *spec, struct uqm_err *err)
{
#ifdef UQM_VK_TESTING
    return uqm_vk_open_hooked(out, env, threads, spec, uqm_vk_fault_hooks(), err);
#else
    return uqm_vk_open_hooked(out, env, threads, spec, NULL, err);
#endif
}
