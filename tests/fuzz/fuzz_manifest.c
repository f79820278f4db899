/* uqmerge.manifest.json. What is accepted as intact is what writing it again gives. */
#include "src/format/manifest.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct uqm_manifest manifest = { 0 };
    struct uqm_err err = { 0 };
    bool intact = false;
    const int ret =
        uqm_manifest_parse(&manifest, &intact, (const char *) data, size, "manifest", &err);
    if (ret < 0) {
        fuzz_check_refusal(ret, &err);
        return 0;
    }
    for (size_t i = 0; i < manifest.n_files; i++)
        FUZZ_CHECK(manifest.files[i].name[0] && !strchr(manifest.files[i].name, '/'));
    for (size_t i = 0; i < manifest.n_tensors; i++) {
        const struct uqm_manifest_tensor *t = &manifest.tensors[i];
        FUZZ_CHECK(t->file < manifest.n_files);
        FUZZ_CHECK(t->offset <= manifest.files[t->file].bytes &&
                   t->bytes <= manifest.files[t->file].bytes - t->offset);
    }
    uqm_manifest_finish(&manifest);
    return 0;
}
