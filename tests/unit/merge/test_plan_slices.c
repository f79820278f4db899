#include <math.h>

#include "tests/unit/merge/plan_test.h"

#define LLAMA "{\"architectures\":[\"LlamaForCausalLM\"],\"num_hidden_layers\":2}"
#define FIRST "merge_method: linear\nparameters: {weight: 1}\n"

static struct {
    int n;
    char last[512];
} heard;

static void hear(void *ctx, enum uqm_log_level level, const char *line)
{
    (void) ctx;
    if (level == UQM_LOG_WARN) {
        heard.n++;
        snprintf(heard.last, sizeof heard.last, "%s", line);
    }
}

static void start_listening(struct plan *p)
{
    start(p);
    env->log = hear;
    heard.n = 0;
}

/* A text model of n layers; its embedding, norm, head and the layers' weights hold `first` and up.
 */
static void make_layers(const struct plan *p, const char *name, int n, float first)
{
    struct made_tensor t[64];
    char names[64][64];
    float *data = calloc(64, 4 * sizeof *data);
    size_t k = 0;
    assert_non_null(data);
    static const char *const loose[] = { "model.embed_tokens.weight", "model.norm.weight",
                                         "lm_head.weight" };
    for (size_t i = 0; i < 3; i++)
        snprintf(names[k++], 64, "%s", loose[i]);
    for (int i = 0; i < n; i++)
        snprintf(names[k++], 64, "model.layers.%d.mlp.up_proj.weight", i);
    for (size_t i = 0; i < k; i++) {
        for (size_t e = 0; e < 4; e++)
            data[4 * i + e] = first + (float) i;
        t[i] = (struct made_tensor){ names[i], UQM_F32, 1, { 4 }, data + 4 * i };
    }
    make_model(p->dir, name, LLAMA, t, k);
    free(data);
}

static float first_of(uint8_t **all, const struct plan *p, const char *canonical)
{
    float v;
    tensor(p, canonical);
    memcpy(&v, all[uqm_source_find(p->source, canonical)], sizeof v);
    return v;
}

#define LAYER(n) "language_model.model.layers." #n ".mlp.up_proj.weight"

static void layers_are_stacked_under_new_numbers(void **state)
{
    (void) state;
    struct plan p;
    start(&p);
    make_layers(&p, "a", 4, 100);
    make_layers(&p, "b", 3, 200);
    plan(&p, FIRST "slices:\n"
                   "  - sources: [{model: a, layer_range: [2, 4]}]\n"
                   "  - sources: [{model: b, layer_range: [0, 2]}]\n"
                   "  - sources: [{model: a, layer_range: [2, 3]}]\n"
                   "  - sources: [{model: b, layer_range: [1, 1]}]\n");
    uint8_t **all = read_all(p.source, 64);
    assert_int_equal(p.source->n_tensors, 8);
    assert_true(first_of(all, &p, "language_model.model.embed_tokens.weight") == 100);
    assert_true(first_of(all, &p, LAYER(0)) == 105);
    assert_true(first_of(all, &p, LAYER(1)) == 106);
    assert_true(first_of(all, &p, LAYER(2)) == 203);
    assert_true(first_of(all, &p, LAYER(3)) == 204);
    assert_true(first_of(all, &p, LAYER(4)) == 105);
    /* the last slice has no layers: it chooses norm and head */
    assert_true(first_of(all, &p, "language_model.model.norm.weight") == 201);
    assert_true(first_of(all, &p, "language_model.lm_head.weight") == 202);
    assert_string_equal(tensor(&p, LAYER(2))->name, "model.layers.2.mlp.up_proj.weight");
    assert_int_equal(tensor(&p, LAYER(2))->layer, 2);
    assert_string_equal(of(&p, LAYER(2))->sort_name, "model.layers.0.mlp.up_proj.weight");
    assert_int_equal(p.rs->n_layers, 1);
    assert_int_equal(p.rs->layers[0].n, 5);
    assert_string_equal(p.rs->layers[0].prefix, "language_model.model.layers.");
    char *config = NULL;
    struct uqm_err err = { 0 };
    assert_ok(uqm_source_config(&config, p.source, &err), err);
    assert_non_null(strstr(config, "\"num_hidden_layers\":5}"));
    free(config);
    free_all(all, p.source->n_tensors);
    done(&p);
    test_rm(p.dir);
}

static void buffers_of_layers_are_stacked_with_them(void **state)
{
    (void) state;
    struct plan p;
    start(&p);
    struct made_tensor t[] = {
        vector("model.layers.0.w", UQM_F32),
        vector("model.layers.0.self_attn.rotary_emb.inv_freq", UQM_F32),
        vector("model.layers.1.w", UQM_F32),
        vector("model.layers.1.self_attn.rotary_emb.inv_freq", UQM_F32),
    };
    make_model(p.dir, "a", NULL, t, 4);
    plan(&p, FIRST "slices:\n"
                   "  - sources: [{model: a, layer_range: [1, 2]}]\n"
                   "  - sources: [{model: a, layer_range: [0, 2]}]\n");
    assert_int_equal(p.source->n_tensors, 6);
    assert_int_equal(of(&p, "model.layers.2.self_attn.rotary_emb.inv_freq")->fate, UQM_FATE_EQUAL);
    assert_string_equal(of(&p, "model.layers.2.self_attn.rotary_emb.inv_freq")->sort_name,
                        t[3].name);
    assert_string_equal(p.rs->layers[0].prefix, "language_model.model.layers.");
    done(&p);
    test_rm(p.dir);
}

static void what_is_made_twice_alike_is_told_apart_from_what_is_not(void **state)
{
    (void) state;
    struct plan p;
    start(&p);
    make_layers(&p, "a", 2, 0);
    plan(&p, "merge_method: linear\nparameters: {weight: [1, 2]}\nslices:\n"
             "  - sources: [{model: a, layer_range: [0, 2]}]\n"
             "  - sources: [{model: a, layer_range: [0, 2]}]\n"
             "  - sources: [{model: a, layer_range: [1, 2]}]\n"
             "  - sources: [{model: a, layer_range: [0, 1]}]\n");
    /* layers 0 1 | 0 1 | 1 | 0 at positions 0 1 | 0 1 | 1 | 1 */
    static const long want[] = { -1, -1, 0, 1, 1, -1 };
    for (int i = 0; i < 6; i++) {
        char name[96];
        snprintf(name, sizeof name, "language_model.model.layers.%d.mlp.up_proj.weight", i);
        const struct uqm_plan_tensor *pt = of(&p, name);
        if (want[i] < 0) {
            assert_int_equal(pt->same_as, -1);
            continue;
        }
        snprintf(name, sizeof name, "language_model.model.layers.%ld.mlp.up_proj.weight", want[i]);
        assert_int_equal(pt->same_as, uqm_source_find(p.source, name));
    }
    done(&p);
    test_rm(p.dir);
}

static void a_config_that_counts_no_layers_is_told_of(void **state)
{
    (void) state;
    struct plan p;
    char *config = NULL;
    struct uqm_err err = { 0 };
    start(&p);
    make_layers(&p, "a", 2, 0);
    write_text(in_dir(p.dir, "a/config.json"), "{\"architectures\":[\"LlamaForCausalLM\"]}");
    plan(&p, FIRST "slices:\n  - sources: [{model: a, layer_range: [0, 1]}]\n");
    env->strict = true;
    assert_fails(uqm_source_config(&config, p.source, &err), err, UQM_ERR_FORMAT,
                 "config.json of a has no key for the number of layers of "
                 "language_model.model.layers: the output's has to be put right by hand");
    assert_null(config);
    done(&p);
    test_rm(p.dir);
}

/* mergekit's stream goes on from copy to copy; our own streams are named by what is made. */
static void repeated_layers_draw_alike_or_as_mergekit_does_anew(void **state)
{
    (void) state;
    static const char text[] = "merge_method: dare_ties\nbase_model: a\n"
                               "parameters: {weight: 1, density: 0.5}\nslices:\n"
                               "  - sources: [{model: a, layer_range: [0, 1]}, "
                               "{model: b, layer_range: [0, 1]}]\n"
                               "  - sources: [{model: a, layer_range: [0, 1]}, "
                               "{model: b, layer_range: [0, 1]}]\n";
    static const char first[] = "language_model.model.layers.0.mlp.up_proj.weight";
    static const char again[] = "language_model.model.layers.1.mlp.up_proj.weight";
    struct plan p;
    start(&p);
    make_layers(&p, "a", 1, 0);
    make_layers(&p, "b", 1, 0);
    for (int mergekit = 0; mergekit < 2; mergekit++) {
        struct uqm_open_params params = { .numerics = mergekit ? UQM_NUMERICS_MERGEKIT
                                                               : UQM_NUMERICS_ACCURATE };
        struct uqm_err err = { 0 };
        assert_ok(try_plan(&p, text, &params, &err), err);
        const struct uqm_plan_tensor *x = of(&p, first), *y = of(&p, again);
        uint64_t n_elem = x->job->n_elem;
        assert_int_equal(y->same_as, mergekit ? -1 : uqm_source_find(p.source, first));
        assert_int_equal(y->job->inputs[1].n_drawn_before - x->job->inputs[1].n_drawn_before,
                         n_elem);
        if (!mergekit)
            assert_memory_equal(&x->job->inputs[1].key, &y->job->inputs[1].key,
                                sizeof x->job->inputs[1].key);
        done(&p);
    }
    test_rm(p.dir);
}

static void ramps_begin_anew_in_every_slice_and_filters_see_the_inputs_names(void **state)
{
    (void) state;
    struct plan p;
    start(&p);
    make_layers(&p, "a", 3, 0);
    make_layers(&p, "b", 3, 0);
    plan(&p, "merge_method: linear\nslices:\n"
             "  - sources:\n"
             "      - model: a\n"
             "        layer_range: [0, 3]\n"
             "        parameters: {weight: [0, 1]}\n"
             "      - model: b\n"
             "        layer_range: [0, 3]\n"
             "        parameters: {weight: [{filter: layers.2, value: 7}, {value: 8}]}\n"
             "  - sources: [{model: b, layer_range: [2, 3]}]\n"
             "    parameters: {weight: [{filter: layers.2, value: [3, 5]}, {value: 9}],\n"
             "                 normalize: [{filter: layers.3, value: off}]}\n");
    int w = uqm_method_param_index(p.recipe->method, "weight");
    int n = uqm_method_param_index(p.recipe->method, "normalize");
    assert_true(of(&p, LAYER(0))->parts[0].params[w] == 0);
    assert_true(of(&p, LAYER(1))->parts[0].params[w] == 0.5);
    assert_true(of(&p, LAYER(1))->position == 0.5);
    assert_true(of(&p, LAYER(1))->parts[1].params[w] == 8);
    assert_true(of(&p, LAYER(2))->parts[1].params[w] == 7);
    assert_true(of(&p, LAYER(2))->params[n] == 1);
    assert_true(of(&p, LAYER(3))->parts[0].params[w] == 5); /* one layer: the ramp's end */
    assert_true(of(&p, LAYER(3))->params[n] == 0);          /* by the output's own name */
    assert_true(of(&p, "language_model.lm_head.weight")->parts[0].params[w] == 9);
    assert_true(of(&p, "language_model.model.embed_tokens.weight")->parts[0].params[w] == 0);
    done(&p);
    test_rm(p.dir);
}

static void slices_that_cannot_be_are_named(void **state)
{
    (void) state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        { FIRST "slices:\n  - sources:\n      - {model: a, layer_range: [0, 4]}\n",
          "r.yml:5: layer_range [0, 4]: a has 3 layers" },
        { FIRST "slices:\n  - sources:\n      - {model: two, layer_range: [0, 1]}\n",
          "r.yml:4: slices: layers of language_model.model.layers and of tower.blocks (in two): "
          "`modules` say which are stacked" },
        { FIRST "models: [{model: a}, {model: b}]\n",
          "r.yml:3: b has 2 layers of language_model.model.layers, but a has 3; slices say" },
        { FIRST "slices:\n  - sources:\n      - {model: a, layer_range: [0, 1]}\n"
                "      - {model: ./a, layer_range: [1, 2]}\n",
          "r.yml:6: model ./a is model a of line 5 again" },
        { "merge_method: slerp\nparameters: {t: 1}\nslices:\n  - sources:\n"
          "      - {model: a, layer_range: [0, 1]}\n      - {model: b, layer_range: [0, 1]}\n",
          "r.yml:4: merge method slerp needs a base_model" },
        { "merge_method: slerp\nparameters: {t: 1}\nbase_model: two\nslices:\n  - sources:\n"
          "      - {model: a, layer_range: [0, 1]}\n      - {model: b, layer_range: [0, 1]}\n",
          "r.yml:5: base_model two is none of this slice's sources" },
        { "merge_method: slerp\nparameters: {t: 1}\nbase_model: a\nmodels: [{model: a}]\n",
          "r.yml:4: merge method slerp takes exactly 1 model beside the base, not 0" },
        { "merge_method: model_stock\nbase_model: a\nmodels: [{model: two}]\n",
          "r.yml:3: merge method model_stock takes at least 2 models beside the base, not 1" },
        { "merge_method: nuslerp\nmodels: [{model: a}, {model: b}, {model: two}]\n",
          "r.yml:2: merge method nuslerp takes exactly 2 models beside the base, not 3" },
        { "merge_method: passthrough\nmodels: [{model: a}]\nbase_model: b\n",
          "r.yml:2: merge method passthrough takes exactly 1 model, not 2" },
        { "merge_method: ties\nmodels: [{model: a}]\n", "r.yml:2: merge method ties needs a base" },
    };
    struct plan p;
    start(&p);
    make_layers(&p, "a", 3, 0);
    make_layers(&p, "b", 2, 0);
    struct made_tensor two[] = { vector("model.layers.0.w", UQM_F32),
                                 vector("tower.blocks.0.w", UQM_F32) };
    make_model(p.dir, "two", NULL, two, 2);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct uqm_err err = { 0 };
        assert_fails(try_plan(&p, cases[i].text, NULL, &err), err, UQM_ERR_FORMAT,
                     cases[i].message);
    }
    test_rm(p.dir);
}

/* --- modules --- */

#define VISION  "vision_tower.vision_model.encoder.layers.0.w"
#define ADAPTER "multi_modal_projector.linear_1.weight"
#define NORM    "language_model.model.norm.weight"

static void make_llava(const struct plan *p, const char *name, const float *data)
{
    struct made_tensor t[] = {
        { VISION, UQM_F32, 1, { 4 }, data },
        { ADAPTER, UQM_F32, 1, { 4 }, data },
        { NORM, UQM_F32, 1, { 4 }, data },
        { "language_model.model.layers.0.w", UQM_F32, 1, { 4 }, data },
        { "language_model.model.layers.1.w", UQM_F32, 1, { 4 }, data },
    };
    make_model(p->dir, name, NULL, t, 5);
}

static void modules_take_parts_by_name_and_the_rest_is_told(void **state)
{
    (void) state;
    struct plan p;
    struct uqm_err err = { 0 };
    start_listening(&p);
    make_llava(&p, "a", numbers);
    make_llava(&p, "b", numbers + 4);
    plan(&p, FIRST "modules:\n"
                   "  text_decoder: {models: [{model: a}, {model: b}]}\n"
                   "  vision_tower: {models: [{model: b}]}\n");
    assert_int_equal(p.source->n_tensors, 4);
    assert_int_equal(of(&p, NORM)->n_parts, 2);
    assert_int_equal(of(&p, VISION)->n_parts, 1);
    assert_int_equal(of(&p, VISION)->parts[0].input, 1);
    assert_int_equal(p.rs->n_unnamed, 2);
    assert_int_equal(heard.n, 1);
    assert_non_null(strstr(heard.last, "r.yml:4: modules: 2 tensors of the inputs lie in none of "
                                       "them and are not written; the first: " ADAPTER " of a"));
    done(&p);

    /* the towers differ, and to name their module is to want them merged */
    heard.n = 0;
    plan(&p, FIRST "modules:\n"
                   "  default: {models: [{model: b}]}\n"
                   "  vision: {models: [{model: a}, {model: b}]}\n");
    assert_int_equal(p.source->n_tensors, 5);
    assert_int_equal(of(&p, VISION)->fate, UQM_FATE_MERGED);
    assert_int_equal(of(&p, VISION)->n_parts, 2);
    assert_int_equal(of(&p, ADAPTER)->n_parts, 1);
    assert_int_equal(heard.n, 0);
    done(&p);
    assert_fails(
        try_plan(&p, FIRST "modules: {default: {models: [{model: a}, {model: b}]}}\n", NULL, &err),
        err, UQM_ERR_FORMAT, "the vision towers of a and b differ");
    test_rm(p.dir);
}

static void a_module_can_be_sliced_by_itself(void **state)
{
    (void) state;
    struct plan p;
    struct uqm_err err = { 0 };
    start(&p);
    make_llava(&p, "a", numbers);
    make_llava(&p, "b", numbers + 4);
    plan(&p, "merge_method: linear\nmodules:\n"
             "  language_model:\n"
             "    parameters: {weight: 3}\n"
             "    slices:\n"
             "      - sources: [{model: a, layer_range: [1, 2]}]\n"
             "      - sources: [{model: b, layer_range: [0, 2]}]\n"
             "        parameters: {weight: 4}\n"
             "  default:\n"
             "    parameters: {weight: 5}\n"
             "    models: [{model: a}]\n");
    int w = uqm_method_param_index(p.recipe->method, "weight");
    assert_int_equal(p.source->n_tensors, 6);
    assert_true(of(&p, "language_model.model.layers.0.w")->parts[0].params[w] == 3);
    assert_true(of(&p, "language_model.model.layers.2.w")->parts[0].params[w] == 4);
    assert_int_equal(of(&p, "language_model.model.layers.2.w")->parts[0].input, 1);
    assert_true(of(&p, ADAPTER)->parts[0].params[w] == 5);
    assert_int_equal(of(&p, NORM)->parts[0].input, 1);
    assert_int_equal(of(&p, VISION)->fate, UQM_FATE_COPIED);
    done(&p);
    assert_fails(try_plan(&p, FIRST "modules: {text_decodr: {models: [{model: a}]}}\n", NULL, &err),
                 err, UQM_ERR_FORMAT,
                 "r.yml:3: module text_decodr: no tensor of its models belongs to it; "
                 "text_decoder? There are text_decoder, vision_tower");
    test_rm(p.dir);
}

static void modules_can_be_prefixes_of_any_model(void **state)
{
    (void) state;
    struct plan p;
    start_listening(&p);
    struct made_tensor t[] = {
        vector("shared.weight", UQM_F32),
        vector("encoder.block.0.layer.0.w", UQM_F32),
        vector("encoder.block.1.layer.0.w", UQM_F32),
        vector("decoder.block.0.layer.1.w", UQM_F32),
        vector("decoder.final_layer_norm.weight", UQM_F32),
    };
    make_model(p.dir, "a", NULL, t, 5);
    plan(&p, FIRST "modules:\n"
                   "  encoder: {slices: [{sources: [{model: a, layer_range: [1, 2]}]}]}\n"
                   "  decoder: {models: [{model: a}]}\n"
                   "  shared: {models: [{model: a}]}\n");
    assert_int_equal(p.source->n_tensors, 4);
    assert_int_equal(of(&p, "encoder.block.0.layer.0.w")->parts[0].tensor, 3);
    assert_string_equal(p.rs->layers[0].prefix, "encoder.block.");
    assert_int_equal(heard.n, 0);
    done(&p);
    test_rm(p.dir);
}

/* --- tensors that some inputs lack, or have otherwise --- */

static void other_tensors_may_be_missing_and_are_told(void **state)
{
    (void) state;
    struct plan p;
    start_listening(&p);
    struct made_tensor t[] = { vector("model.norm.weight", UQM_F32),
                               vector("model.layers.0.self_attn.q_proj.bias", UQM_F32) };
    make_model(p.dir, "a", LLAMA, t, 2);
    make_model(p.dir, "b", LLAMA, t, 1);
    plan(&p, FIRST "models: [{model: a}, {model: b}]\n");
    assert_true(of(&p, "language_model.model.layers.0.self_attn.q_proj.bias")->partial);
    assert_int_equal(heard.n, 1);
    assert_non_null(strstr(heard.last, "1 tensors are not in all inputs"));
    done(&p);
    test_rm(p.dir);
}

/* Section 4: b lacks `extra`, then a does, then both do; c has it. */
static void methods_without_enough_inputs_for_a_tensor_do_as_mergekit_does(void **state)
{
    (void) state;
    static const struct {
        const char *text;
        const char *without_b, *without_a, *c_alone; /* a fate, "dropped", or the error's words */
    } cases[] = {
        { "merge_method: linear\nparameters: {weight: 1}\nmodels: [{model: a}, {model: b}, {model: "
          "c}]\n",
          "merged", "merged", "merged" },
        { "merge_method: ties\nparameters: {weight: 1}\nbase_model: a\nmodels: [{model: b}, "
          "{model: c}]\n",
          "merged", "and not in the base: too few for merge method ties", "and not in the base" },
        { "merge_method: sce\nbase_model: a\nmodels: [{model: b}, {model: c}]\n", "merged",
          "and not in the base", "and not in the base" },
        { "merge_method: model_stock\nbase_model: a\nmodels: [{model: b}, {model: c}]\n", "dropped",
          "dropped", "dropped" },
        { "merge_method: model_stock\nbase_model: c\nmodels: [{model: b}, {model: a}]\n", "dropped",
          "dropped", "copied" },
        { "merge_method: nuslerp\nparameters: {weight: 1}\nmodels: [{model: b}, {model: c}]\n",
          "copied", "merged", "copied" },
        { "merge_method: nuslerp\nparameters: {weight: 1}\nbase_model: a\n"
          "models: [{model: b}, {model: c}]\n",
          "too few for merge method nuslerp", "and not in the base", "copied" },
        { "merge_method: slerp\nparameters: {t: 1}\nbase_model: b\nmodels: [{model: c}]\n",
          "copied", "merged", "copied" },
        { "merge_method: nearswap\nparameters: {t: 1}\nbase_model: b\nmodels: [{model: c}]\n",
          "not in the base: too few for merge method nearswap", "merged", "not in the base" },
        { "merge_method: nearswap\nparameters: {t: 1}\nbase_model: c\nmodels: [{model: b}]\n",
          "copied", "merged", "copied" },
        { "merge_method: arcee_fusion\nbase_model: c\nmodels: [{model: b}]\n", "copied", "merged",
          "copied" },
        { "merge_method: multislerp\nparameters: {weight: 1}\nmodels: [{model: a}, {model: b}, "
          "{model: c}]\n",
          "merged", "merged", "merged" },
    };
    struct made_tensor t[] = { vector("w", UQM_F32), vector("extra", UQM_F32) };
    for (int lacking = 0; lacking < 3; lacking++) {
        struct plan p;
        start(&p);
        make_model(p.dir, "a", NULL, t, lacking == 0 ? 2 : 1);
        make_model(p.dir, "b", NULL, t, lacking == 1 ? 2 : 1);
        make_model(p.dir, "c", NULL, t, 2);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            const char *want = lacking == 0   ? cases[i].without_b
                               : lacking == 1 ? cases[i].without_a
                                              : cases[i].c_alone;
            struct uqm_err err = { 0 };
            if (try_plan(&p, cases[i].text, NULL, &err) < 0) {
                if (!strstr(err.msg, want))
                    fail_msg("case %zu, %d: %s, wanted %s", i, lacking, err.msg, want);
                continue;
            }
            long at = uqm_source_find(p.source, "extra");
            const char *got = at < 0 ? "dropped" : uqm_fate_name(p.rs->plan[at].fate);
            if (strcmp(got, want) != 0)
                fail_msg("case %zu, %d: %s, wanted %s", i, lacking, got, want);
            assert_int_equal(p.rs->n_dropped, at < 0);
            done(&p);
        }
        test_rm(p.dir);
    }
}

static void a_head_of_any_name_is_stood_in_for_by_the_embedding(void **state)
{
    (void) state;
    struct plan p;
    start(&p);
    struct made_tensor t[] = { { "transformer.wte.weight", UQM_F32, 2, { 4, 2 }, numbers },
                               { "embed_out.weight", UQM_F32, 2, { 4, 2 }, numbers + 2 } };
    make_model(p.dir, "a", NULL, t, 1);
    make_model(p.dir, "b", NULL, t, 2);
    plan(&p, FIRST "models: [{model: a}, {model: b}]\n");
    assert_int_equal(of(&p, "embed_out.weight")->n_parts, 2);
    assert_false(of(&p, "embed_out.weight")->partial);
    assert_string_equal(tensor(&p, "embed_out.weight")->name, "embed_out.weight");
    assert_int_equal(of(&p, "embed_out.weight")->vocabulary, UQM_HEAD);
    done(&p);
    test_rm(p.dir);
}

static void vocabularies_of_different_lengths_are_cut_on_request(void **state)
{
    (void) state;
    struct plan p;
    struct uqm_err err = { 0 };
    struct uqm_open_params cut = { .truncate_embeddings = true };
    start(&p);
    struct made_tensor a[] = { { "model.embed_tokens.weight", UQM_F32, 2, { 5, 2 }, numbers },
                               { "lm_head.bias", UQM_F32, 1, { 5 }, numbers } };
    struct made_tensor b[] = { { "model.embed_tokens.weight", UQM_F32, 2, { 3, 2 }, numbers + 2 },
                               { "lm_head.bias", UQM_F32, 1, { 3 }, numbers + 2 } };
    make_model(p.dir, "a", NULL, a, 2);
    make_model(p.dir, "b", NULL, b, 2);
#define BOTH FIRST "models: [{model: a}, {model: b}]\n"
    assert_fails(try_plan(&p, BOTH, NULL, &err), err, UQM_ERR_FORMAT,
                 "shape [5] in a, but [3] in b; tokenizer_source in the recipe aligns");
    assert_ok(try_plan(&p, BOTH, &cut, &err), err);
    const struct uqm_tensor *t = tensor(&p, "language_model.model.embed_tokens.weight");
    assert_true(of(&p, "language_model.model.embed_tokens.weight")->cut);
    assert_int_equal(t->shape[0], 3);
    assert_int_equal(t->n_elem, 6);
    assert_int_equal(t->n_bytes, 24);
    uint8_t **all = read_all(p.source, 64);
    const float *got = (const float *) (const void *)
        all[uqm_source_find(p.source, "language_model.model.embed_tokens.weight")];
    for (int i = 0; i < 6; i++)
        assert_true(got[i] == (numbers[i] + numbers[i + 2]) / 2);
    free_all(all, p.source->n_tensors);
    done(&p);

    b[0].shape[1] = 1; /* a width that differs is no matter of vocabularies */
    make_model(p.dir, "b", NULL, b, 1);
    assert_fails(try_plan(&p, BOTH, &cut, &err), err, UQM_ERR_FORMAT,
                 "shape [5, 2] in a, but [3, 1] in b");
    assert_null(strstr(err.msg, "aligns"));
    test_rm(p.dir);
}

static void a_model_without_layers_or_names_we_know_is_merged_by_its_names(void **state)
{
    (void) state;
    struct plan p;
    start(&p);
    struct made_tensor t[] = { vector("w", UQM_F32), vector("x.y", UQM_BF16),
                               vector("ids", UQM_I64) };
    make_model(p.dir, "a", NULL, t, 3);
    make_model(p.dir, "b", NULL, t, 3);
    plan(&p, BOTH);
    assert_int_equal(of(&p, "ids")->fate, UQM_FATE_EQUAL);
    assert_int_equal(of(&p, "x.y")->fate, UQM_FATE_MERGED);
    assert_int_equal(p.rs->n_order, 3);
    assert_string_equal(p.source->tensors[p.rs->order[2]].name, "x.y");
    done(&p);
    test_rm(p.dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_are_stacked_under_new_numbers),
        cmocka_unit_test(buffers_of_layers_are_stacked_with_them),
        cmocka_unit_test(what_is_made_twice_alike_is_told_apart_from_what_is_not),
        cmocka_unit_test(a_config_that_counts_no_layers_is_told_of),
        cmocka_unit_test(repeated_layers_draw_alike_or_as_mergekit_does_anew),
        cmocka_unit_test(ramps_begin_anew_in_every_slice_and_filters_see_the_inputs_names),
        cmocka_unit_test(slices_that_cannot_be_are_named),
        cmocka_unit_test(modules_take_parts_by_name_and_the_rest_is_told),
        cmocka_unit_test(a_module_can_be_sliced_by_itself),
        cmocka_unit_test(modules_can_be_prefixes_of_any_model),
        cmocka_unit_test(other_tensors_may_be_missing_and_are_told),
        cmocka_unit_test(methods_without_enough_inputs_for_a_tensor_do_as_mergekit_does),
        cmocka_unit_test(a_head_of_any_name_is_stood_in_for_by_the_embedding),
        cmocka_unit_test(vocabularies_of_different_lengths_are_cut_on_request),
        cmocka_unit_test(a_model_without_layers_or_names_we_know_is_merged_by_its_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
