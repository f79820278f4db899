/* config.json and its companions, one after the other with a NUL between them. */
#include "src/format/model_config.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { N_TEXTS = 5 };
    char *text = malloc(size + 1), *parts[N_TEXTS] = { NULL };
    if (!text)
        return 0;
    if (size)
        memcpy(text, data, size);
    text[size] = 0;
    char *p = text;
    for (size_t i = 0; i < N_TEXTS && p <= text + size; i++, p += strlen(p) + 1)
        parts[i] = *p ? p : NULL;

    const struct uqm_config_texts texts = { .where = "folder",
                                            .config = parts[0],
                                            .vision_config = parts[1],
                                            .preprocessor = parts[2],
                                            .tokenizer_config = parts[3],
                                            .generation = parts[4] };
    struct uqm_model_config config;
    struct uqm_err err = { 0 };
    const int ret = uqm_model_config_parse(&config, &texts, &err);
    if (ret < 0) {
        fuzz_check_refusal(ret, &err);
    } else { /* what the network divides by and sizes by */
        FUZZ_CHECK(config.text.n_heads > 0 && config.text.n_kv_heads > 0);
        FUZZ_CHECK(config.text.n_heads % config.text.n_kv_heads == 0);
        FUZZ_CHECK(config.text.head_dim > 0 && config.text.vocab_size > 0);
        FUZZ_CHECK(config.n_eos <= UQM_MAX_EOS && config.max_length > 0);
        if (config.has_vision)
            FUZZ_CHECK(config.vision.patch_size > 0 && config.vision.n_heads > 0 &&
                       config.vision.hidden % config.vision.n_heads == 0);
    }
    free(text);
    return 0;
}
