#include "compute/vk/vk_hazard.h"

static bool words_overlap(uint64_t a, uint64_t n_a, uint64_t b, uint64_t n_b)
{
    return a < b + n_b && b < a + n_a;
}

bool uqm_vk_slices_overlap(const struct uqm_vk_slice *a, const struct uqm_vk_slice *b)
{
    if (a->place.memory != b->place.memory ||
        !words_overlap(a->place.at, a->n_words, b->place.at, b->n_words))
        return false;
    if (a->stride == 0 || a->stride != b->stride)
        return true;
    /* Columns of one matrix, counted from a's first: a has [0, a.width). b has [d, d + b.width),
     * which may run over the row's end and then begins again at 0. */
    uint64_t d = (b->place.at % a->stride + a->stride - a->place.at % a->stride) % a->stride;
    return d < a->width || d + b->width > a->stride;
}

static bool conflicts(const struct uqm_vk_hazards *h, const struct uqm_vk_binding *b)
{
    for (size_t i = 0; i < h->n; i++)
        if ((b->access == UQM_VK_WRITE || h->list[i].access == UQM_VK_WRITE) &&
            uqm_vk_slices_overlap(&h->list[i].slice, &b->slice))
            return true;
    return false;
}

bool uqm_vk_hazards_next(struct uqm_vk_hazards *h, const struct uqm_vk_binding *bindings,
                         size_t n_bindings)
{
    bool barrier = h->n + n_bindings > UQM_VK_MAX_ACCESSES;
    for (size_t i = 0; i < n_bindings && !barrier; i++)
        barrier = conflicts(h, &bindings[i]);
    if (barrier)
        h->n = 0;
    for (size_t i = 0; i < n_bindings; i++) {
        h->list[h->n].slice = bindings[i].slice;
        h->list[h->n++].access = bindings[i].access;
    }
    return barrier;
}

void uqm_vk_hazards_forget(struct uqm_vk_hazards *h, const struct uqm_memory *memory)
{
    size_t kept = 0;
    for (size_t i = 0; i < h->n; i++)
        if (h->list[i].slice.place.memory != memory)
            h->list[kept++] = h->list[i];
    h->n = kept;
}

static bool same_slice(const struct uqm_vk_slice *a, const struct uqm_vk_slice *b)
{
    return a->place.memory == b->place.memory && a->place.at == b->place.at &&
           a->n_words == b->n_words && a->width == b->width && a->stride == b->stride;
}

bool uqm_vk_bindings_agree(const struct uqm_vk_binding *bindings, size_t n_bindings)
{
    for (size_t i = 0; i < n_bindings; i++)
        for (size_t k = 0; k < i; k++)
            if ((bindings[i].access == UQM_VK_WRITE || bindings[k].access == UQM_VK_WRITE) &&
                uqm_vk_slices_overlap(&bindings[i].slice, &bindings[k].slice) &&
                !same_slice(&bindings[i].slice, &bindings[k].slice))
                return false;
    return true;
}
