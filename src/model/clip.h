/* Inside the vision tower: pictures on their way from the host to the device (clip_pictures.c). */
#ifndef UQM_MODEL_CLIP_H
#define UQM_MODEL_CLIP_H

#include "src/model/blocks.h"

static inline size_t uqm_clip_patch_elem(const struct uqm_vision_config *c)
{
    return 3 * (size_t) c->patch_size * c->patch_size;
}

static inline size_t uqm_clip_n_patches(const struct uqm_vision_config *c)
{
    const size_t side = c->image_size / c->patch_size;
    return side * side;
}

/* Pictures are asked for so many at a time, one a thread at once. */
struct uqm_clip_pictures {
    struct uqm_env *env;
    struct uqm_threads *threads;
    const struct uqm_vision_config *config;
    const struct uqm_vision_job *job;
    size_t n_at_once, first; /* first: of those on their way */
    float *pixels;           /* one picture a thread */
    float *patches;          /* n_at_once pictures */
    struct uqm_err *errs;    /* n_at_once */
    void *block;
    size_t block_bytes;
};

/* Takes its memory from the budget. To be finished, whatever is returned. */
int uqm_clip_pictures_init(struct uqm_clip_pictures *pictures, const struct uqm_network *network,
                           const struct uqm_vision_job *job, struct uqm_err *err);
void uqm_clip_pictures_finish(struct uqm_clip_pictures *pictures);

/* Pictures [first, first + n) of the job to `to`: (n, patches, 3 patch_size^2). Of several errors
 * the first in order comes back. */
int uqm_clip_pictures_load(struct uqm_clip_pictures *pictures, struct uqm_device *device,
                           struct uqm_place to, size_t first, size_t n, struct uqm_err *err);

#endif
