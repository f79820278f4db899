#include "src/format/recipe.h"
#include "tests/unit/test.h"

struct heard {
    int n;
    char last[512];
};

static int hear(void *ctx, const char *line)
{
    struct heard *h = ctx;
    h->n++;
    snprintf(h->last, sizeof h->last, "%s", line);
    return 0;
}

static struct uqm_recipe *good(const char *text)
{
    struct uqm_recipe *r = NULL;
    struct heard h = { 0 };
    struct uqm_err err = { 0 };
    assert_ok(uqm_recipe_parse(&r, text, strlen(text), "file.yml", hear, &h, &err), err);
    if (h.n)
        fail_msg("unexpected warning: %s", h.last);
    return r;
}

struct bad {
    const char *text, *message;
};

static void refuse_all(const struct bad *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct uqm_recipe *r = NULL;
        struct heard h = { 0 };
        struct uqm_err err = { 0 };
        int ret =
            uqm_recipe_parse(&r, cases[i].text, strlen(cases[i].text), "file.yml", hear, &h, &err);
        if (ret != UQM_ERR_FORMAT || !strstr(err.msg, cases[i].message))
            fail_msg("case %zu: %d \"%s\", wanted \"%s\"", i, ret, err.msg, cases[i].message);
        assert_null(r);
    }
}

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define SLICES   "merge_method: linear\nslices:\n"
#define ONE      "  - sources:\n      - {model: a, layer_range: [0, 2]}\n"

static double value(const struct uqm_recipe *r, const char *param, size_t module, size_t slice,
                    int input, const char *tensor, double t)
{
    double v = -1;
    struct uqm_err err = { 0 };
    const struct uqm_recipe_slice *s = &r->modules[module].slices[slice];
    const struct uqm_recipe_place place = {
        .module = &r->modules[module],
        .slice = s,
        .input = input < 0 ? NULL : &s->inputs[input],
        .tensor = tensor,
        .t = t,
    };
    assert_ok(uqm_recipe_resolve(&v, r, uqm_method_param(r->method, param), &place, &err), err);
    return v;
}

static void slices_read_as_written(void **state)
{
    (void) state;
    struct uqm_recipe *r = good("merge_method: slerp\n"
                                "slices:\n"
                                "  - sources:\n"
                                "      - model: a\n"
                                "        layer_range: [0, 3]\n"
                                "      - model: b\n"
                                "        layer_range: [1, 4]\n"
                                "    parameters: {t: 0.25}\n"
                                "  - base_model: b\n"
                                "    sources:\n"
                                "      - {model: c, layer_range: [5, 5]}\n"
                                "      - {model: b, layer_range: [0, 0]}\n"
                                "base_model: a\n"
                                "parameters: {t: 0.5}\n");
    assert_int_equal(r->n_models, 3);
    assert_string_equal(r->models[2].path, "c");
    assert_int_equal(r->base, 0);
    assert_int_equal(r->n_modules, 1);
    assert_false(r->by_module);
    const struct uqm_recipe_module *m = &r->modules[0];
    assert_null(m->name);
    assert_int_equal(m->n_slices, 2);
    assert_false(m->slices[0].whole);
    assert_int_equal(m->slices[0].n_inputs, 2);
    assert_int_equal(m->slices[0].inputs[1].model, 1);
    assert_int_equal(m->slices[0].inputs[1].first, 1);
    assert_int_equal(m->slices[0].inputs[1].end, 4);
    assert_int_equal(m->slices[0].inputs[1].line, 6);
    assert_int_equal(m->slices[0].base, 0);
    assert_int_equal(m->slices[1].base, 1);
    assert_int_equal(m->slices[1].line, 9);
    assert_true(value(r, "t", 0, 0, -1, "w", 0) == 0.25);
    assert_true(value(r, "t", 0, 1, -1, "w", 0) == 0.5);
    uqm_recipe_free(&r);
}

static void a_base_beside_slices_is_no_input_of_theirs(void **state)
{
    (void) state;
    struct uqm_recipe *r = good(SLICES ONE "base_model: z\n");
    assert_int_equal(r->n_models, 2);
    assert_int_equal(r->base, 1);
    assert_int_equal(r->modules[0].slices[0].n_inputs, 1);
    assert_int_equal(r->modules[0].slices[0].base, 1);
    uqm_recipe_free(&r);
}

static void a_base_beside_models_is_the_last_input_of_every_module(void **state)
{
    (void) state;
    struct uqm_recipe *r = good("merge_method: linear\n"
                                "base_model: z\n"
                                "modules:\n"
                                "  text_decoder:\n"
                                "    models: [{model: a}, {model: b}]\n"
                                "  vision_tower:\n"
                                "    models: [{model: b}, {model: z}]\n"
                                "  other:\n"
                                "    slices: [{sources: [{model: a, layer_range: [0, 1]}]}]\n");
    assert_int_equal(r->n_modules, 3);
    assert_true(r->by_module);
    assert_string_equal(r->modules[1].name, "vision_tower");
    const struct uqm_recipe_slice *s = &r->modules[0].slices[0];
    assert_int_equal(s->n_inputs, 3);
    assert_true(s->whole && s->inputs[2].added && !s->inputs[1].added);
    assert_string_equal(r->models[s->inputs[2].model].path, "z");
    assert_int_equal(r->modules[1].slices[0].n_inputs, 2);
    assert_int_equal(r->modules[2].slices[0].n_inputs, 1);
    assert_int_equal(r->base, s->inputs[2].model);
    uqm_recipe_free(&r);
}

/* Input, slice, module, recipe, default; each level is asked only where the ones before it pass. */
static void values_come_from_the_nearest_level_that_has_one(void **state)
{
    (void) state;
    struct uqm_recipe *r = good(
        "merge_method: dare_ties\n"
        "base_model: z\n"
        "parameters: {weight: 4, density: 0.4, lambda: 4}\n"
        "modules:\n"
        "  m:\n"
        "    parameters: {weight: [{filter: w, value: 3}], lambda: [{filter: x, value: 3}]}\n"
        "    slices:\n"
        "      - parameters: {weight: [{filter: v, value: 2}], lambda: [{filter: v, value: 2}]}\n"
        "        sources:\n"
        "          - model: a\n"
        "            layer_range: [0, 1]\n"
        "            parameters: {weight: [{filter: u, value: 1}]}\n"
        "          - {model: z, layer_range: [0, 1]}\n");
    static const char *const names[] = { "uvwx", "vwx", "wx", "x" };
    for (int i = 0; i < 4; i++)
        assert_true(value(r, "weight", 0, 0, 0, names[i], 0) == i + 1);
    assert_true(value(r, "lambda", 0, 0, -1, "uvwx", 0) == 2);
    assert_true(value(r, "lambda", 0, 0, -1, "wx", 0) == 3);
    assert_true(value(r, "lambda", 0, 0, -1, "w", 0) == 4);
    assert_true(value(r, "density", 0, 0, 0, "x", 0) == 0.4);
    assert_true(value(r, "rescale", 0, 0, -1, "x", 0) == 1);
    uqm_recipe_free(&r);
}

static void what_is_wrong_with_slices_is_told_with_its_line(void **state)
{
    (void) state;
    static const struct bad cases[] = {
        { SLICES, ":1: exactly one of models" }, /* null */
        { "merge_method: linear\nslices: []\n", ":2: slices: a list of at least one" },
        { "merge_method: linear\nslices: {a: 1}\n", ":2: slices: a list of at least one" },
        { SLICES "  - 1\n", ":3: slices: each entry is a mapping with sources" },
        { SLICES "  - parameters: {}\n", ":3: this slice has no sources" },
        { SLICES "  - sources: []\n", ":3: sources: a list of at least one model" },
        { SLICES "  - sources:\n      - a\n", ":4: sources: each entry is a mapping" },
        { SLICES "  - sources:\n      - {layer_range: [0, 1]}\n", ":4: this entry has no model" },
        { SLICES "  - sources:\n      - {model: a}\n", ":4: this source has no layer_range" },
        { SLICES "  - sources: [{model: a, layer_range: 3}]\n", ":3: layer_range: two whole" },
        { SLICES "  - sources: [{model: a, layer_range: [1]}]\n", ":3: layer_range: two whole" },
        { SLICES "  - sources: [{model: a, layer_range: [1, 2, 3]}]\n", ":3: layer_range: two" },
        { SLICES "  - sources: [{model: a, layer_range: [1.0, 2]}]\n", ":3: layer_range: a layer" },
        { SLICES "  - sources: [{model: a, layer_range: [-1, 2]}]\n", ":3: layer_range: a layer" },
        { SLICES "  - sources: [{model: a, layer_range: ['1', 2]}]\n", ":3: layer_range: a layer" },
        { SLICES "  - sources: [{model: a, layer_range: [[1], 2]}]\n", ":3: layer_range: a layer" },
        { SLICES "  - sources: [{model: a, layer_range: [0, 1000001]}]\n", ":3: layer_range: a l" },
        { SLICES "  - sources: [{model: a, layer_range: [2, 1]}]\n",
          ":3: layer_range: it ends at 1, before it begins at 2" },
        { SLICES ONE "      - {model: b, layer_range: [0, 3]}\n",
          ":5: layer_range: all sources of a slice have equally many layers, but here are 3, and 2 "
          "in line 4" },
        { SLICES ONE "      - {model: a, layer_range: [2, 4]}\n",
          ":5: model a stands here twice (first in line 4)" },
        { SLICES ONE "    residual_weight: much\n", ":5: residual_weight: a number" },
        { SLICES ONE "    residual_weight: []\n", ":5: residual_weight: a single value" },
        { SLICES ONE "    base_model: []\n", ":5: base_model: a path is wanted" },
        { SLICES ONE "    parameters: {weight: x}\n", ":5: weight: \"x\" is not a number" },
        { SLICES ONE "modules: {a: {models: [{model: a}]}}\n",
          ":5: exactly one of models, slices, modules must be there, but here are slices and mod" },
    };
    refuse_all(cases, COUNT(cases));
}

static void what_is_wrong_with_modules_is_told_with_its_line(void **state)
{
    (void) state;
#define MODULES "merge_method: linear\nmodules:\n"
    static const struct bad cases[] = {
        { "merge_method: linear\nmodules: []\n", ":2: modules: a mapping of at least one" },
        { "merge_method: linear\nmodules: {}\n", ":2: modules: a mapping of at least one" },
        { MODULES "  '': {models: [{model: a}]}\n", ":3: modules: a module's name is empty" },
        { MODULES "  a: 3\n", ":3: module a: a mapping with models or slices" },
        { MODULES "  a: {parameters: {}}\n", ":3: module a: exactly one of models, slices" },
        { MODULES "  a:\n    models: [{model: a}]\n    slices: [1]\n",
          ":5: module a: exactly one of models, slices" },
        { MODULES "  a: {models: []}\n", ":3: models: a list of at least one" },
        { MODULES "  a: {slices: []}\n", ":3: slices: a list of at least one" },
        { MODULES "  a: {models: [{model: b}]}\n  b: {models: [{model: b}, {model: b}]}\n",
          ":4: model b stands here twice" },
        { MODULES "  a: {models: [{model: b}], parameters: 3}\n", ":3: parameters: a mapping" },
    };
    refuse_all(cases, COUNT(cases));
}

static void keys_of_slices_and_modules_are_checked(void **state)
{
    (void) state;
    static const struct bad cases[] = {
        { SLICES ONE "    residual_weight: 0.5\n", ":5: residual_weight changes nothing" },
        { SLICES ONE "    basemodel: b\n", ":5: unknown key basemodel is ignored; did you mean b" },
        { SLICES "  - sources: [{model: a, layer_rnge: 1, layer_range: [0, 1]}]\n",
          ":3: unknown key layer_rnge is ignored; did you mean layer_range?" },
        { "merge_method: linear\nmodels: [{model: a, layer_range: [0, 1]}]\n",
          ":2: unknown key layer_range is ignored" },
        { SLICES "  - sources: [{model: a, layer_range: [0, 1], parameters: {normalize: 1}}]\n",
          ":3: normalize belongs to the whole merge" },
        { "merge_method: linear\nmodules: {a: {models: [{model: a}], param: {}}}\n",
          ":2: unknown key param is ignored" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct uqm_recipe *r = NULL;
        struct heard h = { 0 };
        struct uqm_err err = { 0 };
        assert_ok(
            uqm_recipe_parse(&r, cases[i].text, strlen(cases[i].text), "file.yml", hear, &h, &err),
            err);
        assert_int_equal(h.n, 1);
        if (!strstr(h.last, cases[i].message))
            fail_msg("\"%s\" lacks \"%s\"", h.last, cases[i].message);
        uqm_recipe_free(&r);
    }
}

static void no_recipe_names_endlessly_many_models(void **state)
{
    (void) state;
    size_t cap = 1 << 19;
    char *text = malloc(cap), *p = text;
    struct uqm_recipe *r = NULL;
    struct uqm_err err = { 0 };
    assert_non_null(text);
    p += sprintf(p, "merge_method: linear\nmodels:\n");
    for (int i = 0; i <= 1024; i++)
        p += sprintf(p, "  - model: m%d\n", i);
    assert_fails(uqm_recipe_parse(&r, text, strlen(text), "f.yml", NULL, NULL, &err), err,
                 UQM_ERR_FORMAT, "f.yml:1027: more than 1024 models");

    /* one slice of many inputs, many times over by alias */
    p = text;
    p += sprintf(p, "merge_method: linear\nslices:\n  - &s\n    sources:\n");
    for (int i = 0; i < 1000; i++)
        p += sprintf(p, "      - {model: m%d, layer_range: [0, 1]}\n", i);
    for (int i = 0; i < 1000; i++)
        p += sprintf(p, "  - *s\n");
    assert_fails(uqm_recipe_parse(&r, text, strlen(text), "f.yml", NULL, NULL, &err), err,
                 UQM_ERR_FORMAT, "more than 65536 inputs");
    free(text);
}

/* --- tokenizer_source, tokenizer, chat_template --- */

#define MODELS "merge_method: linear\nmodels: [{model: a}, {model: b}]\n"

static void a_vocabulary_comes_from_all_from_the_base_or_from_a_model(void **state)
{
    (void) state;
    static const struct {
        const char *text;
        enum uqm_vocabulary vocabulary;
        const char *model;
        long index;
        int line;
    } cases[] = {
        { MODELS, UQM_VOCABULARY_AS_IT_IS, NULL, -1, 0 },
        { MODELS "tokenizer_source: union\n", UQM_VOCABULARY_UNION, NULL, -1, 3 },
        { MODELS "tokenizer_source: base\n", UQM_VOCABULARY_BASE, NULL, -1, 3 },
        { MODELS "tokenizer_source: b\n", UQM_VOCABULARY_MODEL, "b", 1, 3 },
        { MODELS "tokenizer_source: model:b\n", UQM_VOCABULARY_MODEL, "b", 1, 3 },
        { MODELS "tokenizer_source: {model: {path: x}}\n", UQM_VOCABULARY_MODEL, "x", -1, 3 },
        { MODELS "tokenizer: {source: 'model:x'}\n", UQM_VOCABULARY_MODEL, "model:x", -1, 3 },
        { MODELS "tokenizer: {}\n", UQM_VOCABULARY_UNION, NULL, -1, 3 },
        { MODELS "tokenizer: {source: base}\n", UQM_VOCABULARY_BASE, NULL, -1, 3 },
        { MODELS "tokenizer: {source: dir/t}\n", UQM_VOCABULARY_MODEL, "dir/t", -1, 3 },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct uqm_recipe *r = good(cases[i].text);
        assert_int_equal(r->tokenizer.vocabulary, cases[i].vocabulary);
        assert_int_equal(r->tokenizer.model_index, cases[i].index);
        assert_int_equal(r->tokenizer.line, cases[i].line);
        if (cases[i].model)
            assert_string_equal(r->tokenizer.model, cases[i].model);
        assert_int_equal(r->n_models, 2);
        uqm_recipe_free(&r);
    }
}

static void tokens_say_where_their_rows_come_from(void **state)
{
    (void) state;
    struct uqm_recipe *r =
        good(MODELS "tokenizer:\n"
                    "  source: union\n"
                    "  pad_to_multiple_of: 64\n"
                    "  tokens:\n"
                    "    <a>: {source: a}\n"
                    "    <b>: {source: {kind: model_token, model: b, token: </s>}, force: yes}\n"
                    "    <c>: {source: {kind: model_token, model: b, token_id: 7}}\n"
                    "    <d>: {source: {kind: zero}}\n"
                    "    <e>: {force: false}\n"
                    "    <f>: {source: {model: {path: b}}}\n");
    static const struct uqm_recipe_token want[] = {
        { .text = "<a>", .line = 7, .rule = UQM_TOKEN_OF_MODEL, .model = 0 },
        { .text = "<b>", .line = 8, .rule = UQM_TOKEN_OF_TOKEN, .model = 1, .force = true },
        { .text = "<c>", .line = 9, .rule = UQM_TOKEN_OF_ID, .model = 1, .id = 7 },
        { .text = "<d>", .line = 10, .rule = UQM_TOKEN_ZERO },
        { .text = "<e>", .line = 11, .rule = UQM_TOKEN_BY_DEFAULT },
        { .text = "<f>", .line = 12, .rule = UQM_TOKEN_OF_MODEL, .model = 1 },
    };
    assert_int_equal(r->tokenizer.pad_to_multiple_of, 64);
    assert_int_equal(r->tokenizer.n_tokens, COUNT(want));
    for (size_t i = 0; i < COUNT(want); i++) {
        const struct uqm_recipe_token *t = &r->tokenizer.tokens[i];
        assert_string_equal(t->text, want[i].text);
        assert_int_equal(t->line, want[i].line);
        assert_int_equal(t->rule, want[i].rule);
        assert_int_equal(t->model, want[i].model);
        assert_int_equal(t->id, want[i].id);
        assert_int_equal(t->force, want[i].force);
    }
    assert_string_equal(r->tokenizer.tokens[1].token, "</s>");
    uqm_recipe_free(&r);
}

static void a_chat_template_is_a_name_or_jinja(void **state)
{
    (void) state;
    struct uqm_recipe *r = good(MODELS "chat_template: llama3\n");
    assert_string_equal(r->chat_template, "llama3");
    assert_int_equal(r->chat_template_line, 3);
    uqm_recipe_free(&r);
    r = good(MODELS "chat_template: |\n  {% for m in messages %}{{ m }}{% endfor %}\n");
    assert_string_equal(r->chat_template, "{% for m in messages %}{{ m }}{% endfor %}\n");
    uqm_recipe_free(&r);
    r = good(MODELS);
    assert_null(r->chat_template);
    uqm_recipe_free(&r);
}

static void what_is_wrong_with_the_tokenizer_is_told_with_its_line(void **state)
{
    (void) state;
#define TOKENS MODELS "tokenizer:\n  tokens:\n"
    static const struct bad cases[] = {
        { MODELS "tokenizer_source: a\ntokenizer: {source: b}\n",
          ":4: only one of tokenizer_source, tokenizer can be there" },
        { MODELS "tokenizer_source: [a]\n", ":3: tokenizer_source: a path is wanted" },
        { MODELS "tokenizer: union\n", ":3: tokenizer: a mapping with a source" },
        { MODELS "tokenizer: {source: []}\n", ":3: source: a path is wanted" },
        { MODELS "tokenizer: {pad_to_multiple_of: -1}\n", ":3: pad_to_multiple_of: a whole" },
        { MODELS "tokenizer: {pad_to_multiple_of: 1.5}\n", ":3: pad_to_multiple_of: a whole" },
        { MODELS "tokenizer: {tokens: [a]}\n", ":3: tokens: a mapping of tokens" },
        { TOKENS "    '': {}\n", ":5: tokens: a token is empty" },
        { TOKENS "    x: 3\n", ":5: token x: a mapping with a source" },
        { TOKENS "    x: {force: maybe}\n", ":5: force: \"maybe\" is neither" },
        { TOKENS "    x: {source: c}\n", ":5: model c is none of those that are merged" },
        { TOKENS "    x: {source: {kind: half}}\n", ":5: kind: \"half\" is neither" },
        { TOKENS "    x: {source: {kind: [zero]}}\n", ":5: kind: a single value" },
        { TOKENS "    x: {source: {kind: model_token, token: y}}\n", ":5: model_token: its model" },
        { TOKENS "    x: {source: {kind: model_token, model: a}}\n",
          ":5: model_token: exactly one of token, token_id" },
        { TOKENS "    x: {source: {kind: model_token, model: a, token: y, token_id: 1}}\n",
          ":5: model_token: exactly one of token, token_id" },
        { TOKENS "    x: {source: {kind: model_token, model: q, token: y}}\n",
          ":5: model q is none of those" },
        { TOKENS "    x: {source: {kind: model_token, model: a, token_id: one}}\n",
          ":5: token_id: a whole number" },
        { TOKENS "    x: {}\n    x: {}\n", ":6: key x stands here twice" },
        { MODELS "chat_template: short\n", ":3: chat_template: \"short\" is neither auto" },
        { MODELS "chat_template: long enough, but without a brace\n", ":3: chat_template: \"long" },
        { MODELS "chat_template: '{{ short }}'\n", ":3: chat_template: \"{{ short }}\"" },
        { MODELS "chat_template: [auto]\n", ":3: chat_template: a single value" },
    };
    refuse_all(cases, COUNT(cases));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_read_as_written),
        cmocka_unit_test(a_base_beside_slices_is_no_input_of_theirs),
        cmocka_unit_test(a_base_beside_models_is_the_last_input_of_every_module),
        cmocka_unit_test(values_come_from_the_nearest_level_that_has_one),
        cmocka_unit_test(what_is_wrong_with_slices_is_told_with_its_line),
        cmocka_unit_test(what_is_wrong_with_modules_is_told_with_its_line),
        cmocka_unit_test(keys_of_slices_and_modules_are_checked),
        cmocka_unit_test(no_recipe_names_endlessly_many_models),
        cmocka_unit_test(a_vocabulary_comes_from_all_from_the_base_or_from_a_model),
        cmocka_unit_test(tokens_say_where_their_rows_come_from),
        cmocka_unit_test(a_chat_template_is_a_name_or_jinja),
        cmocka_unit_test(what_is_wrong_with_the_tokenizer_is_told_with_its_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
