#include "src/format/safetensors.h"
#include "tests/unit/test.h"

/* Parse a header given as a literal (which may hold NULs), followed by data_len bytes of data. */
#define PARSE(ix, json, data_len, err)                                                             \
    uqm_st_parse(ix, (const uint8_t *) (json), sizeof(json) - 1, data_len, err)

struct header_case {
    const char *json;
    size_t len;
    uint64_t data_len;
    const char *text; /* of the message; NULL: accepted */
};
#define ACCEPT(json, data_len)                                                                     \
    {                                                                                              \
        json, sizeof(json) - 1, data_len, NULL                                                     \
    }
#define REFUSE(json, data_len, text)                                                               \
    {                                                                                              \
        json, sizeof(json) - 1, data_len, text                                                     \
    }

/* One tensor of 2 x 2 F16 in eight bytes, with one part of its description replaced. */
#define W(dtype, shape, offsets)                                                                   \
    "{\"w\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define U8(name, begin, end, n)                                                                    \
    "\"" name "\":{\"dtype\":\"U8\",\"shape\":[" n "],\"data_offsets\":[" begin "," end "]}"
#define META(value) "{\"__metadata__\":" value "," U8("w", "0", "4", "4") "}"

static void check(const struct header_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct header_case *c = &cases[i];
        struct uqm_st_index ix = { 0 };
        struct uqm_err err = { 0 };
        /* a copy of exactly this length, so that reading past it is seen */
        uint8_t *copy = malloc(c->len ? c->len : 1);
        assert_non_null(copy);
        memcpy(copy, c->json, c->len);
        int ret = uqm_st_parse(&ix, copy, c->len, c->data_len, &err);
        free(copy);
        if (!c->text && ret != UQM_OK)
            fail_msg("%s: refused: %s", c->json, err.msg);
        if (c->text && ret != UQM_ERR_FORMAT)
            fail_msg("%s: not refused", c->json);
        if (c->text && !strstr(err.msg, c->text))
            fail_msg("%s: \"%s\" lacks \"%s\"", c->json, err.msg, c->text);
        if (c->text)
            assert_null(ix.tensors);
        uqm_st_index_finish(&ix);
    }
}
#define CHECK(cases) check(cases, sizeof(cases) / sizeof *(cases))

static void tensor_past_the_end_is_refused_by_name(void **state)
{
    (void) state;
    static const char json[] = /* 2 x 2 F16: eight bytes */
        "{\"w\":{\"dtype\":\"F16\",\"shape\":[2,2],\"data_offsets\":[0,8]}}";
    const uint8_t *p = (const uint8_t *) json;
    struct uqm_st_index ix = { 0 };
    struct uqm_err err = { 0 };

    assert_int_equal(uqm_st_parse(&ix, p, strlen(json), 7, &err), UQM_ERR_FORMAT);
    assert_string_equal(err.msg, "tensor w: bytes [0, 8) outside 7 bytes of data");
    assert_null(ix.tensors);

    assert_int_equal(uqm_st_parse(&ix, p, strlen(json), 8, &err), UQM_OK);
    assert_int_equal(ix.n_tensors, 1);
    assert_string_equal(ix.tensors[0].name, "w");
    assert_int_equal(ix.tensors[0].dtype, UQM_F16);
    assert_int_equal(ix.tensors[0].rank, 2);
    assert_int_equal(ix.tensors[0].shape[1], 2);
    assert_int_equal(ix.tensors[0].n_elem, 4);
    uqm_st_index_finish(&ix);
}

static void what_the_reference_accepts_is_accepted(void **state)
{
    (void) state;
    static const struct header_case cases[] = {
        ACCEPT("{}", 0),
        ACCEPT(" \t\r\n{}", 0),
        ACCEPT("{} \n\t\r ", 0),
        ACCEPT("{ \"w\" : { \"dtype\" : \"U8\" , \"shape\" : [ 4 ] , \"data_offsets\" : [ 0 , 4 ] "
               "} }",
               4),
        ACCEPT(W("\"F16\"", "[2,2]", "[0,8]"), 8),
        ACCEPT(W("\"F32\"", "[]", "[0,4]"), 4), /* a scalar */
        ACCEPT(W("\"F32\"", "[0]", "[0,0]"), 0),
        ACCEPT(W("\"F32\"", "[3,0,5]", "[0,0]"), 0),
        ACCEPT(W("\"F32\"", "[0,9223372036854775808,9223372036854775808]", "[0,0]"), 0),
        ACCEPT(W("\"F32\"", "[0,18446744073709551615]", "[0,0]"), 0),
        ACCEPT(W("\"F4\"", "[2,2]", "[0,2]"), 2),
        ACCEPT(W("\"F6_E2M3\"", "[4]", "[0,3]"), 3),
        ACCEPT(W("\"F6_E3M2\"", "[2,2]", "[0,3]"), 3),
        ACCEPT(W("\"C64\"", "[2]", "[0,16]"), 16),
        ACCEPT(W("\"F8_E8M0\"", "[2]", "[0,2]"), 2),
        ACCEPT(W("\"F8_E5M2FNUZ\"", "[2]", "[0,2]"), 2),
        ACCEPT(W("\"BOOL\"", "[2]", "[0,2]"), 2),
        ACCEPT(W("\"U64\"", "[2]", "[0,16]"), 16),
        /* a misaligned begin */
        ACCEPT("{" U8("a", "0", "1", "1") ",\"b\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\""
                                          ":[1,9]}}",
               9),
        /* header order is free; empty tensors may share a place */
        ACCEPT("{" U8("b", "3", "5", "2") "," U8("a", "0", "3", "3") "}", 5),
        ACCEPT("{" U8("x", "2", "2", "0") "," U8("y", "2", "2", "0") "," U8("a", "0", "2", "2") "}",
               2),
        ACCEPT("{" U8("x", "0", "0", "0") "," U8("y", "0", "0", "0") "," U8("a", "0", "2", "2") "}",
               2),
        /* fields that mean nothing are dropped, whatever they hold */
        ACCEPT("{\"w\":{\"dtype\":\"U8\",\"note\":{\"a\":[1,-2.5e3,null,true,\"x\"]},\"shape\":[4],"
               "\"data_offsets\":[0,4]}}",
               4),
        ACCEPT(META("{}"), 4),
        ACCEPT(META("null"), 4),
        ACCEPT(META("{\"format\":\"pt\",\"a\":\"b\"}"), 4),
        ACCEPT("{" U8("w", "0", "4", "4") ",\"__metadata__\":{\"format\":\"pt\"}}", 4),
        /* names: empty, escaped, non-ASCII, looking like paths */
        ACCEPT("{" U8("", "0", "4", "4") "}", 4),
        ACCEPT("{" U8("\\u00e9\\ud83d\\ude00\\/\\\"\\\\\\n", "0", "4", "4") "}", 4),
        ACCEPT("{" U8("\xc3\xa9\xf0\x9f\x98\x80", "0", "4", "4") "}", 4),
        ACCEPT("{" U8("../../etc/passwd", "0", "4", "4") "}", 4),
        ACCEPT("{" U8("\\u001f", "0", "4", "4") "}", 4),
    };
    CHECK(cases);
}

static void what_is_no_json_is_refused(void **state)
{
    (void) state;
    static const struct header_case cases[] = {
        REFUSE("", 0, "the end of the header"),
        REFUSE("   ", 0, "the end of the header"),
        REFUSE("\xEF\xBB\xBF{}", 0, "byte order mark"),
        REFUSE("{}\0\0\0", 0, "text after the object"),
        REFUSE("{}x", 0, "text after the object"),
        REFUSE("{}{}", 0, "text after the object"),
        REFUSE("[]", 0, "expected {"),
        REFUSE("null", 0, "expected {"),
        REFUSE("\"x\"", 0, "expected {"),
        REFUSE("1", 0, "expected {"),
        REFUSE("{", 0, "the end of the header"),
        REFUSE("{,}", 0, "a key"),
        REFUSE("{'w':1}", 0, "a key"),
        REFUSE("{w:1}", 0, "a key"),
        REFUSE("{\"w\"}", 0, "expected :"),
        REFUSE("{\"w\" 1}", 0, "expected :"),
        REFUSE("{/* c */}", 0, "a key"),
        REFUSE("{}// c", 0, "text after"),
        REFUSE("{" U8("w", "0", "4", "4") ",}", 4, "a comma before }"),
        REFUSE("{" U8("w", "0", "4", "4") " " U8("x", "4", "4", "0") "}", 4, "expected ,"),
        REFUSE("{\"w\":{\"dtype\":\"U8\",\"shape\":[4,],\"data_offsets\":[0,4]}}", 4,
               "a comma before ]"),
        REFUSE("{\"w\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4],\"x\":NaN}}", 4,
               "expected a value"),
        REFUSE("{\"w\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4],\"x\":01}}", 4,
               "malformed number"),
        REFUSE("{\"w\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4],\"x\":1.}}", 4,
               "malformed number"),
        REFUSE("{\"w\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4],\"x\":-}}", 4,
               "malformed number"),
        REFUSE("{\"w\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4],\"x\":1e}}", 4,
               "malformed number"),
        REFUSE("{\"w\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4],\"x\":tru}}", 4,
               "expected a value"),
        /* strings */
        REFUSE("{\"w", 0, "ends inside a string"),
        REFUSE("{\"w\\", 0, "ends inside a string"),
        REFUSE("{\"\\x41\":1}", 0, "unknown escape"),
        REFUSE("{\"\\u12\":1}", 0, "four hexadecimal digits"),
        REFUSE("{\"\\u12g4\":1}", 0, "four hexadecimal digits"),
        REFUSE("{\"a\nb\":1}", 0, "control character 0x0a"),
        REFUSE("{\"a\0b\":1}", 0, "control character 0x00"),
        REFUSE("{\"\\ud800\":1}", 0, "lone surrogate"),
        REFUSE("{\"\\ud800x\":1}", 0, "lone surrogate"),
        REFUSE("{\"\\udc00\":1}", 0, "lone surrogate"),
        REFUSE("{\"\\ud800\\u0041\":1}", 0, "lone surrogate"),
        REFUSE("{\"\xff\":1}", 0, "not UTF-8"),
        REFUSE("{\"\xc0\xaf\":1}", 0, "not UTF-8"), /* overlong */
        REFUSE("{\"\xe0\x80\x80\":1}", 0, "not UTF-8"),
        REFUSE("{\"\xed\xa0\x80\":1}", 0, "not UTF-8"), /* a surrogate */
        REFUSE("{\"\xf4\x90\x80\x80\":1}", 0, "not UTF-8"),
        REFUSE("{\"\xc3\":1}", 0, "not UTF-8"),
    };
    CHECK(cases);
}

static void descriptions_that_lack_or_repeat_something_are_refused(void **state)
{
    (void) state;
    static const struct header_case cases[] = {
        REFUSE("{\"w\":{\"shape\":[4],\"data_offsets\":[0,4]}}", 4,
               "tensor w: byte 39: dtype is "
               "missing"),
        REFUSE("{\"w\":{\"dtype\":\"U8\",\"data_offsets\":[0,4]}}", 4, "shape is missing"),
        REFUSE("{\"w\":{\"dtype\":\"U8\",\"shape\":[4]}}", 4, "data_offsets is missing"),
        REFUSE("{\"w\":{}}", 4, "dtype is missing"),
        REFUSE("{\"w\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
               4, "dtype is given twice"),
        REFUSE("{\"w\":{\"dtype\":\"U8\",\"shape\":[4],\"shape\":[4],\"data_offsets\":[0,4]}}", 4,
               "shape is given twice"),
        REFUSE("{\"w\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4],\"data_offsets\":[0,"
               "4]}}",
               4, "data_offsets is given twice"),
        REFUSE("{\"w\":{\"\\u0064type\":\"U8\",\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4"
               "]}}",
               4, "dtype is given twice"),
        REFUSE("{\"w\":null}", 0, "its description: expected {"),
        REFUSE("{\"w\":4}", 0, "its description: expected {"),
        REFUSE("{\"w\":[\"U8\",[4],[0,4]]}", 4, "described by a list"),
        REFUSE(W("{\"U8\":null}", "[8]", "[0,8]"), 8, "dtype is an object"),
        REFUSE(W("null", "[8]", "[0,8]"), 8, "dtype: expected a string"),
        REFUSE(W("\"f16\"", "[2,2]", "[0,8]"), 8, "unknown dtype f16"),
        REFUSE(W("\"C128\"", "[1]", "[0,16]"), 16, "unknown dtype C128"),
        REFUSE(W("\"F8_E4M3FN\"", "[8]", "[0,8]"), 8, "unknown dtype F8_E4M3FN"),
        REFUSE(W("\"\"", "[8]", "[0,8]"), 8, "unknown dtype"),
        REFUSE(W("\"F16 \"", "[4]", "[0,8]"), 8, "unknown dtype"),
        REFUSE(W("\"F16\"", "{}", "[0,8]"), 8, "shape: expected ["),
        REFUSE(W("\"F16\"", "null", "[0,8]"), 8, "shape: expected ["),
        REFUSE(W("\"F16\"", "[[4]]", "[0,8]"), 8, "shape: expected an unsigned integer"),
    };
    CHECK(cases);
}

static void numbers_that_are_no_sizes_are_refused(void **state)
{
    (void) state;
    static const struct header_case cases[] = {
        REFUSE(W("\"F16\"", "[-4]", "[0,8]"), 8, "expected an unsigned integer, found -"),
        REFUSE(W("\"F16\"", "[-0]", "[0,8]"), 8, "expected an unsigned integer"),
        REFUSE(W("\"F16\"", "[+4]", "[0,8]"), 8, "expected an unsigned integer"),
        REFUSE(W("\"F16\"", "[4.0]", "[0,8]"), 8, "a fraction or an exponent"),
        REFUSE(W("\"F16\"", "[4e0]", "[0,8]"), 8, "a fraction or an exponent"),
        REFUSE(W("\"F16\"", "[4E0]", "[0,8]"), 8, "a fraction or an exponent"),
        REFUSE(W("\"F16\"", "[04]", "[0,8]"), 8, "leading zero"),
        REFUSE(W("\"F16\"", "[00]", "[0,8]"), 8, "leading zero"),
        REFUSE(W("\"F16\"", "[\"4\"]", "[0,8]"), 8, "expected an unsigned integer"),
        REFUSE(W("\"F16\"", "[true]", "[0,8]"), 8, "expected an unsigned integer"),
        REFUSE(W("\"F16\"", "[null]", "[0,8]"), 8, "expected an unsigned integer"),
        REFUSE(W("\"F16\"", "[0x4]", "[0,8]"), 8, "expected , or ]"),
        REFUSE(W("\"F16\"", "[18446744073709551616]", "[0,8]"), 8, "above 2^64 - 1"),
        REFUSE(W("\"F16\"", "[99999999999999999999999999]", "[0,8]"), 8, "above 2^64 - 1"),
        REFUSE(W("\"F16\"", "[4]", "[0]"), 8, "1 numbers, not 2"),
        REFUSE(W("\"F16\"", "[4]", "[]"), 8, "0 numbers, not 2"),
        REFUSE(W("\"F16\"", "[4]", "[0,8,8]"), 8, "more than 2 numbers"),
        REFUSE(W("\"F16\"", "[4]", "[-1,7]"), 8, "data_offsets: expected an unsigned"),
        REFUSE(W("\"F16\"", "[4]", "8"), 8, "data_offsets: expected ["),
    };
    CHECK(cases);
}

static void sizes_that_do_not_add_up_are_refused(void **state)
{
    (void) state;
    static const struct header_case cases[] = {
        REFUSE(W("\"F16\"", "[2,2]", "[8,0]"), 8, "end before they begin"),
        REFUSE(W("\"F16\"", "[2,2]", "[0,7]"), 8, "are 8 bytes, but bytes [0, 7) are 7"),
        REFUSE(W("\"F16\"", "[2,3]", "[0,8]"), 8, "are 12 bytes"),
        REFUSE(W("\"F16\"", "[2,2]", "[0,18446744073709551615]"), 8, "outside 8 bytes"),
        REFUSE(W("\"F16\"", "[2,2]", "[18446744073709551608,18446744073709551615]"), 8, "outside"),
        REFUSE(W("\"F32\"", "[9223372036854775808,9223372036854775808,0]", "[0,0]"), 0,
               "more than 2^64 - 1 elements"),
        REFUSE(W("\"U8\"", "[4194305,4194305,211106198978564]", "[0,16]"), 16,
               "more than 2^64 - 1 elements"),
        REFUSE(W("\"F64\"", "[2305843009213693953]", "[0,8]"), 8, "no whole number of bytes"),
        REFUSE(W("\"F4\"", "[3]", "[0,2]"), 2, "no whole number of bytes"),
        REFUSE(W("\"F4\"", "[3]", "[0,1]"), 1, "no whole number of bytes"),
        REFUSE(W("\"F6_E2M3\"", "[3]", "[0,3]"), 3, "no whole number of bytes"),
        REFUSE(W("\"F6_E3M2\"", "[18446744073709551612]", "[0,3]"), 3, "no whole number of bytes"),
        REFUSE("{}", 1, "1 bytes after the last tensor belong to none"),
        REFUSE("{" U8("a", "0", "4", "4") "}", 5, "1 bytes after the last tensor"),
        REFUSE("{" U8("a", "1", "5", "4") "}", 5, "no tensor holds the bytes [0, 1)"),
        REFUSE("{" U8("a", "0", "2", "2") "," U8("b", "3", "5", "2") "}", 5,
               "tensor b: begins at byte 3: no tensor holds the bytes [2, 3)"),
        REFUSE("{" U8("a", "0", "3", "3") "," U8("b", "2", "5", "3") "}", 5,
               "tensor b: bytes [2, 5) overlap tensor a"),
        REFUSE("{" U8("a", "0", "4", "4") "," U8("b", "0", "4", "4") "}", 4, "overlap"),
        REFUSE("{" U8("a", "0", "4", "4") "," U8("b", "1", "2", "1") "}", 4, "overlap"),
        REFUSE("{" U8("a", "0", "4", "4") "," U8("e", "2", "2", "0") "}", 4, "overlap"),
        REFUSE("{" U8("e", "5", "5", "0") "," U8("a", "0", "4", "4") "}", 4, "outside 4 bytes"),
    };
    CHECK(cases);
}

static void we_are_stricter_than_the_reference_where_readers_disagree(void **state)
{
    (void) state;
    static const struct header_case cases[] = {
        REFUSE("{" U8("a", "0", "4", "4") "," U8("a", "0", "4", "4") "}", 4,
               "tensor a: the name is given twice"),
        REFUSE("{" U8("a", "0", "4", "4") "," U8("\\u0061", "4", "8", "4") "}", 8,
               "tensor a: the name is given twice"),
        REFUSE("{" U8("a\\u0000b", "0", "4", "4") "}", 4, "NUL character"),
        REFUSE(META("{\"a\":\"1\",\"b\":\"2\",\"\\u0061\":\"3\"}"), 4, "key a is given twice"),
        REFUSE(META("{\"a\":\"1\",\"a\":\"1\"}"), 4, "key a is given twice"),
        REFUSE("{\"__metadata__\":{},\"__metadata__\":{}}", 0, "__metadata__ is given twice"),
        REFUSE("{\"__metadata__\":null,\"__metadata__\":{}}", 0, "__metadata__ is given twice"),
        REFUSE(META("{\"a\":1}"), 4, "a value of __metadata__: expected a string"),
        REFUSE(META("{\"a\":null}"), 4, "expected a string"),
        REFUSE(META("{\"a\":{\"b\":\"c\"}}"), 4, "expected a string"),
        REFUSE(META("[\"a\"]"), 4, "__metadata__: expected {"),
        REFUSE(META("\"a\""), 4, "__metadata__: expected {"),
        REFUSE(META("nul"), 4, "expected a value"),
    };
    CHECK(cases);
}

/* `depth` lists in an unknown field, or a shape of that rank. */
static int parse_deep(unsigned depth, bool as_rank, struct uqm_err *err)
{
    static char text[20000];
    struct uqm_st_index ix = { 0 };
    size_t n = (size_t) snprintf(text, sizeof text, "{\"w\":{\"dtype\":\"U8\",\"shape\":[");
    for (unsigned i = 0; as_rank && i < depth; i++)
        n += (size_t) snprintf(text + n, sizeof text - n, i ? ",1" : "1");
    n += (size_t) snprintf(text + n, sizeof text - n, "],\"data_offsets\":[0,1]");
    if (!as_rank) {
        n += (size_t) snprintf(text + n, sizeof text - n, ",\"x\":");
        memset(text + n, '[', depth);
        memset(text + n + depth, ']', depth);
        n += 2 * depth;
    }
    n += (size_t) snprintf(text + n, sizeof text - n, "}}");
    int ret = uqm_st_parse(&ix, (const uint8_t *) text, n, 1, err);
    uqm_st_index_finish(&ix);
    return ret;
}

static void rank_and_depth_are_bounded(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    assert_ok(parse_deep(64, true, &err), err);
    assert_fails(parse_deep(65, true, &err), err, UQM_ERR_FORMAT, "more than 64 dimensions");
    assert_fails(parse_deep(1000, true, &err), err, UQM_ERR_FORMAT, "more than 64 dimensions");
    assert_ok(parse_deep(30, false, &err), err);
    assert_fails(parse_deep(31, false, &err), err, UQM_ERR_FORMAT, "nested deeper than 32");
    assert_fails(parse_deep(9000, false, &err), err, UQM_ERR_FORMAT, "nested deeper than 32");
}

static void header_cut_anywhere_is_refused(void **state)
{
    (void) state;
    static const char json[] = "{\"__metadata__\":{\"format\":\"pt\"}," U8(
        "\\u00e9", "0", "4",
        "4") ",\"w\":{\"dtype\":\"F16\",\"shape\":[2,2],\"data_offsets\":[4,12],\"x\":[1.5,{}]}}";
    for (size_t len = 0; len < sizeof json - 1; len++) {
        struct header_case c = { json, len, 12, "" };
        check(&c, 1);
    }
    struct header_case whole = { json, sizeof json - 1, 12, NULL };
    check(&whole, 1);
}

static void names_come_unescaped_and_data_in_order(void **state)
{
    (void) state;
    static const char json[] = "{" U8("z", "0", "2", "2") "," U8(
        "\\u00e9\\ud83d\\ude00\\n", "2", "5", "3") "," U8("e", "2", "2", "0") "}";
    struct uqm_st_index ix = { 0 };
    struct uqm_err err = { 0 };
    assert_ok(PARSE(&ix, json, 5, &err), err);
    assert_int_equal(ix.n_tensors, 3);
    assert_string_equal(ix.tensors[0].name, "z");
    assert_string_equal(ix.tensors[1].name, "e");
    assert_string_equal(ix.tensors[2].name, "\xc3\xa9\xf0\x9f\x98\x80\n");
    assert_int_equal(ix.tensors[2].name_len, 7);
    assert_int_equal(ix.tensors[2].begin, 2);
    assert_int_equal(ix.n_unknown_fields, 0);
    uqm_st_index_finish(&ix);
}

static void unknown_fields_are_counted(void **state)
{
    (void) state;
    static const char json[] = "{\"w\":{\"dtype\":\"U8\",\"strides\":[1],\"shape\":[4],"
                               "\"data_offsets\":[0,4],\"layout\":\"x\"}}";
    struct uqm_st_index ix = { 0 };
    struct uqm_err err = { 0 };
    assert_ok(PARSE(&ix, json, 4, &err), err);
    assert_int_equal(ix.n_unknown_fields, 2);
    assert_string_equal(ix.unknown_field, "w: strides");
    uqm_st_index_finish(&ix);
}

static void a_strangers_name_is_printed_escaped(void **state)
{
    (void) state;
    static const char json[] = "{" U8("a\\u001b[2J\\n\\\"", "0", "4", "4") "}";
    struct uqm_st_index ix = { 0 };
    struct uqm_err err = { 0 };
    assert_fails(PARSE(&ix, json, 3, &err), err, UQM_ERR_FORMAT, "tensor a\\x1B[2J\\x0A\\x22:");
}

static int header_len(uint64_t n, uint64_t file_bytes, uint64_t cap, struct uqm_err *err)
{
    uint8_t prefix[UQM_ST_PREFIX_BYTES];
    uint64_t len = 0;
    for (int i = 0; i < UQM_ST_PREFIX_BYTES; i++)
        prefix[i] = (uint8_t) (n >> 8 * i);
    int ret = uqm_st_header_len(&len, prefix, file_bytes, cap, err);
    if (ret == UQM_OK)
        assert_int_equal(len, n);
    return ret;
}

static void header_length_is_checked_before_anything_is_read(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    assert_ok(header_len(2, 10, 0, &err), err);
    assert_ok(header_len(7, 15, 0, &err), err); /* no multiple of 8 */
    assert_ok(header_len(100000000, 200000000, UINT64_MAX, &err), err);
    assert_fails(header_len(2, 7, 0, &err), err, UQM_ERR_FORMAT, "too few");
    assert_fails(header_len(2, 0, 0, &err), err, UQM_ERR_FORMAT, "too few");
    assert_fails(header_len(0, 8, 0, &err), err, UQM_ERR_FORMAT, "no bytes");
    assert_fails(header_len(3, 10, 0, &err), err, UQM_ERR_FORMAT, "cut short");
    assert_fails(header_len(100000001, 200000000, UINT64_MAX, &err), err, UQM_ERR_FORMAT,
                 "above safetensors' own limit");
    assert_fails(header_len(UINT64_C(1) << 63, 200, 0, &err), err, UQM_ERR_FORMAT, "own limit");
    assert_fails(header_len(UINT64_MAX, 200, 0, &err), err, UQM_ERR_FORMAT, "own limit");
    assert_fails(header_len((16 << 20) + 1, 200000000, 0, &err), err, UQM_ERR_FORMAT,
                 "above the limit of 16777216");
    assert_fails(header_len(101, 200, 100, &err), err, UQM_ERR_FORMAT, "above the limit of 100");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensor_past_the_end_is_refused_by_name),
        cmocka_unit_test(what_the_reference_accepts_is_accepted),
        cmocka_unit_test(what_is_no_json_is_refused),
        cmocka_unit_test(descriptions_that_lack_or_repeat_something_are_refused),
        cmocka_unit_test(numbers_that_are_no_sizes_are_refused),
        cmocka_unit_test(sizes_that_do_not_add_up_are_refused),
        cmocka_unit_test(we_are_stricter_than_the_reference_where_readers_disagree),
        cmocka_unit_test(rank_and_depth_are_bounded),
        cmocka_unit_test(header_cut_anywhere_is_refused),
        cmocka_unit_test(names_come_unescaped_and_data_in_order),
        cmocka_unit_test(unknown_fields_are_counted),
        cmocka_unit_test(a_strangers_name_is_printed_escaped),
        cmocka_unit_test(header_length_is_checked_before_anything_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
