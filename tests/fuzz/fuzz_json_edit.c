/* A JSON text to be edited: what is found lies inside it, values within their members, items within
 * their container, in order. */
#include "src/format/json_edit.h"
#include "tests/fuzz/fuzz.h"

struct walk {
    struct uqm_json_span container;
    size_t at; /* the end of the last item */
};

static int see(void *ctx, const struct uqm_json_span *item, const char *key, size_t key_len,
               uint64_t id, struct uqm_err *err)
{
    struct walk *w = ctx;
    (void) id;
    (void) err;
    FUZZ_CHECK(w->at <= item->begin && item->begin < item->end && item->end <= w->container.end);
    w->at = item->end;
    char *quoted = key ? uqm_json_quote(key, key_len) : NULL;
    if (quoted)
        fuzz_touch(quoted);
    free(quoted);
    return UQM_OK;
}

/* What is put in is found there, and what is taken out is not. */
static void change(const char *text, size_t size, const char *key)
{
    static const char value[] = "[\"new\"]";
    struct uqm_err err = { 0 };
    struct uqm_json_span at = { 0 };
    char *changed = malloc(size + 1);
    size_t len = size;
    FUZZ_CHECK(changed);
    memcpy(changed, text, size + 1);
    int ret = uqm_json_set(&changed, &len, key, value, "tokenizer.json", &err);
    FUZZ_CHECK(ret == UQM_OK && strlen(changed) == len);
    FUZZ_CHECK(uqm_json_find(&at, NULL, changed, len, key, "tokenizer.json", &err) == 1);
    FUZZ_CHECK(at.end - at.begin == strlen(value) &&
               memcmp(changed + at.begin, value, strlen(value)) == 0);
    ret = uqm_json_set(&changed, &len, key, NULL, "tokenizer.json", &err);
    FUZZ_CHECK(ret == UQM_OK && strlen(changed) == len);
    FUZZ_CHECK(uqm_json_find(&at, NULL, changed, len, key, "tokenizer.json", &err) == 0);
    free(changed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const keys[] = { "a", "added_tokens", "model", "vocab" };
    char *text = malloc(size + 1);
    FUZZ_CHECK(text);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = 0;
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        struct uqm_json_span value = { 0 }, member = { 0 };
        struct uqm_err err = { 0 };
        int ret = uqm_json_find(&value, &member, text, size, keys[k], "tokenizer.json", &err);
        if (ret < 0)
            fuzz_check_refusal(ret, &err);
        else
            change(text, size, keys[k]);
        if (ret <= 0)
            continue;
        FUZZ_CHECK(member.begin < value.begin && value.begin < value.end &&
                   value.end <= member.end && member.end <= size);
        if (text[value.begin] != '{' && text[value.begin] != '[')
            continue;
        struct walk w = { value, value.begin };
        ret = uqm_json_each(text, value, "tokenizer.json", see, &w, &err);
        if (ret < 0)
            fuzz_check_refusal(ret, &err);
    }
    free(text);
    return 0;
}
