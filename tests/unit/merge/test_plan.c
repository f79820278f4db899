#include <math.h>

#include "tests/unit/merge/plan_test.h"

#define LLAMA   "{\"architectures\":[\"LlamaForCausalLM\"],\"torch_dtype\":\"float32\"}"
#define MISTRAL "{\"architectures\":[\"MistralForCausalLM\"]}"
#define HEAD    "merge_method: linear\nparameters: {weight: 1}\nmodels:\n"
#define TWO     HEAD "  - model: a\n  - model: b\n"

/* Models a and b, of one tensor w each. */
static void make_twins(const struct plan *p)
{
    struct made_tensor t = vector("w", UQM_F32);
    make_model(p->dir, "a", NULL, &t, 1);
    make_model(p->dir, "b", NULL, &t, 1);
}

static void shapes_that_differ_are_named_with_both_models(void **state)
{
    (void) state;
    struct plan p;
    struct uqm_err err = { 0 };
    start(&p);
    struct made_tensor a = { "model.norm.weight", UQM_F32, 2, { 2, 3 }, numbers };
    struct made_tensor b = { "model.norm.weight", UQM_F32, 2, { 3, 2 }, numbers };
    make_model(p.dir, "a", LLAMA, &a, 1);
    make_model(p.dir, "b", LLAMA, &b, 1);
    assert_fails(try_plan(&p, TWO, NULL, &err), err, UQM_ERR_FORMAT,
                 "tensor model.norm.weight: shape [2, 3] in a, but [3, 2] in b");
    test_rm(p.dir);
}

static void llavas_two_layouts_are_one_architecture(void **state)
{
    (void) state;
    struct plan p;
    start(&p);
    struct made_tensor own = vector("model.norm.weight", UQM_F32);
    struct made_tensor hf = vector("language_model.model.norm.weight", UQM_F32);
    make_model(p.dir, "a", "{\"architectures\":[\"LlavaForConditionalGeneration\"]}", &hf, 1);
    make_model(p.dir, "b", "{\"architectures\":[\"LlavaLlamaForCausalLM\"]}", &own, 1);
    plan(&p, TWO);
    assert_int_equal(p.source->n_tensors, 1);
    assert_string_equal(p.source->tensors[0].name, hf.name);
    done(&p);
    test_rm(p.dir);
}

static void architectures_that_differ_need_permission(void **state)
{
    (void) state;
    struct plan p;
    struct uqm_err err = { 0 };
    struct uqm_open_params crimes = { .allow_crimes = true };
    start(&p);
    struct made_tensor t = vector("model.norm.weight", UQM_F32);
    make_model(p.dir, "a", LLAMA, &t, 1);
    make_model(p.dir, "b", MISTRAL, &t, 1);
    assert_fails(try_plan(&p, TWO, NULL, &err), err, UQM_ERR_FORMAT,
                 "r.yml:5: b is a MistralForCausalLM, but a is a LlamaForCausalLM");
    assert_ok(try_plan(&p, TWO, &crimes, &err), err);
    done(&p);
    plan(&p, HEAD "  - model: a\n  - model: {model: b, override_architecture: LlamaForCausalLM}\n");
    done(&p);
    test_rm(p.dir);
}

static void types_are_promoted_or_as_the_recipe_says(void **state)
{
    (void) state;
    static const struct {
        enum uqm_dtype a, b;
        const char *extra;
        enum uqm_dtype work, out;
    } cases[] = {
        { UQM_F16, UQM_F16, "", UQM_F16, UQM_F16 },
        { UQM_F16, UQM_BF16, "", UQM_F32, UQM_F32 },
        { UQM_F32, UQM_BF16, "", UQM_F32, UQM_F32 },
        { UQM_F64, UQM_BF16, "", UQM_F64, UQM_F64 },
        { UQM_F16, UQM_F16, "dtype: bfloat16\n", UQM_BF16, UQM_BF16 },
        { UQM_F16, UQM_F32, "out_dtype: float16\n", UQM_F32, UQM_F16 },
        { UQM_F64, UQM_F64, "dtype: bfloat16\nout_dtype: float32\n", UQM_BF16, UQM_F32 },
    };
    struct plan p;
    start(&p);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct made_tensor a = vector("w", cases[i].a), b = vector("w", cases[i].b);
        char text[256];
        make_model(p.dir, "a", NULL, &a, 1);
        make_model(p.dir, "b", NULL, &b, 1);
        snprintf(text, sizeof text, "%s%s", TWO, cases[i].extra);
        plan(&p, text);
        assert_int_equal(of(&p, "w")->work, cases[i].work);
        assert_int_equal(tensor(&p, "w")->dtype, cases[i].out);
        assert_int_equal(tensor(&p, "w")->n_bytes, 4 * uqm_dtype_bits(cases[i].out) / 8);
        done(&p);
    }
    test_rm(p.dir);
}

static void a_newer_naming_merges_by_canonical_name_and_keeps_the_homes_spelling(void **state)
{
    (void) state;
    struct plan p;
    start(&p);
    struct made_tensor old[] = { vector("language_model.model.norm.weight", UQM_F16),
                                 vector("language_model.lm_head.weight", UQM_F16) };
    struct made_tensor new[] = { vector("model.language_model.norm.weight", UQM_F16),
                                 vector("lm_head.weight", UQM_F16) };
    make_model(p.dir, "a", NULL, old, 2);
    make_model(p.dir, "b", NULL, new, 2);
    plan(&p, TWO);
    assert_int_equal(p.source->n_tensors, 2);
    assert_string_equal(tensor(&p, "language_model.model.norm.weight")->name,
                        "language_model.model.norm.weight");
    assert_string_equal(of(&p, "language_model.lm_head.weight")->sort_name, "lm_head.weight");
    done(&p);
    plan(&p, TWO "base_model: b\n");
    assert_string_equal(tensor(&p, "language_model.model.norm.weight")->name,
                        "model.language_model.norm.weight");
    assert_int_equal(of(&p, "language_model.model.norm.weight")->n_parts, 2);
    done(&p);
    test_rm(p.dir);
}

static void buffers_of_different_types_are_named(void **state)
{
    (void) state;
    struct plan p;
    struct uqm_err err = { 0 };
    start(&p);
    struct made_tensor a = { "position_ids", UQM_I64, 1, { 3 }, numbers };
    struct made_tensor b = { "position_ids", UQM_I32, 1, { 3 }, numbers };
    make_model(p.dir, "a", LLAMA, &a, 1);
    make_model(p.dir, "b", LLAMA, &b, 1);
    assert_fails(try_plan(&p, TWO, NULL, &err), err, UQM_ERR_FORMAT,
                 "tensor position_ids: I64 in a, but I32 in b; it is not averaged, so all inputs "
                 "must hold the same");
    test_rm(p.dir);
}

static void required_tensors_must_be_everywhere_and_others_are_told(void **state)
{
    (void) state;
    struct plan p;
    struct uqm_err err = { 0 };
    struct uqm_open_params crimes = { .allow_crimes = true };
    start(&p);
    struct made_tensor a[] = { vector("model.norm.weight", UQM_F32), vector("extra", UQM_F32),
                               vector("model.layers.0.mlp.up_proj.weight", UQM_F32) };
    make_model(p.dir, "a", NULL, a, 3);
    make_model(p.dir, "b", NULL, a, 1);
    assert_fails(try_plan(&p, TWO, NULL, &err), err, UQM_ERR_FORMAT,
                 "tensor model.layers.0.mlp.up_proj.weight is in a, but not in b");
    assert_fails(try_plan(&p, HEAD "  - model: b\n  - model: a\n", NULL, &err), err, UQM_ERR_FORMAT,
                 "up_proj.weight is in a, but not in b");
    assert_ok(try_plan(&p, TWO, &crimes, &err), err);
    assert_true(of(&p, "extra")->partial);
    assert_int_equal(of(&p, "extra")->n_parts, 1);
    done(&p);

    make_model(p.dir, "a", NULL, a, 2);
    plan(&p, TWO);
    assert_true(of(&p, "extra")->partial);
    done(&p);
    env->strict = true;
    assert_fails(try_plan(&p, TWO, NULL, &err), err, UQM_ERR_FORMAT,
                 "1 tensors are not in all inputs");
    test_rm(p.dir);
}

static void a_tied_head_is_stood_in_for_by_the_embedding(void **state)
{
    (void) state;
    struct plan p;
    start(&p);
    struct made_tensor embed = { "model.embed_tokens.weight", UQM_F32, 2, { 4, 2 }, numbers };
    struct made_tensor head = { "lm_head.weight", UQM_F32, 2, { 4, 2 }, numbers + 2 };
    struct made_tensor both[] = { embed, head };
    make_model(p.dir, "a", NULL, &embed, 1);
    make_model(p.dir, "b", NULL, both, 2);
    plan(&p, TWO);
    assert_string_equal(tensor(&p, "language_model.lm_head.weight")->name, "lm_head.weight");
    assert_false(of(&p, "language_model.lm_head.weight")->partial);
    uint8_t **all = read_all(p.source, 64);
    const float *got = (const float *) (const void *)
        all[uqm_source_find(p.source, "language_model.lm_head.weight")];
    for (int i = 0; i < 8; i++)
        assert_true(got[i] == (numbers[i] + numbers[i + 2]) / 2);
    free_all(all, p.source->n_tensors);
    done(&p);

    plan(&p, "merge_method: linear\nparameters:\n  weight: [{filter: lm_head, value: 3}, "
             "{filter: embed, value: 5}]\nmodels: [{model: a}, {model: b}]\n");
    const struct uqm_plan_tensor *pt = of(&p, "language_model.lm_head.weight");
    assert_true(pt->parts[0].weight == 3 && pt->parts[1].weight == 3);
    pt = of(&p, "language_model.model.embed_tokens.weight");
    assert_true(pt->parts[0].weight == 5 && pt->parts[1].weight == 5);
    done(&p);

    make_model(p.dir, "b", NULL, &embed, 1); /* nobody has one: none is written */
    plan(&p, TWO);
    assert_int_equal(uqm_source_find(p.source, "language_model.lm_head.weight"), -1);
    done(&p);
    test_rm(p.dir);
}

static void weights_that_cancel_cannot_be_normalised(void **state)
{
    (void) state;
    struct plan p;
    struct uqm_err err = { 0 };
    start(&p);
    make_twins(&p);
#define CANCEL                                                                                     \
    "merge_method: linear\nmodels:\n  - {model: a, parameters: {weight: 1}}\n"                     \
    "  - {model: b, parameters: {weight: -1}}\n"
    assert_fails(try_plan(&p, CANCEL, NULL, &err), err, UQM_ERR_FORMAT,
                 "tensor w: its weights sum to 0, which cannot be normalised");
    plan(&p, CANCEL "parameters: {normalize: false}\n");
    done(&p);
    test_rm(p.dir);
}

static void the_same_folder_twice_is_refused_but_as_a_base(void **state)
{
    (void) state;
    struct plan p;
    struct uqm_err err = { 0 };
    start(&p);
    make_twins(&p);
    assert_fails(try_plan(&p, TWO "  - model: ./a/\n", NULL, &err), err, UQM_ERR_FORMAT,
                 "r.yml:6: model ./a/ is model a of line 4 again");
    plan(&p, TWO "base_model: ./b\n");
    assert_int_equal(p.rs->n_inputs, 2);
    assert_int_equal(p.rs->home, 1);
    done(&p);
    test_rm(p.dir);
}

static void a_base_that_is_not_listed_is_the_last_input(void **state)
{
    (void) state;
    struct plan p;
    struct uqm_err err = { 0 };
    start(&p);
    make_twins(&p);
    plan(&p, HEAD "  - model: a\nbase_model: b\n");
    assert_int_equal(p.rs->n_inputs, 2);
    assert_int_equal(p.rs->home, 1);
    done(&p);
    assert_fails(try_plan(&p,
                          "merge_method: linear\nmodels:\n"
                          "  - {model: a, parameters: {weight: 1}}\nbase_model: b\n",
                          NULL, &err),
                 err, UQM_ERR_FORMAT, "r.yml:4: Missing required parameter weight for b, tensor w");
    test_rm(p.dir);
}

static void a_missing_model_is_named_with_its_line(void **state)
{
    (void) state;
    struct plan p;
    struct uqm_err err = { 0 };
    start(&p);
    assert_fails(try_plan(&p, TWO, NULL, &err), err, UQM_ERR_IO,
                 "r.yml:4: model a: no such folder");
    assert_fails(try_plan(&p, HEAD "  - model: x.yml\n", NULL, &err), err, UQM_ERR_IO,
                 "r.yml:4: model x.yml: no such folder or file");
    test_rm(p.dir);
}

#define VISION "vision_tower.vision_model.post_layernorm.weight"

static void towers_that_differ_stop_the_plan_unless_the_recipe_asks(void **state)
{
    (void) state;
    struct plan p;
    struct uqm_err err = { 0 };
    start(&p);
    struct made_tensor a[] = { vector("language_model.model.norm.weight", UQM_F16),
                               vector(VISION, UQM_F16) };
    make_model(p.dir, "a", NULL, a, 2);
    make_model(p.dir, "b", NULL, a, 2);
    plan(&p, TWO "dtype: float32\n");
    assert_int_equal(of(&p, VISION)->fate, UQM_FATE_COPIED);
    assert_int_equal(of(&p, VISION)->n_parts, 1);
    assert_int_equal(tensor(&p, VISION)->dtype, UQM_F32);
    uint8_t **all = read_all(p.source, 64); /* widened on the way, not averaged */
    const float *wide = (const float *) (const void *) all[uqm_source_find(p.source, VISION)];
    for (int i = 0; i < 4; i++)
        assert_true(wide[i] == uqm_f32_of_f16(((const uint16_t *) (const void *) numbers)[i]));
    free_all(all, p.source->n_tensors);
    done(&p);

    a[1].data = numbers + 4;
    make_model(p.dir, "b", NULL, a, 2);
    assert_fails(try_plan(&p, TWO, NULL, &err), err, UQM_ERR_FORMAT,
                 "the vision towers of a and b differ");
    assert_non_null(strstr(err.msg, "{vision: copy}"));
    plan(&p, TWO "uqmerge: {vision: copy}\nbase_model: b\n");
    assert_int_equal(of(&p, VISION)->fate, UQM_FATE_COPIED);
    assert_int_equal(of(&p, VISION)->parts[0].input, 1);
    done(&p);
    plan(&p, TWO "uqmerge: {vision: merge}\n");
    assert_int_equal(of(&p, VISION)->fate, UQM_FATE_MERGED);
    assert_int_equal(of(&p, VISION)->n_parts, 2);
    done(&p);
    test_rm(p.dir);
}

static void the_vision_digest_of_a_merge_is_its_towers(void **state)
{
    (void) state;
    struct plan p;
    struct uqm_err err = { 0 };
    struct uqm_xxh3_hex own, merged;
    struct uqm_source *a = NULL;
    struct uqm_open_params params = { 0 };
    start(&p);
    struct made_tensor t[] = { vector("language_model.model.norm.weight", UQM_F16),
                               vector(VISION, UQM_F16) };
    make_model(p.dir, "a", NULL, t, 2);
    make_model(p.dir, "b", NULL, t, 2);
    assert_ok(uqm_model_open(&a, env, in_dir(p.dir, "a"), &params, &err), err);
    assert_ok(uqm_source_vision_digest(&own, a, NULL, &err), err);
    static const char *const extras[] = { "", "uqmerge: {vision: copy}\n" };
    for (int i = 0; i < 2; i++) {
        char text[256];
        snprintf(text, sizeof text, "%s%s", TWO, extras[i]);
        plan(&p, text);
        assert_ok(uqm_source_vision_digest(&merged, p.source, NULL, &err), err);
        assert_string_equal(own.text, merged.text);
        done(&p);
    }
    plan(&p, TWO "dtype: float32\n"); /* other bytes, another digest */
    assert_ok(uqm_source_vision_digest(&merged, p.source, NULL, &err), err);
    assert_string_not_equal(own.text, merged.text);
    done(&p);
    uqm_source_destroy(&a);
    test_rm(p.dir);
}

static void a_tower_beside_the_model_is_in_the_source_and_outside_the_merge(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    struct uqm_open_params params = { .need_vision = true };
    struct uqm_source *s = NULL;
    env = test_env(64 << 20, 1);
    struct uqm_recipe *r =
        make_recipe(zoo_path("models-original/r.yml"), HEAD "  - model: llava-mini-know\n");
    assert_ok(uqm_recipe_open(&s, env, r, &params, &err), err);
    const struct uqm_recipe_source *rs = uqm_recipe_source_of(s);
    size_t n_vision = 0, n_equal = 0;
    for (size_t i = 0; i < s->n_tensors; i++) {
        assert_int_equal(rs->plan[i].outside, s->tensors[i].part == UQM_PART_VISION);
        n_vision += rs->plan[i].outside;
        n_equal += rs->plan[i].fate == UQM_FATE_EQUAL;
    }
    assert_true(n_vision > 0);
    assert_true(n_equal > 0); /* inv_freq */
    uqm_source_destroy(&s);
    uqm_recipe_free(&r);
}

static void a_recipe_file_opens_as_a_model(void **state)
{
    (void) state;
    struct plan p;
    struct uqm_err err = { 0 };
    struct uqm_open_params params = { 0 };
    start(&p);
    make_twins(&p);
    write_text(in_dir(p.dir, "mix.yml"), TWO);
    assert_ok(uqm_model_open(&p.source, env, in_dir(p.dir, "mix.yml"), &params, &err), err);
    assert_string_equal(p.source->name, "mix");
    assert_string_equal(p.source->home, in_dir(p.dir, "a"));
    uqm_source_destroy(&p.source);
    assert_int_equal(uqm_model_open(&p.source, env, in_dir(p.dir, "no.yml"), &params, &err),
                     UQM_ERR_IO);
    test_rm(p.dir);
}

static void layers_of_each_prefix_ramp_by_themselves(void **state)
{
    (void) state;
    struct plan p;
    start(&p);
    struct made_tensor t[] = {
        vector("model.layers.0.w", UQM_F32),  vector("model.layers.1.w", UQM_F32),
        vector("model.layers.2.w", UQM_F32),  vector("tower.blocks.0.w", UQM_F32),
        vector("tower.blocks.1.w", UQM_F32),  vector("single.layers.0.w", UQM_F32),
        vector("model.norm.weight", UQM_F32), vector("x.layers.1a.w", UQM_F32),
    };
    static const struct {
        const char *name;
        double weight;
    } want[] = {
        { "language_model.model.layers.0.w", 10 },
        { "language_model.model.layers.1.w", 15 },
        { "language_model.model.layers.2.w", 20 },
        { "tower.blocks.0.w", 10 },
        { "tower.blocks.1.w", 20 },
        { "single.layers.0.w", 20 },
        { "language_model.model.norm.weight", 10 },
        { "x.layers.1a.w", 10 },
    };
    make_model(p.dir, "a", NULL, t, 8);
    plan(&p, "merge_method: linear\nmodels:\n  - {model: a, parameters: {weight: [10, 20]}}\n");
    for (size_t i = 0; i < 8; i++)
        assert_true(of(&p, want[i].name)->parts[0].weight == want[i].weight);
    done(&p);
    test_rm(p.dir);
}

static void values_stand_in_the_order_of_the_methods_table(void **state)
{
    (void) state;
    struct plan p;
    struct uqm_err err = { 0 };
    start(&p);
    make_twins(&p);
    plan(&p, "merge_method: linear\nparameters: {normalize: off}\nbase_model: b\nmodels:\n"
             "  - {model: a, parameters: {weight: 3}}\n  - {model: b, parameters: {weight: 4}}\n");
    const struct uqm_plan_tensor *pt = of(&p, "w");
    int weight = uqm_method_param_index(p.recipe->method, "weight");
    int normalize = uqm_method_param_index(p.recipe->method, "normalize");
    assert_true(pt->params[normalize] == 0 && isnan(pt->params[weight]));
    for (size_t i = 0; i < 2; i++) {
        assert_true(pt->parts[i].params[weight] == 3 + (double) i);
        assert_true(isnan(pt->parts[i].params[normalize]));
        assert_int_equal(pt->parts[i].is_base, i == 1);
    }
    done(&p);
    assert_fails(try_plan(&p,
                          "merge_method: della\nbase_model: b\n"
                          "models: [{model: a, parameters: {weight: 1, density: .1}}]\n",
                          NULL, &err),
                 err, UQM_ERR_FORMAT, "tensor w: della: density - epsilon must be above 0");
    test_rm(p.dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_that_differ_are_named_with_both_models),
        cmocka_unit_test(llavas_two_layouts_are_one_architecture),
        cmocka_unit_test(architectures_that_differ_need_permission),
        cmocka_unit_test(types_are_promoted_or_as_the_recipe_says),
        cmocka_unit_test(a_newer_naming_merges_by_canonical_name_and_keeps_the_homes_spelling),
        cmocka_unit_test(buffers_of_different_types_are_named),
        cmocka_unit_test(required_tensors_must_be_everywhere_and_others_are_told),
        cmocka_unit_test(a_tied_head_is_stood_in_for_by_the_embedding),
        cmocka_unit_test(weights_that_cancel_cannot_be_normalised),
        cmocka_unit_test(the_same_folder_twice_is_refused_but_as_a_base),
        cmocka_unit_test(a_base_that_is_not_listed_is_the_last_input),
        cmocka_unit_test(a_missing_model_is_named_with_its_line),
        cmocka_unit_test(towers_that_differ_stop_the_plan_unless_the_recipe_asks),
        cmocka_unit_test(the_vision_digest_of_a_merge_is_its_towers),
        cmocka_unit_test(a_tower_beside_the_model_is_in_the_source_and_outside_the_merge),
        cmocka_unit_test(a_recipe_file_opens_as_a_model),
        cmocka_unit_test(layers_of_each_prefix_ramp_by_themselves),
        cmocka_unit_test(values_stand_in_the_order_of_the_methods_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
