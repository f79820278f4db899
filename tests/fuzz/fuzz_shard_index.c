/* model.safetensors.index.json. File names that are accepted stay inside the folder. */
#include "src/format/shard_index.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct uqm_shard_index index = { 0 };
    struct uqm_err err = { 0 };
    const int ret =
        uqm_shard_index_parse(&index, (const char *) data, size, "index", ".safetensors", &err);
    if (ret < 0) {
        fuzz_check_refusal(ret, &err);
        return 0;
    }
    for (size_t i = 0; i < index.n_files; i++) {
        const char *name = index.files[i];
        FUZZ_CHECK(name[0] && !strchr(name, '/') && strcmp(name, "..") != 0);
        FUZZ_CHECK(i == 0 || strcmp(index.files[i - 1], name) < 0);
    }
    for (size_t i = 0; i < index.n_entries; i++) {
        FUZZ_CHECK(index.entries[i].file < index.n_files);
        FUZZ_CHECK(uqm_shard_index_find(&index, index.entries[i].tensor) == &index.entries[i]);
    }
    uqm_shard_index_finish(&index);
    return 0;
}
