/* Pieces of pickles, as torch.save writes them, to be put together by the preprocessor. */
#ifndef UQM_TESTS_PICKLE_MAKER_H
#define UQM_TESTS_PICKLE_MAKER_H

#define PROTO    "\x80\x02"
#define STOP     "."
#define G(m, n)  "c" m "\n" n "\n"
#define STR4(s)  "U\x04" s
#define STORAGE7 "U\x07storage"
#define V2       G("torch._utils", "_rebuild_tensor_v2")
#define HOOKS    G("collections", "OrderedDict") ")R"
/* The persistent id of storage "0": class, numel as an instruction that pushes an int. */
#define ID(class, numel)                                                                           \
    "(" STORAGE7 G("torch", class) "U\x01"                                                         \
                                   "0"                                                             \
                                   "U\x03"                                                         \
                                   "cpu" numel "tQ"
/* Six elements of F16: twelve bytes. */
#define ID6 ID("HalfStorage", I1("\x06"))
/* A tensor of ids, offset, size, stride, each as instructions. */
#define TENSOR(id, offset, size, stride) V2 "(" id offset size stride "\x89" HOOKS "tR"
/* int instructions */
#define I1(byte) "K" byte
#define MINUS_1  "J\xff\xff\xff\xff"
#define POW_31   "\x8a\x05\x00\x00\x00\x80\x00"
#define POW_63_1 "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f"
#define T1(a)    a "\x85"
#define T2(a, b) a b "\x86"
/* A tensor of 2 x 3 in that storage. */
#define GOOD TENSOR(ID6, I1("\x00"), T2(I1("\x02"), I1("\x03")), T2(I1("\x03"), I1("\x01")))
/* {"w": value} */
#define DICT(value)                                                                                \
    PROTO "}"                                                                                      \
          "U\x01"                                                                                  \
          "w" value "s" STOP

#endif
