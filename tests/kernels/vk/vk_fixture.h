/* A Vulkan device to test kernels on, under validation where the layer is installed, and arrays in
 * its memory between canaries. */
#ifndef UQM_TESTS_KERNELS_VK_VK_FIXTURE_H
#define UQM_TESTS_KERNELS_VK_VK_FIXTURE_H

#include "compute/vk/vk_core.h"
#include "compute/vk/vk_ops.h"
#include "tests/kernels/buffers.h"

struct vk_fixture {
    struct uqm_env *env;
    struct uqm_threads *threads;
    struct uqm_device *device;
    struct uqm_vk *vk;
    const struct uqm_device_ops *ops;
};

/* UQM_TEST_QUICK: one shape in so many; every shader is compiled anew where its cache is off. */
static inline bool vk_left_out(size_t i, size_t in_so_many)
{
    return getenv("UQM_TEST_QUICK") && i % in_so_many != 0;
}

/* false: this machine has no device, and why is printed. One that there is must open. */
static inline bool vk_fixture_open(struct vk_fixture *f, const struct uqm_vk_hooks *hooks)
{
    struct uqm_err err = { 0 };
    *f = (struct vk_fixture){ .env = test_env(UINT64_C(1) << 30, 2) };
    assert_ok(uqm_threads_create(&f->threads, 2, &err), err);
    if (uqm_vk_open_hooked(&f->device, f->env, f->threads, "vulkan:0", hooks, &err) < 0) {
        if (strstr(err.msg, "vulkan:0 ("))
            fail_msg("%s", err.msg);
        print_message("# no device: %s\n", err.msg);
        uqm_threads_destroy(&f->threads);
        return false;
    }
    f->vk = (struct uqm_vk *) (void *) f->device;
    f->ops = f->device->ops;
    return true;
}

static inline void vk_fixture_reserve(struct vk_fixture *f, const struct uqm_device_needs *needs)
{
    struct uqm_err err = { 0 };
    assert_ok(f->ops->reserve(f->device, needs, &err), err);
}

static inline void vk_fixture_close(struct vk_fixture *f)
{
    struct uqm_err err = { 0 };
    assert_ok(f->ops->finish(f->device, &err), err);
    f->ops->release(f->device);
    if (f->vk->instance->n_messages)
        fail_msg("validation: %s", f->vk->instance->first_message);
    uqm_device_destroy(&f->device);
    uqm_threads_destroy(&f->threads);
}

/* n words, `shift` words past an alignment of 64 words, canaries on both sides. */
enum { VK_CANARY_WORDS = 64, VK_CANARY = 0x7FA5A5A5 }; /* a NaN: whoever reads it shows it */
struct vk_array {
    struct uqm_memory *memory;
    struct uqm_place place;
    size_t n_words, shift, total;
};

static inline struct vk_array vk_array_make(struct vk_fixture *f, size_t n_words, size_t shift,
                                            const void *from)
{
    struct uqm_err err = { 0 };
    struct vk_array a = { .n_words = n_words, .shift = shift };
    a.total = 2 * VK_CANARY_WORDS + shift + n_words;
    uint32_t *all = malloc(a.total * sizeof *all);
    assert_non_null(all);
    for (size_t i = 0; i < a.total; i++)
        all[i] = VK_CANARY;
    if (from)
        memcpy(all + VK_CANARY_WORDS + shift, from, n_words * sizeof *all);
    assert_ok(f->ops->alloc(&a.memory, f->device, a.total, "a test's array", &err), err);
    assert_ok(f->ops->upload(f->device, (struct uqm_place){ a.memory, 0 }, all, a.total, &err),
              err);
    free(all);
    a.place = (struct uqm_place){ a.memory, VK_CANARY_WORDS + shift };
    return a;
}

/* Its words, malloc'd, the canaries checked. */
static inline void *vk_array_get(struct vk_fixture *f, const struct vk_array *a)
{
    struct uqm_err err = { 0 };
    uint32_t *all = malloc(a->total * sizeof *all);
    assert_non_null(all);
    assert_ok(f->ops->download(f->device, all, (struct uqm_place){ a->memory, 0 }, a->total, &err),
              err);
    for (size_t i = 0; i < a->total; i++)
        if (i < VK_CANARY_WORDS + a->shift || i >= VK_CANARY_WORDS + a->shift + a->n_words)
            assert_int_equal(all[i], VK_CANARY);
    memmove(all, all + VK_CANARY_WORDS + a->shift, a->n_words * sizeof *all);
    return all;
}

static inline void vk_array_free(struct vk_fixture *f, struct vk_array *a)
{
    f->ops->free(f->device, &a->memory);
}

static inline float *random_floats(struct random *r, size_t n, float scale)
{
    float *p = malloc((n ? n : 1) * sizeof *p);
    assert_non_null(p);
    random_fill(r, p, n, scale);
    return p;
}

#endif
