#include "src/format/pickle.h"
#include "tests/unit/format/pickle_maker.h"
#include "tests/unit/test.h"

struct pickle_case {
    const char *bytes;
    size_t len;
    const char *text; /* of the message; NULL: accepted */
    enum uqm_status code;
};
#define ACCEPT(bytes)                                                                              \
    {                                                                                              \
        bytes, sizeof(bytes) - 1, NULL, UQM_OK                                                     \
    }
#define REFUSE(bytes, text)                                                                        \
    {                                                                                              \
        bytes, sizeof(bytes) - 1, text, UQM_ERR_FORMAT                                             \
    }
#define UNSUPPORTED(bytes, text)                                                                   \
    {                                                                                              \
        bytes, sizeof(bytes) - 1, text, UQM_ERR_UNSUPPORTED                                        \
    }

static int parse(struct uqm_state_dict *dict, const char *bytes, size_t len, struct uqm_err *err)
{
    uint8_t *copy = malloc(len ? len : 1); /* of exactly this length: reading past it is seen */
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    int ret = uqm_pickle_parse(dict, copy, len, err);
    free(copy);
    return ret;
}

static void check(const struct pickle_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct uqm_state_dict dict = { 0 };
        struct uqm_err err = { 0 };
        int ret = parse(&dict, cases[i].bytes, cases[i].len, &err);
        if (ret != (int) cases[i].code)
            fail_msg("case %zu: %d, not %d: %s", i, ret, cases[i].code, err.msg);
        if (cases[i].text &&
            (strncmp(err.msg, "data.pkl+", 9) != 0 || !strstr(err.msg, cases[i].text)))
            fail_msg("case %zu: \"%s\" lacks \"%s\"", i, err.msg, cases[i].text);
        if (cases[i].text)
            assert_null(dict.tensors);
        uqm_state_dict_finish(&dict);
    }
}
#define CHECK(cases) check(cases, sizeof(cases) / sizeof *(cases))

static void a_state_dict_gives_its_tensors(void **state)
{
    (void) state;
    static const char bytes[] = DICT(GOOD);
    struct uqm_state_dict dict = { 0 };
    struct uqm_err err = { 0 };
    assert_ok(parse(&dict, bytes, sizeof bytes - 1, &err), err);
    assert_int_equal(dict.n_tensors, 1);
    const struct uqm_pickle_tensor *t = &dict.tensors[0];
    assert_string_equal(t->name, "w");
    assert_int_equal(t->dtype, UQM_F16);
    assert_int_equal(t->rank, 2);
    assert_int_equal(t->shape[0], 2);
    assert_int_equal(t->shape[1], 3);
    assert_int_equal(t->strides[0], 3);
    assert_int_equal(t->n_elem, 6);
    assert_string_equal(t->storage, "0");
    assert_int_equal(t->storage_bytes, 12);
    assert_true(t->contiguous);
    uqm_state_dict_finish(&dict);
}

static void strides_tell_packed_tensors_from_views(void **state)
{
    (void) state;
    static const struct {
        const char *bytes;
        size_t len;
        bool contiguous;
    } cases[] = {
#define VIEW(packed, offset, size, stride)                                                         \
    { DICT(TENSOR(ID("FloatStorage", I1("\x0c")), offset, size, stride)),                          \
      sizeof(DICT(TENSOR(ID("FloatStorage", I1("\x0c")), offset, size, stride))) - 1, packed }
        VIEW(true, I1("\x06"), T2(I1("\x02"), I1("\x03")), T2(I1("\x03"), I1("\x01"))),
        VIEW(true, I1("\x00"), ")", ")"),
        VIEW(true, I1("\x0b"), T1(I1("\x01")), T1(I1("\x63"))),
        VIEW(true, I1("\x00"), T2(I1("\x01"), I1("\x03")), T2(I1("\x09"), I1("\x01"))),
        VIEW(true, I1("\x00"), T2(I1("\x00"), I1("\x03")), T2(I1("\x03"), I1("\x01"))),
        VIEW(true, I1("\x63"), T1(I1("\x00")), T1(I1("\x01"))), /* empty: nothing is read */
        VIEW(false, I1("\x00"), T2(I1("\x03"), I1("\x02")), T2(I1("\x01"), I1("\x03"))),
        VIEW(false, I1("\x00"), T1(I1("\x06")), T1(I1("\x02"))),
        VIEW(false, I1("\x00"), T1(I1("\x06")), T1(I1("\x00"))),
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct uqm_state_dict dict = { 0 };
        struct uqm_err err = { 0 };
        assert_ok(parse(&dict, cases[i].bytes, cases[i].len, &err), err);
        if (dict.tensors[0].contiguous != cases[i].contiguous)
            fail_msg("case %zu", i);
        uqm_state_dict_finish(&dict);
    }
}

static void the_usual_shapes_of_files_are_accepted(void **state)
{
    (void) state;
    static const struct pickle_case cases[] = {
        /* an OrderedDict with _metadata, which BUILD brings */
        ACCEPT(PROTO HOOKS "q\x00(U\x01"
                           "w" GOOD "u}U\x09_metadata" HOOKS "sb" STOP),
        /* one level down; other entries are skipped */
        ACCEPT(PROTO "}(U\x05"
                     "epochK\x03U\x0astate_dict}U\x01"
                     "w" GOOD "su" STOP),
        ACCEPT(PROTO "}U\x05model}U\x01"
                     "w" GOOD "ss" STOP),
        ACCEPT(PROTO "}U\x06module" HOOKS "U\x01"
                     "w" GOOD "ss" STOP),
        ACCEPT(PROTO "}(U\x01"
                     "w" GOOD "U\x04"
                     "list](K\x01N\x88G?\xf0\0\0\0\0\0\0e"
                     "K\x07K\x08u" STOP),
        /* a parameter; tied tensors through the memo */
        ACCEPT(DICT(G("torch._utils", "_rebuild_parameter") "(" GOOD "\x88" HOOKS "tR")),
        ACCEPT(PROTO "}(U\x01"
                     "v" GOOD "q\x01U\x01"
                     "wh\x01u" STOP),
        ACCEPT(PROTO "}(U\x01"
                     "v" GOOD "r\x00\x01\x00\x00U\x01"
                     "wj\x00\x01\x00\x00u" STOP),
        /* v3 of an untyped storage: numel counts bytes */
        ACCEPT(DICT(G("torch._utils", "_rebuild_tensor_v3") "((" STORAGE7 G(
            "torch.storage", "UntypedStorage") "U\x01"
                                               "0U\x03"
                                               "cpuK\x06tQK\x00K\x06\x85"
                                               "K\x01\x85\x89" HOOKS G("torch",
                                                                       "float8_e4m3fn") "tR")),
        /* hooks None, meta empty, leaves */
        ACCEPT(DICT(V2 "(" ID("LongStorage", "K\x01") "K\x00K\x01\x85K\x01\x85\x89N}tR")),
        ACCEPT(PROTO "}(U\x01"
                     "w" GOOD
                     "U\x01s" G("torch", "Size") "K\x02K\x03\x86\x85RU\x01"
                                                 "d" G("torch", "device") "U\x04"
                                                                          "cuda"
                                                                          "K\x00\x86Ru" STOP),
    };
    CHECK(cases);
}

static void code_is_refused_by_name(void **state)
{
    (void) state;
#define RUN(m, n)                                                                                  \
    REFUSE(PROTO "}U\x01"                                                                          \
                 "w" G(m, n) "U\x02"                                                               \
                             "id\x85Rs" STOP,                                                      \
           "global " m "." n)
    static const struct pickle_case cases[] = {
        RUN("os", "system"),
        RUN("posix", "system"),
        RUN("nt", "system"),
        RUN("subprocess", "Popen"),
        RUN("builtins", "eval"),
        RUN("__builtin__", "exec"),
        RUN("builtins", "getattr"),
        RUN("pip", "main"),
        RUN("runpy", "run_path"),
        RUN("torch", "load"),
        RUN("torch.serialization", "load"),
        RUN("torch._utils", "x.y"),
        RUN("torch._utils", "_rebuild_tensor_v2.__globals__"),
        RUN("torch", "_utils._rebuild_tensor_v2"),
        RUN("Collections", "OrderedDict"),
        RUN("collections", "OrderedDict "),
        RUN("collections ", "OrderedDict"),
        RUN("", ""),
        RUN("torch", "HalfStorage2"),
        /* the payload before a damaged rest, as real malware has it */
        REFUSE(PROTO G("os", "system") "U\x02"
                                       "id\x85R\xff\xff",
               "+2: global os.system"),
        REFUSE(PROTO "}" G("a\x1b[2J", "b") STOP, "global a\\x1B[2J.b"),
        REFUSE(PROTO G("webbrowser", "open") STOP, "would run code in torch.load; not read"),
    };
    CHECK(cases);
}

static void known_but_unread_kinds_say_so(void **state)
{
    (void) state;
    static const struct pickle_case cases[] = {
        UNSUPPORTED(PROTO G("torch._utils", "_rebuild_sparse_tensor"), "sparse tensors"),
        UNSUPPORTED(PROTO G("torch._utils", "_rebuild_qtensor"), "quantized tensors"),
        UNSUPPORTED(PROTO G("torch._utils", "_rebuild_meta_tensor_no_storage"), "meta tensors"),
        UNSUPPORTED(PROTO G("torch._tensor", "_rebuild_from_type_v2"), "tensor subclasses"),
        UNSUPPORTED(PROTO G("numpy.core.multiarray", "scalar"), "NumPy scalars"),
        UNSUPPORTED(PROTO G("numpy._core.multiarray", "_reconstruct"), "NumPy arrays"),
        UNSUPPORTED(PROTO G("builtins", "set"), "sets"),
        UNSUPPORTED(PROTO G("__builtin__", "complex"), "complex numbers"),
        UNSUPPORTED(PROTO G("builtins", "bytearray"), "byte arrays"),
    };
    CHECK(cases);
}

static void other_ways_to_call_are_refused(void **state)
{
    (void) state;
    static const struct pickle_case cases[] = {
        REFUSE(PROTO "(U\x02"
                     "idios\nsystem\n" STOP,
               "0x69 (INST)"),
        REFUSE(PROTO "(" HOOKS "o" STOP, "0x6f (OBJ)"),
        REFUSE(PROTO HOOKS ")\x81" STOP, "0x81 (NEWOBJ)"),
        REFUSE(PROTO HOOKS ")}\x92" STOP, "0x92 (NEWOBJ_EX)"),
        REFUSE(PROTO "\x82\x01" STOP, "0x82 (EXT1)"),
        REFUSE(PROTO "\x83\x01\x00" STOP, "0x83 (EXT2)"),
        REFUSE(PROTO "\x84\x01\x00\x00\x00" STOP, "0x84 (EXT4)"),
        REFUSE(PROTO "\x8c\x02os\x8c\x06system\x93" STOP, "protocol 4 or 5"),
        REFUSE(PROTO "\x93" STOP, "protocol 4 or 5"),
        REFUSE(PROTO "}\x94" STOP, "protocol 4 or 5"),
        REFUSE(PROTO "\x95\x00\x00\x00\x00\x00\x00\x00\x00" STOP, "protocol 4 or 5"),
        REFUSE(PROTO "Pid\n" STOP, "0x50 (PERSID)"),
        REFUSE(PROTO "I1\n" STOP, "0x49 (INT)"),
        REFUSE(PROTO "}0" STOP, "0x30 (POP)"),
        REFUSE(PROTO "}2" STOP, "0x32 (DUP)"),
        REFUSE(PROTO "\xff" STOP, "opcode 0xff"),
        REFUSE(PROTO "\0" STOP, "opcode 0x00"),
        /* BUILD with a state that would call __setstate__, or on what is no OrderedDict */
        REFUSE(PROTO "}U\x0c__setstate__NsN"
                     "b" STOP,
               "BUILD on a dict"),
        REFUSE(PROTO "}}"
                     "b" STOP,
               "BUILD on a dict"),
        REFUSE(PROTO HOOKS "N"
                           "b" STOP,
               "BUILD: the state is None"),
        REFUSE(PROTO GOOD "}"
                          "b" STOP,
               "BUILD on a tensor"),
        /* calls of what is no function */
        REFUSE(PROTO "})R" STOP, "REDUCE calls a dict"),
        REFUSE(PROTO "N)R" STOP, "REDUCE calls None"),
        REFUSE(PROTO G("torch", "HalfStorage") ")R" STOP, "REDUCE calls torch.HalfStorage"),
        REFUSE(PROTO G("torch", "uint16") ")R" STOP, "REDUCE calls torch.uint16"),
        REFUSE(PROTO G("collections", "OrderedDict") "}R" STOP, "the arguments are a dict"),
    };
    CHECK(cases);
}

static void allowed_calls_take_exactly_their_arguments(void **state)
{
    (void) state;
    static const struct pickle_case cases[] = {
        REFUSE(PROTO G("collections", "OrderedDict") "]\x85R" STOP, "OrderedDict with arguments"),
        REFUSE(DICT(V2 "U\x01x\x85R"), "with 1 arguments"),
        REFUSE(DICT(V2 "(U\x01xK\x00))\x89NtR"), "the storage is a string"),
        REFUSE(DICT(V2 "(" GOOD "K\x00))\x89NtR"), "the storage is a tensor"),
        REFUSE(DICT(V2 "(" ID6 "N))\x89NtR"), "offset is None, not an int"),
        REFUSE(DICT(V2 "(" ID6 "\x88))\x89NtR"), "offset is a bool"),
        REFUSE(DICT(V2 "(" ID6 "K\x00])\x89NtR"), "size is a list, not a tuple"),
        REFUSE(DICT(V2 "(" ID6 "K\x00)K\x01\x89NtR"), "stride is an int, not a tuple"),
        REFUSE(DICT(V2 "(" ID6 "K\x00N\x85K\x01\x85\x89NtR"), "size is None, not an int"),
        REFUSE(DICT(V2 "(" ID6 "K\x00K\x01\x85)\x89NtR"), "1 sizes and 0 strides"),
        REFUSE(DICT(V2 "(" ID6 "K\x00))NNtR"), "requires_grad is None"),
        REFUSE(DICT(V2 "(" ID6 "K\x00))\x89}tR"), "the hooks are a dict"),
        REFUSE(DICT(V2 "(" ID6 "K\x00))\x89" HOOKS "U\x01hK\x01stR"), "not an empty OrderedDict"),
        UNSUPPORTED(DICT(V2 "(" ID6 "K\x00))\x89N}U\x04"
                            "conj\x88stR"),
                    "conjugate"),
        REFUSE(DICT(V2 "(" ID6 "K\x00))\x89N}NtR"), "with 8 arguments"),
        REFUSE(DICT(V2 "((" STORAGE7 G("torch.storage", "UntypedStorage") "U\x01"
                                                                          "0U\x03"
                                                                          "cpuK\x06tQ"
                                                                          "K\x00))\x89NtR"),
               "untyped storage"),
        REFUSE(DICT(G("torch._utils",
                      "_rebuild_tensor_v3") "(" ID6 "K\x00))\x89N" G("torch", "uint16") "tR"),
               "of a typed storage"),
        REFUSE(DICT(G("torch._utils", "_rebuild_tensor_v3") "(" ID6 "K\x00))\x89NNtR"),
               "the dtype is None"),
        REFUSE(DICT(G("torch._utils", "_rebuild_parameter") "(U\x01x\x88NtR"), "the tensor is a "
                                                                               "string"),
        REFUSE(DICT(G("torch._utils", "_rebuild_parameter") "(" GOOD "\x88tR"), "2 arguments"),
        REFUSE(DICT(G("torch", "Size") "U\x01x\x85R"), "size is a string"),
        REFUSE(DICT(G("torch", "device") "K\x01\x85R"), "torch.device with the wrong arguments"),
        /* persistent ids */
        REFUSE(PROTO "NQ" STOP, "BINPERSID on None"),
        REFUSE(PROTO "K\x01\x85Q" STOP, "a tuple of 1, not 5"),
        REFUSE(PROTO "(U\x07StorageNNNNtQ" STOP, "not the id of a storage"),
        REFUSE(PROTO "(" STORAGE7 "NU\x01"
                     "0U\x03"
                     "cpuK\x01tQ" STOP,
               "class is None"),
        REFUSE(PROTO "(" STORAGE7 G("collections", "OrderedDict") "U\x01"
                                                                  "0U\x03"
                                                                  "cpuK\x01tQ" STOP,
               "class is OrderedDict"),
        REFUSE(PROTO "(" STORAGE7 G("torch", "HalfStorage") "NU\x03"
                                                            "cpuK\x01tQ" STOP,
               "key is None"),
        REFUSE(PROTO "(" STORAGE7 G("torch", "HalfStorage") "U\x04../xU\x03"
                                                            "cpuK\x01tQ" STOP,
               "storage key \"../x\" is no record's name"),
        REFUSE(PROTO "(" STORAGE7 G("torch", "HalfStorage") "U\x00U\x03"
                                                            "cpuK\x01tQ" STOP,
               "is no record's name"),
        REFUSE(PROTO "(" STORAGE7 G("torch", "HalfStorage") "U\x02..U\x03"
                                                            "cpuK\x01tQ" STOP,
               "is no record's name"),
    };
    CHECK(cases);
}

static void numbers_outside_the_storage_are_refused(void **state)
{
    (void) state;
#define NUMEL(n)  DICT(TENSOR(ID("HalfStorage", n), I1("\x00"), T1(I1("\x01")), T1(I1("\x01"))))
#define OFFSET(n) DICT(TENSOR(ID6, n, T1(I1("\x01")), T1(I1("\x01"))))
#define SIZE(n)   DICT(TENSOR(ID6, I1("\x00"), T1(n), T1(I1("\x01"))))
#define STRIDE(n) DICT(TENSOR(ID6, I1("\x00"), T1(I1("\x02")), T1(n)))
    static const struct pickle_case cases[] = {
        REFUSE(NUMEL(I1("\x00")), "beyond the 0 elements of storage 0"),
        REFUSE(NUMEL(MINUS_1), "number of elements is negative"),
        ACCEPT(NUMEL(POW_31)), /* the record's size is checked against it */
        ACCEPT(NUMEL(POW_63_1)),
        REFUSE(NUMEL("N"), "number of elements is None"),
        REFUSE(DICT(TENSOR(ID("LongStorage", POW_63_1), I1("\x00"), ")", ")")), "2^64 bytes"),
        ACCEPT(OFFSET(I1("\x05"))),
        REFUSE(OFFSET(I1("\x06")), "beyond the 6 elements"),
        REFUSE(OFFSET(MINUS_1), "offset is negative (-1)"),
        REFUSE(OFFSET(POW_31), "beyond the 6 elements"),
        REFUSE(OFFSET(POW_63_1), "beyond the 6 elements"),
        ACCEPT(SIZE(I1("\x00"))),
        ACCEPT(SIZE(I1("\x06"))),
        REFUSE(SIZE(I1("\x07")), "beyond the 6 elements"),
        REFUSE(SIZE(MINUS_1), "size is negative"),
        REFUSE(SIZE(POW_31), "beyond the 6 elements"),
        REFUSE(SIZE(POW_63_1), "beyond the 6 elements"),
        ACCEPT(STRIDE(I1("\x05"))),
        ACCEPT(STRIDE(I1("\x00"))),
        REFUSE(STRIDE(I1("\x06")), "beyond the 6 elements"),
        REFUSE(STRIDE(MINUS_1), "stride is negative"),
        REFUSE(STRIDE(POW_31), "beyond the 6 elements"),
        REFUSE(STRIDE(POW_63_1), "beyond the 6 elements"),
        /* products and sums that wrap */
        REFUSE(DICT(TENSOR(ID6, I1("\x00"), T2(POW_63_1, POW_63_1), T2("K\x01", "K\x01"))),
               "more than 2^64 elements"),
        REFUSE(DICT(TENSOR(ID6, POW_63_1, T2("K\x02", "K\x03"), T2(POW_63_1, POW_63_1))),
               "beyond the 6 elements"),
        /* a small storage that claims 2^40 elements */
        REFUSE(DICT(TENSOR(ID6, I1("\x00"), T1("\x8a\x06\0\0\0\0\0\x01"), T1(I1("\x00")))),
               "1099511627776 elements in storage 0, which has 6"),
    };
    CHECK(cases);
}

static void the_machine_keeps_its_own_rules(void **state)
{
    (void) state;
    static const struct pickle_case cases[] = {
        REFUSE("", "does not begin with PROTO"),
        REFUSE("\x80", "does not begin with PROTO"),
        REFUSE("}.", "does not begin with PROTO"),
        REFUSE("\x80\x04}.", "pickle protocol 4; only 2"),
        REFUSE("\x80\xff}.", "pickle protocol 255"),
        REFUSE(PROTO PROTO "}" STOP, "PROTO for the second time"),
        REFUSE(PROTO, "ends without STOP"),
        REFUSE(PROTO STOP, "0 values on the stack"),
        REFUSE(PROTO "NN" STOP, "2 values on the stack"),
        REFUSE(PROTO "N(" STOP, "STOP with an open mark"),
        REFUSE(DICT(GOOD) PROTO "N" STOP, "bytes follow STOP"),
        REFUSE(DICT(GOOD) "\0", "1 bytes follow STOP"),
        /* the stack and its marks */
        REFUSE(PROTO "t" STOP, "no mark is set"),
        REFUSE(PROTO "}u" STOP, "no mark is set"),
        REFUSE(PROTO "]e" STOP, "no mark is set"),
        REFUSE(PROTO "\x85" STOP, "too few values"),
        REFUSE(PROTO "N\x86" STOP, "too few values"),
        REFUSE(PROTO "N(\x85" STOP, "too few values"), /* not across the mark */
        REFUSE(PROTO "}(NNs" STOP, "SETITEM: the stack has too few"),
        REFUSE(PROTO "a" STOP, "too few values"),
        REFUSE(PROTO "R" STOP, "too few values"),
        REFUSE(PROTO "b" STOP, "too few values"),
        REFUSE(PROTO "Q" STOP, "too few values"),
        REFUSE(PROTO "(u" STOP, "too few values"),
        REFUSE(PROTO "q\0" STOP, "PUT: the stack has too few values"),
        /* what takes items */
        REFUSE(PROTO "}Na" STOP, "APPEND on a dict"),
        REFUSE(PROTO ")Na" STOP, "APPEND on a tuple"),
        REFUSE(PROTO "](U\x01xNu" STOP, "SETITEMS on a list"),
        REFUSE(PROTO GOOD "U\x01xNs" STOP, "SETITEM on a tensor"),
        REFUSE(PROTO "NU\x01xNs" STOP, "SETITEM on None"),
        REFUSE(PROTO "}(Nu" STOP, "a key without a value"),
        REFUSE(PROTO "}NNs" STOP, "a key is None"),
        REFUSE(PROTO "})Ns" STOP, "a key is a tuple"),
        /* the memo */
        REFUSE(PROTO "h\0" STOP, "nothing was put at memo index 0"),
        REFUSE(PROTO "Nq\x01h\x02" STOP, "nothing was put at memo index 2"),
        REFUSE(PROTO "j\xff\xff\xff\xff" STOP, "nothing was put at memo index 4294967295"),
        REFUSE(PROTO "Nr\xff\xff\xff\xff" STOP, "memo index 4294967295 is above the limit"),
        REFUSE(PROTO "Nr\x00\x00\x40\x00" STOP, "above the limit"),
        /* arguments cut short */
        REFUSE(PROTO "ccollections\nOrderedDict", "a name without its line end"),
        REFUSE(PROTO "ccollections", "a name without its line end"),
        REFUSE(PROTO "c", "a name without its line end"),
        REFUSE(PROTO "X\xff\xff\xff\xff"
                     "abc",
               "ends inside an instruction"),
        REFUSE(PROTO "X\x04\0\0\0abc", "ends inside an instruction"),
        REFUSE(PROTO "K", "ends inside an instruction"),
        REFUSE(PROTO "\x8a\x09\0\0\0\0\0\0\0\0\0" STOP, "an int of 9 bytes"),
        REFUSE(PROTO "X\x02\0\0\0\xc3\x28" STOP, "not UTF-8"),
        REFUSE(PROTO "U\x01\xff" STOP, "not UTF-8"),
        /* what the root is */
        REFUSE(PROTO "N" STOP, "the file holds None"),
        REFUSE(PROTO "]" STOP, "the file holds a list"),
        REFUSE(PROTO GOOD STOP, "the file holds a tensor"),
        REFUSE(PROTO "}" STOP, "no tensors in the dict"),
        REFUSE(PROTO "}U\x05modelNs" STOP, "no tensors in the dict"),
        REFUSE(PROTO "}U\x05other}U\x01"
                     "w" GOOD "ss" STOP,
               "no tensors in the dict"),
        REFUSE(PROTO "}K\x05" GOOD "s" STOP, "a tensor under the key 5"),
        REFUSE(PROTO "}X\x03\0\0\0a\0b" GOOD "s" STOP, "NUL character"),
        REFUSE(PROTO "}(U\x01"
                     "w" GOOD "U\x01"
                     "w" GOOD "u" STOP,
               "the name is given twice"),
        /* a dict that holds itself */
        REFUSE(PROTO "}q\x01U\x05modelh\x01s" STOP, "no tensors in the dict"),
    };
    CHECK(cases);
}

static void pickle_cut_anywhere_is_refused(void **state)
{
    (void) state;
    static const char bytes[] = PROTO HOOKS "q\x00(X\x01\0\0\0"
                                            "w" GOOD "u}U\x09_metadata" HOOKS "sb" STOP;
    for (size_t len = 0; len < sizeof bytes - 1; len++) {
        struct uqm_state_dict dict = { 0 };
        struct uqm_err err = { 0 };
        assert_int_equal(parse(&dict, bytes, len, &err), UQM_ERR_FORMAT);
        assert_int_equal(strncmp(err.msg, "data.pkl+", 9), 0);
        assert_null(dict.tensors);
    }
}

/* `n` times one instruction between PROTO and STOP. */
static int parse_repeated(const char *once, size_t len, size_t n, struct uqm_err *err)
{
    struct uqm_state_dict dict = { 0 };
    char *bytes = malloc(3 + n * len);
    assert_non_null(bytes);
    memcpy(bytes, PROTO, 2);
    for (size_t i = 0; i < n; i++)
        memcpy(bytes + 2 + i * len, once, len);
    bytes[2 + n * len] = '.';
    int ret = uqm_pickle_parse(&dict, (const uint8_t *) bytes, 3 + n * len, err);
    free(bytes);
    return ret;
}

static void sizes_of_everything_are_bounded(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    assert_fails(parse_repeated("(", 1, 65, &err), err, UQM_ERR_FORMAT, "more than 64 marks");
    assert_fails(parse_repeated("N", 1, (1 << 22) + 1, &err), err, UQM_ERR_FORMAT,
                 "more than 4194304 values");
    /* deep nesting costs nothing: there is no recursion */
    assert_fails(parse_repeated(")\x85", 2, 100000, &err), err, UQM_ERR_FORMAT, "on the stack");
    /* lists of references to lists: 2^100 items if one walked them */
    assert_fails(parse_repeated("](h\0h\0eq\0", 9, 100, &err), err, UQM_ERR_FORMAT,
                 "nothing was put");
}

static void a_memo_bomb_is_not_unfolded(void **state)
{
    (void) state;
    static const char start[] = PROTO "}U\x05model]("
                                      ")q\1",
                      twice[] = "h\1h\1\x86q\1";
    char bytes[4096];
    size_t n = sizeof start - 1;
    memcpy(bytes, start, n);
    for (int i = 0; i < 200; i++, n += sizeof twice - 1) /* x = (x, x), two hundred times */
        memcpy(bytes + n, twice, sizeof twice - 1);
    memcpy(bytes + n, "es" STOP, 3);
    n += 3;
    struct uqm_state_dict dict = { 0 };
    struct uqm_err err = { 0 };
    assert_fails(parse(&dict, bytes, n, &err), err, UQM_ERR_FORMAT, "no tensors in the dict");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_state_dict_gives_its_tensors),
        cmocka_unit_test(strides_tell_packed_tensors_from_views),
        cmocka_unit_test(the_usual_shapes_of_files_are_accepted),
        cmocka_unit_test(code_is_refused_by_name),
        cmocka_unit_test(known_but_unread_kinds_say_so),
        cmocka_unit_test(other_ways_to_call_are_refused),
        cmocka_unit_test(allowed_calls_take_exactly_their_arguments),
        cmocka_unit_test(numbers_outside_the_storage_are_refused),
        cmocka_unit_test(the_machine_keeps_its_own_rules),
        cmocka_unit_test(pickle_cut_anywhere_is_refused),
        cmocka_unit_test(sizes_of_everything_are_bounded),
        cmocka_unit_test(a_memo_bomb_is_not_unfolded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
