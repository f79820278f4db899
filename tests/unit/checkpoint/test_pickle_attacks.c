/*
 * Files that attack a reader of pickles (spec formats.md 2), each put on the disk as torch.save
 * would and opened as any checkpoint is; a test each. Those that would run code come in the kind of
 * before torch 1.6 too.
 */
#include "tests/unit/checkpoint/checkpoint_test.h"
#include "tests/unit/format/pickle_maker.h"
#include "tests/unit/format/zip_maker.h"

struct attack {
    const char *name;
    const char *pickle;
    size_t len;
    const char *text; /* a piece of the message; NULL: harmless, and opened */
    enum uqm_status code;
};
#define REFUSE(name, pickle, text)                                                                 \
    {                                                                                              \
        name, pickle, sizeof(pickle) - 1, text, UQM_ERR_FORMAT                                     \
    }
#define HARMLESS(name, pickle)                                                                     \
    {                                                                                              \
        name, pickle, sizeof(pickle) - 1, NULL, UQM_OK                                             \
    }

#define S(len, text) "U" len text
#define KEY          S("\x01", "x")
/* {"w": a tensor, "x": value}; {"x": value} */
#define BESIDE(value) PROTO "}(" S("\x01", "w") GOOD KEY value "u" STOP
#define ALONE(value)  PROTO "}" KEY value "s" STOP
#define ID_ARGS       S("\x02", "id") "\x85"
#define WOULD_RUN     "is not one a state dict needs; this file would run code in torch.load"

/* module.name("id"). */
#define RUN(m, n)                                                                                  \
    REFUSE("REDUCE of " m "." n, ALONE(G(m, n) ID_ARGS "R"), "global " m "." n " " WOULD_RUN)
#define X5(s)  s s s s s
#define X10(s) X5(s) X5(s)

static const struct attack code[] = {
    RUN("os", "system"),
    RUN("os", "popen"),
    RUN("posix", "system"),
    RUN("nt", "system"),
    RUN("subprocess", "Popen"),
    RUN("subprocess", "check_output"),
    RUN("commands", "getoutput"),
    RUN("builtins", "eval"),
    RUN("builtins", "exec"),
    RUN("builtins", "getattr"),
    RUN("builtins", "__import__"),
    RUN("__builtin__", "eval"),
    RUN("__builtin__", "apply"),
    RUN("pip", "main"),
    RUN("pip._internal", "main"),
    RUN("runpy", "run_path"),
    RUN("runpy", "_run_code"),
    RUN("importlib", "import_module"),
    RUN("shutil", "rmtree"),
    RUN("socket", "create_connection"),
    RUN("ctypes", "CDLL"),
    RUN("pickle", "loads"),
    RUN("operator", "attrgetter"),
    RUN("functools", "partial"),
    RUN("torch", "load"),
    RUN("torch.serialization", "load"),
    RUN("torch.hub", "load"),
    RUN("torch.storage", "_load_from_bytes"),
    /* dotted and aliased names, and names beside the allowed ones */
    RUN("torch._utils", "x.y"),
    RUN("torch._utils", "_rebuild_tensor_v2.__globals__"),
    RUN("torch._utils", "sys.modules"),
    RUN("torch", "_utils._rebuild_tensor_v2"),
    RUN("torch", "serialization.os.system"),
    RUN("collections", "OrderedDict.fromkeys"),
    RUN("collections", "_sys.modules"),
    RUN("collections", "orderedDict"),
    RUN("Collections", "OrderedDict"),
    RUN("collections.abc", "OrderedDict"),
    RUN("torch", "HalfStorage2"),
    RUN("", "OrderedDict"),
    RUN("", ""),
    /* other ways to the same call */
    REFUSE("INST", PROTO "(" S("\x02", "id") "ios\nsystem\n" STOP, "0x69 (INST)"),
    REFUSE("OBJ of os.system", PROTO "(" G("os", "system") S("\x02", "id") "o" STOP, "os.system "),
    REFUSE("OBJ", PROTO "(" G("collections", "OrderedDict") "o" STOP, "0x6f (OBJ)"),
    REFUSE("NEWOBJ of subprocess.Popen", PROTO G("subprocess", "Popen") ID_ARGS "\x81" STOP,
           "subprocess.Popen "),
    REFUSE("NEWOBJ", PROTO G("collections", "OrderedDict") ")\x81" STOP, "0x81 (NEWOBJ)"),
    REFUSE("NEWOBJ_EX", PROTO G("collections", "OrderedDict") ")}\x92" STOP, "0x92 (NEWOBJ_EX)"),
    REFUSE("BUILD with __setstate__",
           ALONE(HOOKS "}" S("\x0c", "__setstate__") G("collections", "OrderedDict") "sb"),
           "BUILD: the state sets __setstate__"),
    REFUSE("BUILD with __setstate__ of os.system",
           ALONE(HOOKS "}" S("\x0c", "__setstate__") G("os", "system") "sb" S("\x02", "id") "b"),
           "global os.system"),
    REFUSE("BUILD with slots",
           ALONE(HOOKS "N}\x86"
                       "b"),
           "BUILD: the state is a tuple"),
    REFUSE("BUILD on a dict", ALONE("}}b"), "BUILD on a dict"),
    REFUSE("BUILD on a global", ALONE(G("torch", "HalfStorage") "}b"), "BUILD on a global"),
    REFUSE("STACK_GLOBAL", PROTO S("\x02", "os") S("\x06", "system") "\x93" STOP, "opcode 0x93"),
    REFUSE("SHORT_BINUNICODE", PROTO "\x8c\x02os\x8c\x06system\x93" STOP, "opcode 0x8c"),
    REFUSE("MEMOIZE", PROTO "}\x94" STOP, "opcode 0x94"),
    REFUSE("FRAME", PROTO "\x95\x01\0\0\0\0\0\0\0}" STOP, "opcode 0x95"),
    REFUSE("EXT1", PROTO "\x82\x01" STOP, "0x82 (EXT1)"),
    REFUSE("EXT2", PROTO "\x83\x01\0" STOP, "0x83 (EXT2)"),
    REFUSE("EXT4", PROTO "\x84\x01\0\0\0" STOP, "0x84 (EXT4)"),
    REFUSE("PERSID", PROTO "Pid\n" STOP, "0x50 (PERSID)"),
    REFUSE("DUP", PROTO "}2" STOP, "0x32 (DUP)"),
    REFUSE("POP, which hides what was called", PROTO "N0}" STOP, "0x30 (POP)"),
    REFUSE("an opcode that there is not", PROTO "\xff" STOP, "opcode 0xff"),
    REFUSE("a payload before the damage", PROTO G("os", "system") ID_ARGS "R\xff\xff",
           "+2: global os.system"),
    REFUSE("a payload before the tensors", PROTO G("os", "system") ID_ARGS "R}" STOP,
           "+2: global os.system"),
    REFUSE("a payload as an argument", ALONE(V2 "(" G("os", "system") "tR"), "global os.system"),
    REFUSE("a payload as a key", ALONE("}" G("os", "system") "Ns"), "global os.system"),
    REFUSE("a payload as a storage's class",
           PROTO "(" STORAGE7 G("os", "system") S("\x01", "0") S("\x03", "cpu") "K\x01tQ" STOP,
           "global os.system"),
    REFUSE("a terminal's escape in a name", PROTO G("a\x1b[2J", "b") STOP, "a\\x1B[2J.b"),
    REFUSE("a name with a carriage return", ALONE("ccollections\r\nOrderedDict\r\n)R"),
           "global collections\\x0D.OrderedDict\\x0D"),
    REFUSE("a name that is no UTF-8", ALONE(G("os\xff", "system") ")R"), "global os\\xFF.system"),
    REFUSE("a name without its line end", PROTO "ccollections\nOrderedDict",
           "a name without its line end"),
    REFUSE("a module without its line end", PROTO "ccollections", "a name without its line end"),
};

static const struct attack machine[] = {
    /* allowed globals, called otherwise than a state dict calls them */
    REFUSE("OrderedDict of a list", BESIDE(G("collections", "OrderedDict") "]\x85R"),
           "OrderedDict with arguments"),
    REFUSE("a tensor of a string", BESIDE(V2 KEY "\x85R"), "_rebuild_tensor_v2 with 1 arguments"),
    REFUSE("a tensor in a string", BESIDE(V2 "(" KEY "K\0))\x89NtR"), "the storage is a string"),
    REFUSE("a tensor of five arguments", BESIDE(V2 "(" ID6 "K\0))\x89tR"), "with 5 arguments"),
    REFUSE("a tensor with hooks", BESIDE(V2 "(" ID6 "K\0))\x89" HOOKS "K\x01K\x02stR"),
           "the hooks are an OrderedDict, not an empty OrderedDict"),
    REFUSE("a parameter of a dict", BESIDE(G("torch._utils", "_rebuild_parameter") "}\x88N\x87R"),
           "the tensor is a dict"),
    REFUSE("a storage's class called", BESIDE(G("torch", "HalfStorage") "K\x06\x85R"),
           "REDUCE calls torch.HalfStorage"),
    REFUSE("a size of a string", BESIDE(G("torch", "Size") KEY "\x85R"), "size is a string"),
    REFUSE("arguments that are a list", BESIDE(G("collections", "OrderedDict") "]R"),
           "the arguments are a list"),
    REFUSE("a string called", BESIDE(KEY ")R"), "REDUCE calls a string"),
    REFUSE("a persistent id of six", BESIDE("(NNNNNNtQ"), "a tuple of 6, not 5"),
    REFUSE("a persistent id of a module", BESIDE("(" S("\x06", "module") "NNNNtQ"),
           "not the id of a storage"),
    /* items put where there are none */
    REFUSE("SETITEM on a tensor", BESIDE(GOOD KEY "Ns"), "SETITEM on a tensor"),
    REFUSE("SETITEMS on a tensor", BESIDE(GOOD "(" KEY "Nu"), "SETITEMS on a tensor"),
    REFUSE("APPEND on a tensor", BESIDE(GOOD "Na"), "APPEND on a tensor"),
    REFUSE("APPENDS on a storage", BESIDE(ID6 "(Ne"), "APPENDS on a storage"),
    REFUSE("BUILD on a tensor", BESIDE(GOOD "}b"), "BUILD on a tensor"),
    REFUSE("SETITEM on a list", BESIDE("]" KEY "Ns"), "SETITEM on a list"),
    REFUSE("SETITEM on a tuple", BESIDE(")" KEY "Ns"), "SETITEM on a tuple"),
    REFUSE("SETITEM with a tensor as the key", BESIDE("}" GOOD "Ns"), "a key is a tensor"),
    REFUSE("SETITEMS of an odd count", BESIDE("}(" KEY "u"), "a key without a value"),
    /* the end */
    REFUSE("a second pickle after STOP", DICT(GOOD) PROTO G("os", "system") ID_ARGS "R" STOP,
           "bytes follow STOP"),
    REFUSE("a byte after STOP", DICT(GOOD) "\0", "1 bytes follow STOP"),
    REFUSE("two values at STOP", PROTO "}}" STOP, "2 values on the stack"),
    REFUSE("no value at STOP", PROTO STOP, "0 values on the stack"),
    REFUSE("no STOP", PROTO "}", "ends without STOP"),
    REFUSE("an empty pickle", "", "does not begin with PROTO"),
    /* the memo */
    REFUSE("the memo read before it is written", BESIDE("h\x05"), "put at memo index 5"),
    REFUSE("the memo read before it is written, wide", BESIDE("j\x05\0\0\0"), "memo index 5"),
    REFUSE("memo index 2^32 - 1 read", BESIDE("j\xff\xff\xff\xff"), "memo index 4294967295"),
    REFUSE("memo index 2^32 - 1 written", BESIDE("Nr\xff\xff\xff\xff"),
           "memo index 4294967295 is above the limit"),
    REFUSE("the memo written from an empty stack", PROTO "q\0" STOP, "PUT: the stack has too few"),
    /* marks */
    REFUSE("an open mark at STOP", PROTO "}(" STOP, "STOP with an open mark"),
    REFUSE("a mark that nothing set", PROTO "}u" STOP, "SETITEMS: no mark is set"),
    REFUSE("a tuple without its mark", PROTO "NNt" STOP, "TUPLE: no mark is set"),
    REFUSE("values taken from below a mark", PROTO "N(\x85" STOP, "too few values"),
    REFUSE("sixty-five marks", PROTO X10("((((((") "(((((" STOP, "more than 64 marks"),
    /* nesting, and what grows when it is walked */
    HARMLESS("tuples a thousand deep", BESIDE(")" X10(X10(X10("\x85"))))),
    HARMLESS("a dict in itself", PROTO "}q\x01(" S("\x01", "w") GOOD KEY "h\x01u" STOP),
    HARMLESS("a list in itself", BESIDE("]q\x01h\x01"
                                        "a")),
    HARMLESS("a memo bomb of 2^200 tuples",
             BESIDE("]()q\1" X10(X10("h\1h\1\x86q\1h\1h\1\x86q\1")) "e")),
    REFUSE("a memo bomb at the root", PROTO ")q\1" X10("h\1h\1\x86q\1h\1h\1\x86q\1") STOP,
           "on the stack"),
    /* the protocol */
    REFUSE("PROTO twice", PROTO PROTO "}" STOP, "PROTO for the second time"),
    REFUSE("PROTO 255", "\x80\xff}" STOP, "pickle protocol 255"),
    REFUSE("PROTO 4", "\x80\x04}" STOP, "pickle protocol 4"),
    REFUSE("PROTO 0", "\x80\0}" STOP, "pickle protocol 0"),
    REFUSE("no PROTO", "}" STOP, "does not begin with PROTO"),
    /* strings and numbers */
    REFUSE("a string that is no UTF-8", BESIDE("X\x02\0\0\0\xc3\x28"), "a string is not UTF-8"),
    REFUSE("a short string that is no UTF-8", BESIDE(S("\x01", "\xff")), "a string is not UTF-8"),
    REFUSE("a string of 4 GiB",
           PROTO "X\xff\xff\xff\xff"
                 "abc",
           "ends inside an instruction"),
    REFUSE("an int of nine bytes", BESIDE("\x8a\x09\0\0\0\0\0\0\0\0\0"), "an int of 9 bytes"),
    REFUSE("a tensor name twice", PROTO "}(" KEY GOOD KEY GOOD "u" STOP, "name is given twice"),
    REFUSE("a NUL in a tensor's name", PROTO "}" S("\x03", "a\0b") GOOD "s" STOP, "NUL character"),
};

/* A storage of this key; a tensor with one number made an extreme one. */
#define KEYED(n, key)                                                                              \
    DICT(TENSOR("(" STORAGE7 G("torch", "HalfStorage") S(n, key) S("\x03", "cpu") I1("\x06") "tQ", \
                I1("\0"), T1(I1("\x06")), T1(I1("\x01"))))
#define NO_RECORD(name, n, key) REFUSE(name, KEYED(n, key), "is no record's name")

#define NUMEL(n)  DICT(TENSOR(ID("HalfStorage", n), I1("\0"), T1(I1("\x06")), T1(I1("\x01"))))
#define OFFSET(n) DICT(TENSOR(ID6, n, T1(I1("\x06")), T1(I1("\x01"))))
#define SIZE(n)   DICT(TENSOR(ID6, I1("\0"), T1(n), T1(I1("\x01"))))
#define STRIDE(n) DICT(TENSOR(ID6, I1("\0"), T1(I1("\x06")), T1(n)))

static const struct attack storage[] = {
    NO_RECORD("storage key ../x", "\x04", "../x"),
    NO_RECORD("storage key ..", "\x02", ".."),
    NO_RECORD("storage key /etc/passwd", "\x0b", "/etc/passwd"),
    NO_RECORD("storage key 0/../../x", "\x09", "0/../../x"),
    NO_RECORD("storage key 0\\x", "\x03", "0\\x"),
    NO_RECORD("storage key with a NUL", "\x02", "0\0"),
    NO_RECORD("an empty storage key", "\0", ""),
    REFUSE("a storage key without a record", KEYED("\x01", "7"), "tensor w: no record data/7"),
    REFUSE("numel 0", NUMEL(I1("\0")), "beyond the 0 elements of storage 0"),
    REFUSE("numel -1", NUMEL(MINUS_1), "number of elements is negative (-1)"),
    REFUSE("numel 2^31", NUMEL(POW_31),
           "tensor w: record data/0 has 12 bytes, the pickle says 4294967296"),
    REFUSE("numel 2^63 - 1", NUMEL(POW_63_1),
           "tensor w: record data/0 has 12 bytes, the pickle says 18446744073709551614"),
    REFUSE("numel one too few", NUMEL(I1("\x05")), "beyond the 5 elements"),
    REFUSE("numel one too many", NUMEL(I1("\x07")), "has 12 bytes, the pickle says 14"),
    HARMLESS("offset 0", OFFSET(I1("\0"))),
    REFUSE("offset 1", OFFSET(I1("\x01")), "beyond the 6 elements"),
    REFUSE("offset -1", OFFSET(MINUS_1), "offset is negative (-1)"),
    REFUSE("offset 2^31", OFFSET(POW_31), "beyond the 6 elements"),
    REFUSE("offset 2^63 - 1", OFFSET(POW_63_1), "beyond the 6 elements"),
    HARMLESS("size 0", SIZE(I1("\0"))),
    REFUSE("size 7", SIZE(I1("\x07")), "beyond the 6 elements"),
    REFUSE("size -1", SIZE(MINUS_1), "size is negative (-1)"),
    REFUSE("size 2^31", SIZE(POW_31), "beyond the 6 elements"),
    REFUSE("size 2^63 - 1", SIZE(POW_63_1), "beyond the 6 elements"),
    HARMLESS("stride 0", STRIDE(I1("\0"))),
    REFUSE("stride 2", STRIDE(I1("\x02")), "beyond the 6 elements"),
    REFUSE("stride -1", STRIDE(MINUS_1), "stride is negative (-1)"),
    REFUSE("stride 2^31", STRIDE(POW_31), "beyond the 6 elements"),
    REFUSE("stride 2^63 - 1", STRIDE(POW_63_1), "beyond the 6 elements"),
    REFUSE("2^40 elements of a small storage",
           DICT(TENSOR(ID6, I1("\0"), T1("\x8a\x06\0\0\0\0\0\x01"), T1(I1("\0")))),
           "1099511627776 elements in storage 0, which has 6"),
    REFUSE("sizes whose product wraps to 4",
           DICT(TENSOR(ID6, I1("\0"), T2(POW_63_1, POW_63_1), T2(I1("\0"), I1("\0")))),
           "more than 2^64 elements"),
    REFUSE("strides whose sum wraps to the storage",
           DICT(TENSOR(ID6, I1("\x02"), T2(I1("\x02"), I1("\x02")), T2(POW_63_1, POW_63_1))),
           "beyond the 6 elements"),
};

#define N_OF(rows) (sizeof(rows) / sizeof *(rows))
enum { N_ALL = N_OF(code) + N_OF(machine) + N_OF(storage) };

static struct folder folder;

static void put_zip(const char *path, const char *pickle, size_t len)
{
    struct zip_maker m = { 0 };
    assert_true(len < 3000);
    zip_add(&m, "x/data.pkl", pickle, len);
    zip_add(&m, "x/data/0", "0123456789ab", 12);
    zip_finish(&m);
    put_file(path, m.bytes, m.n);
}

/* The object's pickle between what comes before and after it in a legacy file. */
static void put_legacy(const char *path, const char *pickle, size_t len)
{
    static const char before[] = "\x80\x02\x8A\x0A\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19."
                                 "\x80\x02M\xE9\x03."
                                 "\x80\x02}.";
    uint8_t file[4096];
    size_t n = sizeof before - 1;
    assert_true(len < 3000);
    memcpy(file, before, n);
    memcpy(file + n, pickle, len);
    put_file(path, file, n + len);
}

static void opens_as_written(void **state)
{
    const struct attack *a = *state;
    struct uqm_checkpoint *cp = NULL;
    struct uqm_err err = { 0 };
    put_zip(below(&folder, "x.bin"), a->pickle, a->len);
    int ret = open_path(&cp, below(&folder, "x.bin"), &err);
    if (a->text) {
        assert_fails(ret, err, a->code, a->text);
        assert_non_null(strstr(err.msg, "x.bin: "));
        assert_null(strpbrk(err.msg, "\n\r\x1b"));
        assert_null(cp);
    } else {
        assert_ok(ret, err);
        assert_int_equal(cp->source.n_tensors, 1);
        uqm_checkpoint_close(&cp);
    }
}

static void legacy_is_refused_as_well(void **state)
{
    const struct attack *a = *state;
    put_legacy(below(&folder, "x.bin"), a->pickle, a->len);
    assert_open_fails(below(&folder, "x.bin"), UQM_ERR_FORMAT, "x.bin: pickle+");
    /* offsets count from the file's begin here */
    const char *text = strchr(a->text, ':') ? strchr(a->text, ':') : a->text;
    assert_open_fails(below(&folder, "x.bin"), UQM_ERR_FORMAT, text);
}

/* In an archive that is otherwise whole, so that only the pickle can tell. */
static void pickle_cut_at_every_byte_is_refused(void **state)
{
    static const char whole[] = PROTO HOOKS "q\x00(X\x01\0\0\0"
                                            "w" GOOD "u}U\x09_metadata" HOOKS "sb" STOP;
    struct uqm_checkpoint *cp = NULL;
    struct uqm_err err = { 0 };
    (void) state;
    for (size_t len = 0; len < sizeof whole - 1; len++) {
        put_zip(below(&folder, "x.bin"), whole, len);
        assert_open_fails(below(&folder, "x.bin"), UQM_ERR_FORMAT, "x.bin: data.pkl+");
    }
    put_zip(below(&folder, "x.bin"), whole, sizeof whole - 1);
    assert_ok(open_path(&cp, below(&folder, "x.bin"), &err), err);
    uqm_checkpoint_close(&cp);
}

static int make_common_folder(void **state)
{
    void *made;
    (void) state;
    int ret = make_folder(&made);
    folder = *(struct folder *) made;
    return ret;
}

static int remove_common_folder(void **state)
{
    void *made = &folder;
    (void) state;
    return remove_folder(&made);
}

static size_t add(struct CMUnitTest *tests, const struct attack *rows, size_t n,
                  CMUnitTestFunction test)
{
    for (size_t i = 0; i < n; i++)
        tests[i] = (struct CMUnitTest){ .name = rows[i].name,
                                        .test_func = test,
                                        .initial_state = (void *) (uintptr_t) &rows[i] };
    return n;
}

int main(void)
{
    struct CMUnitTest tests[N_ALL + N_OF(code) + 1] = { 0 };
    static char names[N_OF(code)][128];
    size_t n = add(tests, code, N_OF(code), opens_as_written);
    n += add(tests + n, machine, N_OF(machine), opens_as_written);
    n += add(tests + n, storage, N_OF(storage), opens_as_written);
    for (size_t i = 0; i < N_OF(code); i++) {
        snprintf(names[i], sizeof names[i], "%s, legacy", code[i].name);
        add(tests + n, &code[i], 1, legacy_is_refused_as_well);
        tests[n++].name = names[i];
    }
    tests[n++] = (struct CMUnitTest) cmocka_unit_test(pickle_cut_at_every_byte_is_refused);
    return _cmocka_run_group_tests("pickle attacks", tests, n, make_common_folder,
                                   remove_common_folder);
}
