/*
 * What is accepted and what is refused, a whole file a test (spec formats.md 1). The verdicts of
 * ACCEPT and REFUSE are those of safetensors 0.8.0, measured on these bytes; it accepts STRICTER.
 */
#include "src/format/safetensors.h"
#include "tests/unit/test.h"

struct row {
    const char *name;
    const char *text; /* a piece of our message; NULL: accepted */
    const char *bytes;
    size_t len;
    uint64_t data_len;
    bool whole; /* the bytes are the file; else its header: a length before, data_len after */
};

#define ROW(name, json, data_len, text)                                                            \
    {                                                                                              \
        name, text, json, sizeof(json) - 1, data_len, false                                        \
    }
#define ACCEPT(name, json, data_len)         ROW(name, json, data_len, NULL)
#define REFUSE(name, json, data_len, text)   ROW(name, json, data_len, text)
#define STRICTER(name, json, data_len, text) ROW(name, json, data_len, text)
#define FILE_ROW(name, bytes, text)                                                                \
    {                                                                                              \
        name, text, bytes, sizeof(bytes) - 1, 0, true                                              \
    }

/* One tensor; one of U8; a tensor of four bytes after metadata. */
#define W(dtype, shape, offsets)                                                                   \
    "{\"w\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define U8(name, begin, end, n)                                                                    \
    "\"" name "\":{\"dtype\":\"U8\",\"shape\":[" n "],\"data_offsets\":[" begin "," end "]}"
#define NAMED(name) "{" U8(name, "0", "4", "4") "}"
#define META(value) "{\"__metadata__\":" value "," U8("w", "0", "4", "4") "}"
#define EXTRA(value)                                                                               \
    "{\"w\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4],\"extra\":" value "}}"
/* Four elements of F16, the shape in question. */
#define DIM(n) W("\"F16\"", "[" n "]", "[0,8]")
#define X5(s)  s s s s s
#define X10(s) X5(s) X5(s)
#define X64(s) X5(X10(s)) X10(s) s s s s
/* What the header says of one value of each dtype, in as few bytes as hold a whole number. */
#define DTYPE(dtype, n, bytes)                                                                     \
    ACCEPT("dtype " dtype, W("\"" dtype "\"", n, "[0," #bytes "]"), bytes)
#define NO_DTYPE(what, dtype) REFUSE(what, W(dtype, "[4]", "[0,4]"), 4, "dtype")

static const struct row length_rows[] = {
    FILE_ROW("a file of no bytes", "", "0 bytes are too few"),
    FILE_ROW("a file of seven bytes", "\2\0\0\0\0\0\0", "7 bytes are too few"),
    FILE_ROW("a length of 0", "\0\0\0\0\0\0\0\0", "the header has no bytes"),
    FILE_ROW("a length of 0 before an object", "\0\0\0\0\0\0\0\0{}", "the header has no bytes"),
    FILE_ROW("a length one above the file's", "\3\0\0\0\0\0\0\0{}", "is the file cut short?"),
    FILE_ROW("a length of 100,000,000 in a short file", "\0\xe1\xf5\5\0\0\0\0{}", "cut short"),
    FILE_ROW("a length of 100,000,001", "\1\xe1\xf5\5\0\0\0\0{}", "safetensors' own limit"),
    FILE_ROW("a length of 2^63", "\0\0\0\0\0\0\0\x80{}", "safetensors' own limit"),
    FILE_ROW("a length of 2^64 - 1", "\xff\xff\xff\xff\xff\xff\xff\xff{}", "own limit"),
    FILE_ROW("an empty object", "\2\0\0\0\0\0\0\0{}", NULL),
    FILE_ROW("an empty object padded to 8", "\x08\0\0\0\0\0\0\0{}      ", NULL),
    ACCEPT("a length that is no multiple of 8", NAMED("abc"), 4),
    ACCEPT("a begin misaligned for its dtype",
           "{" U8("a", "0", "1", "1") ",\"b\":{\"dtype\":\"F64\",\"shape\":[1],"
                                      "\"data_offsets\":[1,9]}}",
           9),
};

static const struct row json_rows[] = {
    REFUSE("a byte order mark", "\xEF\xBB\xBF{}", 0, "byte order mark"),
    REFUSE("a comment", "{/* c */}", 0, "a key: expected a string"),
    REFUSE("a comment to the line's end", "{// c\n}", 0, "a key: expected a string"),
    REFUSE("a comma before the last brace", "{" U8("w", "0", "4", "4") ",}", 4, "a comma before }"),
    REFUSE("a comma before a bracket", DIM("4,"), 8, "a comma before ]"),
    REFUSE("single quotes", "{'w':1}", 0, "a key: expected a string"),
    REFUSE("a key without quotes", "{w:1}", 0, "a key: expected a string"),
    REFUSE("a literal NaN", EXTRA("NaN"), 4, "expected a value"),
    REFUSE("a literal Infinity", EXTRA("Infinity"), 4, "expected a value"),
    REFUSE("padding of NUL bytes", "{}\0\0\0\0\0\0", 0, "text after the object"),
    REFUSE("text after the object", "{} x", 0, "text after the object"),
    REFUSE("a second object", "{}{}", 0, "text after the object"),
    REFUSE("an object that does not end", "{\"w\":", 0, "the end of the header"),
    REFUSE("only white space", "    ", 0, "the end of the header"),
    ACCEPT("white space after the object", "{} \t\r\n", 0),
    ACCEPT("white space before the object", " \t\r\n{}", 0),
    ACCEPT("white space between everything",
           "{ \"w\" :\n{ \"dtype\" : \"U8\" , \"shape\" : [ 4 ] ,\t\"data_offsets\" : [ 0 , 4 ] "
           "} }",
           4),
    REFUSE("a form feed as white space", "{}\f", 0, "text after the object"),
    REFUSE("a list at the top", "[]", 0, "the header: expected {"),
    REFUSE("null at the top", "null", 0, "the header: expected {"),
    REFUSE("a string at the top", "\"w\"", 0, "the header: expected {"),
    REFUSE("a number at the top", "4", 0, "the header: expected {"),
};

static const struct row field_rows[] = {
    REFUSE("a tensor that is null", "{\"w\":null}", 0, "expected {"),
    REFUSE("a tensor that is a string", "{\"w\":\"U8\"}", 0, "expected {"),
    REFUSE("no shape", "{\"w\":{\"dtype\":\"U8\",\"data_offsets\":[0,4]}}", 4, "shape is missing"),
    REFUSE("no dtype", "{\"w\":{\"shape\":[4],\"data_offsets\":[0,4]}}", 4, "dtype is missing"),
    REFUSE("no offsets", "{\"w\":{\"dtype\":\"U8\",\"shape\":[4]}}", 4, "data_offsets is missing"),
    REFUSE("nothing said of a tensor", "{\"w\":{}}", 0, "dtype is missing"),
    REFUSE("the dtype twice",
           "{\"w\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4,
           "dtype is given twice"),
    REFUSE("the shape twice",
           "{\"w\":{\"dtype\":\"U8\",\"shape\":[4],\"shape\":[4],\"data_offsets\":[0,4]}}", 4,
           "shape is given twice"),
    REFUSE("the offsets twice",
           "{\"w\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4],\"data_offsets\":[0,4]}}",
           4, "data_offsets is given twice"),
    REFUSE("a field's name in capitals",
           "{\"w\":{\"DTYPE\":\"U8\",\"shape\":[4],"
           "\"data_offsets\":[0,4]}}",
           4, "dtype is missing"),
    ACCEPT("an unknown field", EXTRA("1"), 4),
    ACCEPT("an unknown field of every kind", EXTRA("{\"a\":[1,-2.5e3,null,true,false,\"x\"]}"), 4),
    ACCEPT("an unknown field thirty deep", EXTRA(X10("[[[") X10("]]]")), 4),
    STRICTER("an unknown field a hundred deep", EXTRA(X10(X10("[")) X10(X10("]"))), 4,
             "nested deeper than 32"),
    REFUSE("an unknown field two hundred deep",
           EXTRA(X10(X10("[")) X10(X10("[")) X10(X10("]")) X10(X10("]"))), 4,
           "nested deeper than 32"),
    STRICTER("a tensor given as a list", "{\"w\":[\"U8\",[4],[0,4]]}", 4, "described by a list"),
    STRICTER("a dtype given as an object", W("{\"U8\":null}", "[4]", "[0,4]"), 4,
             "dtype is an object"),
};

static const struct row dtype_rows[] = {
    DTYPE("U64", "[1]", 8),
    DTYPE("I64", "[1]", 8),
    DTYPE("F64", "[1]", 8),
    DTYPE("C64", "[1]", 8),
    DTYPE("F32", "[1]", 4),
    DTYPE("U32", "[1]", 4),
    DTYPE("I32", "[1]", 4),
    DTYPE("BF16", "[1]", 2),
    DTYPE("F16", "[1]", 2),
    DTYPE("U16", "[1]", 2),
    DTYPE("I16", "[1]", 2),
    DTYPE("F8_E5M2FNUZ", "[1]", 1),
    DTYPE("F8_E4M3FNUZ", "[1]", 1),
    DTYPE("F8_E8M0", "[1]", 1),
    DTYPE("F8_E4M3", "[1]", 1),
    DTYPE("F8_E5M2", "[1]", 1),
    DTYPE("I8", "[1]", 1),
    DTYPE("U8", "[1]", 1),
    DTYPE("F6_E3M2", "[4]", 3),
    DTYPE("F6_E2M3", "[2,2]", 3),
    DTYPE("F4", "[2]", 1),
    DTYPE("BOOL", "[1]", 1),
    NO_DTYPE("dtype C128", "\"C128\""),
    NO_DTYPE("dtype F8_E4M3FN", "\"F8_E4M3FN\""),
    NO_DTYPE("a dtype in small letters", "\"u8\""),
    NO_DTYPE("a dtype of no letters", "\"\""),
    NO_DTYPE("a dtype with a space", "\"U8 \""),
    NO_DTYPE("a dtype that is a number", "8"),
    NO_DTYPE("a dtype that is null", "null"),
    REFUSE("an odd count of F4", W("\"F4\"", "[3]", "[0,2]"), 2, "no whole number of bytes"),
    REFUSE("an odd count of F4, rounded down", W("\"F4\"", "[3]", "[0,1]"), 1, "no whole number"),
    REFUSE("three elements of F6", W("\"F6_E2M3\"", "[3]", "[0,3]"), 3, "no whole number of bytes"),
    REFUSE("three elements of the other F6", W("\"F6_E3M2\"", "[3]", "[0,2]"), 2,
           "no whole number of bytes"),
};

static const struct row number_rows[] = {
    REFUSE("dimension -4", DIM("-4"), 8, "shape: expected an unsigned integer"),
    REFUSE("dimension -0", W("\"F16\"", "[-0]", "[0,0]"), 0, "shape: expected an unsigned integer"),
    REFUSE("dimension 4.0", DIM("4.0"), 8, "a fraction or an exponent"),
    REFUSE("dimension 4e0", DIM("4e0"), 8, "a fraction or an exponent"),
    REFUSE("dimension 04", DIM("04"), 8, "a leading zero"),
    REFUSE("dimension \"4\"", DIM("\"4\""), 8, "shape: expected an unsigned integer"),
    REFUSE("dimension +4", DIM("+4"), 8, "shape: expected an unsigned integer"),
    REFUSE("dimension 0x4", DIM("0x4"), 8, "expected , or ]"),
    REFUSE("dimension true", DIM("true"), 8, "shape: expected an unsigned integer"),
    REFUSE("dimension null", DIM("null"), 8, "shape: expected an unsigned integer"),
    REFUSE("dimension [4]", DIM("[4]"), 8, "shape: expected an unsigned integer"),
    REFUSE("dimension 2^64", W("\"F16\"", "[0,18446744073709551616]", "[0,0]"), 0, "above 2^64"),
    REFUSE("a shape that is a number", W("\"F16\"", "4", "[0,8]"), 8, "shape: expected ["),
    REFUSE("a shape that is null", W("\"F16\"", "null", "[0,8]"), 8, "shape: expected ["),
    REFUSE("no offset", W("\"F16\"", "[4]", "[]"), 8, "0 numbers, not 2"),
    REFUSE("one offset", W("\"F16\"", "[4]", "[8]"), 8, "1 numbers, not 2"),
    REFUSE("three offsets", W("\"F16\"", "[4]", "[0,8,8]"), 8, "more than 2 numbers"),
    REFUSE("offset -1", W("\"F16\"", "[4]", "[-1,7]"), 8, "data_offsets: expected an unsigned"),
    REFUSE("offset 8.0", W("\"F16\"", "[4]", "[0,8.0]"), 8, "a fraction or an exponent"),
    REFUSE("offset 2^64", W("\"F16\"", "[4]", "[0,18446744073709551616]"), 8, "above 2^64 - 1"),
    REFUSE("an end before the begin", W("\"F16\"", "[4]", "[8,0]"), 8, "end before they begin"),
    REFUSE("an end of 2^64 - 1", W("\"F16\"", "[4]", "[0,18446744073709551615]"), 8, "outside"),
    ACCEPT("a scalar", W("\"F16\"", "[]", "[0,2]"), 2),
    ACCEPT("a dimension of 0", W("\"F16\"", "[3,0,5]", "[0,0]"), 0),
    ACCEPT("a dimension of 2^64 - 1", W("\"F16\"", "[0,18446744073709551615]", "[0,0]"), 0),
    ACCEPT("rank 64", W("\"U8\"", "[" X10("1,1,1,") X10("1,1,1,") "1,1,1,1]", "[0,1]"), 1),
    STRICTER("rank 65", W("\"U8\"", "[" X64("1,") "1]", "[0,1]"), 1, "more than 64 dimensions"),
    STRICTER("rank 1000", W("\"U8\"", "[" X10(X10(X10("1,"))) "1]", "[0,1]"), 1,
             "more than 64 dimensions"),
};

static const struct row metadata_rows[] = {
    ACCEPT("metadata", META("{\"format\":\"pt\",\"a\":\"\"}"), 4),
    ACCEPT("empty metadata", META("{}"), 4),
    ACCEPT("metadata null", META("null"), 4),
    ACCEPT("metadata after the tensors", "{" U8("w", "0", "4", "4") ",\"__metadata__\":{}}", 4),
    ACCEPT("metadata null after the tensors", "{" U8("w", "0", "4", "4") ",\"__metadata__\":null}",
           4),
    ACCEPT("metadata between the tensors",
           "{" U8("a", "0", "4", "4") ",\"__metadata__\":{\"format\":\"pt\"}," U8("b", "4", "8",
                                                                                  "4") "}",
           8),
    REFUSE("metadata twice", "{\"__metadata__\":{},\"__metadata__\":{}}", 0,
           "__metadata__ is given twice"),
    REFUSE("metadata null twice", "{\"__metadata__\":null,\"__metadata__\":null}", 0,
           "__metadata__ is given twice"),
    REFUSE("metadata with a number", META("{\"a\":1}"), 4, "a value of __metadata__"),
    REFUSE("metadata with null", META("{\"a\":null}"), 4, "a value of __metadata__"),
    REFUSE("metadata with true", META("{\"a\":true}"), 4, "a value of __metadata__"),
    REFUSE("nested metadata", META("{\"a\":{\"b\":\"c\"}}"), 4, "a value of __metadata__"),
    REFUSE("metadata with a list", META("{\"a\":[\"b\"]}"), 4, "a value of __metadata__"),
    REFUSE("metadata that is a list", META("[\"a\"]"), 4, "__metadata__: expected {"),
    REFUSE("metadata that is a string", META("\"a\""), 4, "__metadata__: expected {"),
    STRICTER("a metadata key twice", META("{\"a\":\"1\",\"a\":\"2\"}"), 4, "key a is given twice"),
    STRICTER("a metadata key twice, once escaped", META("{\"a\":\"1\",\"\\u0061\":\"2\"}"), 4,
             "key a is given twice"),
};

static const struct row coverage_rows[] = {
    REFUSE("a hole before the first tensor", "{" U8("a", "1", "5", "4") "}", 5,
           "no tensor holds the bytes [0, 1)"),
    REFUSE("a hole between two tensors", "{" U8("a", "0", "2", "2") "," U8("b", "3", "5", "2") "}",
           5, "no tensor holds the bytes [2, 3)"),
    REFUSE("two tensors that overlap", "{" U8("a", "0", "3", "3") "," U8("b", "2", "5", "3") "}", 5,
           "tensor b: bytes [2, 5) overlap tensor a"),
    REFUSE("two tensors in one place", "{" U8("a", "0", "4", "4") "," U8("b", "0", "4", "4") "}", 4,
           "overlap"),
    REFUSE("a tensor inside another", "{" U8("a", "0", "4", "4") "," U8("b", "1", "2", "1") "}", 4,
           "overlap"),
    REFUSE("an empty tensor inside another",
           "{" U8("a", "0", "4", "4") "," U8("e", "2", "2", "0") "}", 4, "overlap"),
    REFUSE("bytes after the last tensor", NAMED("a"), 5, "1 bytes after the last tensor"),
    REFUSE("bytes without a tensor", "{}", 1, "1 bytes after the last tensor"),
    REFUSE("data cut short", NAMED("a"), 3, "outside 3 bytes of data"),
    REFUSE("no data", NAMED("a"), 0, "outside 0 bytes of data"),
    REFUSE("fewer bytes than elements", W("\"F16\"", "[4]", "[0,7]"), 7, "are 8 bytes, but"),
    REFUSE("more bytes than elements", W("\"F16\"", "[4]", "[0,9]"), 9, "are 8 bytes, but"),
    REFUSE("bytes for a dimension of 0", W("\"F16\"", "[4,0]", "[0,8]"), 8, "are 0 bytes, but"),
    REFUSE("no bytes for a scalar", W("\"F16\"", "[]", "[0,0]"), 0, "are 2 bytes, but"),
    REFUSE("a product that overflows before its 0",
           W("\"U8\"", "[9223372036854775808,9223372036854775808,0]", "[0,0]"), 0,
           "more than 2^64 - 1 elements"),
    ACCEPT("a product with the 0 first",
           W("\"U8\"", "[0,9223372036854775808,9223372036854775808]", "[0,0]"), 0),
    REFUSE("a product that wraps to 16", W("\"U8\"", "[4194305,4194305,211106198978564]", "[0,16]"),
           16, "more than 2^64 - 1 elements"),
    REFUSE("elements times bits that wrap", W("\"F64\"", "[2305843009213693953]", "[0,8]"), 8,
           "no whole number of bytes"),
    ACCEPT("offsets out of the header's order",
           "{" U8("b", "3", "5", "2") "," U8("a", "0", "3", "3") "}", 5),
    ACCEPT("empty tensors at one offset",
           "{" U8("x", "2", "2", "0") "," U8("y", "2", "2", "0") "," U8("a", "0", "2", "2") "}", 2),
    ACCEPT("empty tensors before the first",
           "{" U8("x", "0", "0", "0") "," U8("y", "0", "0", "0") "," U8("a", "0", "2", "2") "}", 2),
};

static const struct row name_rows[] = {
    REFUSE("a byte that is no UTF-8", NAMED("\xff"), 4, "not UTF-8"),
    REFUSE("UTF-8 cut short", NAMED("\xc3"), 4, "not UTF-8"),
    REFUSE("an overlong NUL", NAMED("\xc0\x80"), 4, "not UTF-8"),
    REFUSE("an overlong slash", NAMED("\xe0\x80\xaf"), 4, "not UTF-8"),
    REFUSE("a surrogate in UTF-8", NAMED("\xed\xa0\x80"), 4, "not UTF-8"),
    REFUSE("UTF-8 above U+10FFFF", NAMED("\xf4\x90\x80\x80"), 4, "not UTF-8"),
    REFUSE("a raw line end in a name", NAMED("a\nb"), 4, "a control character 0x0a"),
    REFUSE("a raw NUL in a name", NAMED("a\0b"), 4, "a control character 0x00"),
    REFUSE("a lone high surrogate", NAMED("\\ud83d"), 4, "a lone surrogate escape"),
    REFUSE("a lone low surrogate", NAMED("\\ude00"), 4, "a lone surrogate escape"),
    REFUSE("a high surrogate and a letter", NAMED("\\ud83d\\u0061"), 4, "a lone surrogate escape"),
    REFUSE("an unknown escape", NAMED("\\x41"), 4, "unknown escape"),
    REFUSE("an escape of three digits", NAMED("\\u061"), 4, "four hexadecimal digits"),
    ACCEPT("a name of no characters", NAMED(""), 4),
    ACCEPT("a name of escapes", NAMED("\\u00e9\\ud83d\\ude00\\/\\\"\\\\\\b\\f\\n\\r\\t\\u001f"), 4),
    ACCEPT("a name of raw UTF-8", NAMED("\xc3\xa9\xf0\x9f\x98\x80\x7f"), 4),
    ACCEPT("a name like a path", NAMED("../../etc/passwd"), 4),
    ACCEPT("two names that differ in case",
           "{" U8("a", "0", "2", "2") "," U8("A", "2", "4", "2") "}", 4),
    STRICTER("U+0000 in a name", NAMED("a\\u0000b"), 4, "a NUL character in a name"),
    STRICTER("a tensor name twice", "{" U8("a", "0", "4", "4") "," U8("a", "0", "4", "4") "}", 4,
             "tensor a: the name is given twice"),
    STRICTER("a tensor name twice, once escaped",
             "{" U8("a", "0", "4", "4") "," U8("\\u0061", "0", "4", "4") "}", 4,
             "tensor a: the name is given twice"),
    REFUSE("a tensor name twice, the last without all data",
           "{" U8("a", "0", "4", "4") "," U8("a", "4", "8", "4") "}", 8,
           "tensor a: the name is given twice"),
};

#define TABLE(rows)                                                                                \
    {                                                                                              \
        rows, sizeof(rows) / sizeof *(rows)                                                        \
    }
static const struct {
    const struct row *rows;
    size_t n;
} tables[] = {
    TABLE(length_rows), TABLE(json_rows),     TABLE(field_rows),    TABLE(dtype_rows),
    TABLE(number_rows), TABLE(metadata_rows), TABLE(coverage_rows), TABLE(name_rows),
};
enum { N_TABLES = sizeof tables / sizeof *tables, MAX_ROWS = 256 };

/* The row's file, of exactly its length, so that reading past it is seen. */
static uint8_t *make_file(const struct row *row, size_t *len)
{
    size_t prefix = row->whole ? 0 : UQM_ST_PREFIX_BYTES;
    *len = prefix + row->len + (size_t) row->data_len;
    uint8_t *file = calloc(*len ? *len : 1, 1);
    assert_non_null(file);
    for (size_t i = 0; i < prefix; i++)
        file[i] = (uint8_t) ((uint64_t) row->len >> 8 * i);
    memcpy(file + prefix, row->bytes, row->len);
    return file;
}

static int read_file(struct uqm_st_index *ix, const uint8_t *file, size_t len, struct uqm_err *err)
{
    uint64_t n = 0;
    int ret = uqm_st_header_len(&n, file, len, 0, err);
    if (ret < 0)
        return ret;
    uint64_t data_at = UQM_ST_PREFIX_BYTES + n;
    return uqm_st_parse(ix, file + UQM_ST_PREFIX_BYTES, (size_t) n, len - data_at, err);
}

static void row_is_as_written(void **state)
{
    const struct row *row = *state;
    struct uqm_st_index ix = { 0 };
    struct uqm_err err = { 0 };
    size_t len;
    uint8_t *file = make_file(row, &len);
    int ret = read_file(&ix, file, len, &err);
    free(file);
    if (row->text) {
        assert_fails(ret, err, UQM_ERR_FORMAT, row->text);
        assert_null(ix.tensors);
    } else {
        assert_ok(ret, err);
    }
    uqm_st_index_finish(&ix);
}

int main(void)
{
    struct CMUnitTest tests[MAX_ROWS] = { 0 };
    size_t n = 0;
    for (size_t t = 0; t < N_TABLES; t++)
        for (size_t i = 0; i < tables[t].n; i++)
            tests[n++] = (struct CMUnitTest){
                .name = tables[t].rows[i].name,
                .test_func = row_is_as_written,
                .initial_state = (void *) (uintptr_t) &tables[t].rows[i],
            };
    return _cmocka_run_group_tests("safetensors table", tests, n, NULL, NULL);
}
