#include "compute/vk/vk_pack.h"

#include <string.h>

#include "src/base/checked.h"

enum { ITEM_BYTES = 1 << 18 };

uint64_t uqm_vk_packed_bytes(enum uqm_dtype dtype, uint64_t n, uint64_t k)
{
    return uqm_dtype_bytes(dtype, uqm_align_up(n, UQM_VK_PANEL) * uqm_align_up(k, UQM_VK_PANEL));
}

struct packing {
    unsigned char *dst;
    const unsigned char *w;
    size_t n, row_bytes;          /* of W as stored */
    size_t block_bytes, n_blocks; /* of 8 elements of a row; in a row, the last one padded */
    size_t panels_per_item;
};

static void pack_panel(const struct packing *p, size_t panel)
{
    const size_t whole = p->row_bytes / p->block_bytes, rest = p->row_bytes % p->block_bytes;
    const size_t rows = uqm_min_u64(UQM_VK_PANEL, p->n - panel * UQM_VK_PANEL);
    const unsigned char *from = p->w + panel * UQM_VK_PANEL * p->row_bytes;
    unsigned char *to = p->dst + panel * UQM_VK_PANEL * p->n_blocks * p->block_bytes;

    for (size_t b = 0; b < p->n_blocks; b++) {
        for (size_t r = 0; r < UQM_VK_PANEL; r++, to += p->block_bytes) {
            size_t bytes = r >= rows ? 0 : b < whole ? p->block_bytes : rest;
            if (bytes == p->block_bytes && bytes == 16) /* an inlined copy, as nearly all are */
                memcpy(to, from + r * p->row_bytes + b * 16, 16);
            else if (bytes == p->block_bytes)
                memcpy(to, from + r * p->row_bytes + b * 32, 32);
            else {
                unsigned char padded[32] = { 0 };
                if (bytes)
                    memcpy(padded, from + r * p->row_bytes + b * p->block_bytes, bytes);
                memcpy(to, padded, p->block_bytes);
            }
        }
    }
}

static void pack_item(void *ctx, size_t item, int worker)
{
    const struct packing *p = ctx;
    const size_t n_panels = (p->n + UQM_VK_PANEL - 1) / UQM_VK_PANEL;
    const size_t end = uqm_min_u64((item + 1) * p->panels_per_item, n_panels);
    (void) worker;
    for (size_t panel = item * p->panels_per_item; panel < end; panel++)
        pack_panel(p, panel);
}

void uqm_vk_pack(void *dst, const void *w, enum uqm_dtype dtype, uint64_t n, uint64_t k,
                 struct uqm_threads *threads)
{
    struct packing p = {
        .dst = dst,
        .w = w,
        .n = n,
        .row_bytes = uqm_dtype_bytes(dtype, k),
        .block_bytes = uqm_dtype_bytes(dtype, UQM_VK_PANEL),
        .n_blocks = (k + UQM_VK_PANEL - 1) / UQM_VK_PANEL,
    };
    size_t panel_bytes = UQM_VK_PANEL * p.n_blocks * p.block_bytes;
    size_t n_panels = (n + UQM_VK_PANEL - 1) / UQM_VK_PANEL;
    p.panels_per_item = ITEM_BYTES / panel_bytes + 1;
    uqm_parallel(threads, (n_panels + p.panels_per_item - 1) / p.panels_per_item, pack_item, &p);
}
