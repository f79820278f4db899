/* tokenizer.model: what our own reader lets through must not upset the sentencepiece library. */
#include "src/model/spm_proto.h"
#include "src/model/spm_shim.h"
#include "tests/fuzz/fuzz.h"

static void try_library(const uint8_t *data, size_t size)
{
    struct uqm_spm *spm = NULL;
    struct uqm_spm_reason reason = { "" };
    if (uqm_spm_create(&spm, data, size, &reason) < 0) {
        FUZZ_CHECK(reason.text[0] && !strchr(reason.text, '\n'));
        return;
    }
    int32_t *ids = NULL;
    size_t n_ids = 0;
    static const char text[] = "What is shown? \xe2\x82\xac";
    if (uqm_spm_encode(&ids, &n_ids, spm, text, sizeof text - 1, &reason) < 0)
        FUZZ_CHECK(reason.text[0]);
    free(ids);
    uqm_spm_destroy(spm);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct uqm_spm_model model = { 0 };
    struct uqm_err err = { 0 };
    const int ret = uqm_spm_model_parse(&model, data, size, "tokenizer.model", &err);
    if (ret < 0) {
        fuzz_check_refusal(ret, &err);
        FUZZ_CHECK(!model.pieces);
        return 0;
    }
    for (uint32_t i = 0; i < model.n_pieces; i++) {
        FUZZ_CHECK(model.pieces[i].text[0] && model.pieces[i].type >= UQM_SPM_NORMAL &&
                   model.pieces[i].type <= UQM_SPM_BYTE);
        fuzz_touch(model.pieces[i].text);
    }
    uqm_spm_model_finish(&model);
    try_library(data, size);
    return 0;
}
