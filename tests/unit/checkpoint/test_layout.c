#include "src/checkpoint/layout.h"
#include "tests/unit/test.h"

static const struct {
    const char *name, *canonical;
    enum uqm_part part;
    int layer;
} names[] = {
    /* llava-hf, transformers 4.x: already canonical */
    { "language_model.model.embed_tokens.weight", NULL, UQM_PART_LANGUAGE, -1 },
    { "language_model.model.layers.31.self_attn.q_proj.weight", NULL, UQM_PART_LANGUAGE, 31 },
    { "language_model.model.norm.weight", NULL, UQM_PART_LANGUAGE, -1 },
    { "language_model.lm_head.weight", NULL, UQM_PART_LANGUAGE, -1 },
    { "multi_modal_projector.linear_1.bias", NULL, UQM_PART_ADAPTER, -1 },
    { "vision_tower.vision_model.encoder.layers.3.mlp.fc1.bias", NULL, UQM_PART_VISION, 3 },
    /* newer saves */
    { "model.language_model.embed_tokens.weight", "language_model.model.embed_tokens.weight",
      UQM_PART_LANGUAGE, -1 },
    { "model.language_model.layers.0.mlp.up_proj.weight",
      "language_model.model.layers.0.mlp.up_proj.weight", UQM_PART_LANGUAGE, 0 },
    { "lm_head.weight", "language_model.lm_head.weight", UQM_PART_LANGUAGE, -1 },
    { "model.multi_modal_projector.linear_2.weight", "multi_modal_projector.linear_2.weight",
      UQM_PART_ADAPTER, -1 },
    { "model.vision_tower.vision_model.post_layernorm.bias",
      "vision_tower.vision_model.post_layernorm.bias", UQM_PART_VISION, -1 },
    { "model.vision_tower.encoder.layers.0.layer_norm1.weight",
      "vision_tower.vision_model.encoder.layers.0.layer_norm1.weight", UQM_PART_VISION, 0 },
    /* transformers 5 */
    { "vision_tower.encoder.layers.22.mlp.fc2.weight",
      "vision_tower.vision_model.encoder.layers.22.mlp.fc2.weight", UQM_PART_VISION, 22 },
    { "vision_tower.embeddings.class_embedding",
      "vision_tower.vision_model.embeddings.class_embedding", UQM_PART_VISION, -1 },
    { "vision_tower.pre_layrnorm.weight", "vision_tower.vision_model.pre_layrnorm.weight",
      UQM_PART_VISION, -1 },
    /* LLaVA's own */
    { "model.embed_tokens.weight", "language_model.model.embed_tokens.weight", UQM_PART_LANGUAGE,
      -1 },
    { "model.layers.7.input_layernorm.weight",
      "language_model.model.layers.7.input_layernorm.weight", UQM_PART_LANGUAGE, 7 },
    { "model.norm.weight", "language_model.model.norm.weight", UQM_PART_LANGUAGE, -1 },
    { "model.mm_projector.0.weight", "multi_modal_projector.linear_1.weight", UQM_PART_ADAPTER,
      -1 },
    { "model.mm_projector.2.bias", "multi_modal_projector.linear_2.bias", UQM_PART_ADAPTER, -1 },
    { "model.vision_tower.vision_tower.vision_model.encoder.layers.1.self_attn.k_proj.bias",
      "vision_tower.vision_model.encoder.layers.1.self_attn.k_proj.bias", UQM_PART_VISION, 1 },
    /* a tower of its own */
    { "vision_model.embeddings.patch_embedding.weight",
      "vision_tower.vision_model.embeddings.patch_embedding.weight", UQM_PART_VISION, -1 },
    { "text_model.encoder.layers.0.mlp.fc1.weight", NULL, UQM_PART_OTHER, 0 },
    { "logit_scale", NULL, UQM_PART_OTHER, -1 },
    { "visual_projection.weight", NULL, UQM_PART_OTHER, -1 },
    /* buffers and strangers */
    { "model.layers.0.self_attn.rotary_emb.inv_freq", NULL, UQM_PART_OTHER, 0 },
    { "vision_tower.vision_model.embeddings.position_ids", NULL, UQM_PART_OTHER, -1 },
    { "model.image_newline", NULL, UQM_PART_OTHER, -1 },
    { "model.layersx.3.w", NULL, UQM_PART_OTHER, -1 },
    { "x.layers.99999999999.w", NULL, UQM_PART_OTHER, -1 },
    { "x.layers.12", NULL, UQM_PART_OTHER, -1 },
    { "", NULL, UQM_PART_OTHER, -1 },
};

static void every_spelling_has_one_canonical_name(void **state)
{
    (void) state;
    struct uqm_arena arena = { 0 };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        enum uqm_part part;
        int layer;
        const char *canonical = uqm_layout_canonical(&arena, names[i].name, &part, &layer);
        assert_string_equal(canonical, names[i].canonical ? names[i].canonical : names[i].name);
        if (part != names[i].part || layer != names[i].layer)
            fail_msg("%s: %s, layer %d", names[i].name, uqm_part_name(part), layer);

        /* a canonical name is its own */
        enum uqm_part again;
        assert_string_equal(uqm_layout_canonical(&arena, canonical, &again, &layer), canonical);
        assert_int_equal(again, part);
    }
    uqm_arena_finish(&arena);
}

static void the_layout_is_told_from_all_names(void **state)
{
    (void) state;
    static const struct {
        const char *names[4];
        enum uqm_layout layout;
    } cases[] = {
        { { "language_model.lm_head.weight", "vision_tower.vision_model.post_layernorm.bias" },
          UQM_LAYOUT_LLAVA_HF },
        { { "lm_head.weight", "model.language_model.norm.weight" }, UQM_LAYOUT_LLAVA_HF },
        { { "model.norm.weight", "lm_head.weight", "model.mm_projector.0.bias" },
          UQM_LAYOUT_LLAVA },
        { { "model.norm.weight", "lm_head.weight",
            "model.vision_tower.vision_tower.vision_model.post_layernorm.bias" },
          UQM_LAYOUT_LLAVA },
        { { "model.norm.weight", "lm_head.weight", "model.layers.0.mlp.up_proj.weight" },
          UQM_LAYOUT_LLAMA },
        { { "vision_model.post_layernorm.bias", "text_model.final_layer_norm.bias" },
          UQM_LAYOUT_OTHER },
        { { "model.layers.0.self_attn.rotary_emb.inv_freq" }, UQM_LAYOUT_OTHER },
        { { NULL }, UQM_LAYOUT_OTHER },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = 0;
        while (n < 4 && cases[i].names[n])
            n++;
        if (uqm_layout_of_names(cases[i].names, n) != cases[i].layout)
            fail_msg("case %zu is not %s", i, uqm_layout_name(cases[i].layout));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_spelling_has_one_canonical_name),
        cmocka_unit_test(the_layout_is_told_from_all_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
