#include "src/merge/methods/key_counts.h"

#include <assert.h>

unsigned uqm_key_segments_least(uint64_t n_elem)
{
    return (unsigned) (n_elem >> 31) + 1;
}

unsigned uqm_key_segments(uint64_t n_elem, uint64_t n_blocks, size_t n_searches)
{
    uint64_t n = UQM_MOST_COUNTER_BYTES / (UQM_FINE_BINS * sizeof(uint32_t)) / (n_searches + 1);
    n = n > UQM_MOST_SEGMENTS ? UQM_MOST_SEGMENTS : n;
    /* short tensors are not worth the counters; in long ones 32 bits must hold a segment's counts
     */
    uint64_t useful = n_blocks / 16, least = uqm_key_segments_least(n_elem);
    n = n > useful ? useful : n;
    n = n < least ? least : n;
    return (unsigned) (n > n_blocks ? n_blocks : n);
}

/* Counters of one channel: n_segments rows, `stride` apart. */
struct rows {
    const uint32_t *counts, *longer; /* longer: keys to be left out, or NULL */
    size_t stride;
    unsigned n_segments;
};

static uint64_t count_in(const struct rows *r, unsigned segment, size_t bin)
{
    size_t at = segment * r->stride + bin;
    return r->counts[at] - (r->longer ? r->longer[at] : 0);
}

static uint64_t sum_over(const struct rows *r, size_t bin)
{
    uint64_t sum = 0;
    for (unsigned s = 0; s < r->n_segments; s++)
        sum += count_in(r, s, bin);
    return sum;
}

/* The bin that holds the k-th largest; *above: how many lie in higher ones. */
static size_t find_bin(uint64_t *above, const struct rows *r, size_t n_bins, uint64_t k)
{
    size_t bin = n_bins;
    uint64_t sum = 0, n = 0;
    while (sum < k) {
        assert(bin > 0);
        n = sum_over(r, --bin);
        sum += n;
    }
    *above = sum - n;
    return bin;
}

/* limit.key is the one of this bin: which segment holds the last of the first `wanted`. */
static void find_segment(struct uqm_key_search *s, const struct rows *r, size_t bin)
{
    uint64_t total = sum_over(r, bin);
    assert(s->wanted > 0 && s->wanted <= total);
    s->is_settled = true;
    s->needs_cut = s->wanted < total;
    s->limit.cut = s->limit.last && !s->needs_cut ? 0 : UINT64_MAX; /* not before it is found */
    s->segment = 0;
    s->n_segments = r->n_segments;
    s->before = 0;
    if (!s->needs_cut)
        return;
    if (s->limit.last)
        s->wanted = total - s->wanted;
    while (s->before + count_in(r, s->segment, bin) < s->wanted)
        s->before += count_in(r, s->segment++, bin);
}

void uqm_key_search_coarse(struct uqm_key_search *search, enum uqm_key_kind kind,
                           const uint32_t *counts, const uint32_t *longer, size_t stride,
                           unsigned n_segments)
{
    struct uqm_key_search *s = search;
    struct rows r = { counts, NULL, stride, n_segments };
    const struct rows of_longer = { longer, NULL, stride, n_segments };
    size_t bin = find_bin(&s->above, &r, UQM_COARSE_BINS, s->k);
    s->coarse = (uint32_t) bin;
    uint64_t wanted = s->k - s->above, larger = longer ? sum_over(&of_longer, bin) : 0;
    if (kind == UQM_KEY_WIDE && (!longer || wanted <= larger))
        return;
    s->limit.key = kind == UQM_KEY_OF_F16 ? uqm_bits_of_f32(uqm_f32_of_f16((uint16_t) bin))
                                          : (uint32_t) bin << 16;
    s->wanted = wanted - larger;
    r.longer = longer;
    find_segment(s, &r, bin);
}

void uqm_key_search_fine(struct uqm_key_search *search, const uint32_t *counts, size_t stride,
                         unsigned n_segments)
{
    struct uqm_key_search *s = search;
    const struct rows r = { counts, NULL, stride, n_segments };
    uint64_t above;
    size_t bin = find_bin(&above, &r, UQM_FINE_BINS, s->k - s->above);
    s->limit.key = s->coarse << 16 | (uint32_t) bin;
    s->wanted = s->k - s->above - above;
    find_segment(s, &r, bin);
}

void uqm_key_search_cut(struct uqm_key_search *search, uint64_t first,
                        const struct uqm_key_ties *ties)
{
    struct uqm_key_search *s = search;
    if (s->before >= s->wanted)
        return; /* found */
    for (size_t w = 0; w < UQM_BLOCK_ELEM / 64; w++) {
        uint64_t bits = ties->bits[w], n = (uint64_t) __builtin_popcountll(bits);
        if (s->before + n < s->wanted) {
            s->before += n;
            continue;
        }
        for (; s->before + 1 < s->wanted; s->before++)
            bits &= bits - 1;
        s->before++;
        s->limit.cut = first + w * 64 + (uint64_t) __builtin_ctzll(bits) + 1;
        return;
    }
}
