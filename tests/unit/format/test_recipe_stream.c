#include "src/format/recipe_stream.h"

#include "tests/unit/test.h"

#define MODELS "merge_method: linear\nparameters: {weight: 1}\nmodels: [{model: a}, {model: b}]\n"

static struct uqm_recipe_stream *parse(const char *text)
{
    struct uqm_recipe_stream *s = NULL;
    struct uqm_err err = { 0 };
    assert_ok(uqm_recipe_stream_parse(&s, text, strlen(text), "dir/f.yml", NULL, NULL, &err), err);
    return s;
}

static void refused(const char *text, const char *why)
{
    struct uqm_recipe_stream *s = NULL;
    struct uqm_err err = { 0 };
    assert_fails(uqm_recipe_stream_parse(&s, text, strlen(text), "f.yml", NULL, NULL, &err), err,
                 UQM_ERR_FORMAT, why);
    assert_null(s);
}

static void one_document_is_what_it_was(void **state)
{
    (void) state;
    static const char *const texts[] = { MODELS, "---\n" MODELS, "# note\n---\n" MODELS "...\n",
                                         "%YAML 1.1\n---\n" MODELS "---\n# nothing\n",
                                         "name: x\n" MODELS };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct uqm_recipe_stream *s = parse(texts[i]);
        assert_int_equal(s->n, 1);
        assert_int_equal(s->output, 0);
        assert_string_equal(s->v[0]->name, "f");
        assert_string_equal(s->v[0]->text, texts[i]);
        assert_int_equal(s->v[0]->text_len, strlen(texts[i]));
        uqm_recipe_stream_free(&s);
    }
}

static void the_one_without_a_name_is_written(void **state)
{
    (void) state;
    const char *text = "name: x\n" MODELS "---\n" MODELS "---\nname: y\n" MODELS;
    struct uqm_recipe_stream *s = parse(text);
    assert_int_equal(s->n, 3);
    assert_int_equal(s->output, 1);
    assert_string_equal(s->v[1]->name, "f");
    assert_string_equal(s->v[0]->name, "x");
    assert_ptr_equal(uqm_recipe_stream_find(s, "y"), s->v[2]);
    assert_null(uqm_recipe_stream_find(s, "z"));
    assert_string_equal(s->v[1]->text, text);
    uqm_recipe_stream_free(&s);
}

static void of_all_named_ones_it_is_the_one_nobody_takes(void **state)
{
    (void) state;
    struct uqm_recipe_stream *s =
        parse("name: x\nmerge_method: linear\nmodels: [{model: y, parameters: {weight: 1}}]\n"
              "--- # the other\nname: y\n" MODELS);
    assert_int_equal(s->output, 0);
    assert_string_equal(s->v[0]->name, "f");
    uqm_recipe_stream_free(&s);
    refused("name: x\n" MODELS "---\nname: y\n" MODELS, "f.yml:6: recipes x and y are no inputs");
}

static void lines_are_counted_from_the_files_start(void **state)
{
    (void) state;
    refused(MODELS "---\nname: y\nmerge_method: lineal\nmodels: [{model: a}]\n", "f.yml:6: ");
    refused(MODELS "---\n" MODELS, "f.yml:5: a second recipe without a name (the first is in line "
                                   "1)");
    refused("name: x\n" MODELS "---\nname: x\n" MODELS, "f.yml:6: name: x is the name of line 1's");
}

static void a_recipe_made_of_itself_is_refused(void **state)
{
    (void) state;
#define ON(name, model)                                                                            \
    "name: " name "\nmerge_method: linear\nparameters: {weight: 1}\nmodels: [{model: " model "}]"  \
    "\n"
    refused(ON("x", "x"), "f.yml:4: model x: it is made of this recipe");
    refused(MODELS "---\n" ON("x", "y") "---\n" ON("y", "z") "---\n" ON("z", "x"),
            "f.yml:18: model x: it is made of this recipe");
    struct uqm_recipe_stream *s =
        parse(ON("x", "y") "---\n" ON("y", "z") "---\n" ON("z", "folder"));
    assert_int_equal(s->output, 0);
    uqm_recipe_stream_free(&s);
}

static void an_empty_file_is_refused(void **state)
{
    (void) state;
    refused("", "the document is empty");
    refused("---\n# only this\n---\n...\n", "the document is empty");
}

static void a_file_of_too_many_documents_or_bytes_is_refused(void **state)
{
    (void) state;
    enum { MOST_BYTES = 1 << 20 };
    static const char one[] = "---\nname: n\nmerge_method: linear\nmodels: [{model: a}]\n"
                              "parameters: {weight: 1}\n";
    char *text = malloc(MOST_BYTES + 2), *p = text;
    for (int i = 0; i <= UQM_RECIPE_STREAM_MOST; i++)
        p = stpcpy(p, one);
    refused(text, "f.yml: more than the 256 documents allowed");
    memset(text, ' ', MOST_BYTES + 1);
    text[MOST_BYTES + 1] = '\0';
    refused(text, "f.yml: 1048577 bytes, more than the 1048576 allowed");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_document_is_what_it_was),
        cmocka_unit_test(the_one_without_a_name_is_written),
        cmocka_unit_test(of_all_named_ones_it_is_the_one_nobody_takes),
        cmocka_unit_test(lines_are_counted_from_the_files_start),
        cmocka_unit_test(a_recipe_made_of_itself_is_refused),
        cmocka_unit_test(an_empty_file_is_refused),
        cmocka_unit_test(a_file_of_too_many_documents_or_bytes_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
