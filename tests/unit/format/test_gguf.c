/* GGUF headers: each refusal by its message, each kind of value, and what is written read back. */
#include "src/base/bytes.h"
#include "src/format/gguf.h"
#include "tests/unit/test.h"

/* --- headers, made byte by byte --- */

struct made {
    uint8_t v[2048];
    size_t n;
};

static void put(struct made *m, const void *data, size_t n)
{
    assert_true(m->n + n <= sizeof m->v);
    memcpy(m->v + m->n, data, n);
    m->n += n;
}

static void put_int(struct made *m, uint64_t x, size_t n_bytes)
{
    uint8_t p[8];
    uqm_put_u64(p, x);
    put(m, p, n_bytes);
}

static void put_string(struct made *m, const char *s)
{
    put_int(m, strlen(s), 8);
    put(m, s, strlen(s));
}

static struct made start(uint32_t version, uint64_t n_tensors, uint64_t n_pairs)
{
    struct made m = { .n = 0 };
    put(&m, "GGUF", 4);
    put_int(&m, version, 4);
    put_int(&m, n_tensors, 8);
    put_int(&m, n_pairs, 8);
    return m;
}

static void put_key(struct made *m, const char *key, uint32_t type)
{
    put_string(m, key);
    put_int(m, type, 4);
}

static void put_tensor(struct made *m, const char *name, unsigned n_dims, const uint64_t *dims,
                       uint32_t type, uint64_t offset)
{
    put_string(m, name);
    put_int(m, n_dims, 4);
    for (unsigned d = 0; d < n_dims; d++)
        put_int(m, dims[d], 8);
    put_int(m, type, 4);
    put_int(m, offset, 8);
}

/* Padding, and n bytes of data. */
static void put_data(struct made *m, size_t align, size_t n)
{
    static const uint8_t zeros[512];
    assert_true(n <= sizeof zeros);
    put(m, zeros, (align - m->n % align) % align);
    put(m, zeros, n);
}

static int parse(struct uqm_gguf_index *index, const struct made *m, uint64_t more_bytes,
                 struct uqm_err *err)
{
    bool more;
    return uqm_gguf_parse(index, &more, m->v, m->n, m->n + more_bytes, err);
}

static void assert_refused(const struct made *m, int code, const char *text)
{
    struct uqm_gguf_index index;
    struct uqm_err err = { 0 };
    assert_fails(parse(&index, m, 0, &err), err, code, text);
    assert_null(index.tensors);
    assert_int_equal(index.n_tensors, 0);
}

/* --- values --- */

static void every_type_of_value_is_read(void **state)
{
    static const struct {
        uint32_t type;
        size_t size;
        uint64_t bits;
        bool is_count;
        uint64_t count;
    } cases[] = {
        { UQM_GGUF_U8, 1, 200, true, 200 },
        { UQM_GGUF_I8, 1, 0xff, false, 0 },
        { UQM_GGUF_I8, 1, 100, true, 100 },
        { UQM_GGUF_U16, 2, 0xffff, true, 0xffff },
        { UQM_GGUF_I16, 2, 0x8000, false, 0 },
        { UQM_GGUF_U32, 4, 0xffffffff, true, 0xffffffff },
        { UQM_GGUF_I32, 4, 7, true, 7 },
        { UQM_GGUF_F32, 4, 0x3f800000, false, 0 },
        { UQM_GGUF_BOOL, 1, 1, false, 0 },
        { UQM_GGUF_U64, 8, UINT64_MAX, true, UINT64_MAX },
        { UQM_GGUF_I64, 8, UINT64_MAX, false, 0 },
        { UQM_GGUF_F64, 8, 1, false, 0 },
    };
    (void) state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct made m = start(3, 0, 1);
        struct uqm_gguf_index index;
        struct uqm_err err = { 0 };
        uint64_t n = 0;
        put_key(&m, "k", cases[i].type);
        put_int(&m, cases[i].bits, cases[i].size);
        assert_ok(parse(&index, &m, 0, &err), err);
        const struct uqm_gguf_value *v = uqm_gguf_find(&index, "k");
        assert_true(v && v->type == cases[i].type && v->n_bytes == cases[i].size);
        assert_int_equal(uqm_gguf_u64(&n, v), cases[i].is_count);
        if (cases[i].is_count)
            assert_true(n == cases[i].count);
        assert_null(uqm_gguf_find(&index, "l"));
        uqm_gguf_finish(&index);
    }
}

static void arrays_of_strings_are_walked(void **state)
{
    (void) state;
    struct made m = start(2, 0, 2);
    struct uqm_gguf_index index;
    struct uqm_err err = { 0 };
    put_key(&m, "none", UQM_GGUF_ARRAY);
    put_int(&m, UQM_GGUF_STRING, 4);
    put_int(&m, 0, 8);
    put_key(&m, "texts", UQM_GGUF_ARRAY);
    put_int(&m, UQM_GGUF_STRING, 4);
    put_int(&m, 3, 8);
    put_string(&m, "a");
    put_string(&m, "");
    put_string(&m, "\xff\xfe");
    assert_ok(parse(&index, &m, 0, &err), err);
    struct uqm_gguf_texts texts = uqm_gguf_texts(uqm_gguf_find(&index, "texts"));
    static const size_t lens[] = { 1, 0, 2 };
    const uint8_t *text;
    size_t len;
    for (size_t i = 0; i < 3; i++) {
        assert_true(uqm_gguf_next_text(&text, &len, &texts));
        assert_int_equal(len, lens[i]);
    }
    assert_int_equal(text[0], 0xff);
    assert_false(uqm_gguf_next_text(&text, &len, &texts));
    texts = uqm_gguf_texts(uqm_gguf_find(&index, "none"));
    assert_false(uqm_gguf_next_text(&text, &len, &texts));
    uqm_gguf_finish(&index);
}

/* --- refusals --- */

static void a_beginning_that_is_none_is_refused(void **state)
{
    (void) state;
    struct made m = start(3, 0, 0);
    m.v[0] = 'g';
    assert_refused(&m, UQM_ERR_FORMAT, "not a GGUF file");
    m = start(1, 0, 0);
    assert_refused(&m, UQM_ERR_UNSUPPORTED, "version 1 of GGUF");
    m = start(4, 0, 0);
    assert_refused(&m, UQM_ERR_UNSUPPORTED, "version 4 of GGUF");
    m = start(0x03000000, 0, 0);
    assert_refused(&m, UQM_ERR_UNSUPPORTED, "big-endian");
    m = start(3, 0, 0);
    m.n = 23;
    assert_refused(&m, UQM_ERR_FORMAT, "the number of keys: 8 bytes, where the file has 7 left");
    m = start(3, UINT64_MAX, 0);
    assert_refused(&m, UQM_ERR_FORMAT, "262144 are the most");
    m = start(3, 0, UINT64_MAX);
    assert_refused(&m, UQM_ERR_FORMAT, "65536 and 262144 are the most");
    m = start(3, 0, 65536);
    assert_refused(&m, UQM_ERR_FORMAT, "do not fit into 0 bytes");
}

static void assert_key_refused(const char *key, size_t key_len, uint32_t type, const void *value,
                               size_t n, const char *text)
{
    struct made m = start(3, 0, 1);
    put_int(&m, key_len, 8);
    put(&m, key, key_len);
    put_int(&m, type, 4);
    put(&m, value, n);
    put(&m, "padding so that it fits", 23);
    assert_refused(&m, UQM_ERR_FORMAT, text);
}

static void keys_that_contradict_the_format_are_refused(void **state)
{
    (void) state;
    static const uint8_t arrays[] = { 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
    static const uint8_t unknown[] = { 13, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
    static const uint8_t wraps[] = { 10, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x20 };
    static const uint8_t texts[] = { 8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0 };
    static const uint8_t bools[] = { 7, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 3 };
    static const uint8_t far[] = { 255, 255, 255, 255, 255, 255, 255, 255 };
    static const uint8_t three[] = { 3, 0, 0, 0 };
    assert_key_refused("", 0, UQM_GGUF_U8, "", 1, "a key: 0 bytes long");
    assert_key_refused("a\0b", 3, UQM_GGUF_U8, "", 1, "control characters");
    assert_key_refused("a\nb", 3, UQM_GGUF_U8, "", 1, "control characters");
    assert_key_refused("\xc0\x80", 2, UQM_GGUF_U8, "", 1, "not UTF-8");
    assert_key_refused("k", 1, 13, "", 1, "key k: type 13 is none");
    assert_key_refused("k", 1, UQM_GGUF_BOOL, "\2", 1, "key k: 2 for a bool");
    assert_key_refused("k", 1, UQM_GGUF_STRING, far, 8, "bytes, where the file has");
    assert_key_refused("k", 1, UQM_GGUF_ARRAY, arrays, 12, "key k: an array of arrays");
    assert_key_refused("k", 1, UQM_GGUF_ARRAY, unknown, 12, "key k: type 13 is none");
    assert_key_refused("k", 1, UQM_GGUF_ARRAY, wraps, 12, "an array of 2305843009213693953");
    assert_key_refused("k", 1, UQM_GGUF_ARRAY, texts, 12, "4294967296 strings, where");
    assert_key_refused("k", 1, UQM_GGUF_ARRAY, bools, 14, "key k: 3 for a bool");
    assert_key_refused("general.alignment", 17, UQM_GGUF_U32, three, 4, "3 is no power of two");
    assert_key_refused("general.alignment", 17, UQM_GGUF_U32, "\0\0\0", 4, "0 is no power of two");
    assert_key_refused("general.alignment", 17, UQM_GGUF_U8, "\40", 1, "not a u32");

    struct made m = start(3, 0, 2);
    put_key(&m, "twice", UQM_GGUF_U8);
    put_int(&m, 1, 1);
    put_key(&m, "twice", UQM_GGUF_I8);
    put_int(&m, 1, 1);
    assert_refused(&m, UQM_ERR_FORMAT, "key twice: twice");
    m = start(3, 0, 1);
    put_int(&m, 65536, 8);
    put_data(&m, 32, 64);
    assert_refused(&m, UQM_ERR_FORMAT, "a key: 65536 bytes long, not 1 to 65535");
}

static void assert_tensor_refused(const char *name, unsigned n_dims, uint64_t d0, uint64_t d1,
                                  uint32_t type, uint64_t offset, size_t n_data, int code,
                                  const char *text)
{
    const uint64_t dims[5] = { d0, d1, 1, 1, 1 };
    struct made m = start(3, 1, 0);
    put_tensor(&m, name, n_dims, dims, type, offset);
    put_data(&m, 32, n_data);
    assert_refused(&m, code, text);
}

static void tensors_that_contradict_the_format_are_refused(void **state)
{
    (void) state;
    char name[65];
    memset(name, 'n', 64);
    name[64] = '\0';
    const int format = UQM_ERR_FORMAT;
    assert_tensor_refused(name, 1, 1, 1, 0, 0, 4, format, "64 bytes long, not 1 to 63");
    assert_tensor_refused("t", 5, 1, 1, 0, 0, 4, format, "tensor t: more than 4 dimensions");
    assert_tensor_refused("t", 1, 32, 1, 4, 0, 18, UQM_ERR_UNSUPPORTED, "t: type 4 is not known");
    assert_tensor_refused("t", 1, 32, 1, 40, 0, 18, UQM_ERR_UNSUPPORTED, "type 40 is not known");
    assert_tensor_refused("t", 1, UINT64_MAX, 1, 0, 0, 4, format, "more than 2^63 - 1 elements");
    assert_tensor_refused("t", 2, UINT64_C(1) << 32, UINT64_C(1) << 32, 0, 0, 4, format,
                          "more than 2^63 - 1 elements");
    assert_tensor_refused("t", 2, UINT64_C(1) << 31, UINT64_C(1) << 31, 27, 0, 4, format,
                          "more than 2^64 bytes");
    assert_tensor_refused("t", 1, 33, 1, 8, 0, 68, format, "no whole number of its type's blocks");
    assert_tensor_refused("t", 0, 1, 1, 8, 0, 34, format, "no whole number of its type's blocks");
    assert_tensor_refused("t", 1, 8, 1, 0, 32, 64, format, "at offset 32 of the data, not at 0");
    assert_tensor_refused("t", 1, 8, 1, 0, 0, 31, format,
                          "bytes [0, +32) outside 31 bytes of data");

    const uint64_t eight = 8;
    struct made m = start(3, 2, 0);
    put_tensor(&m, "t", 1, &eight, 0, 0);
    put_tensor(&m, "t", 1, &eight, 0, 32);
    put_data(&m, 32, 64);
    assert_refused(&m, UQM_ERR_FORMAT, "tensor t: twice");
    m = start(3, 1, 0);
    put_tensor(&m, "t", 1, &eight, 0, 0);
    assert_refused(&m, UQM_ERR_FORMAT, "the file ends before the tensors' bytes begin");
}

/* Cut anywhere, the header goes on; with the file cut there too, it is damaged. */
static void a_header_is_asked_for_until_it_is_whole(void **state)
{
    (void) state;
    const uint64_t dims[] = { 32, 3 };
    struct made m = start(3, 1, 2);
    put_key(&m, "general.alignment", UQM_GGUF_U32);
    put_int(&m, 64, 4);
    put_key(&m, "l", UQM_GGUF_ARRAY);
    put_int(&m, UQM_GGUF_STRING, 4);
    put_int(&m, 2, 8);
    put_string(&m, "one");
    put_string(&m, "two");
    put_tensor(&m, "q", 2, dims, 8, 0);
    size_t header = m.n;
    put_data(&m, 64, 102);
    for (size_t n = 0; n <= m.n; n++) {
        struct uqm_gguf_index index;
        struct uqm_err err = { 0 };
        bool more = true;
        int ret = uqm_gguf_parse(&index, &more, m.v, n, m.n, &err);
        assert_int_equal(more, n < header);
        assert_int_equal(ret, n < header ? UQM_ERR_FORMAT : UQM_OK);
        if (ret == UQM_OK) {
            const struct uqm_gguf_tensor *t = &index.tensors[0];
            assert_true(index.align == 64 && index.header_bytes == m.n - 102);
            assert_true(t->offset == m.n - 102 && t->n_bytes == 102 && t->n_elem == 96);
            uqm_gguf_finish(&index);
        }
        assert_true(uqm_gguf_parse(&index, &more, m.v, n, n, &err) < 0 || n == m.n);
        if (n == m.n)
            uqm_gguf_finish(&index);
        assert_false(more);
    }
}

/* --- writing --- */

static void what_is_written_is_read_back(void **state)
{
    (void) state;
    struct uqm_gguf_header h;
    struct uqm_gguf_index index;
    struct uqm_err err = { 0 };
    const uint64_t dims[] = { 32, 3 }, three[] = { 3 };
    uint64_t off[2], n_bytes[2], n;
    bool more;
    static const float floats[] = { 1, -2 };
    uqm_gguf_begin(&h);
    uqm_gguf_put_u32(&h, "u", 7);
    uqm_gguf_put_text(&h, "t", "text");
    uqm_gguf_put_bool(&h, "b", true);
    uqm_gguf_put_numbers(&h, "f", UQM_GGUF_F32, floats, 2);
    assert_ok(uqm_gguf_put_tensor(&h, &off[0], &n_bytes[0], "q", 2, dims, UQM_GGML_Q8_0, &err),
              err);
    assert_ok(uqm_gguf_put_tensor(&h, &off[1], &n_bytes[1], "v", 1, three, UQM_GGML_F32, &err),
              err);
    assert_ok(uqm_gguf_end(&h, &err), err);
    assert_true(off[0] == 0 && n_bytes[0] == 102 && off[1] == 128 && n_bytes[1] == 12);
    assert_true(h.data_bytes == 160 && h.n_bytes % 32 == 0);
    assert_ok(uqm_gguf_parse(&index, &more, h.bytes, h.n_bytes, h.n_bytes + 160, &err), err);
    assert_int_equal(index.header_bytes, h.n_bytes);
    assert_true(uqm_gguf_u64(&n, uqm_gguf_find(&index, "u")) && n == 7);
    assert_int_equal(uqm_gguf_find(&index, "f")->n, 2);
    assert_true(index.tensors[1].offset == h.n_bytes + 128);
    uqm_gguf_finish(&index);
    free(h.bytes);
}

static void what_gguf_has_no_place_for_is_not_written(void **state)
{
    (void) state;
    struct uqm_gguf_header h;
    struct uqm_err err = { 0 };
    char name[65];
    uint64_t off, n, dims[5] = { 33, 1, 1, 1, 1 }, huge[] = { 1 << 30, UINT64_C(1) << 34 };
    memset(name, 'n', 64);
    name[64] = '\0';
    uqm_gguf_begin(&h);
    assert_fails(uqm_gguf_put_tensor(&h, &off, &n, name, 1, dims, UQM_GGML_F32, &err), err,
                 UQM_ERR_UNSUPPORTED, "a name of more than 63 bytes");
    assert_fails(uqm_gguf_put_tensor(&h, &off, &n, "t", 5, dims, UQM_GGML_F32, &err), err,
                 UQM_ERR_UNSUPPORTED, "or more than 4");
    assert_fails(uqm_gguf_put_tensor(&h, &off, &n, "t", 0, dims, UQM_GGML_F32, &err), err,
                 UQM_ERR_UNSUPPORTED, "no dimensions");
    assert_fails(uqm_gguf_put_tensor(&h, &off, &n, "t", 1, dims, UQM_GGML_Q8_0, &err), err,
                 UQM_ERR_UNSUPPORTED, "no whole number of blocks");
    assert_fails(uqm_gguf_put_tensor(&h, &off, &n, "t", 2, huge, UQM_GGML_F32, &err), err,
                 UQM_ERR_UNSUPPORTED, "more than 2^63 - 1");
    free(h.bytes);
}

static void names_of_parts_are_told_apart(void **state)
{
    static const struct {
        const char *path;
        bool is_part;
        size_t prefix;
        uint32_t part, n_parts;
    } cases[] = {
        { "m-00001-of-00003.gguf", true, 1, 1, 3 },
        { "a/b-c-00003-of-00003.gguf", true, 5, 3, 3 },
        { "m-00004-of-00003.gguf", false, 0, 0, 0 },
        { "m-00000-of-00003.gguf", false, 0, 0, 0 },
        { "m-00001-of-00000.gguf", false, 0, 0, 0 },
        { "m-0001-of-00003.gguf", false, 0, 0, 0 },
        { "m-000a1-of-00003.gguf", false, 0, 0, 0 },
        { "m_00001-of-00003.gguf", false, 0, 0, 0 },
        { "m-00001-of-00003.GGUF", false, 0, 0, 0 },
        { "m.gguf", false, 0, 0, 0 },
        { "", false, 0, 0, 0 },
    };
    (void) state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t prefix = 0;
        uint32_t part = 0, n_parts = 0;
        bool is = uqm_gguf_split_name(&prefix, &part, &n_parts, cases[i].path);
        assert_int_equal(is, cases[i].is_part);
        if (is)
            assert_true(prefix == cases[i].prefix && part == cases[i].part &&
                        n_parts == cases[i].n_parts);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_of_value_is_read),
        cmocka_unit_test(arrays_of_strings_are_walked),
        cmocka_unit_test(a_beginning_that_is_none_is_refused),
        cmocka_unit_test(keys_that_contradict_the_format_are_refused),
        cmocka_unit_test(tensors_that_contradict_the_format_are_refused),
        cmocka_unit_test(a_header_is_asked_for_until_it_is_whole),
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(what_gguf_has_no_place_for_is_not_written),
        cmocka_unit_test(names_of_parts_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
