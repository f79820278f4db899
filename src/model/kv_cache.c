#include <stdlib.h>

#include "src/base/checked.h"
#include "src/model/decode.h"

static size_t kv_width(const struct uqm_text_config *c)
{
    return (size_t) c->n_kv_heads * c->head_dim;
}

/* Two elements to a word; a row of whole heads is even. */
static uint64_t rows_words(uint64_t n_rows, size_t width)
{
    return n_rows * width / 2;
}

uint64_t uqm_kv_layer_words(const struct uqm_text_config *config, uint64_t n_positions)
{
    return uqm_part_words(2 * rows_words(n_positions, kv_width(config)));
}

uint64_t uqm_kv_cache_words(const struct uqm_text_config *config, uint64_t n_positions)
{
    return config->n_layers * uqm_kv_layer_words(config, n_positions);
}

int uqm_kv_cache_init(struct uqm_kv_cache *cache, struct uqm_device *device,
                      const struct uqm_text_config *config, const size_t *n_positions,
                      size_t n_slots, struct uqm_err *err)
{
    *cache = (struct uqm_kv_cache){
        .device = device,
        .n_layers = config->n_layers,
        .width = kv_width(config),
        .n_slots = n_slots,
        .layers = calloc(config->n_layers, sizeof *cache->layers),
        .first_row = malloc((n_slots + 1) * sizeof *cache->first_row),
    };
    if (!cache->layers || !cache->first_row)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for the caches of %zu prompts", n_slots);
    cache->first_row[0] = 0;
    for (size_t i = 0; i < n_slots; i++)
        cache->first_row[i + 1] = cache->first_row[i] + n_positions[i];

    const uint64_t n_words = uqm_kv_layer_words(config, cache->first_row[n_slots]);
    int ret = UQM_OK;
    for (uint32_t i = 0; ret == UQM_OK && i < config->n_layers; i++)
        ret = device->ops->alloc(&cache->layers[i], device, n_words,
                                 "the caches of keys and values", err);
    return ret;
}

void uqm_kv_cache_finish(struct uqm_kv_cache *cache)
{
    for (uint32_t i = 0; cache->layers && i < cache->n_layers; i++)
        cache->device->ops->free(cache->device, &cache->layers[i]);
    free(cache->layers);
    free(cache->first_row);
    *cache = (struct uqm_kv_cache){ 0 };
}

static struct uqm_place row_place(const struct uqm_kv_cache *c, uint32_t layer, size_t row)
{
    return (struct uqm_place){ .memory = c->layers[layer], .at = rows_words(row, c->width) };
}

struct uqm_place uqm_kv_keys(const struct uqm_kv_cache *cache, uint32_t layer, size_t slot)
{
    return row_place(cache, layer, cache->first_row[slot]);
}

struct uqm_place uqm_kv_values(const struct uqm_kv_cache *cache, uint32_t layer, size_t slot)
{
    return row_place(cache, layer, cache->first_row[cache->n_slots] + cache->first_row[slot]);
}

int uqm_kv_store(struct uqm_kv_cache *cache, uint32_t layer, size_t slot, size_t position,
                 struct uqm_place k, struct uqm_place v, size_t n_rows, struct uqm_err *err)
{
    struct uqm_device *device = cache->device;
    const uint64_t at = rows_words(position, cache->width);
    const size_t n = n_rows * cache->width;
    int ret =
        device->ops->narrow(device, uqm_place_add(uqm_kv_keys(cache, layer, slot), at), k, n, err);
    if (ret == UQM_OK)
        ret = device->ops->narrow(device, uqm_place_add(uqm_kv_values(cache, layer, slot), at), v,
                                  n, err);
    return ret;
}
