/* Prompts of the zoo's samples, built here from the records a second time, to their token ids. */
#include "src/model/tokenizer.h"
#include "tests/golden/golden.h"
#include "tests/unit/test.h"

enum { N_PATCHES = 16, IMAGE_ID = 1000 };

struct text {
    char data[8192];
    size_t len;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(t->data + t->len, sizeof t->data - t->len, fmt, args);
    va_end(args);
    assert_true(n >= 0 && (size_t) n < sizeof t->data - t->len);
    t->len += (size_t) n;
}

static struct uqm_tokenizer *open_tokenizer(void)
{
    struct uqm_tokenizer *t = NULL;
    struct uqm_err err = { 0 };
    assert_ok(uqm_tokenizer_open(&t, zoo_path("models/base"), &err), err);
    return t;
}

/* The record, and in *folder which folder its set lies in. */
static json_t *record_of(const char **folder, const char *set, const char *id)
{
    static const char *const folders[] = { "heldin", "heldout", "val" };
    for (size_t i = 0; i < 3; i++) {
        char name[128];
        snprintf(name, sizeof name, "data/%s/%s.jsonl", folders[i], set);
        FILE *f = fopen(zoo_path(name), "r");
        if (!f)
            continue;
        fclose(f);
        *folder = folders[i];
        return golden_record(zoo_path(name), id);
    }
    fail_msg("no set %s", set);
    return NULL;
}

static void add_choices(struct text *t, const json_t *choices)
{
    size_t i;
    json_t *choice;
    json_array_foreach (choices, i, choice)
        add(t, "\n%c. %s", (char) ('A' + i), json_string_value(choice));
}

static void add_question(struct text *t, const char *set, const json_t *record)
{
    static const char letter[] =
        "\nAnswer with the option's letter from the given choices directly.";
    static const char brief[] = "\nAnswer the question using a single word or phrase.";
    const char *hint = json_string_value(json_object_get(record, "hint"));
    const json_t *choices = json_object_get(record, "choices");
    const bool mmmu = strcmp(set, "mmmu") == 0;

    if (hint)
        add(t, "%s\n", hint);
    add(t, "%s", golden_string(record, "question"));
    if (json_is_array(choices)) {
        add_choices(t, choices);
        if (!mmmu)
            add(t, "\nE. I don't know\nF. None of the above");
        add(t, "%s", letter);
        return;
    }
    if (strcmp(set, "okvqa") == 0 || strcmp(set, "vizwiz") == 0)
        add(t, "\nWhen the provided information is insufficient, respond with 'Unanswerable'.");
    add(t, "%s", brief);
}

/* n_rows: how many ids stand in the expected list for one picture. */
static void assert_ids(const char *what, const struct uqm_ids *ids, const json_t *expected,
                       int n_rows)
{
    size_t at = 0;
    for (size_t i = 0; i < ids->n; i++) {
        const bool picture = ids->v[i] == UQM_IMAGE_PLACEHOLDER;
        for (int k = 0; k < (picture ? n_rows : 1); k++, at++) {
            const json_int_t want = json_integer_value(json_array_get(expected, at));
            if (want != (picture ? IMAGE_ID : ids->v[i]))
                fail_msg("%s: id %zu is %d, not %d", what, at, ids->v[i], (int) want);
        }
    }
    assert_int_equal(at, json_array_size(expected));
}

static void every_sample_has_the_stored_prompt_ids(void **state)
{
    (void) state;
    struct uqm_tokenizer *t = open_tokenizer();
    json_t *root = golden_json(zoo_path("goldens/model/model.json"));
    size_t i;
    json_t *sample;

    assert_int_equal(json_array_size(json_object_get(root, "samples")), 18);
    json_array_foreach (json_object_get(root, "samples"), i, sample) {
        const char *set = golden_string(sample, "set");
        const char *folder = NULL;
        json_t *record = record_of(&folder, set, golden_string(sample, "id"));
        struct text question = { .len = 0 };
        add_question(&question, set, record);
        const size_t n_images = json_is_null(json_object_get(record, "image")) ? 0 : 1;
        /* Short answers were asked without the prefix that the sample names. */
        const bool prefixed = strcmp(folder, "heldin") == 0;
        char *prompt = uqm_prompt_vicuna(prefixed ? golden_string(sample, "prefix") : NULL, NULL,
                                         n_images, question.data);
        assert_non_null(prompt);
        struct uqm_ids ids;
        struct uqm_err err = { 0 };
        assert_ok(uqm_tokenizer_encode_prompt(&ids, t, prompt, &err), err);
        assert_ids(golden_string(sample, "key"), &ids, json_object_get(sample, "ids"), N_PATCHES);
        uqm_ids_finish(&ids);
        free(prompt);
        json_decref(record);
    }
    json_decref(root);
    uqm_tokenizer_close(&t);
}

static void every_stored_text_has_its_stored_ids(void **state)
{
    (void) state;
    struct uqm_tokenizer *t = open_tokenizer();
    json_t *root = golden_json(zoo_path("goldens/model/tokenizer_cases.json"));
    size_t i;
    json_t *item;

    assert_true(json_array_size(root) > 50);
    json_array_foreach (root, i, item) {
        const bool whole = json_object_get(item, "prompt") != NULL;
        const char *text = golden_string(item, whole ? "prompt" : "text");
        struct uqm_ids ids;
        struct uqm_err err = { 0 };
        if (whole)
            assert_ok(uqm_tokenizer_encode_prompt(&ids, t, text, &err), err);
        else
            assert_ok(uqm_tokenizer_encode(&ids, t, text, strlen(text), &err), err);
        assert_ids(text, &ids, json_object_get(item, whole ? "ids" : "sentencepiece"), 1);
        uqm_ids_finish(&ids);
    }
    json_decref(root);
    uqm_tokenizer_close(&t);
}

static void option_letters_and_generated_text_are_the_stored_ones(void **state)
{
    (void) state;
    struct uqm_tokenizer *t = open_tokenizer();
    json_t *root = golden_json(zoo_path("goldens/model/model.json"));
    size_t i;
    json_t *sample;

    json_array_foreach (json_object_get(root, "samples"), i, sample) {
        int32_t options[6], generated[64];
        struct uqm_err err = { 0 };
        const json_t *stored = json_object_get(sample, "option_ids");
        assert_ok(uqm_tokenizer_option_ids(options, t, &err), err);
        for (size_t k = 0; json_is_array(stored) && k < 6; k++)
            assert_int_equal(options[k], json_integer_value(json_array_get(stored, k)));

        const json_t *ids = json_object_get(sample, "generated_ids");
        const size_t n = json_array_size(ids);
        assert_true(n <= 64);
        for (size_t k = 0; k < n; k++)
            generated[k] = (int32_t) json_integer_value(json_array_get(ids, k));
        char *text;
        assert_ok(uqm_tokenizer_decode(&text, t, generated, n, &err), err);
        assert_string_equal(text, golden_string(sample, "generated_text"));
        free(text);
    }
    json_decref(root);
    uqm_tokenizer_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_sample_has_the_stored_prompt_ids),
        cmocka_unit_test(every_stored_text_has_its_stored_ids),
        cmocka_unit_test(option_letters_and_generated_text_are_the_stored_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
