/* A whole file: its header's length, its header, as much data as is left. What is accepted must be
 * safe to stream. */
#include "src/format/safetensors.h"
#include "tests/fuzz/fuzz.h"

static void check_index(const struct uqm_st_index *index, uint64_t data_len)
{
    uint64_t covered = 0;
    for (size_t i = 0; i < index->n_tensors; i++) {
        const struct uqm_st_tensor *t = &index->tensors[i];
        uint64_t bytes;
        FUZZ_CHECK(strlen(t->name) == t->name_len);
        FUZZ_CHECK(t->rank <= UQM_ST_MAX_RANK);
        FUZZ_CHECK(t->begin == covered && t->begin <= t->end && t->end <= data_len);
        FUZZ_CHECK(uqm_st_packed_bytes(&bytes, t->dtype, t->n_elem) && bytes == t->end - t->begin);
        uint64_t n_elem = 1;
        for (unsigned d = 0; d < t->rank; d++)
            n_elem *= t->shape[d];
        FUZZ_CHECK(n_elem == t->n_elem);
        covered = t->end;
    }
    FUZZ_CHECK(covered == data_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct uqm_st_index index = { 0 };
    struct uqm_err err = { 0 };
    uint64_t header_len;
    if (size < UQM_ST_PREFIX_BYTES)
        return 0;
    int ret = uqm_st_header_len(&header_len, data, size, UQM_ST_HEADER_CAP, &err);
    if (ret < 0) {
        fuzz_check_refusal(ret, &err);
        return 0;
    }
    FUZZ_CHECK(header_len <= size - UQM_ST_PREFIX_BYTES);
    const uint64_t data_len = size - UQM_ST_PREFIX_BYTES - header_len;
    ret = uqm_st_parse(&index, data + UQM_ST_PREFIX_BYTES, (size_t) header_len, data_len, &err);
    if (ret < 0) {
        fuzz_check_refusal(ret, &err);
        FUZZ_CHECK(!index.tensors && index.n_tensors == 0);
        return 0;
    }
    check_index(&index, data_len);
    uqm_st_index_finish(&index);
    return 0;
}
