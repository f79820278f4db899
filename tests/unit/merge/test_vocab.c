/* Vocabularies put together, and the rows that follow (spec merge.md 9). */
#include <jansson.h>

#include "src/merge/plan.h"
#include "tests/unit/merge/merge_test.h"

enum { DIM = 5, MOST_ROWS = 16 };

/* Element of an input's embedding: its model, row and column show in it. */
static float element(size_t model, size_t row, size_t col)
{
    return (float) (model * 1000 + row * 10 + col);
}

struct model {
    const char *name, *tokenizer;
    size_t rows;
};

#define MODEL(vocab) "\"model\":{\"type\":\"BPE\",\"vocab\":{" vocab "},\"merges\":[]}"
#define SPECIAL(id, text)                                                                          \
    "{\"id\":" #id ",\"content\":\"" text "\",\"special\":true,\"normalized\":false}"

static const struct model models[] = {
    { "a",
      "{\"added_tokens\":[" SPECIAL(3, "<s>") "]," MODEL("\"x\":0,\"y\":1,\"z\":2,\"<s>\":3") "}",
      4 },
    { "b",
      "{\"added_tokens\":[" SPECIAL(0, "<s>") "," SPECIAL(
          5, "<b>") ","
                    "{\"id\":9,\"content\":\"<far>\"}]," MODEL(
                        "\"<s>\":0,\"w\":4,\"z\":1,\"v\":2,\"x\":3") "}",
      6 },
    { "c", "{\"added_tokens\":[]," MODEL("\"v\":0,\"y\":1,\"w\":2,\"<b>\":3") "}", 5 },
};
enum { N_MODELS = 3 };

static char *start(void)
{
    static float data[N_MODELS][MOST_ROWS][DIM];
    char *dir = test_mkdtemp();
    for (size_t k = 0; k < N_MODELS; k++) {
        char config[200];
        for (size_t r = 0; r < MOST_ROWS; r++)
            for (size_t c = 0; c < DIM; c++)
                data[k][r][c] = element(k, r, c);
        struct made_tensor t[] = {
            { "model.embed_tokens.weight", UQM_F32, 2, { models[k].rows, DIM }, data[k] },
            { "lm_head.weight", UQM_F32, 2, { models[k].rows, DIM }, data[k] },
            { "model.norm.weight", UQM_F32, 1, { DIM }, data[k] },
        };
        snprintf(config, sizeof config,
                 "{\"architectures\":[\"LlamaForCausalLM\"],\"vocab_size\": %zu, "
                 "\"torch_dtype\":\"float32\"}",
                 models[k].rows);
        make_model(dir, models[k].name, config, t, 3);
        write_text(in_dir(dir, "%s/tokenizer.json", models[k].name), models[k].tokenizer);
        write_text(in_dir(dir, "%s/tokenizer_config.json", models[k].name),
                   "{\"model_max_length\": 1000000000000000019884624838656}\n");
    }
    return dir;
}

#define LINEAR                                                                                     \
    "merge_method: linear\nparameters: {weight: 1, normalize: false}\n"                            \
    "models: [{model: a}, {model: b}, {model: c}]\n"

static struct uqm_source *open_recipe(const char *dir, const char *text)
{
    struct uqm_source *s = NULL;
    struct uqm_err err = { 0 };
    struct uqm_open_params none = { 0 };
    write_text(in_dir(dir, "r.yml"), text);
    assert_ok(uqm_model_open(&s, test_env(64 << 20, 1), in_dir(dir, "r.yml"), &none, &err), err);
    return s;
}

static void refused(const char *dir, const char *text, const char *why)
{
    struct uqm_source *s = NULL;
    struct uqm_err err = { 0 };
    struct uqm_open_params none = { 0 };
    write_text(in_dir(dir, "r.yml"), text);
    int ret = uqm_model_open(&s, test_env(64 << 20, 1), in_dir(dir, "r.yml"), &none, &err);
    if (ret >= 0 || !strstr(err.msg, why))
        fail_msg("%d: \"%s\" lacks \"%s\"", ret, err.msg, why);
}

/* A source of a row, for the reference: one model's, or the mean of several (-1 ends). */
struct from {
    int n;
    struct {
        size_t model, row;
    } v[3];
};
#define ONE(m, r)                                                                                  \
    {                                                                                              \
        1,                                                                                         \
        {                                                                                          \
            {                                                                                      \
                m, r                                                                               \
            }                                                                                      \
        }                                                                                          \
    }
#define TWO(m, r, m2, r2)                                                                          \
    {                                                                                              \
        2,                                                                                         \
        {                                                                                          \
            { m, r },                                                                              \
            {                                                                                      \
                m2, r2                                                                             \
            }                                                                                      \
        }                                                                                          \
    }
#define NOTHING                                                                                    \
    {                                                                                              \
        0,                                                                                         \
        {                                                                                          \
            {                                                                                      \
                0, 0                                                                               \
            }                                                                                      \
        }                                                                                          \
    }

static double value_of(const struct from *f, size_t col)
{
    double sum = 0;
    for (int i = 0; i < f->n; i++)
        sum += (double) element(f->v[i].model, f->v[i].row, col);
    return f->n ? sum / f->n : 0;
}

/* Row r of the merge is the sum of what each model is said to give. */
static void check_rows(struct uqm_source *s, const struct from (*want)[N_MODELS], size_t n_rows,
                       size_t tile_bytes)
{
    static const char *const names[] = { "language_model.model.embed_tokens.weight",
                                         "language_model.lm_head.weight" };
    uint8_t **all = read_all(s, tile_bytes);
    for (size_t i = 0; i < 2; i++) {
        long at = uqm_source_find(s, names[i]);
        assert_true(at >= 0);
        assert_int_equal(s->tensors[at].rank, 2);
        assert_int_equal(s->tensors[at].shape[0], n_rows);
        assert_int_equal(s->tensors[at].dtype, UQM_F32);
        for (size_t r = 0; r < n_rows; r++)
            for (size_t c = 0; c < DIM; c++) {
                double sum = 0;
                float got;
                for (size_t k = 0; k < N_MODELS; k++)
                    sum += (double) (float) value_of(&want[r][k], c);
                memcpy(&got, all[at] + (r * DIM + c) * 4, 4);
                if (got != (float) sum)
                    fail_msg("%s, row %zu, column %zu: %g, not %g", names[i], r, c, (double) got,
                             sum);
            }
    }
    free_all(all, s->n_tensors);
}

static void the_union_keeps_the_first_models_numbers_and_appends_by_number(void **state)
{
    (void) state;
    char *dir = start();
    /* x y z <s> of a; then v, w of b (numbers 2, 4), nothing more of c; then <b>. <far> has no row
     */
    static const struct from want[][N_MODELS] = {
        { ONE(0, 0), ONE(1, 3), TWO(0, 0, 1, 3) }, /* x: no base, so c gets the mean */
        { ONE(0, 1), TWO(0, 1, 2, 1), ONE(2, 1) }, /* y */
        { ONE(0, 2), ONE(1, 1), TWO(0, 2, 1, 1) }, /* z */
        { ONE(0, 3), ONE(1, 0), TWO(0, 3, 1, 0) }, /* <s> */
        { TWO(1, 2, 2, 0), ONE(1, 2), ONE(2, 0) }, /* v */
        { TWO(1, 4, 2, 2), ONE(1, 4), ONE(2, 2) }, /* w */
        { TWO(1, 5, 2, 3), ONE(1, 5), ONE(2, 3) }, /* <b> */
    };
    for (size_t tile = 32; tile <= 4096; tile *= 8) {
        struct uqm_source *s = open_recipe(dir, LINEAR "tokenizer_source: union\n");
        check_rows(s, want, 7, tile);
        uqm_source_destroy(&s);
    }
    test_rm(dir);
}

static void with_a_base_its_rows_stand_in(void **state)
{
    (void) state;
    char *dir = start();
    static const struct from want[][N_MODELS] = {
        { ONE(0, 0), ONE(1, 3), ONE(0, 0) },
        { ONE(0, 1), ONE(0, 1), ONE(2, 1) },
        { ONE(0, 2), ONE(1, 1), ONE(0, 2) },
        { ONE(0, 3), ONE(1, 0), ONE(0, 3) },
    };
    struct uqm_source *s = open_recipe(dir, LINEAR "base_model: a\ntokenizer_source: base\n");
    check_rows(s, want, 4, 64);
    uqm_source_destroy(&s);
    test_rm(dir);
}

static void another_models_tokenizer_may_be_taken(void **state)
{
    (void) state;
    char *dir = start();
    static const struct from want[][N_MODELS] = {
        { TWO(1, 2, 2, 0), ONE(1, 2), ONE(2, 0) }, /* v */
        { ONE(0, 1), TWO(0, 1, 2, 1), ONE(2, 1) }, /* y */
        { TWO(1, 4, 2, 2), ONE(1, 4), ONE(2, 2) }, /* w */
        { TWO(1, 5, 2, 3), ONE(1, 5), ONE(2, 3) }, /* <b> */
    };
    struct uqm_source *s = open_recipe(dir, LINEAR "tokenizer_source: c\n");
    check_rows(s, want, 4, 64);
    uqm_source_destroy(&s);
    test_rm(dir);
}

static void tokens_say_where_rows_come_from(void **state)
{
    (void) state;
    char *dir = start();
    static const struct from want[][N_MODELS] = {
        { ONE(0, 0), ONE(1, 3), ONE(0, 0) }, /* x: c gets a's */
        { ONE(2, 1), ONE(2, 1), ONE(2, 1) }, /* y: c's by force */
        { ONE(0, 2), ONE(1, 1), NOTHING },   /* z: zeros */
        { ONE(0, 3), ONE(1, 0), ONE(1, 5) }, /* <s>: b's row 5 */
        { ONE(1, 4), ONE(1, 4), ONE(1, 4) }, /* <new>: b's w */
    };
    struct uqm_source *s =
        open_recipe(dir, LINEAR "tokenizer:\n  source: base\n  tokens:\n"
                                "    x: {source: a}\n    y: {source: c, force: true}\n"
                                "    z: {source: {kind: zero}}\n"
                                "    <s>: {source: {kind: model_token, model: b, token_id: 5}}\n"
                                "    <new>: {source: {kind: model_token, model: b, token: w}}\n");
    check_rows(s, want, 5, 64);
    uqm_source_destroy(&s);
    test_rm(dir);
}

static void padding_rows_are_the_mean_of_the_real_ones(void **state)
{
    (void) state;
    char *dir = start();
    struct uqm_source *s = open_recipe(dir, "merge_method: passthrough\nmodels: [{model: a}]\n"
                                            "tokenizer: {source: base, pad_to_multiple_of: 6}\n");
    uint8_t **all = read_all(s, 64);
    long at = uqm_source_find(s, "language_model.lm_head.weight");
    assert_int_equal(s->tensors[at].shape[0], 6);
    for (size_t c = 0; c < DIM; c++) {
        double mean = 0;
        float got;
        for (size_t r = 0; r < 4; r++)
            mean += (double) element(0, r, c) / 4;
        for (size_t r = 4; r < 6; r++) {
            memcpy(&got, all[at] + (r * DIM + c) * 4, 4);
            assert_true(got == (float) mean);
        }
    }
    free_all(all, s->n_tensors);
    uqm_source_destroy(&s);
    test_rm(dir);
}

/* --- files --- */

static void merge_ok(const char *dir, const char *text)
{
    struct uqm_err err = { 0 };
    char from[512], to[512], *json = NULL;
    write_text(in_dir(dir, "r.yml"), text);
    snprintf(from, sizeof from, "%s/r.yml", dir);
    snprintf(to, sizeof to, "%s/out", dir);
    struct uqm_merge_params params = { .common = { .memory = 64 << 20, .n_threads = 2 },
                                       .recipe_path = from,
                                       .out_dir = to,
                                       .overwrite = true };
    assert_ok(uqm_merge(&json, &params, &err), err);
    free(json);
}

static char *output(const char *dir, const char *name)
{
    char *text;
    size_t len;
    struct uqm_err err = { 0 };
    assert_ok(uqm_read_file(&text, &len, in_dir(dir, "out/%s", name), 1 << 20, &err), err);
    return text;
}

static json_t *output_json(const char *dir, const char *name)
{
    char *text = output(dir, name);
    json_t *doc = json_loads(text, 0, NULL);
    if (!doc)
        fail_msg("%s is no JSON: %s", name, text);
    free(text);
    return doc;
}

static void the_tokenizer_of_the_output_has_all_tokens(void **state)
{
    (void) state;
    char *dir = start();
    merge_ok(dir, LINEAR "tokenizer: {source: union, tokens: {'new \"one\"': {source: {kind: "
                         "zero}}}}\n");
    json_t *doc = output_json(dir, "tokenizer.json"), *list = json_object_get(doc, "added_tokens");
    static const struct {
        int id;
        const char *text;
        bool special;
    } want[] = { { 3, "<s>", true },
                 { 4, "v", false },
                 { 5, "w", false },
                 { 6, "<b>", true },
                 { 7, "new \"one\"", false } };
    assert_int_equal(json_array_size(list), 5);
    for (size_t i = 0; i < 5; i++) {
        const json_t *t = json_array_get(list, i);
        assert_int_equal(json_integer_value(json_object_get(t, "id")), want[i].id);
        assert_string_equal(json_string_value(json_object_get(t, "content")), want[i].text);
        assert_int_equal(json_is_true(json_object_get(t, "special")), want[i].special);
    }
    assert_int_equal(json_object_size(json_object_get(json_object_get(doc, "model"), "vocab")), 4);
    json_decref(doc);
    char *config = output(dir, "config.json");
    assert_non_null(strstr(config, "\"vocab_size\": 8,"));
    free(config);
    config = output(dir, "tokenizer_config.json");
    assert_string_equal(config, "{\"model_max_length\": 1000000000000000019884624838656}\n");
    free(config);
    test_rm(dir);
}

/* LLaMA's are: the model's own <unk>, <s>, </s>, said once more to be special. */
static void a_new_token_takes_no_number_of_a_vocabulary_that_has_special_ones(void **state)
{
    (void) state;
    char *dir = start();
    write_text(in_dir(dir, "a/tokenizer.json"), "{\"added_tokens\":[" SPECIAL(0, "<s>") "]," MODEL(
                                                    "\"<s>\":0,\"x\":1,\"y\":2,\"z\":3") "}");
    merge_ok(dir, "merge_method: linear\nmodels: [{model: a, parameters: {weight: 1}}]\n"
                  "tokenizer: {source: base, tokens: {new: {source: {kind: zero}}}}\n");
    json_t *doc = output_json(dir, "tokenizer.json"), *list = json_object_get(doc, "added_tokens");
    assert_int_equal(json_array_size(list), 2);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 1), "id")), 4);
    json_decref(doc);
    test_rm(dir);
}

static void tokens_without_a_row_are_stripped(void **state)
{
    (void) state;
    char *dir = start();
    merge_ok(dir, "merge_method: passthrough\nmodels: [{model: b}]\ntokenizer_source: base\n");
    json_t *doc = output_json(dir, "tokenizer.json"), *list = json_object_get(doc, "added_tokens");
    assert_int_equal(json_array_size(list), 2); /* <far> went */
    json_decref(doc);
    write_text(in_dir(dir, "b/tokenizer.json"), "{" MODEL("\"x\":0,\"far\":6") "}");
    refused(dir, "merge_method: passthrough\nmodels: [{model: b}]\ntokenizer_source: base\n",
            "b/tokenizer.json: token far has the number 6");
    test_rm(dir);
}

static void chat_templates_are_chosen_and_written(void **state)
{
    (void) state;
    char *dir = start(), *text;
    write_text(in_dir(dir, "a/tokenizer_config.json"),
               "{\"x\": 1, \"chat_template\": \"the template of a {{ x }}\", \"y\": 2}");
    write_text(in_dir(dir, "b/chat_template.jinja"), "  the others' {{ template }}\n");
    write_text(in_dir(dir, "c/tokenizer_config.json"),
               "{\"chat_template\": [{\"name\": \"tool\", \"template\": \"no\"}, {\"name\": "
               "\"default\", \"template\": \"the others' {{ template }}\"}]}");
    merge_ok(dir, LINEAR "tokenizer_source: base\nchat_template: auto\n");
    text = output(dir, "chat_template.jinja");
    assert_string_equal(text, "the others' {{ template }}");
    free(text);
    text = output(dir, "tokenizer_config.json");
    assert_string_equal(text, "{\"x\": 1, \"y\": 2}");
    free(text);
    merge_ok(dir, LINEAR "tokenizer_source: base\nchat_template: 'mine, {{ literally }} so'\n");
    text = output(dir, "chat_template.jinja");
    assert_string_equal(text, "mine, {{ literally }} so");
    free(text);
    test_rm(dir);
}

/* tests/golden/render_chat_templates.py holds what they render to against the formats. */
static void built_in_chat_templates_are_those_that_were_rendered(void **state)
{
    (void) state;
    char *dir = start(), recipe[400];
    json_t *golden = json_load_file(data_path("golden/chat_templates.json"), 0, NULL), *one;
    const char *name;
    assert_int_equal(json_object_size(json_object_get(golden, "templates")), 5);
    json_object_foreach (json_object_get(golden, "templates"), name, one) {
        snprintf(recipe, sizeof recipe,
                 "merge_method: passthrough\nmodels: [{model: a}]\nchat_template: %s\n", name);
        merge_ok(dir, recipe);
        char *text = output(dir, "chat_template.jinja");
        assert_string_equal(text, json_string_value(json_object_get(one, "template")));
        free(text);
    }
    json_decref(golden);
    test_rm(dir);
}

static void sentencepiece_gets_its_tokens_beside_it(void **state)
{
    (void) state;
    char *dir = test_mkdtemp(), recipe[3000];
    snprintf(
        recipe, sizeof recipe,
        "merge_method: linear\nparameters: {weight: 1}\nmodels:\n  - model: %s\n"
        "  - model: %s\ntokenizer: {source: union, tokens: {<seen>: {source: {kind: zero}}}}\n",
        zoo_path("models/reason"), zoo_path("models/know"));
    merge_ok(dir, recipe);
    json_t *added = output_json(dir, "added_tokens.json");
    json_int_t id = json_integer_value(json_object_get(added, "<seen>"));
    json_t *config = output_json(dir, "config.json");
    json_t *where = json_object_get(config, "text_config");
    if (!json_object_get(where, "vocab_size"))
        where = config;
    assert_true(id > 100);
    assert_int_equal(json_integer_value(json_object_get(where, "vocab_size")), id + 1);
    json_decref(added);
    json_decref(config);
    test_rm(dir);
}

/* A warning, seen as what --strict makes of it. */
static void warned_of(const char *dir, const char *text, const char *why)
{
    struct uqm_err err = { 0 };
    char from[512], to[512], *json = NULL;
    write_text(in_dir(dir, "r.yml"), text);
    snprintf(from, sizeof from, "%s/r.yml", dir);
    snprintf(to, sizeof to, "%s/strict", dir);
    struct uqm_merge_params params = {
        .common = { .memory = 64 << 20, .n_threads = 1, .strict = true },
        .recipe_path = from,
        .out_dir = to,
    };
    int ret = uqm_merge(&json, &params, &err);
    if (ret != UQM_ERR_FORMAT || !strstr(err.msg, why))
        fail_msg("%d: \"%s\" lacks \"%s\"", ret, err.msg, why);
    free(json);
}

static void what_is_done_all_the_same_is_warned_of(void **state)
{
    (void) state;
    char *dir = start();
    warned_of(dir, LINEAR "chat_template: auto\n",
              "r.yml:4: chat_template auto: no model has a chat template");
    warned_of(dir, LINEAR "tokenizer: {source: base, tokens: {<none>: {}}}\n",
              "r.yml: no model has a row for 1 of the tokens: zeros; the first: <none>");
    unlink(in_dir(dir, "b/tokenizer.json"));
    warned_of(dir, LINEAR "tokenizer_source: base\n", "it is taken to have that of a");
    write_text(in_dir(dir, "a/config.json"), "{\"architectures\":[\"LlamaForCausalLM\"]}");
    warned_of(dir, "merge_method: passthrough\nmodels: [{model: a}]\ntokenizer_source: base\n",
              "config.json of a has no vocab_size: the output's, 4, has to be put right by hand");
    test_rm(dir);
}

static void what_cannot_be_done_is_said(void **state)
{
    (void) state;
    char *dir = start();
    refused(dir, LINEAR "tokenizer: {source: base, tokens: {x: {source: c}}}\n",
            "token x: model c has no row for x");
    refused(dir,
            LINEAR "tokenizer: {source: base, tokens: {x: {source: {kind: model_token, model: a, "
                   "token_id: 4}}}}\n",
            "token_id 4: model a has 4 rows");
    refused(dir, LINEAR "tokenizer_source: nowhere\n", "nowhere: no such folder");
    write_text(in_dir(dir, "b/tokenizer.json"), "{");
    refused(dir, LINEAR "tokenizer_source: union\n", "b/tokenizer.json");
    write_text(in_dir(dir, "inner.yml"), "merge_method: passthrough\nmodels: [{model: c}]\n");
    refused(dir,
            "merge_method: linear\nparameters: {weight: 1}\ntokenizer_source: base\n"
            "models: [{model: a}, {model: inner.yml}]\n",
            "model inner.yml is a recipe");
    write_text(in_dir(dir, "a/tokenizer.json"),
               "{\"added_tokens\":7," MODEL("\"x\":0,\"y\":1,\"z\":2") "}");
    refused(dir, LINEAR "tokenizer_source: union\n",
            "a/tokenizer.json: byte 16: added_tokens: expected [");
    test_rm(dir);
}

/* Model b, whose head is another tensor than its embedding. */
static void make_b(const char *dir, struct made_tensor head)
{
    static const float zeros[MOST_ROWS * (DIM + 1)];
    head.name = "lm_head.weight";
    head.rank = 2;
    head.data = zeros;
    const struct made_tensor t[] = {
        { "model.embed_tokens.weight", UQM_F32, 2, { 6, DIM }, zeros },
        head,
        { "model.norm.weight", UQM_F32, 1, { DIM }, zeros },
    };
    make_model(dir, "b", "{\"architectures\":[\"LlamaForCausalLM\"],\"vocab_size\": 6}", t, 3);
}

static void tensors_that_do_not_fit_the_vocabulary_are_named(void **state)
{
    (void) state;
    char *dir = start();
    const char *takes_row =
        LINEAR "tokenizer: {source: base, tokens: {x: {source: {kind: model_token, model: b, "
               "token_id: 5}, force: true}}}\n";
    make_b(dir, (struct made_tensor){ .dtype = UQM_F32, .shape = { 6, DIM } });
    uqm_source_destroy(&(struct uqm_source *){ open_recipe(dir, takes_row) });
    make_b(dir, (struct made_tensor){ .dtype = UQM_F32, .shape = { 4, DIM } });
    refused(dir, takes_row,
            "r.yml: a token's row is to come from model b, which has no such row of one of the");
    make_b(dir, (struct made_tensor){ .dtype = UQM_F32, .shape = { 6, DIM + 1 } });
    refused(dir, takes_row,
            "tensor lm_head.weight: its rows in b are not those of a: another shape or type");
    make_b(dir, (struct made_tensor){ .dtype = UQM_I32, .shape = { 6, DIM } });
    refused(dir, takes_row,
            "tensor lm_head.weight: its rows in b are not those of a: another shape or type");
    test_rm(dir);
}

static void vocabularies_beyond_the_embedding_are_refused(void **state)
{
    (void) state;
    char *dir = start();
    write_text(in_dir(dir, "a/tokenizer.json"),
               "{\"added_tokens\":[]," MODEL("\"x\":0,\"y\":1,\"z\":7") "}");
    refused(dir, LINEAR "tokenizer_source: base\n",
            "token z has the number 7, but the model's embedding has 4 rows; only added tokens");
    write_text(in_dir(dir, "a/tokenizer.json"), "{\"added_tokens\":[]," MODEL("") "}");
    refused(dir, LINEAR "tokenizer_source: base\n", "r.yml:4: a vocabulary of 0 rows");
    test_rm(dir);
}

static void rows_that_are_cut_off_are_warned_of(void **state)
{
    (void) state;
    struct uqm_source *s = NULL;
    struct uqm_err err = { 0 };
    char *dir = start();
    struct uqm_env *env = test_env(64 << 20, 1);
    const struct uqm_open_params cut = { .truncate_embeddings = true };
    env->strict = true;
    write_text(in_dir(dir, "r.yml"), "merge_method: linear\nparameters: {weight: 1}\n"
                                     "models: [{model: b}, {model: a}]\n");
    assert_fails(uqm_model_open(&s, env, in_dir(dir, "r.yml"), &cut, &err), err, UQM_ERR_FORMAT,
                 "4 of 6 rows are written, but vocab_size in config.json stays as it is");
    env->strict = false;
    test_rm(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_union_keeps_the_first_models_numbers_and_appends_by_number),
        cmocka_unit_test(with_a_base_its_rows_stand_in),
        cmocka_unit_test(another_models_tokenizer_may_be_taken),
        cmocka_unit_test(tokens_say_where_rows_come_from),
        cmocka_unit_test(padding_rows_are_the_mean_of_the_real_ones),
        cmocka_unit_test(the_tokenizer_of_the_output_has_all_tokens),
        cmocka_unit_test(a_new_token_takes_no_number_of_a_vocabulary_that_has_special_ones),
        cmocka_unit_test(tokens_without_a_row_are_stripped),
        cmocka_unit_test(chat_templates_are_chosen_and_written),
        cmocka_unit_test(built_in_chat_templates_are_those_that_were_rendered),
        cmocka_unit_test(sentencepiece_gets_its_tokens_beside_it),
        cmocka_unit_test(what_is_done_all_the_same_is_warned_of),
        cmocka_unit_test(what_cannot_be_done_is_said),
        cmocka_unit_test(tensors_that_do_not_fit_the_vocabulary_are_named),
        cmocka_unit_test(vocabularies_beyond_the_embedding_are_refused),
        cmocka_unit_test(rows_that_are_cut_off_are_warned_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
