/* The index of an archive: whatever is accepted must be safe to read by. The first eight bytes say
 * where the index begins; the same bytes as header and footer must never be taken for more. */
#include "src/base/bytes.h"
#include "src/format/archive_index.h"
#include "tests/fuzz/fuzz.h"

static void check_file(const struct uqm_archive_index *ix, size_t i)
{
    const struct uqm_archive_file *f = &ix->files[i];
    uint64_t at = 0;
    FUZZ_CHECK(uqm_archive_path_is_valid(f->path, strlen(f->path)));
    FUZZ_CHECK(uqm_archive_index_find(ix, f->path) == (long) i);
    for (size_t k = f->first_segment; k < f->first_segment + f->n_segments; k++) {
        const struct uqm_archive_segment *s = &ix->segments[k];
        FUZZ_CHECK(s->begin == at && s->n_bytes > 0 && s->n_bytes % s->words == 0);
        FUZZ_CHECK(s->first_block + s->n_blocks <= ix->n_blocks);
        FUZZ_CHECK(uqm_archive_index_segment(ix, i, at) == k);
        if (s->is_delta)
            FUZZ_CHECK(s->base_file < ix->n_base_files &&
                       s->base_off + s->n_bytes <= ix->base_files[s->base_file].n_bytes);
        at += s->n_bytes;
    }
    FUZZ_CHECK(at == f->n_bytes);
    for (size_t k = f->first_tensor; k < f->first_tensor + f->n_tensors; k++)
        FUZZ_CHECK(ix->tensors[k].off_bytes + ix->tensors[k].n_bytes <= f->n_bytes);
}

static void check_blocks(const struct uqm_archive_index *ix, uint64_t end)
{
    uint64_t off = UQM_ARCHIVE_HEADER_BYTES;
    for (size_t i = 0; i < ix->n_segments; i++)
        for (uint64_t k = 0; k < ix->segments[i].n_blocks; k++) {
            const struct uqm_archive_block *b = &ix->blocks[ix->segments[i].first_block + k];
            uint32_t n = uqm_archive_block_bytes(ix, &ix->segments[i], k);
            FUZZ_CHECK(n > 0 && n <= ix->block_bytes && b->stored_bytes <= n);
            FUZZ_CHECK(b->stored_off == off);
            off += b->stored_bytes;
        }
    FUZZ_CHECK(off == end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct uqm_archive_index ix = { 0 };
    struct uqm_archive_footer footer;
    struct uqm_err err = { 0 };
    if (size >= UQM_ARCHIVE_FOOTER_BYTES) {
        uqm_archive_header_check(data, &err);
        if (uqm_archive_footer_parse(&footer, data, size * 16, &err) == UQM_OK)
            FUZZ_CHECK(footer.index_off + footer.index_stored_bytes < size * 16 &&
                       footer.index_bytes <= UQM_ARCHIVE_MOST_INDEX);
    }
    if (size < 8)
        return 0;
    uint64_t end = uqm_get_u64(data);
    err = (struct uqm_err){ 0 };
    if (uqm_archive_index_parse(&ix, data + 8, size - 8, end, &err) < 0) {
        FUZZ_CHECK(err.msg[0] && !ix.files);
        return 0;
    }
    for (size_t i = 0; i < ix.n_files; i++)
        check_file(&ix, i);
    check_blocks(&ix, end);
    size_t n = 0;
    uint8_t *again = uqm_archive_index_dump(&n, &ix);
    FUZZ_CHECK(!again || (n == size - 8 && memcmp(again, data + 8, n) == 0));
    free(again);
    uqm_archive_index_finish(&ix);
    return 0;
}
