#include "src/model/vocabulary.h"

#include <sys/stat.h>
#include <unistd.h>

#include "src/base/fs.h"
#include "tests/unit/test.h"

static char *start(void)
{
    const char *tmp = getenv("TMPDIR");
    char *dir = NULL;
    if (asprintf(&dir, "%s/uqm-vocab-XXXXXX", tmp && *tmp ? tmp : "/tmp") < 0 || !mkdtemp(dir))
        fail_msg("no temporary folder");
    return dir;
}

static void finish(char *dir)
{
    struct uqm_err err = { 0 };
    assert_ok(uqm_remove_tree(dir, &err), err);
    free(dir);
}

static void put(const char *dir, const char *name, const char *text)
{
    struct uqm_err err = { 0 };
    char *path = uqm_path_join(dir, name);
    unlink(path);
    assert_ok(uqm_write_file(path, text, strlen(text), &err), err);
    free(path);
}

static struct uqm_vocab *read_dir(const char *dir)
{
    struct uqm_vocab *v = NULL;
    struct uqm_err err = { 0 };
    assert_ok(uqm_vocabulary_read(&v, dir, &err), err);
    return v;
}

static void expect(const struct uqm_vocab *v, const char *token, uint32_t id, bool added,
                   unsigned flags)
{
    const struct uqm_vocab_token *t = uqm_vocabulary_find(v, token, strlen(token));
    if (!t)
        fail_msg("no token %s", token);
    assert_int_equal(t->id, id);
    assert_int_equal(t->added, added);
    assert_int_equal(t->flags, flags);
}

static void a_fast_tokenizers_vocabulary_and_added_tokens_are_read(void **state)
{
    (void) state;
    char *dir = start();
    put(dir, "tokenizer.json",
        "{\"added_tokens\":[{\"id\":1,\"content\":\"<s>\",\"single_word\":false,\"lstrip\":true,"
        "\"rstrip\":false,\"normalized\":false,\"special\":true},"
        "{\"id\":7,\"content\":\"<new\\u003e\",\"rstrip\":true,\"single_word\":true}],"
        "\"model\":{\"type\":\"BPE\",\"merges\":[\"a b\",[\"c\",\"d\"]],"
        "\"vocab\":{\"a\":0,\"<s>\":1,\"\\u2581b\":2,\"\\\"\":3}},\"truncation\":null}");
    struct uqm_vocab *v = read_dir(dir);
    assert_int_equal(v->file, UQM_VOCABULARY_JSON);
    assert_int_equal(v->n, 5);
    assert_int_equal(v->n_own, 4);
    expect(v, "a", 0, false, UQM_TOKEN_NORMALIZED);
    expect(v, "<s>", 1, true, UQM_TOKEN_LSTRIP | UQM_TOKEN_SPECIAL);
    expect(v,
           "\xe2\x96\x81"
           "b",
           2, false, UQM_TOKEN_NORMALIZED);
    expect(v, "\"", 3, false, UQM_TOKEN_NORMALIZED);
    expect(v, "<new>", 7, true, UQM_TOKEN_RSTRIP | UQM_TOKEN_SINGLE_WORD);
    assert_int_equal(uqm_vocabulary_next_id(v), 8);
    assert_null(uqm_vocabulary_find(v, "b", 1));
    uqm_vocabulary_free(&v);
    finish(dir);
}

static void unigram_pieces_are_numbered_as_they_come(void **state)
{
    (void) state;
    char *dir = start();
    put(dir, "tokenizer.json",
        "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"<unk>\",0.0],[\"x\",-1.5e0],"
        "[\"yz\",-2]]}}");
    struct uqm_vocab *v = read_dir(dir);
    assert_int_equal(v->n, 3);
    expect(v, "yz", 2, false, 0);
    uqm_vocabulary_free(&v);
    finish(dir);
}

static void old_files_are_read_with_what_is_added_to_them(void **state)
{
    (void) state;
    char *dir = start();
    put(dir, "vocab.json", "{\"a\": 0, \"b\": 1}");
    put(dir, "added_tokens.json", "{\"<p>\": 5, \"b\": 9}");
    put(dir, "tokenizer_config.json",
        "{\"model_max_length\": 1000000000000000019884624838656, \"added_tokens_decoder\":"
        "{\"1\": {\"content\": \"b\", \"special\": true}, \"6\": {\"content\": \"<q>\"}}}");
    struct uqm_vocab *v = read_dir(dir);
    assert_int_equal(v->file, UQM_VOCABULARY_OLD_JSON);
    assert_int_equal(v->n, 4);
    expect(v, "b", 1, true, UQM_TOKEN_SPECIAL);
    expect(v, "<p>", 5, true, UQM_TOKEN_NORMALIZED);
    expect(v, "<q>", 6, true, 0);
    assert_int_equal(uqm_vocabulary_next_id(v), 7);
    uqm_vocabulary_free(&v);
    finish(dir);
}

static void sentencepiece_models_are_read(void **state)
{
    (void) state;
    struct uqm_vocab *v = read_dir(zoo_path("models/base"));
    const struct uqm_vocab_token *t = uqm_vocabulary_find(v, "<unk>", 5);
    assert_non_null(t);
    assert_int_equal(t->id, 0);
    assert_true(v->n > 100);
    uqm_vocabulary_free(&v);
}

static void bad_tokenizers_are_refused_by_file_and_token(void **state)
{
    (void) state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        { "", "tokenizer.json" },
        { "[1]", "tokenizer.json" },
        { "{}", "it has no model" },
        { "{\"model\":{}}", "model has no vocab" },
        { "{\"model\":{\"vocab\":3}}", "the vocabulary" },
        { "{\"model\":{\"vocab\":{\"a\":-1}}}", "a token's number" },
        { "{\"model\":{\"vocab\":{\"a\":1,\"a\":2}}}", "token a stands there twice" },
        { "{\"model\":{\"vocab\":{\"huge\":4000000000}}}", "token huge: number 4000000000" },
        { "{\"model\":{\"vocab\":[[]]}}", "a token is missing" },
        { "{\"model\":{\"vocab\":[[1]]}}", "a token" },
        { "{\"model\":{\"vocab\":{}},\"added_tokens\":[{\"id\":1}]}", "without content" },
        { "{\"model\":{\"vocab\":{}},\"added_tokens\":[{\"content\":\"x\"}]}", "without id" },
        { "{\"model\":{\"vocab\":{}},\"added_tokens\":[{\"content\":\"x\",\"special\":1}]}",
          "true or false" },
        { "{\"model\":{\"vocab\":{\"a\":0}}} x", "tokenizer.json" },
    };
    char *dir = start();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct uqm_vocab *v = NULL;
        struct uqm_err err = { 0 };
        put(dir, "tokenizer.json", cases[i].text);
        int ret = uqm_vocabulary_read(&v, dir, &err);
        if (ret != UQM_ERR_FORMAT || !strstr(err.msg, cases[i].why) ||
            !strstr(err.msg, "tokenizer.json"))
            fail_msg("%s: %d, \"%s\"", cases[i].text, ret, err.msg);
        assert_null(v);
    }
    finish(dir);
}

static void a_folder_without_a_tokenizer_is_told(void **state)
{
    (void) state;
    char *dir = start();
    struct uqm_vocab *v = NULL;
    struct uqm_err err = { 0 };
    assert_fails(uqm_vocabulary_read(&v, dir, &err), err, UQM_ERR_IO, "no tokenizer");
    finish(dir);
}

static void many_tokens_are_found_again(void **state)
{
    (void) state;
    struct uqm_vocab v = { .where = "test" };
    struct uqm_err err = { 0 };
    char text[16];
    for (uint32_t i = 0; i < 50000; i++) {
        int n = snprintf(text, sizeof text, "t%u", i * 7);
        const struct uqm_vocab_token t = { text, (size_t) n, i, false, 0 };
        assert_ok(uqm_vocabulary_add(&v, &t, &err), err);
    }
    for (uint32_t i = 0; i < 50000; i++) {
        int n = snprintf(text, sizeof text, "t%u", i * 7);
        assert_int_equal(uqm_vocabulary_find(&v, text, (size_t) n)->id, i);
    }
    free(v.v);
    free(v.slots);
    uqm_arena_finish(&v.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fast_tokenizers_vocabulary_and_added_tokens_are_read),
        cmocka_unit_test(unigram_pieces_are_numbered_as_they_come),
        cmocka_unit_test(old_files_are_read_with_what_is_added_to_them),
        cmocka_unit_test(sentencepiece_models_are_read),
        cmocka_unit_test(bad_tokenizers_are_refused_by_file_and_token),
        cmocka_unit_test(a_folder_without_a_tokenizer_is_told),
        cmocka_unit_test(many_tokens_are_found_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
