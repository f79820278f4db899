/* A signature bundle, and the bytes once more as the statement inside one: they are believed only
 * after the signature holds, but are parsed by the same rules. */
#include "src/format/signature.h"
#include "tests/fuzz/fuzz.h"

static void statement(const char *text, size_t len)
{
    struct uqm_statement s = { 0 };
    struct uqm_err err = { 0 };
    const int ret = uqm_statement_parse(&s, text, len, "statement", &err);
    if (ret < 0) {
        fuzz_check_refusal(ret, &err);
        return;
    }
    for (size_t i = 0; i < s.n_files; i++) {
        const char *name = s.files[i].name;
        FUZZ_CHECK(name[0] && name[0] != '/' && !strstr(name, "//") && !strstr(name, "/../") &&
                   strcmp(name, "..") != 0 && strncmp(name, "../", 3) != 0);
    }
    uqm_statement_finish(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct uqm_bundle b = { 0 };
    struct uqm_err err = { 0 };
    const int ret = uqm_bundle_parse(&b, (const char *) data, size, "bundle", &err);
    statement((const char *) data, size);
    if (ret < 0) {
        fuzz_check_refusal(ret, &err);
        return 0;
    }
    FUZZ_CHECK(b.n_chain > 0 ? b.chain[0].bytes && !b.hint : true);
    statement(b.payload, b.payload_len);
    size_t len = 0;
    char *message = uqm_bundle_message(&len, b.payload, b.payload_len);
    FUZZ_CHECK(message && len > b.payload_len);
    free(message);
    uqm_bundle_finish(&b);
    return 0;
}
