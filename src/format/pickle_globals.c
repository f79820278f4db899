#include "src/format/pickle_machine.h"

#define CALL(m, n, r)                                                                              \
    {                                                                                              \
        m, n, r, UQM_BOOL                                                                          \
    }
#define STORAGE(n, d)                                                                              \
    {                                                                                              \
        "torch", n, UQM_PK_STORAGE_CLASS, d                                                        \
    }
#define TORCH_DTYPE(n, d)                                                                          \
    {                                                                                              \
        "torch", n, UQM_PK_DTYPE, d                                                                \
    }

static const struct uqm_pk_global allowed[] = {
    CALL("collections", "OrderedDict", UQM_PK_CALL_ORDERED_DICT),
    CALL("torch._utils", "_rebuild_tensor_v2", UQM_PK_CALL_TENSOR_V2),
    CALL("torch._utils", "_rebuild_tensor_v3", UQM_PK_CALL_TENSOR_V3),
    CALL("torch._utils", "_rebuild_parameter", UQM_PK_CALL_PARAMETER),
    CALL("torch", "Size", UQM_PK_CALL_LEAF),
    CALL("torch", "device", UQM_PK_CALL_LEAF),
    CALL("torch.storage", "UntypedStorage", UQM_PK_UNTYPED_STORAGE),
    STORAGE("FloatStorage", UQM_F32),
    STORAGE("HalfStorage", UQM_F16),
    STORAGE("BFloat16Storage", UQM_BF16),
    STORAGE("DoubleStorage", UQM_F64),
    STORAGE("LongStorage", UQM_I64),
    STORAGE("IntStorage", UQM_I32),
    STORAGE("ShortStorage", UQM_I16),
    STORAGE("CharStorage", UQM_I8),
    STORAGE("ByteStorage", UQM_U8),
    STORAGE("BoolStorage", UQM_BOOL),
    STORAGE("ComplexFloatStorage", UQM_C64),
    TORCH_DTYPE("float8_e4m3fn", UQM_F8_E4M3),
    TORCH_DTYPE("float8_e5m2", UQM_F8_E5M2),
    TORCH_DTYPE("float8_e4m3fnuz", UQM_F8_E4M3FNUZ),
    TORCH_DTYPE("float8_e5m2fnuz", UQM_F8_E5M2FNUZ),
    TORCH_DTYPE("float8_e8m0fnu", UQM_F8_E8M0),
    TORCH_DTYPE("uint16", UQM_U16),
    TORCH_DTYPE("uint32", UQM_U32),
    TORCH_DTYPE("uint64", UQM_U64),
};

/* Harmless in themselves and known to occur in checkpoints, but not read. */
static const struct {
    const char *module, *name, *what;
} unsupported[] = {
    { "torch._utils", "_rebuild_sparse_tensor", "sparse tensors" },
    { "torch._utils", "_rebuild_sparse_csr_tensor", "sparse tensors" },
    { "torch._utils", "_rebuild_qtensor", "quantized tensors" },
    { "torch._utils", "_rebuild_meta_tensor_no_storage", "meta tensors, which have no data" },
    { "torch._utils", "_rebuild_device_tensor_from_numpy", "tensors of other devices" },
    { "torch._utils", "_rebuild_parameter_with_state", "parameters with a state" },
    { "torch._utils", "_rebuild_wrapper_subclass", "tensor subclasses" },
    { "torch._utils", "_rebuild_nested_tensor", "nested tensors" },
    { "torch._tensor", "_rebuild_from_type_v2", "tensor subclasses" },
    { "torch", "QInt8Storage", "quantized tensors" },
    { "torch", "QUInt8Storage", "quantized tensors" },
    { "torch", "QInt32Storage", "quantized tensors" },
    { "torch", "ComplexDoubleStorage", "complex numbers of two doubles" },
    { "numpy.core.multiarray", "scalar", "NumPy scalars" },
    { "numpy._core.multiarray", "scalar", "NumPy scalars" },
    { "numpy.core.multiarray", "_reconstruct", "NumPy arrays" },
    { "numpy._core.multiarray", "_reconstruct", "NumPy arrays" },
    { "numpy", "dtype", "NumPy values" },
    { "numpy", "ndarray", "NumPy arrays" },
    { "_codecs", "encode", "byte strings" },
    { "builtins", "set", "sets" },
    { "__builtin__", "set", "sets" },
    { "builtins", "complex", "complex numbers" },
    { "__builtin__", "complex", "complex numbers" },
    { "builtins", "bytearray", "byte arrays" },
    { "__builtin__", "bytearray", "byte arrays" },
    { "collections", "defaultdict", "defaultdicts" },
    { "argparse", "Namespace", "argparse namespaces" },
};

static bool same(const char *known, const char *s, size_t len)
{
    return strlen(known) == len && memcmp(known, s, len) == 0;
}

const struct uqm_pk_global *uqm_pk_global_find(struct uqm_pk *m, const char *module,
                                               size_t module_len, const char *name, size_t name_len)
{
    struct uqm_printable shown_module, shown_name;
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
        if (same(allowed[i].module, module, module_len) && same(allowed[i].name, name, name_len))
            return &allowed[i];

    uqm_printable(&shown_module, module, module_len < 60 ? module_len : 60);
    uqm_printable(&shown_name, name, name_len < 60 ? name_len : 60);
    for (size_t i = 0; i < sizeof unsupported / sizeof *unsupported; i++) {
        if (!same(unsupported[i].module, module, module_len) ||
            !same(unsupported[i].name, name, name_len))
            continue;
        uqm_pk_fail(m, UQM_ERR_UNSUPPORTED,
                    "global %s.%s: %s are not read; save the state dict's plain tensors alone",
                    shown_module.text, shown_name.text, unsupported[i].what);
        return NULL;
    }
    uqm_pk_fail(m, UQM_ERR_FORMAT,
                "global %s.%s is not one a state dict needs; this file would run code in "
                "torch.load; not read",
                shown_module.text, shown_name.text);
    return NULL;
}
