/*
 * CLIP's vision transformer up to the layer whose hidden state the projector reads.
 *
 * A batch of pictures lies packed, R = 1 + patches rows each, the class token first. All layers
 * past feature_layer, and post_layernorm, are never read.
 */
#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "src/base/checked.h"
#include "src/model/clip.h"
#include "src/model/recover.h"

#define TOWER "vision_tower.vision_model."

size_t uqm_clip_rows(const struct uqm_vision_config *config)
{
    return 1 + uqm_clip_n_patches(config);
}

size_t uqm_network_feature_rows(const struct uqm_model_config *config)
{
    return config->has_vision
               ? uqm_clip_n_patches(&config->vision) + (config->vision.keep_class_token ? 1 : 0)
               : 0;
}

/* Layers to run: hidden state i is the output of the i-th layer, 0 the embedding. */
static uint32_t n_layers_read(const struct uqm_vision_config *c)
{
    const int n =
        c->feature_layer < 0 ? (int) c->n_layers + 1 + c->feature_layer : c->feature_layer;
    assert(n >= 0 && n <= (int) c->n_layers);
    return (uint32_t) n;
}

/* ---- the schedule ---- */

static int schedule_norm(struct uqm_schedule *s, uint64_t width, const char *name,
                         struct uqm_err *err)
{
    int ret = uqm_schedule_vector(s, width, err, TOWER "%s.weight", name);
    if (ret == UQM_OK)
        ret = uqm_schedule_vector(s, width, err, TOWER "%s.bias", name);
    return ret;
}

static int schedule_linear(struct uqm_schedule *s, uint64_t n, uint64_t k, uint32_t layer,
                           const char *name, struct uqm_err *err)
{
    int ret =
        uqm_schedule_vector(s, n, err, TOWER "encoder.layers.%" PRIu32 ".%s.bias", layer, name);
    if (ret == UQM_OK)
        ret = uqm_schedule_matrix(s, n, k, err, TOWER "encoder.layers.%" PRIu32 ".%s.weight", layer,
                                  name);
    return ret;
}

static int schedule_layer(struct uqm_schedule *s, const struct uqm_vision_config *c, uint32_t layer,
                          struct uqm_err *err)
{
    static const char *const attention[] = { "self_attn.k_proj", "self_attn.v_proj",
                                             "self_attn.q_proj", "self_attn.out_proj" };
    char norm[64];
    snprintf(norm, sizeof norm, "encoder.layers.%" PRIu32 ".layer_norm1", layer);
    int ret = schedule_norm(s, c->hidden, norm, err);
    for (size_t i = 0; ret == UQM_OK && i < 4; i++)
        ret = schedule_linear(s, c->hidden, c->hidden, layer, attention[i], err);
    snprintf(norm, sizeof norm, "encoder.layers.%" PRIu32 ".layer_norm2", layer);
    if (ret == UQM_OK)
        ret = schedule_norm(s, c->hidden, norm, err);
    if (ret == UQM_OK)
        ret = schedule_linear(s, c->inner, c->hidden, layer, "mlp.fc1", err);
    if (ret == UQM_OK)
        ret = schedule_linear(s, c->hidden, c->inner, layer, "mlp.fc2", err);
    return ret;
}

int uqm_clip_schedule(struct uqm_schedule *schedule, const struct uqm_vision_config *config,
                      struct uqm_err *err)
{
    const uint64_t width = config->hidden, patch = config->patch_size;
    const uint64_t conv[4] = { width, 3, patch, patch };

    int ret =
        uqm_schedule_tensor(schedule, 4, conv, err, TOWER "embeddings.patch_embedding.weight");
    if (ret == UQM_OK)
        ret = uqm_schedule_vector(schedule, width, err, TOWER "embeddings.class_embedding");
    if (ret == UQM_OK)
        ret = uqm_schedule_matrix(schedule, uqm_clip_rows(config), width, err,
                                  TOWER "embeddings.position_embedding.weight");
    if (ret == UQM_OK)
        ret = schedule_norm(schedule, width, "pre_layrnorm", err);
    for (uint32_t i = 0; ret == UQM_OK && i < n_layers_read(config); i++)
        ret = schedule_layer(schedule, config, i, err);
    return ret;
}

/* ---- one batch ---- */

struct clip {
    struct uqm_run *run;
    struct uqm_weights *weights;
    const struct uqm_vision_config *config;
    const struct uqm_vision_job *job;
    struct uqm_recovery recovery;
    size_t first, n_images, n_rows; /* first: all before it are stored */
    struct uqm_place hidden, normed, region, index;
    struct uqm_row_writer positions; /* rows of the position embedding on their way */
    struct uqm_attend *attention;    /* one a picture */
    uint32_t *rows;                  /* one a row of the batch */
    struct uqm_clip_pictures pictures;
};

/* Words of the arena for n pictures, and where its parts begin. */
struct clip_plan {
    uint64_t normed, region, index, total;
};

static struct clip_plan plan_images(const struct uqm_vision_config *c, size_t n)
{
    const uint64_t rows = uqm_padded_rows(n * uqm_clip_rows(c));
    const uint64_t per_row =
        uqm_max_u64(3 * (uint64_t) c->hidden, uqm_max_u64(c->inner, uqm_clip_patch_elem(c)));
    struct clip_plan p = { .normed = uqm_part_words(rows * c->hidden) };
    p.region = 2 * p.normed;
    p.index = p.region + uqm_part_words(rows * per_row);
    p.total = p.index + uqm_part_words(rows);
    return p;
}

/* hidden = or += the rows of x that source() tells for each row. */
static int gather(struct clip *clip, struct uqm_place x, bool add,
                  uint32_t (*source)(size_t image, size_t row, size_t n_rows), struct uqm_err *err)
{
    struct uqm_device *device = clip->run->device;
    const size_t rows = uqm_clip_rows(clip->config), width = clip->config->hidden;
    const struct uqm_gather args = {
        .y = clip->hidden,
        .x = x,
        .ldy = width,
        .ldx = width,
        .index = clip->index,
        .n_rows = clip->n_rows,
        .width = width,
        .add = add,
    };
    for (size_t i = 0; i < clip->n_rows; i++)
        clip->rows[i] = source(i / rows, i % rows, rows);
    int ret = device->ops->upload(device, clip->index, clip->rows, clip->n_rows, err);
    return ret < 0 ? ret : device->ops->gather(device, &args, err);
}

static uint32_t position_row(size_t image, size_t row, size_t n_rows)
{
    (void) image;
    (void) n_rows;
    return (uint32_t) row;
}

/* The class embedding lies behind the positions. */
static uint32_t class_row(size_t image, size_t row, size_t n_rows)
{
    (void) image;
    return row == 0 ? (uint32_t) n_rows : UQM_NO_ROW;
}

static uint32_t patch_row(size_t image, size_t row, size_t n_rows)
{
    return row == 0 ? UQM_NO_ROW : (uint32_t) (image * (n_rows - 1) + row - 1);
}

static int take_position(void *ctx, uint64_t index, const void *row, enum uqm_dtype dtype,
                         struct uqm_err *err)
{
    struct clip *clip = ctx;
    (void) index;
    return uqm_row_writer_put(&clip->positions, row, dtype, err);
}

/* hidden = [class; conv] + position. The convolution's output is in normed; region, whose patches
 * have been used, takes the embeddings. */
static int add_embeddings(struct clip *clip, struct uqm_err *err)
{
    const size_t width = clip->config->hidden, rows = uqm_clip_rows(clip->config);
    clip->positions =
        (struct uqm_row_writer){ .run = clip->run, .to = clip->region, .width = width };
    int ret =
        uqm_weights_vector(clip->weights, uqm_place_add(clip->region, rows * width), width, err);
    if (ret == UQM_OK)
        ret = uqm_weights_rows(clip->weights, take_position, clip, err);
    if (ret == UQM_OK)
        ret = uqm_row_writer_flush(&clip->positions, err);
    if (ret == UQM_OK)
        ret = gather(clip, clip->region, false, position_row, err);
    if (ret == UQM_OK)
        ret = gather(clip, clip->region, true, class_row, err);
    if (ret == UQM_OK)
        ret = gather(clip, clip->normed, true, patch_row, err);
    return ret;
}

static int norm(struct clip *clip, struct uqm_place y, struct uqm_err *err)
{
    struct uqm_run *run = clip->run;
    const size_t width = clip->config->hidden;
    const struct uqm_norm args = {
        .y = y,
        .x = clip->hidden,
        .weight = run->norm_w,
        .bias = run->norm_b,
        .eps = clip->config->layer_norm_eps,
        .n_rows = clip->n_rows,
        .width = width,
    };
    int ret = uqm_weights_vector(clip->weights, run->norm_w, width, err);
    if (ret == UQM_OK)
        ret = uqm_weights_vector(clip->weights, run->norm_b, width, err);
    return ret < 0 ? ret : run->device->ops->norm(run->device, &args, err);
}

static int linear(struct clip *clip, struct uqm_place y, struct uqm_place x, size_t n, size_t k,
                  enum uqm_epilogue epilogue, struct uqm_err *err)
{
    struct uqm_run *run = clip->run;
    const struct uqm_linear product = {
        .y = y,
        .x = x,
        .ldy = n,
        .ldx = k,
        .m = clip->n_rows,
        .n = n,
        .k = k,
        .bias = run->bias,
        .epilogue = epilogue,
    };
    int ret = uqm_weights_vector(clip->weights, run->bias, n, err);
    return ret < 0 ? ret : uqm_weights_linear(clip->weights, &product, err);
}

static int embed(struct clip *clip, struct uqm_err *err)
{
    const struct uqm_vision_config *c = clip->config;
    const struct uqm_linear convolution = {
        .y = clip->normed,
        .x = clip->region,
        .ldy = c->hidden,
        .ldx = uqm_clip_patch_elem(c),
        .m = clip->n_images * uqm_clip_n_patches(c),
        .n = c->hidden,
        .k = uqm_clip_patch_elem(c),
        .epilogue = UQM_EPI_STORE,
    };
    int ret = uqm_clip_pictures_load(&clip->pictures, clip->run->device, clip->region, clip->first,
                                     clip->n_images, err);
    if (ret == UQM_OK)
        ret = uqm_weights_linear(clip->weights, &convolution, err);
    if (ret == UQM_OK)
        ret = add_embeddings(clip, err);
    if (ret == UQM_OK)
        ret = norm(clip, clip->hidden, err);
    return ret;
}

static int attend(struct clip *clip, struct uqm_place q, struct uqm_place k, struct uqm_place v,
                  struct uqm_err *err)
{
    const struct uqm_vision_config *c = clip->config;
    const size_t rows = uqm_clip_rows(c), width = c->hidden, dim = width / c->n_heads;
    for (size_t i = 0; i < clip->n_images; i++) {
        const size_t at = i * rows * width;
        clip->attention[i] = (struct uqm_attend){
            .q = uqm_place_add(q, at),
            .k = uqm_place_add(k, at),
            .v = uqm_place_add(v, at),
            .out = uqm_place_add(clip->normed, at),
            .ldq = width,
            .ldk = width,
            .ldv = width,
            .ldo = width,
            .n_q = rows,
            .n_kv = rows,
            .n_heads = c->n_heads,
            .n_kv_heads = c->n_heads,
            .head_dim = dim,
            .scale = (float) (1.0 / sqrt((double) dim)),
        };
    }
    return clip->run->device->ops->attend(clip->run->device, clip->attention, clip->n_images, err);
}

static int run_layer(struct clip *clip, struct uqm_err *err)
{
    const size_t width = clip->config->hidden, inner = clip->config->inner;
    const size_t part = uqm_padded_rows(clip->n_rows) * width;
    const struct uqm_place q = clip->region, k = uqm_place_add(q, part), v = uqm_place_add(k, part);

    int ret = norm(clip, clip->normed, err);
    if (ret == UQM_OK)
        ret = linear(clip, k, clip->normed, width, width, UQM_EPI_STORE, err);
    if (ret == UQM_OK)
        ret = linear(clip, v, clip->normed, width, width, UQM_EPI_STORE, err);
    if (ret == UQM_OK)
        ret = linear(clip, q, clip->normed, width, width, UQM_EPI_STORE, err);
    if (ret == UQM_OK)
        ret = attend(clip, q, k, v, err);
    if (ret == UQM_OK)
        ret = linear(clip, clip->hidden, clip->normed, width, width, UQM_EPI_ADD, err);
    if (ret == UQM_OK)
        ret = norm(clip, clip->normed, err);
    if (ret == UQM_OK)
        ret = linear(clip, clip->region, clip->normed, inner, width, UQM_EPI_QUICK_GELU, err);
    if (ret == UQM_OK)
        ret = linear(clip, clip->hidden, clip->region, width, inner, UQM_EPI_ADD, err);
    return ret;
}

static int store_images(struct clip *clip, struct uqm_err *err)
{
    struct uqm_run *run = clip->run;
    const size_t rows = uqm_clip_rows(clip->config), width = clip->config->hidden;
    const size_t skip = clip->config->keep_class_token ? 0 : 1;
    for (size_t i = 0; i < clip->n_images; i++) {
        int ret = run->device->ops->download(run->device, run->stage,
                                             uqm_place_add(clip->hidden, (i * rows + skip) * width),
                                             (rows - skip) * width, err);
        if (ret == UQM_OK)
            ret = clip->job->store(clip->job->ctx, clip->first, run->stage, err);
        if (ret < 0)
            return ret;
        clip->first++;
    }
    return UQM_OK;
}

static int run_batch(struct clip *clip, const struct uqm_schedule *schedule, struct uqm_err *err)
{
    const uint32_t n_layers = n_layers_read(clip->config);
    struct uqm_weights weights = { 0 };

    int ret = uqm_run_open(clip->run, &weights, schedule, err);
    clip->weights = &weights;
    if (ret == UQM_OK)
        ret = embed(clip, err);
    for (uint32_t i = 0; ret == UQM_OK && i < n_layers; i++) {
        uqm_report(clip->run->net->env, clip->job->stage, "images",
                   clip->first + clip->n_images * (i + 1) / (n_layers + 1), clip->job->n_images);
        ret = run_layer(clip, err);
    }
    uqm_weights_close(&weights);
    clip->weights = NULL;
    if (ret == UQM_OK)
        ret = store_images(clip, err);
    return ret;
}

/* As many pictures as the memory takes, at least one, in batches of like size. */
static size_t choose_batch(const struct uqm_run *run, const struct uqm_vision_config *c,
                           size_t n_images, unsigned halvings)
{
    const uint64_t room = (uqm_run_arena_room(run) >> halvings) / sizeof(float);
    size_t low = 1, high = n_images;
    while (low < high) {
        const size_t mid = low + (high - low + 1) / 2;
        if (plan_images(c, mid).total <= room)
            low = mid;
        else
            high = mid - 1;
    }
    const size_t n_batches = (n_images + low - 1) / low;
    return (n_images + n_batches - 1) / n_batches;
}

static int take_batch(struct clip *clip, size_t batch, struct uqm_err *err)
{
    struct uqm_run *run = clip->run;
    const struct clip_plan plan = plan_images(clip->config, batch);
    int ret =
        uqm_run_take_arena(run, plan.total * sizeof(float), "a picture in the vision tower", err);
    if (ret < 0)
        return ret;
    clip->hidden = uqm_run_place(run, 0);
    clip->normed = uqm_run_place(run, plan.normed);
    clip->region = uqm_run_place(run, plan.region);
    clip->index = uqm_run_place(run, plan.index);
    clip->attention = calloc(batch, sizeof *clip->attention);
    clip->rows = calloc(batch * uqm_clip_rows(clip->config), sizeof *clip->rows);
    if (!clip->attention || !clip->rows)
        return uqm_fail(err, UQM_ERR_NOMEM, "the vision tower: no memory for %zu pictures", batch);
    return UQM_OK;
}

static int run_batches(struct clip *clip, const struct uqm_schedule *schedule, struct uqm_err *err)
{
    struct uqm_run *run = clip->run;
    const struct uqm_vision_job *job = clip->job;
    const size_t batch =
        choose_batch(run, clip->config, job->n_images - clip->first, clip->recovery.halvings);

    int ret = take_batch(clip, batch, err);
    while (ret == UQM_OK && clip->first < job->n_images) {
        clip->n_images = (size_t) uqm_min_u64(batch, job->n_images - clip->first);
        clip->n_rows = clip->n_images * uqm_clip_rows(clip->config);
        uqm_report(run->net->env, job->stage, "images", clip->first, job->n_images);
        ret = run_batch(clip, schedule, err);
    }
    if (ret == UQM_OK)
        uqm_report(run->net->env, job->stage, "images", job->n_images, job->n_images);
    return ret;
}

/* From the first picture whose features are not yet stored. */
static int attempt(struct clip *clip, struct uqm_network *net, const struct uqm_schedule *schedule,
                   struct uqm_err *err)
{
    const struct uqm_vision_config *c = clip->config;
    const struct uqm_run_needs needs = {
        .max_kv = uqm_clip_rows(c),
        .stage_elem = uqm_clip_rows(c) * c->hidden,
        .other_bytes = clip->pictures.block_bytes,
    };
    int ret = uqm_run_init(clip->run, net, schedule, &needs, err);
    if (ret == UQM_OK)
        ret = run_batches(clip, schedule, err);
    uqm_run_finish(clip->run);
    free(clip->attention);
    free(clip->rows);
    clip->attention = NULL;
    clip->rows = NULL;
    return ret;
}

int uqm_network_vision(struct uqm_network *network, const struct uqm_vision_job *job,
                       struct uqm_err *err)
{
    const struct uqm_vision_config *c = &network->config.vision;
    if (!network->config.has_vision)
        return uqm_fail(err, UQM_ERR_ARG, "%s: the model has no vision tower",
                        network->source->name);
    if (job->n_images == 0 || network->machine->plan_only)
        return UQM_OK;

    struct uqm_schedule schedule = { .source = network->source };
    struct uqm_run run = { 0 };
    struct clip clip = { .run = &run, .config = c, .job = job };
    int ret = uqm_clip_schedule(&schedule, c, err);
    if (ret == UQM_OK)
        ret = uqm_clip_pictures_init(&clip.pictures, network, job, err);
    if (ret == UQM_OK)
        do
            ret = attempt(&clip, network, &schedule, err);
        while (ret < 0 && uqm_recover(&clip.recovery, network->machine, ret, err));
    uqm_clip_pictures_finish(&clip.pictures);
    uqm_schedule_finish(&schedule);
    return ret;
}
