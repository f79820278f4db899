/* data.pkl: the symbolic machine. Every element of an accepted tensor lies inside its storage. */
#include "src/format/pickle.h"
#include "tests/fuzz/fuzz.h"

static void check_tensor(const struct uqm_pickle_tensor *t)
{
    fuzz_touch(t->name);
    fuzz_touch(t->storage);
    FUZZ_CHECK(!strchr(t->storage, '/') && t->storage[0]);
    FUZZ_CHECK(t->rank <= UQM_PICKLE_MAX_RANK);
    uint64_t last = t->offset_elem;
    for (unsigned d = 0; d < t->rank; d++)
        last += t->shape[d] ? (t->shape[d] - 1) * t->strides[d] : 0;
    const uint64_t n_stored = t->storage_bytes / (uqm_dtype_bits(t->dtype) / 8);
    FUZZ_CHECK(t->n_elem == 0 || last < n_stored);
    FUZZ_CHECK(t->n_elem <= n_stored);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct uqm_state_dict dict = { 0 };
    struct uqm_err err = { 0 };
    const int ret = uqm_pickle_parse(&dict, data, size, &err);
    if (ret < 0) {
        fuzz_check_refusal(ret, &err);
        return 0;
    }
    for (size_t i = 0; i < dict.n_tensors; i++)
        check_tensor(&dict.tensors[i]);
    uqm_state_dict_finish(&dict);
    return 0;
}
