/* PyTorch's kind of before 1.6. Whatever is accepted must be safe to look for in the file. */
#include "src/format/pickle.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct uqm_legacy legacy = { .n_storages = 0 };
    struct uqm_err err = { 0 };
    const int ret = uqm_pickle_parse_legacy(&legacy, data, size, &err);
    if (ret < 0) {
        fuzz_check_refusal(ret, &err);
        return 0;
    }
    FUZZ_CHECK(legacy.begin <= size);
    for (size_t i = 0; i < legacy.dict.n_tensors; i++) {
        const struct uqm_pickle_tensor *t = &legacy.dict.tensors[i];
        const struct uqm_legacy_storage *s = legacy.storages, *end = s + legacy.n_storages;
        uint64_t last = t->offset_elem, elem_bytes = uqm_dtype_bits(t->dtype) / 8;
        while (s < end && strcmp(s->key, t->storage) != 0)
            s++;
        FUZZ_CHECK(s < end && s->n_elem * s->elem_bytes == t->storage_bytes);
        for (unsigned d = 0; d < t->rank && t->n_elem > 0; d++)
            last += (t->shape[d] - 1) * t->strides[d];
        FUZZ_CHECK(t->n_elem == 0 || (last + 1) * elem_bytes <= t->storage_bytes);
    }
    uqm_state_dict_finish(&legacy.dict);
    return 0;
}
