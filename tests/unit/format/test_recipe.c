#include "src/format/recipe.h"

#include "tests/unit/test.h"

struct heard {
    int n;
    int stop; /* returned by the callback */
    char last[512];
};

static int hear(void *ctx, const char *line)
{
    struct heard *h = ctx;
    h->n++;
    snprintf(h->last, sizeof h->last, "%s", line);
    return h->stop;
}

static int parse(struct uqm_recipe **r, const char *text, struct heard *h, struct uqm_err *err)
{
    *r = NULL;
    return uqm_recipe_parse(r, text, strlen(text), "dir/file.yml", hear, h, err);
}

static struct uqm_recipe *good(const char *text)
{
    struct uqm_recipe *r;
    struct heard h = { 0 };
    struct uqm_err err = { 0 };
    assert_ok(parse(&r, text, &h, &err), err);
    if (h.n)
        fail_msg("unexpected warning: %s", h.last);
    return r;
}

/* For input i of the first slice, or per output where i < 0. */
static int resolve(double *v, const struct uqm_recipe *r, const char *param, int i,
                   const char *tensor, double t, struct uqm_err *err)
{
    const struct uqm_recipe_slice *s = &r->modules[0].slices[0];
    const struct uqm_recipe_place place = {
        .module = &r->modules[0],
        .slice = s,
        .input = i < 0 ? NULL : &s->inputs[i],
        .tensor = tensor,
        .t = t,
    };
    return uqm_recipe_resolve(v, r, uqm_method_param(r->method, param), &place, err);
}

#define HEAD "merge_method: linear\nmodels:\n  - model: a\n"

static void a_plain_recipe_reads_as_written(void **state)
{
    (void) state;
    struct uqm_recipe *r = good("merge_method: linear\n"
                                "models:\n"
                                "  - model: a\n"
                                "    parameters: {weight: 0.5}\n"
                                "  - model: dir/b\n"
                                "    parameters:\n"
                                "      weight: 2\n"
                                "base_model: c\n"
                                "dtype: torch.bfloat16\n"
                                "out_dtype: float32\n"
                                "name: x\n"
                                "parameters: {weight: 1e-5, normalize: off}\n");
    double v;
    struct uqm_err err = { 0 };
    assert_string_equal(r->name, "file");
    assert_string_equal(r->method->pretty, "Linear");
    assert_int_equal(r->n_models, 3);
    assert_string_equal(r->models[1].path, "dir/b");
    assert_string_equal(r->models[2].path, "c");
    assert_int_equal(r->base, 2);
    assert_true(r->has_dtype && r->dtype == UQM_BF16);
    assert_true(r->has_out_dtype && r->out_dtype == UQM_F32);
    assert_ok(resolve(&v, r, "weight", 0, "t", 0, &err), err);
    assert_true(v == 0.5);
    assert_ok(resolve(&v, r, "weight", 1, "t", 0, &err), err);
    assert_true(v == 2);
    assert_ok(resolve(&v, r, "weight", 2, "t", 0, &err), err);
    assert_true(v == 1e-5); /* a string to YAML 1.1, a number to us */
    assert_ok(resolve(&v, r, "normalize", -1, "t", 0, &err), err);
    assert_true(v == 0);
    uqm_recipe_free(&r);
    assert_null(r);
}

static void a_listed_base_is_not_added_again(void **state)
{
    (void) state;
    struct uqm_recipe *r = good(HEAD "  - model: b\nbase_model: a\n");
    assert_int_equal(r->n_models, 2);
    assert_int_equal(r->base, 0);
    uqm_recipe_free(&r);
}

static void normalize_defaults_to_true_and_a_missing_weight_is_named(void **state)
{
    (void) state;
    double v;
    struct uqm_err err = { 0 };
    struct uqm_recipe *r = good(HEAD);
    assert_ok(resolve(&v, r, "normalize", -1, "t", 0, &err), err);
    assert_true(v == 1);
    assert_fails(resolve(&v, r, "weight", 0, "t.weight", 0, &err), err, UQM_ERR_FORMAT,
                 "dir/file.yml:3: Missing required parameter weight for a, tensor t.weight");
    uqm_recipe_free(&r);
    r = good("merge_method: linear\nmodels: [{model: \"a\\nb\"}]\n");
    assert_string_equal(r->models[0].path, "a\nb");
    assert_fails(resolve(&v, r, "weight", 0, "t", 0, &err), err, UQM_ERR_FORMAT,
                 ":2: Missing required parameter weight for a\\x0Ab, tensor t");
    uqm_recipe_free(&r);
}

static double weight(const struct uqm_recipe *r, const char *tensor, double t)
{
    double v = -1;
    struct uqm_err err = { 0 };
    assert_ok(resolve(&v, r, "weight", 0, tensor, t, &err), err);
    return v;
}

static void filters_are_tried_in_order_then_the_next_level(void **state)
{
    (void) state;
    struct uqm_recipe *r = good(HEAD "    parameters:\n"
                                     "      weight:\n"
                                     "        - {filter: mlp, value: 0.25}\n"
                                     "        - {filter: self_attn, value: [0, 1]}\n"
                                     "parameters:\n"
                                     "  weight:\n"
                                     "    - {filter: lm_head, value: 3}\n"
                                     "    - {filter: '*', value: 4}\n"
                                     "    - value: 5\n");
    assert_true(weight(r, "l.0.mlp.w", 0) == 0.25);
    assert_true(weight(r, "l.0.self_attn.w", 0.75) == 0.75);
    assert_true(weight(r, "lm_head.weight", 0) == 3);
    assert_true(weight(r, "norm", 0) == 4);
    uqm_recipe_free(&r);
}

static void a_ramp_is_linear_between_its_values(void **state)
{
    (void) state;
    struct uqm_recipe *r = good(HEAD "    parameters: {weight: [0.0, 0.6, 1.0]}\n"
                                     "parameters: {normalize: [1.0, no, 'on']}\n");
    double v;
    struct uqm_err err = { 0 };
    assert_true(weight(r, "t", 0) == 0);
    assert_true(weight(r, "t", 1) == 1);
    assert_true(weight(r, "t", 0.5) == 0.6);
    double x = 1.0 / 3 * 2; /* layer 1 of 4 */
    assert_true(weight(r, "t", 1.0 / 3) == (1 - x) * 0.0 + x * 0.6);
    static const double want[] = { 1, 0, 1 };
    for (int i = 0; i < 3; i++) {
        assert_ok(resolve(&v, r, "normalize", -1, "t", i / 2.0, &err), err);
        assert_true(v == want[i]);
    }
    uqm_recipe_free(&r);
}

static void an_empty_list_settles_nothing(void **state)
{
    (void) state;
    static const char *const lists[] = { "[]", "[{filter: t, value: []}, {value: 5}]",
                                         "{filter: u, value: 5}" };
    for (size_t i = 0; i < 3; i++) {
        char text[256];
        snprintf(text, sizeof text, HEAD "    parameters: {weight: %s}\nparameters: {weight: 7}\n",
                 lists[i]);
        struct uqm_recipe *r = good(text);
        assert_true(weight(r, "t", 0) == 7);
        uqm_recipe_free(&r);
    }
}

static void a_single_filter_needs_no_list(void **state)
{
    (void) state;
    struct uqm_recipe *r = good(HEAD "    parameters: {weight: {filter: mlp, value: [1, 3]}}\n"
                                     "parameters: {weight: {value: 9}}\n");
    assert_true(weight(r, "mlp", 0.5) == 2);
    assert_true(weight(r, "attn", 0.5) == 9);
    uqm_recipe_free(&r);
}

static void a_ramp_of_whole_numbers_must_give_whole_numbers(void **state)
{
    (void) state;
    double v;
    struct uqm_err err = { 0 };
    struct uqm_recipe *r = good("merge_method: karcher\nmodels: [{model: a}]\n"
                                "parameters: {max_iter: [2, 4], tol: '1e-3'}\n");
    assert_ok(resolve(&v, r, "max_iter", -1, "t", 0.5, &err), err);
    assert_true(v == 3);
    assert_ok(resolve(&v, r, "tol", -1, "t", 0.5, &err), err);
    assert_true(v == 1e-3);
    assert_fails(resolve(&v, r, "max_iter", -1, "t", 0.25, &err), err, UQM_ERR_FORMAT,
                 "dir/file.yml:3: max_iter: 2.5 is no whole number");
    uqm_recipe_free(&r);
}

static void a_model_can_be_a_mapping_with_any_path(void **state)
{
    (void) state;
    struct uqm_recipe *r = good("merge_method: linear\n"
                                "models:\n"
                                "  - model: {model: {path: 'a+b@c'}, override_architecture: X}\n"
                                "  - model: &m {model: d}\n"
                                "base_model: *m\n");
    assert_string_equal(r->models[0].path, "a+b@c");
    assert_string_equal(r->models[0].architecture, "X");
    assert_string_equal(r->models[1].path, "d");
    assert_int_equal(r->base, 1);
    uqm_recipe_free(&r);
}

static void vision_towers_may_be_merged_or_copied_on_request(void **state)
{
    (void) state;
    struct uqm_recipe *r = good(HEAD);
    assert_int_equal(r->vision, UQM_VISION_MUST_AGREE);
    uqm_recipe_free(&r);
    r = good(HEAD "uqmerge: {vision: merge}\n");
    assert_int_equal(r->vision, UQM_VISION_MERGE);
    uqm_recipe_free(&r);
    r = good(HEAD "uqmerge: {vision: copy}\n");
    assert_int_equal(r->vision, UQM_VISION_COPY);
    uqm_recipe_free(&r);
}

/* Against PyYAML's reading of the same. */
static void a_folded_text_is_joined_to_lines(void **state)
{
    (void) state;
    struct uqm_recipe *r =
        good(HEAD "chat_template: >-\n  {{ one\n  two\n\n  three\n\n\n  four }}\n"
                  "name: >-\n  a\n  b\n");
    assert_string_equal(r->chat_template, "{{ one two\nthree\n\nfour }}");
    assert_string_equal(r->title, "a b");
    uqm_recipe_free(&r);
}

static void every_word_for_true_and_false_is_read(void **state)
{
    (void) state;
    static const char *const words[][2] = { { "yes", "no" },        { "On", "OFF" }, { "1", "0" },
                                            { "1.0", "0.0" },       { "y", "n" },    { "T", "F" },
                                            { "'true'", "'false'" } };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        for (int no = 0; no < 2; no++) {
            char text[128];
            double v;
            struct uqm_err err = { 0 };
            snprintf(text, sizeof text, HEAD "parameters: {normalize: %s}\n", words[i][no]);
            struct uqm_recipe *r = good(text);
            assert_ok(resolve(&v, r, "normalize", -1, "x", 0, &err), err);
            assert_true(v == !no);
            uqm_recipe_free(&r);
        }
}

/* As PyYAML reads them: what stands in the mapping itself goes first, then the list's order. */
static void merge_keys_bring_what_is_not_there(void **state)
{
    (void) state;
    struct uqm_recipe *r =
        good("merge_method: breadcrumbs\nbase_model: o\nmodels:\n"
             "  - model: a\n    parameters: &a {weight: 1, density: 2}\n"
             "  - model: b\n    parameters: &b\n      gamma: 3\n      <<: *a\n      weight: 4\n"
             "  - model: c\n    parameters: {<<: [{gamma: 5}, *b, {density: 6}]}\n");
    static const double want[3][3] = { { 1, 2, -1 }, { 4, 2, 3 }, { 4, 2, 5 } };
    static const char *const names[] = { "weight", "density", "gamma" };
    for (size_t i = 0; i < 3; i++) {
        const struct uqm_settings *s = &r->modules[0].slices[0].inputs[i].settings;
        size_t n_known = 0;
        for (size_t k = 0; k < 3; k++)
            for (size_t j = 0; j < s->n; j++)
                if (strcmp(s->v[j].param->name, names[k]) == 0) {
                    assert_true(s->v[j].entries[0].values[0].number == want[i][k]);
                    n_known++;
                }
        assert_int_equal(n_known, i == 0 ? 2 : 3);
    }
    uqm_recipe_free(&r);
}

/* 300 mappings of 300 keys that nobody wrote. */
static void merge_keys_do_not_make_a_document_larger_than_it_may_be(void **state)
{
    (void) state;
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    assert_non_null(f);
    fputs(HEAD "x: &x {", f);
    for (int i = 0; i < 300; i++)
        fprintf(f, "k%d: 1, ", i);
    fputs("}\ny:\n", f);
    for (int i = 0; i < 300; i++)
        fputs("  - {<<: *x}\n", f);
    assert_int_equal(fclose(f), 0);
    struct uqm_recipe *r;
    struct heard h = { 0 };
    struct uqm_err err = { 0 };
    assert_int_equal(parse(&r, text, &h, &err), UQM_ERR_FORMAT);
    assert_non_null(strstr(err.msg, "more than 65536 values"));
    free(text);
}

static void an_empty_list_beside_another_counts_as_absent(void **state)
{
    (void) state;
    struct uqm_recipe *r = good(HEAD "slices: []\nmodules: {}\n");
    assert_int_equal(r->modules[0].slices[0].n_inputs, 1);
    uqm_recipe_free(&r);
}

static void an_explicit_null_counts_as_absent(void **state)
{
    (void) state;
    struct uqm_recipe *r =
        good(HEAD "slices: null\nbase_model: ~\ndtype:\nparameters: {normalize: null}\n");
    assert_int_equal(r->base, -1);
    assert_false(r->has_dtype);
    uqm_recipe_free(&r);
}

static void every_error_names_its_line(void **state)
{
    (void) state;
    static const struct {
        const char *text;
        int code;
        const char *message;
    } cases[] = {
        { "", UQM_ERR_FORMAT, "dir/file.yml:1: the document is empty" },
        { "# nothing\n", UQM_ERR_FORMAT, "dir/file.yml:1: the document is empty" },
        { "- a\n", UQM_ERR_FORMAT, ":1: a recipe is a mapping" },
        { "models:\n  - model: a\n", UQM_ERR_FORMAT, ":1: merge_method is missing" },
        { "a: [1\nb: 2\n", UQM_ERR_FORMAT, "not YAML" },
        { "merge_method: linear\nmodels: [{model: \"a\\nb\"}, {model: \"a\\nb\"}]\n",
          UQM_ERR_FORMAT, ":2: model a\\x0Ab stands here twice" },
        { "merge_method: linear\nname: \"x\\x7f\"\nmodels: [{model: a}]\n", UQM_ERR_FORMAT,
          ":2: name x\\x7F: a control character in it" },
        { HEAD "    parameters: {weight: [{filter: \"a\\tb\", value: 1}]}\n", UQM_ERR_FORMAT,
          ":4: filter a\\x09b: a control character in it" },
        /* libfyaml's own text of this has its last line missing, and bytes never written. */
        { "merge_method: linear\nmodels:\n  - model: >\n    ps:\n      f: 0.5\n      w:\n"
          "        - lp\n      : 0.5\n",
          UQM_ERR_UNSUPPORTED, ":4: a folded text (>) with lines indented more than its first" },
        { "models: []\nmerge_method: lineer\n", UQM_ERR_FORMAT,
          ":2: Unimplemented merge method lineer; did you mean linear?" },
        { "merge_method: qqqqqqqq\n", UQM_ERR_FORMAT, ":1: Unimplemented merge method qqqqqqqq" },
        { "merge_method: [linear]\n", UQM_ERR_FORMAT, ":1: merge_method: a name is wanted" },
        { "merge_method: linear\n", UQM_ERR_FORMAT, ":1: exactly one of models" },
        { "merge_method: linear\nmodels: []\n", UQM_ERR_FORMAT, ":2: models: a list" },
        { "merge_method: linear\nmodels: 3\n", UQM_ERR_FORMAT, ":2: models: a list" },
        { HEAD "slices:\n  - 1\n", UQM_ERR_FORMAT,
          ":5: exactly one of models, slices, modules must be there, but here are models and sl" },
        { HEAD "  - b\n", UQM_ERR_FORMAT, ":4: models: each entry" },
        { HEAD "  - parameters: {weight: 1}\n", UQM_ERR_FORMAT, ":4: this entry has no model" },
        { HEAD "  - model: a\n", UQM_ERR_FORMAT,
          ":4: model a stands here twice (first in line 3)" },
        { HEAD "  - model: b+c\n", UQM_ERR_UNSUPPORTED, ":4: model b+c: LoRA" },
        { HEAD "  - model: b+c+d\n", UQM_ERR_FORMAT, ":4: model b+c+d: a second +" },
        { HEAD "  - model: b@c\n", UQM_ERR_UNSUPPORTED, ":4: model b@c: models are local" },
        { HEAD "  - model: b@c@d\n", UQM_ERR_FORMAT, ":4: model b@c@d: a second @" },
        { HEAD "  - model: b@c+d@e@f\n", UQM_ERR_FORMAT, ":4: model b@c+d@e@f: a second @" },
        { HEAD "  - model: b@c+d@e\n", UQM_ERR_UNSUPPORTED, ":4: model b@c+d@e: LoRA" },
        { HEAD "  - model: ''\n", UQM_ERR_FORMAT, ":4: model: the path is empty" },
        { HEAD "  - model: {lora: ~}\n", UQM_ERR_FORMAT, ":4: model: its path is missing" },
        { HEAD "  - model: {model: b, override_architecture: X}\n"
               "base_model: {model: b, override_architecture: Y}\n",
          UQM_ERR_FORMAT, ":5: model b: override_architecture is Y here, but X in line 4" },
        { HEAD "name: ''\n", UQM_ERR_FORMAT, ":4: name: it is empty" },
        { HEAD "name: [a]\n", UQM_ERR_FORMAT, ":4: name: a string is wanted" },
        { HEAD "  - model: {model: b, lora: c}\n", UQM_ERR_UNSUPPORTED, ":4: lora:" },
        { HEAD "  - model: {model: {path: b, revision: c}}\n", UQM_ERR_UNSUPPORTED,
          ":4: revision:" },
        { HEAD "dtype: float23\n", UQM_ERR_FORMAT, ":4: dtype: unknown type float23; float" },
        { HEAD "out_dtype: int64\n", UQM_ERR_UNSUPPORTED, ":4: out_dtype: weights are not" },
        { HEAD "uqmerge: 3\n", UQM_ERR_FORMAT, ":4: uqmerge: a mapping is wanted" },
        { HEAD "? [a]\n: 1\n", UQM_ERR_FORMAT, ":4: a key must be a word" },
        { HEAD "uqmerge: {vision: average}\n", UQM_ERR_FORMAT, ":4: uqmerge vision: merge or" },
        { HEAD "parameters: 3\n", UQM_ERR_FORMAT, ":4: parameters: a mapping" },
        { HEAD "parameters:\n  weight: high\n", UQM_ERR_FORMAT, ":5: weight: \"high\" is not a" },
        { HEAD "parameters: {weight: true}\n", UQM_ERR_FORMAT, ":4: weight: \"true\" is not a" },
        { HEAD "parameters: {weight: .inf}\n", UQM_ERR_FORMAT, ":4: weight: .inf is not a finite" },
        { HEAD "parameters: {weight: 0x1p3}\n", UQM_ERR_FORMAT, ":4: weight: \"0x1p3\" is not" },
        { HEAD "parameters: {weight: [1, [2]]}\n", UQM_ERR_FORMAT, ":4: weight: a single value" },
        { HEAD "parameters: {weight: [{value: 1}, 2]}\n", UQM_ERR_FORMAT, ":4: weight: the list" },
        { HEAD "parameters: {weight: [{filter: x}]}\n", UQM_ERR_FORMAT, "this entry has no value" },
        { "merge_method: karcher\nmodels: [{model: a}]\nparameters: {max_iter: 1.5}\n",
          UQM_ERR_FORMAT, ":3: max_iter: 1.5 is not a whole number" },
        { "merge_method: karcher\nmodels: [{model: a}]\nparameters: {max_iter: .nan}\n",
          UQM_ERR_FORMAT, ":3: max_iter: .nan is not a whole number" },
        { HEAD "parameters: {normalize: x}\n", UQM_ERR_FORMAT, ":4: normalize: \"x\" is" },
        { HEAD "parameters: {normalize: 0.5}\n", UQM_ERR_FORMAT, ":4: normalize: \"0.5\" is" },
        { HEAD "parameters: {normalize: maybe}\n", UQM_ERR_FORMAT,
          ":4: normalize: \"maybe\" is neither true nor" },
        { HEAD "dtype: float16\ndtype: float32\n", UQM_ERR_FORMAT, ":5: key dtype stands here" },
        { HEAD "parameters: !!float 3\n", UQM_ERR_UNSUPPORTED, ":4: tags" },
        { HEAD "parameters: {<<: 3}\n", UQM_ERR_FORMAT, ":4: << takes a mapping, or a list of" },
        { HEAD "parameters:\n  <<: [{weight: 1}, x]\n", UQM_ERR_FORMAT, ":5: << takes a mapping" },
        { HEAD "parameters: {<<: {weight: 1}, <<: {weight: 2}}\n", UQM_ERR_FORMAT,
          ":4: key << stands here twice" },
        { HEAD "parameters: {<<: *p}\n", UQM_ERR_FORMAT, ":4: alias *p" },
        { HEAD "base_model: *nobody\n", UQM_ERR_FORMAT, ":4: alias *nobody" },
        { HEAD "---\nmerge_method: linear\n", UQM_ERR_UNSUPPORTED, ":4: a second document" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct uqm_recipe *r;
        struct heard h = { 0 };
        struct uqm_err err = { 0 };
        int ret = parse(&r, cases[i].text, &h, &err);
        if (ret != cases[i].code || !strstr(err.msg, cases[i].message))
            fail_msg("case %zu: %d \"%s\", wanted %d \"%s\"", i, ret, err.msg, cases[i].code,
                     cases[i].message);
        assert_null(r);
        assert_null(strchr(err.msg, '\n'));
    }
}

static void unknown_names_warn_with_the_nearest_right_one(void **state)
{
    (void) state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        { HEAD "base_modle: a\n",
          ":4: unknown key base_modle is ignored; did you mean base_model?" },
        { HEAD "\"\": a\n", ":4: unknown key \"\" is ignored" },
        { HEAD "zzzzzzzz: a\n", ":4: unknown key zzzzzzzz is ignored" },
        { HEAD "    paramters: {weight: 1}\n",
          ":4: unknown key paramters is ignored; did you mean" },
        { HEAD "    parameters: {wieght: 1}\n",
          "has no parameter wieght, so it is ignored; did you "
          "mean weight?" },
        { HEAD "    parameters: {density: 1}\n", "method linear has no parameter density" },
        { HEAD "    parameters: {normalize: 1}\n", ":4: normalize belongs to the whole merge" },
        { HEAD "uqmerge: {visoin: copy}\n", "did you mean vision?" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct uqm_recipe *r;
        struct heard h = { 0 };
        struct uqm_err err = { 0 };
        assert_ok(parse(&r, cases[i].text, &h, &err), err);
        assert_int_equal(h.n, 1);
        if (!strstr(h.last, cases[i].message))
            fail_msg("\"%s\" lacks \"%s\"", h.last, cases[i].message);
        uqm_recipe_free(&r);

        h = (struct heard){ .stop = UQM_ERR_FORMAT };
        assert_fails(parse(&r, cases[i].text, &h, &err), err, UQM_ERR_FORMAT, cases[i].message);
    }
}

static void bombs_are_refused_in_bounded_memory(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    struct heard h = { 0 };
    struct uqm_recipe *r;
    const size_t cap = 3 << 19;
    char *text = malloc(cap);
    assert_non_null(text);

    /* a ramp of ten thousand values, by alias in a hundred models */
    char *p = text;
    p += sprintf(p, "merge_method: linear\nmodels:\n  - model: m\n    parameters:\n"
                    "      weight: &w [");
    for (int i = 0; i < 10000; i++)
        p += sprintf(p, "1,");
    p += sprintf(p, "1]\n");
    for (int i = 0; i < 100; i++)
        p += sprintf(p, "  - model: m%d\n    parameters: {weight: *w}\n", i);
    assert_fails(parse(&r, text, &h, &err), err, UQM_ERR_FORMAT, "more than 262144 parameter");

    memset(text, '[', 1000);
    text[1000] = '\0';
    assert_int_equal(parse(&r, text, &h, &err), UQM_ERR_FORMAT);

    memset(text, ' ', cap - 1);
    text[cap - 1] = '\0';
    assert_fails(parse(&r, text, &h, &err), err, UQM_ERR_FORMAT, "more than the 1048576 allowed");
    free(text);
}

/* Whatever a recipe is cut to, it parses or fails with a message; nothing else happens. */
static void every_prefix_is_read_or_refused(void **state)
{
    (void) state;
    static const char text[] =
        HEAD "    parameters: {weight: [{filter: mlp, value: [1, 0.5]}, 1]}\n"
             "  - model: {model: {path: \"b\\u0041\"}}\n"
             "uqmerge: {vision: copy}\nparameters: &x\n  normalize: yes\n"
             "base_model: 'a'\ndtype: >-\n  float16\n";
    for (size_t n = 0; n < sizeof text; n++) {
        struct uqm_recipe *r = NULL;
        struct heard h = { 0 };
        struct uqm_err err = { 0 };
        char *copy = malloc(n + 1); /* of exactly this size, for the sanitizer */
        assert_non_null(copy);
        memcpy(copy, text, n);
        if (uqm_recipe_parse(&r, copy, n, "f.yml", hear, &h, &err) < 0) {
            assert_null(r);
            assert_true(strncmp(err.msg, "f.yml:", 6) == 0);
        }
        uqm_recipe_free(&r);
        free(copy);
    }
}

/* libfyaml refuses a document of another version without a word of its own. */
static void another_version_of_yaml_is_refused(void **state)
{
    (void) state;
    struct uqm_recipe *r = NULL;
    struct uqm_err err = { 0 };
    struct heard h = { 0 };
    assert_int_equal(parse(&r, "%YAML 9.9\n---\nmodels: []\n", &h, &err), UQM_ERR_FORMAT);
    assert_string_equal(err.msg, "dir/file.yml:1: not YAML");
    assert_null(r);
}

static void binary_bytes_are_refused(void **state)
{
    (void) state;
    struct uqm_recipe *r = NULL;
    struct heard h = { 0 };
    struct uqm_err err = { 0 };
    static const char nul[] = "merge_method: \"lin\0ear\"\n";
    assert_int_equal(uqm_recipe_parse(&r, nul, sizeof nul - 1, "f.yml", hear, &h, &err),
                     UQM_ERR_FORMAT);
    static const char bad_utf8[] = "merge_method: \xC0\xAF\n";
    assert_int_equal(uqm_recipe_parse(&r, bad_utf8, sizeof bad_utf8 - 1, "f.yml", hear, &h, &err),
                     UQM_ERR_FORMAT);
    static const char directive[] =
        "merge_method: linear\n%models: \xFF\n"; /* no end of scanning */
    err = (struct uqm_err){ 0 };
    assert_fails(uqm_recipe_parse(&r, directive, sizeof directive - 1, "f.yml", hear, &h, &err),
                 err, UQM_ERR_FORMAT, "f.yml:2: byte 0xff is no text in UTF-8");
    assert_null(r);
}

static void a_missing_file_is_named(void **state)
{
    (void) state;
    struct uqm_recipe *r = NULL;
    struct heard h = { 0 };
    struct uqm_err err = { 0 };
    assert_fails(uqm_recipe_load(&r, "/nowhere/x.yml", hear, &h, &err), err, UQM_ERR_IO,
                 "/nowhere/x.yml");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_recipe_reads_as_written),
        cmocka_unit_test(a_listed_base_is_not_added_again),
        cmocka_unit_test(normalize_defaults_to_true_and_a_missing_weight_is_named),
        cmocka_unit_test(filters_are_tried_in_order_then_the_next_level),
        cmocka_unit_test(a_ramp_is_linear_between_its_values),
        cmocka_unit_test(an_empty_list_settles_nothing),
        cmocka_unit_test(a_single_filter_needs_no_list),
        cmocka_unit_test(a_ramp_of_whole_numbers_must_give_whole_numbers),
        cmocka_unit_test(a_model_can_be_a_mapping_with_any_path),
        cmocka_unit_test(vision_towers_may_be_merged_or_copied_on_request),
        cmocka_unit_test(a_folded_text_is_joined_to_lines),
        cmocka_unit_test(every_word_for_true_and_false_is_read),
        cmocka_unit_test(merge_keys_bring_what_is_not_there),
        cmocka_unit_test(merge_keys_do_not_make_a_document_larger_than_it_may_be),
        cmocka_unit_test(an_empty_list_beside_another_counts_as_absent),
        cmocka_unit_test(an_explicit_null_counts_as_absent),
        cmocka_unit_test(every_error_names_its_line),
        cmocka_unit_test(unknown_names_warn_with_the_nearest_right_one),
        cmocka_unit_test(bombs_are_refused_in_bounded_memory),
        cmocka_unit_test(every_prefix_is_read_or_refused),
        cmocka_unit_test(another_version_of_yaml_is_refused),
        cmocka_unit_test(binary_bytes_are_refused),
        cmocka_unit_test(a_missing_file_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
