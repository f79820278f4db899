#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"
#include "src/model/clip.h"

enum { PICTURES_A_THREAD = 4 };

static size_t pixel_elem(const struct uqm_vision_config *c)
{
    return 3 * (size_t) c->image_size * c->image_size;
}

/* Of one picture. */
static size_t patches_elem(const struct uqm_vision_config *c)
{
    return uqm_clip_n_patches(c) * uqm_clip_patch_elem(c);
}

int uqm_clip_pictures_init(struct uqm_clip_pictures *pictures, const struct uqm_network *network,
                           const struct uqm_vision_job *job, struct uqm_err *err)
{
    const struct uqm_vision_config *c = &network->config.vision;
    const size_t n_threads = (size_t) uqm_threads_count(network->machine->threads);
    struct uqm_clip_pictures *p = pictures;

    *p = (struct uqm_clip_pictures){
        .env = network->env,
        .threads = network->machine->threads,
        .config = c,
        .job = job,
        .n_at_once = (size_t) uqm_min_u64(PICTURES_A_THREAD * n_threads, job->n_images),
    };
    p->errs = calloc(p->n_at_once, sizeof *p->errs);
    if (!p->errs)
        return uqm_fail(err, UQM_ERR_NOMEM, "the vision tower: no memory for %zu pictures",
                        p->n_at_once);
    p->block_bytes =
        (n_threads * pixel_elem(c) + p->n_at_once * patches_elem(c)) * sizeof *p->pixels;
    int ret = uqm_budget_alloc(&p->block, p->env, p->block_bytes, 64, "the pictures", err);
    p->pixels = p->block;
    p->patches = p->block ? p->pixels + n_threads * pixel_elem(c) : NULL;
    return ret;
}

void uqm_clip_pictures_finish(struct uqm_clip_pictures *pictures)
{
    free(pictures->errs);
    pictures->errs = NULL;
    if (pictures->env)
        uqm_budget_free(&pictures->block, pictures->env, pictures->block_bytes);
}

/* The stride of the convolution is its width: its input is each patch once, (channel, y, x). */
static void gather_patches(float *dst, const float *pixels, const struct uqm_vision_config *c)
{
    const size_t side = c->image_size, p = c->patch_size;
    for (size_t py = 0; py < side / p; py++)
        for (size_t px = 0; px < side / p; px++)
            for (size_t row = 0; row < 3 * p; row++, dst += p) {
                const size_t channel = row / p, y = py * p + row % p;
                memcpy(dst, pixels + (channel * side + y) * side + px * p, p * sizeof *dst);
            }
}

static void load_picture(void *ctx, size_t item, int worker)
{
    struct uqm_clip_pictures *p = ctx;
    float *pixels = p->pixels + (size_t) worker * pixel_elem(p->config);

    if (uqm_check_cancel(p->env, &p->errs[item]) < 0)
        return;
    if (p->job->pixels(p->job->ctx, p->first + item, pixels, &p->errs[item]) < 0) {
        if (p->errs[item].code == UQM_OK)
            p->errs[item].code = UQM_ERR_FORMAT;
        return;
    }
    gather_patches(p->patches + item * patches_elem(p->config), pixels, p->config);
}

/* n <= n_at_once pictures, side by side. */
static int load_some(struct uqm_clip_pictures *p, struct uqm_device *device, struct uqm_place to,
                     size_t n, struct uqm_err *err)
{
    assert(p->errs);
    memset(p->errs, 0, n * sizeof *p->errs);
    uqm_parallel(p->threads, n, load_picture, p);
    for (size_t i = 0; i < n; i++)
        if (p->errs[i].code != UQM_OK) {
            if (err)
                *err = p->errs[i];
            return (int) p->errs[i].code;
        }
    return device->ops->upload(device, to, p->patches, n * patches_elem(p->config), err);
}

int uqm_clip_pictures_load(struct uqm_clip_pictures *pictures, struct uqm_device *device,
                           struct uqm_place to, size_t first, size_t n, struct uqm_err *err)
{
    int ret = UQM_OK;
    for (size_t i = 0; ret == UQM_OK && i < n; i += pictures->n_at_once) {
        pictures->first = first + i;
        ret = load_some(pictures, device, uqm_place_add(to, i * patches_elem(pictures->config)),
                        (size_t) uqm_min_u64(pictures->n_at_once, n - i), err);
    }
    return ret;
}
