#include "src/format/archive_index.h"
#include "tests/unit/archive/archive_test.h"

/* An index as a packer would make it: two files, three segments, a base, a tensor without bytes. */
struct made {
    struct uqm_archive_index ix;
    struct uqm_archive_base_file base[1];
    struct uqm_archive_file files[3];
    struct uqm_archive_segment segments[3];
    struct uqm_archive_tensor tensors[2];
    struct uqm_archive_block blocks[4];
    struct uqm_sha256_digest leaves[1 + 1];
    uint64_t end;
};

static const uint64_t shape[2] = { 3, 100000 }, no_elements[1] = { 0 };

static void make(struct made *m)
{
    enum { BLOCK = UQM_ARCHIVE_LEAST_BLOCK };
    *m = (struct made){
        .base = { { "model.safetensors", 1000000, { { 7 } } } },
        .files = { { .path = "a/empty" },
                   { .path = "a/t.json", .n_bytes = 10, .executable = true, .n_leaves = 1 },
                   { .path = "model.safetensors", .n_bytes = 600100, .n_leaves = 1 } },
        .segments = { { .n_bytes = 10, .words = UQM_ARCHIVE_BYTES, .n_blocks = 1 },
                      { .n_bytes = 100, .words = UQM_ARCHIVE_BYTES, .n_blocks = 1 },
                      { .n_bytes = 600000,
                        .words = UQM_ARCHIVE_WORDS16,
                        .is_delta = true,
                        .base_off = 104,
                        .n_blocks = 3 } },
        .tensors = { { "none", UQM_F32, 1, no_elements, 100, 0 },
                     { "w", UQM_BF16, 2, shape, 100, 600000 } },
    };
    struct uqm_archive_block blocks[5] = {
        { .planes = { { 10, false } } },
        { .planes = { { 60, true } } },
        { .planes = { { 90000, true }, { BLOCK / 2, false } } },
        { .planes = { { 90001, true }, { BLOCK / 2 - 1, true } } },
        { .planes = { { 1, true }, { (600000 - 2 * BLOCK) / 2, false } } },
    };
    static struct uqm_archive_block kept[5];
    memcpy(kept, blocks, sizeof kept);
    m->end = UQM_ARCHIVE_HEADER_BYTES;
    for (size_t i = 0; i < 5; i++) {
        kept[i].plain_xxh3 = bits_at(i);
        kept[i].stored_xxh3 = bits_at(i + 9);
        m->end += kept[i].planes[0].stored_bytes + kept[i].planes[1].stored_bytes;
    }
    m->files[1].n_segments = 1;
    m->files[2].n_segments = 2;
    m->files[2].n_tensors = 2;
    m->files[1].leaves = &m->leaves[0];
    m->files[2].leaves = &m->leaves[1];
    m->ix = (struct uqm_archive_index){
        .block_bytes = BLOCK,
        .base_path = "base",
        .base_files = m->base,
        .files = m->files,
        .segments = m->segments,
        .tensors = m->tensors,
        .blocks = kept,
        .n_base_files = 1,
        .n_files = 3,
        .n_segments = 3,
        .n_tensors = 2,
        .n_blocks = 5,
    };
}

static uint8_t *dump(const struct made *m, size_t *len)
{
    uint8_t *bytes = uqm_archive_index_dump(len, &m->ix);
    assert_non_null(bytes);
    return bytes;
}

static void an_index_reads_back_as_it_was_written(void **state)
{
    (void) state;
    struct made m;
    struct uqm_archive_index ix = { 0 };
    struct uqm_err err = { 0 };
    size_t len, again;
    make(&m);
    uint8_t *bytes = dump(&m, &len);
    assert_ok(uqm_archive_index_parse(&ix, bytes, len, m.end, &err), err);
    assert_int_equal(ix.n_files, 3);
    assert_true(ix.files[1].executable && !ix.files[2].executable);
    assert_int_equal(uqm_archive_index_find(&ix, "model.safetensors"), 2);
    assert_int_equal(uqm_archive_index_find(&ix, "model.safetensor"), -1);
    assert_int_equal(uqm_archive_index_segment(&ix, 2, 99), 1);
    assert_int_equal(uqm_archive_index_segment(&ix, 2, 100), 2);
    assert_int_equal(uqm_archive_index_segment(&ix, 2, 600099), 2);
    assert_int_equal(ix.segments[2].first_block, 2);
    assert_int_equal(uqm_archive_block_bytes(&ix, &ix.segments[2], 2), 600000 % (256 << 10));
    assert_int_equal(ix.blocks[4].stored_off + ix.blocks[4].stored_bytes, m.end);
    assert_string_equal(uqm_archive_index_tensor(&ix, 2, 100)->name, "w");
    assert_null(uqm_archive_index_tensor(&ix, 2, 99));
    uint8_t *second = uqm_archive_index_dump(&again, &ix);
    assert_non_null(second);
    assert_int_equal(again, len);
    assert_memory_equal(second, bytes, len);
    free(second);
    free(bytes);
    uqm_archive_index_finish(&ix);
}

static void an_index_cut_anywhere_is_refused(void **state)
{
    (void) state;
    struct made m;
    struct uqm_archive_index ix = { 0 };
    size_t len;
    make(&m);
    uint8_t *bytes = dump(&m, &len);
    for (size_t n = 0; n < len; n++) {
        struct uqm_err err = { 0 };
        uint8_t *exact = malloc(n ? n : 1); /* so that a sanitizer sees a byte too far */
        assert_non_null(exact);
        memcpy(exact, bytes, n);
        assert_int_equal(uqm_archive_index_parse(&ix, exact, n, m.end, &err), UQM_ERR_FORMAT);
        assert_true(err.msg[0] != '\0');
        free(exact);
    }
    bytes = realloc(bytes, len + 1);
    bytes[len] = 0;
    struct uqm_err err = { 0 };
    assert_fails(uqm_archive_index_parse(&ix, bytes, len + 1, m.end, &err), err, UQM_ERR_FORMAT,
                 "its end");
    free(bytes);
}

/* Whatever a changed byte makes of it: an error, or an index that is safe to read by. */
static void a_changed_byte_makes_no_index_that_reaches_outside(void **state)
{
    (void) state;
    static const uint8_t values[] = { 0x00, 0x01, 0x7F, 0x80, 0xFF };
    struct made m;
    size_t len;
    make(&m);
    uint8_t *bytes = dump(&m, &len);
    for (size_t i = 0; i < len; i++)
        for (size_t k = 0; k < sizeof values; k++) {
            struct uqm_archive_index ix = { 0 };
            struct uqm_err err = { 0 };
            uint8_t was = bytes[i];
            bytes[i] = values[k];
            if (uqm_archive_index_parse(&ix, bytes, len, m.end, &err) == UQM_OK) {
                uint64_t off = UQM_ARCHIVE_HEADER_BYTES;
                for (size_t b = 0; b < ix.n_blocks; b++) {
                    assert_int_equal(ix.blocks[b].stored_off, off);
                    off += ix.blocks[b].stored_bytes;
                }
                assert_int_equal(off, m.end);
            }
            uqm_archive_index_finish(&ix);
            bytes[i] = was;
        }
    free(bytes);
}

static void refuse(struct made *m, const char *text)
{
    struct uqm_archive_index ix = { 0 };
    struct uqm_err err = { 0 };
    size_t len;
    uint8_t *bytes = dump(m, &len);
    assert_fails(uqm_archive_index_parse(&ix, bytes, len, m->end, &err), err, UQM_ERR_FORMAT, text);
    assert_null(ix.files);
    free(bytes);
    make(m);
}

static void every_contradiction_has_its_refusal(void **state)
{
    (void) state;
    static const char *const paths[] = { "",      "/etc/x", "../x", "a/../x", "a//x",
                                         "a/./x", "a/",     "..",   "." };
    struct made m;
    make(&m);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        m.files[0].path = paths[i];
        refuse(&m, "no path inside a folder");
        m.base[0].path = paths[i];
        refuse(&m, "no path inside the base's folder");
    }
    char deep[2 * UQM_ARCHIVE_MOST_FOLDERS + 4] = "";
    for (int i = 0; i <= UQM_ARCHIVE_MOST_FOLDERS; i++)
        strcat(deep, "a/");
    strcat(deep, "x");
    assert_false(uqm_archive_path_is_valid(deep, strlen(deep)));
    assert_true(uqm_archive_path_is_valid(deep + 2, strlen(deep + 2)));
    m.files[0].path = deep;
    refuse(&m, "no path inside a folder");
    m.files[0].path = "b";
    refuse(&m, "out of order");
    m.files[0].path = "a/t.json";
    refuse(&m, "there twice");
    m.files[0].path = "a";
    refuse(&m, "its folder is a file too");
    m.ix.block_bytes = 3 << 17;
    refuse(&m, "blocks of");
    m.segments[2].n_bytes = 600001;
    refuse(&m, "a segment that cannot be");
    m.segments[2].n_bytes = 599998;
    refuse(&m, "do not cover it");
    m.segments[2].base_off = 1000000 - 600000 + 1;
    refuse(&m, "a segment that cannot be");
    m.segments[2].base_file = 1;
    refuse(&m, "a segment that cannot be");
    m.segments[1].n_bytes = 0;
    refuse(&m, "a segment that cannot be");
    m.ix.blocks[1].planes[0] = (struct uqm_archive_plane){ 100, true };
    refuse(&m, "block 1: a length that cannot be");
    m.ix.blocks[0].planes[0] = (struct uqm_archive_plane){ 11, false };
    refuse(&m, "block 0: a length that cannot be");
    m.ix.blocks[4].planes[0].stored_bytes = 2;
    refuse(&m, "a length that cannot be");
    m.end++;
    refuse(&m, "its blocks end at");
    m.tensors[1].off_bytes = 101;
    refuse(&m, "a tensor that cannot be");
    m.tensors[1].n_bytes = 599998;
    refuse(&m, "a tensor that cannot be");
    m.tensors[0].off_bytes = 200;
    refuse(&m, "a tensor that cannot be");
    m.ix.base_path = "";
    refuse(&m, "the base");
}

static void counts_beyond_the_bytes_are_refused_before_anything_is_allocated(void **state)
{
    (void) state;
    struct made m;
    size_t len;
    make(&m);
    uint8_t *bytes = dump(&m, &len);
    for (size_t field = 4; field < 40; field += 4) {
        struct uqm_archive_index ix = { 0 };
        struct uqm_err err = { 0 };
        uint8_t was[4];
        memcpy(was, bytes + field, 4);
        memset(bytes + field, 0x7F, 4);
        assert_int_equal(uqm_archive_index_parse(&ix, bytes, len, m.end, &err), UQM_ERR_FORMAT);
        memcpy(bytes + field, was, 4);
    }
    free(bytes);
}

static void header_and_footer_notice_every_changed_byte(void **state)
{
    (void) state;
    uint8_t header[UQM_ARCHIVE_HEADER_BYTES], end[UQM_ARCHIVE_FOOTER_BYTES];
    struct uqm_archive_footer footer = { .index_off = 1000,
                                         .index_stored_bytes = 200,
                                         .index_bytes = 300,
                                         .index_xxh3 = 5,
                                         .index_packed = true },
                              back;
    const uint64_t size = 1000 + 200 + UQM_ARCHIVE_FOOTER_BYTES;
    struct uqm_err err = { 0 };
    uqm_archive_header_put(header);
    uqm_archive_footer_put(end, &footer);
    assert_ok(uqm_archive_header_check(header, &err), err);
    assert_ok(uqm_archive_footer_parse(&back, end, size, &err), err);
    assert_int_equal(back.index_off, 1000);
    assert_int_equal(back.index_stored_bytes, 200);
    assert_int_equal(back.index_bytes, 300);
    assert_int_equal(back.index_xxh3, 5);
    assert_true(back.index_packed);
    for (size_t i = 0; i < sizeof header; i++)
        for (unsigned bit = 1; bit < 256; bit *= 2) {
            header[i] ^= (uint8_t) bit;
            end[i] ^= (uint8_t) bit;
            assert_true(uqm_archive_header_check(header, &err) < 0);
            assert_true(uqm_archive_footer_parse(&back, end, size, &err) < 0);
            header[i] ^= (uint8_t) bit;
            end[i] ^= (uint8_t) bit;
        }
    assert_fails(uqm_archive_footer_parse(&back, end, size + 1, &err), err, UQM_ERR_FORMAT,
                 "the archive has 1265 bytes, its footer says 1264");
    footer.index_bytes = 200 * 65;
    uqm_archive_footer_put(end, &footer);
    assert_fails(uqm_archive_footer_parse(&back, end, size, &err), err, UQM_ERR_FORMAT,
                 "cannot unpack from 200 to 13000");
    footer = (struct uqm_archive_footer){ .index_off = UINT64_MAX - 8, .index_stored_bytes = 9 };
    uqm_archive_footer_put(end, &footer);
    assert_true(uqm_archive_footer_parse(&back, end, UQM_ARCHIVE_FOOTER_BYTES, &err) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_index_reads_back_as_it_was_written),
        cmocka_unit_test(an_index_cut_anywhere_is_refused),
        cmocka_unit_test(a_changed_byte_makes_no_index_that_reaches_outside),
        cmocka_unit_test(every_contradiction_has_its_refusal),
        cmocka_unit_test(counts_beyond_the_bytes_are_refused_before_anything_is_allocated),
        cmocka_unit_test(header_and_footer_notice_every_changed_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
