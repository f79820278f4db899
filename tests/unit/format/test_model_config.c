#include "src/format/model_config.h"

#include "src/base/fs.h"
#include "tests/unit/test.h"

/* llava-1.5-7b-hf as published: what text_config leaves out is LLaMA's default. */
static const char hf_7b[] =
    "{\"architectures\": [\"LlavaForConditionalGeneration\"], \"ignore_index\": -100,"
    " \"image_token_index\": 32000, \"model_type\": \"llava\", \"pad_token_id\": 32001,"
    " \"projector_hidden_act\": \"gelu\", \"text_config\": {\"_name_or_path\": \"vicuna-7b-v1.5\","
    " \"architectures\": [\"LlamaForCausalLM\"], \"max_position_embeddings\": 4096,"
    " \"model_type\": \"llama\", \"rms_norm_eps\": 1e-05, \"torch_dtype\": \"float16\","
    " \"vocab_size\": 32064}, \"tie_word_embeddings\": false, \"torch_dtype\": \"float16\","
    " \"vision_config\": {\"hidden_size\": 1024, \"image_size\": 336, \"intermediate_size\": 4096,"
    " \"model_type\": \"clip_vision_model\", \"num_attention_heads\": 16,"
    " \"num_hidden_layers\": 24, \"patch_size\": 14, \"projection_dim\": 768,"
    " \"vocab_size\": 32000}, \"vision_feature_layer\": -2,"
    " \"vision_feature_select_strategy\": \"default\", \"vocab_size\": 32064}";

/* llava-v1.5-7b in LLaVA's own layout. */
static const char flat_7b[] =
    "{\"_name_or_path\": \"llava-v1.5-7b\", \"architectures\": [\"LlavaLlamaForCausalLM\"],"
    " \"bos_token_id\": 1, \"eos_token_id\": 2, \"freeze_mm_mlp_adapter\": false,"
    " \"hidden_act\": \"silu\", \"hidden_size\": 4096, \"image_aspect_ratio\": \"pad\","
    " \"intermediate_size\": 11008, \"max_length\": 4096, \"max_position_embeddings\": 4096,"
    " \"mm_hidden_size\": 1024, \"mm_projector_type\": \"mlp2x_gelu\","
    " \"mm_use_im_start_end\": false, \"mm_vision_select_feature\": \"patch\","
    " \"mm_vision_select_layer\": -2, \"mm_vision_tower\": \"clip-vit-large-patch14-336\","
    " \"model_type\": \"llava\", \"num_attention_heads\": 32, \"num_hidden_layers\": 32,"
    " \"num_key_value_heads\": 32, \"pretraining_tp\": 1, \"rms_norm_eps\": 1e-05,"
    " \"rope_scaling\": null, \"tie_word_embeddings\": false,"
    " \"tokenizer_model_max_length\": 2048, \"vocab_size\": 32000}";

static const char clip_model[] =
    "{\"model_type\": \"clip\", \"text_config\": {\"hidden_size\": 768}, \"vision_config\":"
    " {\"model_type\": \"clip_vision_model\", \"hidden_size\": 1024, \"intermediate_size\": 4096,"
    " \"num_hidden_layers\": 24, \"num_attention_heads\": 16, \"image_size\": 336,"
    " \"patch_size\": 14}}";

static int parse(struct uqm_model_config *c, struct uqm_config_texts texts, struct uqm_err *err)
{
    texts.where = "folder";
    return uqm_model_config_parse(c, &texts, err);
}

static void refuse_texts(struct uqm_config_texts texts, enum uqm_status code, const char *text)
{
    struct uqm_model_config c = { .n_eos = 77 };
    struct uqm_err err = { 0 };
    assert_fails(parse(&c, texts, &err), err, code, text);
    assert_int_equal(c.n_eos, 77); /* untouched */
}

/* `config` with one "from" become "to". */
static const char *edited(const char *config, const char *from, const char *to)
{
    static char ring[4][8192];
    static unsigned next;
    char *buf = ring[next++ % 4];
    const char *at = strstr(config, from);
    if (!at)
        fail_msg("no %s in the config", from);
    snprintf(buf, sizeof ring[0], "%.*s%s%s", (int) (at - config), config, to, at + strlen(from));
    return buf;
}

static void refuse(const char *config, const char *from, const char *to, enum uqm_status code,
                   const char *text)
{
    refuse_texts((struct uqm_config_texts){ .config = edited(config, from, to),
                                            .vision_config = clip_model },
                 code, text);
}

static void llava_hf_is_read_with_the_defaults_of_llama(void **state)
{
    (void) state;
    struct uqm_model_config c;
    struct uqm_err err = { 0 };
    assert_ok(parse(&c, (struct uqm_config_texts){ .config = hf_7b }, &err), err);

    assert_true(c.has_vision);
    assert_int_equal(c.text.vocab_size, 32064);
    assert_int_equal(c.text.hidden, 4096);
    assert_int_equal(c.text.inner, 11008);
    assert_int_equal(c.text.n_layers, 32);
    assert_int_equal(c.text.n_heads, 32);
    assert_int_equal(c.text.n_kv_heads, 32);
    assert_int_equal(c.text.head_dim, 128);
    assert_int_equal(c.text.max_positions, 4096);
    assert_float_equal(c.text.rms_eps, 1e-5, 1e-12);
    assert_float_equal(c.text.rope_theta, 10000.0, 0.0);
    assert_false(c.text.tied_head);
    assert_int_equal(c.vision.hidden, 1024);
    assert_int_equal(c.vision.inner, 4096);
    assert_int_equal(c.vision.n_layers, 24);
    assert_int_equal(c.vision.n_heads, 16);
    assert_int_equal(c.vision.image_size, 336);
    assert_int_equal(c.vision.patch_size, 14);
    assert_float_equal(c.vision.layer_norm_eps, 1e-5, 1e-12);
    assert_int_equal(c.vision.feature_layer, -2);
    assert_false(c.vision.keep_class_token);
    assert_int_equal(c.preprocess.image_size, 336);
    assert_false(c.preprocess.pad_to_square);
    assert_int_equal(c.image_token, 32000);
    assert_int_equal(c.n_real_tokens, 32000);
    assert_int_equal(c.bos_id, 1);
    assert_int_equal(c.n_eos, 1);
    assert_int_equal(c.eos_ids[0], 2);
    assert_int_equal(c.max_length, 4096);
}

static void llavas_own_layout_takes_the_tower_from_its_folder(void **state)
{
    (void) state;
    struct uqm_model_config c, hf;
    struct uqm_err err = { 0 };
    assert_ok(parse(&hf, (struct uqm_config_texts){ .config = hf_7b }, &err), err);
    assert_ok(parse(&c, (struct uqm_config_texts){ .config = flat_7b, .vision_config = clip_model },
                    &err),
              err);
    assert_true(c.has_vision);
    assert_memory_equal(&c.vision, &hf.vision, sizeof c.vision);
    assert_int_equal(c.text.vocab_size, 32000);
    assert_int_equal(c.text.head_dim, 128);
    assert_true(c.preprocess.pad_to_square);
    assert_int_equal(c.image_token, -1);
    assert_int_equal(c.n_real_tokens, 32000);
    assert_int_equal(c.max_length, 2048);

    /* The tower's config may be CLIPVisionModel's own. */
    const char *bare = "{\"model_type\": \"clip_vision_model\", \"hidden_size\": 1024,"
                       " \"intermediate_size\": 4096, \"num_hidden_layers\": 24,"
                       " \"num_attention_heads\": 16, \"image_size\": 336, \"patch_size\": 14}";
    assert_ok(
        parse(&c, (struct uqm_config_texts){ .config = flat_7b, .vision_config = bare }, &err),
        err);
    assert_memory_equal(&c.vision, &hf.vision, sizeof c.vision);
}

static void without_a_tower_it_is_a_language_model(void **state)
{
    (void) state;
    struct uqm_model_config c;
    struct uqm_err err = { 0 };
    assert_ok(parse(&c, (struct uqm_config_texts){ .config = flat_7b }, &err), err);
    assert_false(c.has_vision);
    assert_int_equal(c.text.hidden, 4096);
}

static char *zoo_text(const char *folder, const char *name)
{
    char path[256], *text = NULL;
    size_t len;
    struct uqm_err err = { 0 };
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_ok(uqm_read_file(&text, &len, zoo_path(path), 1 << 20, &err), err);
    return text;
}

static void both_layouts_of_the_zoo_describe_one_model(void **state)
{
    (void) state;
    static const char hf_dir[] = "models/know", own_dir[] = "models-original/llava-mini-know";
    struct uqm_model_config hf, own;
    struct uqm_err err = { 0 };
    char *texts[9] = {
        zoo_text(hf_dir, "config.json"),
        zoo_text(hf_dir, "preprocessor_config.json"),
        zoo_text(hf_dir, "tokenizer_config.json"),
        zoo_text(hf_dir, "generation_config.json"),
        zoo_text(own_dir, "config.json"),
        zoo_text("models-original/clip-mini", "config.json"),
        zoo_text("models-original/clip-mini", "preprocessor_config.json"),
        zoo_text(own_dir, "tokenizer_config.json"),
        zoo_text(own_dir, "generation_config.json"),
    };
    assert_ok(parse(&hf,
                    (struct uqm_config_texts){ .config = texts[0],
                                               .preprocessor = texts[1],
                                               .tokenizer_config = texts[2],
                                               .generation = texts[3] },
                    &err),
              err);
    assert_ok(parse(&own,
                    (struct uqm_config_texts){ .config = texts[4],
                                               .vision_config = texts[5],
                                               .preprocessor = texts[6],
                                               .tokenizer_config = texts[7],
                                               .generation = texts[8] },
                    &err),
              err);
    assert_memory_equal(&hf.vision, &own.vision, sizeof hf.vision);
    assert_true(hf.preprocess.pad_to_square && own.preprocess.pad_to_square);
    assert_memory_equal(hf.preprocess.mean, own.preprocess.mean, sizeof hf.preprocess.mean);
    assert_float_equal(hf.preprocess.rescale, own.preprocess.rescale, 0.0);
    assert_int_equal(hf.text.vocab_size, 1024);
    assert_int_equal(own.text.vocab_size, 1000);
    assert_int_equal(hf.n_real_tokens, 1000);
    assert_int_equal(own.n_real_tokens, 1000);
    assert_int_equal(hf.max_length, 512);
    assert_int_equal(own.max_length, 512);
    for (size_t i = 0; i < 9; i++)
        free(texts[i]);
}

static void special_ids_come_from_generation_config_first(void **state)
{
    (void) state;
    struct uqm_model_config c;
    struct uqm_err err = { 0 };
    assert_ok(parse(&c,
                    (struct uqm_config_texts){ .config = hf_7b,
                                               .generation = "{\"bos_token_id\": 5,"
                                                             " \"eos_token_id\": [7, 9, 11]}" },
                    &err),
              err);
    assert_int_equal(c.bos_id, 5);
    assert_int_equal(c.n_eos, 3);
    assert_int_equal(c.eos_ids[2], 11);
    refuse_texts(
        (struct uqm_config_texts){ .config = hf_7b, .generation = "{\"eos_token_id\": 32064}" },
        UQM_ERR_FORMAT, "folder/generation_config.json: key eos_token_id");
    refuse_texts(
        (struct uqm_config_texts){ .config = hf_7b,
                                   .generation = "{\"eos_token_id\": [1,2,3,4,5,6,7,8,9]}" },
        UQM_ERR_FORMAT, "9 ids");
}

static void a_tokenizer_without_a_limit_has_the_positions_limit(void **state)
{
    (void) state;
    struct uqm_model_config c;
    struct uqm_err err = { 0 };
    const char *endless = "{\"model_max_length\": 1000000000000000019884624838656}";
    const char *short_one = "{\"model_max_length\": 512}";
    assert_ok(
        parse(&c, (struct uqm_config_texts){ .config = hf_7b, .tokenizer_config = endless }, &err),
        err);
    assert_int_equal(c.max_length, 4096);
    assert_ok(parse(&c, (struct uqm_config_texts){ .config = hf_7b, .tokenizer_config = short_one },
                    &err),
              err);
    assert_int_equal(c.max_length, 512);
    assert_ok(parse(&c,
                    (struct uqm_config_texts){ .config = flat_7b, .tokenizer_config = short_one },
                    &err),
              err);
    assert_int_equal(c.max_length, 2048); /* config.json's own word */
    refuse_texts((struct uqm_config_texts){ .config = hf_7b,
                                            .tokenizer_config = "{\"model_max_length\": 0.5}" },
                 UQM_ERR_FORMAT, "tokens");
}

static void newer_spellings_are_understood(void **state)
{
    (void) state;
    struct uqm_model_config c;
    struct uqm_err err = { 0 };
    const char *config = edited(hf_7b, "\"rms_norm_eps\": 1e-05",
                                "\"rope_parameters\": {\"rope_type\": \"default\","
                                " \"rope_theta\": 500000.0}, \"num_key_value_heads\": 8,"
                                " \"head_dim\": 64, \"tie_word_embeddings\": true");
    config = edited(config, "\"image_token_index\": 32000", "\"image_token_id\": 32007");
    config = edited(config, "\"vision_feature_layer\": -2", "\"vision_feature_layer\": [23]");
    config = edited(config, "\"vision_feature_select_strategy\": \"default\"",
                    "\"vision_feature_select_strategy\": \"full\"");
    assert_ok(parse(&c, (struct uqm_config_texts){ .config = config }, &err), err);
    assert_float_equal(c.text.rope_theta, 500000.0, 0.0);
    assert_float_equal(c.text.rms_eps, 1e-6, 1e-12);
    assert_int_equal(c.text.n_kv_heads, 8);
    assert_int_equal(c.text.head_dim, 64);
    assert_true(c.text.tied_head);
    assert_int_equal(c.n_real_tokens, 32007);
    assert_int_equal(c.vision.feature_layer, 23);
    assert_true(c.vision.keep_class_token);

    config = edited(hf_7b, "\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true");
    assert_ok(parse(&c, (struct uqm_config_texts){ .config = config }, &err), err);
    assert_true(c.text.tied_head);
}

static void numbers_that_contradict_are_refused_by_key(void **state)
{
    (void) state;
    const enum uqm_status bad = UQM_ERR_FORMAT;
    refuse(flat_7b, "\"num_hidden_layers\": 32", "\"num_hidden_layers\": 0", bad,
           "folder/config.json: key num_hidden_layers: 0 is outside");
    refuse(flat_7b, "\"hidden_size\": 4096", "\"hidden_size\": 4100", bad,
           "hidden_size 4100 is no multiple of num_attention_heads 32");
    refuse(flat_7b, "\"hidden_size\": 4096", "\"hidden_size\": 4294967295", bad, "hidden_size");
    refuse(flat_7b, "\"hidden_size\": 4096, ", "", bad, "hidden_size: is missing");
    refuse(flat_7b, "\"num_key_value_heads\": 32", "\"num_key_value_heads\": 5", bad,
           "num_attention_heads 32 is no multiple of num_key_value_heads 5");
    refuse(flat_7b, "\"num_attention_heads\": 32", "\"num_attention_heads\": 0", bad,
           "num_attention_heads: 0");
    refuse(flat_7b, "\"num_attention_heads\": 32", "\"num_attention_heads\": -3", bad,
           "num_attention_heads");
    refuse(flat_7b, "\"rms_norm_eps\": 1e-05", "\"rms_norm_eps\": 0", bad, "rms_norm_eps");
    refuse(flat_7b, "\"rms_norm_eps\": 1e-05", "\"rms_norm_eps\": NaN,\"head_dim\": 3", bad, "odd");
    refuse(flat_7b, "\"mm_hidden_size\": 1024", "\"mm_hidden_size\": 1152", bad,
           "key mm_hidden_size: 1152, but the vision tower's hidden_size is 1024");
    refuse(flat_7b, "\"mm_vision_select_layer\": -2", "\"mm_vision_select_layer\": -26", bad,
           "the vision tower has 24 layers");
    refuse(flat_7b, "\"mm_vision_select_layer\": -2", "\"mm_vision_select_layer\": 2.5", bad,
           "mm_vision_select_layer: not an integer");
    refuse(hf_7b, "\"patch_size\": 14", "\"patch_size\": 15", bad, "patch_size 15");
    refuse(hf_7b, "\"patch_size\": 14", "\"patch_size\": 0", bad, "patch_size: 0");
    refuse(hf_7b, "\"image_size\": 336", "\"image_size\": 4000000", bad, "image_size");
    refuse(hf_7b, "\"text_config\": {", "\"text_config\": 3, \"x\": {", bad, "text_config");
    refuse(hf_7b, "{\"architectures", "[\"architectures", bad, "folder/config.json:1");
    refuse_texts((struct uqm_config_texts){ .config = "[]" }, bad, "not an object");
    refuse_texts((struct uqm_config_texts){ .config = NULL }, bad, "config.json is missing");
}

static void what_we_do_not_compute_is_refused_by_name(void **state)
{
    (void) state;
    const enum uqm_status no = UQM_ERR_UNSUPPORTED;
    refuse(flat_7b, "\"silu\"", "\"relu\"", no, "hidden_act: \"relu\" is not supported");
    refuse(flat_7b, "\"rope_scaling\": null", "\"rope_scaling\": {\"type\": \"linear\"}", no,
           "rope_scaling: key type: \"linear\"");
    refuse(flat_7b, "\"mlp2x_gelu\"", "\"linear\"", no, "mm_projector_type: \"linear\"");
    refuse(flat_7b, "\"mm_projector_type\": \"mlp2x_gelu\", ", "", no,
           "mm_projector_type: \"linear\"");
    refuse(flat_7b, "\"mm_use_im_start_end\": false", "\"mm_use_im_start_end\": true", no,
           "mm_use_im_start_end: true");
    refuse(flat_7b, "\"pad\"", "\"anyres\"", no, "image_aspect_ratio: \"anyres\"");
    refuse(flat_7b, "\"model_type\": \"llava\"", "\"model_type\": \"llava_mpt\"", no, "llava_mpt");
    refuse(flat_7b, "\"pretraining_tp\": 1", "\"attention_bias\": true", no, "attention_bias");
    refuse(flat_7b, "\"pretraining_tp\": 1", "\"quantization_config\": {}", no, "quantised");
    refuse(hf_7b, "\"model_type\": \"llava\"", "\"model_type\": \"llava_next\"", no,
           "model_type: \"llava_next\"");
    refuse(hf_7b, "\"model_type\": \"llama\"", "\"model_type\": \"mistral\"", no,
           "text_config: key model_type: \"mistral\"");
    refuse(hf_7b, "\"clip_vision_model\"", "\"siglip_vision_model\"", no, "siglip_vision_model");
    refuse(hf_7b, "\"gelu\"", "\"relu\"", no, "projector_hidden_act");
    refuse(hf_7b, "\"vision_feature_layer\": -2", "\"vision_feature_layer\": [-2, -5]", no,
           "several layers");
    refuse(hf_7b, "\"projection_dim\": 768", "\"hidden_act\": \"gelu\"", no,
           "hidden_act: \"gelu\" is not supported, only \"quick_gelu\"");
}

static void refuse_preprocessor(const char *text, enum uqm_status code, const char *message)
{
    refuse_texts((struct uqm_config_texts){ .config = hf_7b, .preprocessor = text }, code, message);
}

static void the_preprocessor_gives_numbers_or_is_refused(void **state)
{
    (void) state;
    struct uqm_model_config c;
    struct uqm_err err = { 0 };
    const char *text =
        "{\"do_pad\": true, \"image_mean\": [0.5, 0.25, 0], \"image_std\": [1, 2, 3],"
        " \"rescale_factor\": 0.5, \"size\": 336, \"crop_size\": {\"height\": 336}}";
    assert_ok(parse(&c, (struct uqm_config_texts){ .config = hf_7b, .preprocessor = text }, &err),
              err);
    assert_true(c.preprocess.pad_to_square);
    assert_float_equal(c.preprocess.mean[1], 0.25, 0.0);
    assert_float_equal(c.preprocess.std[2], 3.0, 0.0);
    assert_float_equal(c.preprocess.rescale, 0.5, 0.0);

    refuse_preprocessor("{\"resample\": 2}", UQM_ERR_UNSUPPORTED, "resample: 2");
    refuse_preprocessor("{\"do_normalize\": false}", UQM_ERR_UNSUPPORTED, "do_normalize");
    refuse_preprocessor("{\"crop_size\": 224}", UQM_ERR_UNSUPPORTED, "crop_size: 224 differs");
    refuse_preprocessor("{\"size\": {\"shortest_edge\": 400}}", UQM_ERR_UNSUPPORTED, "size: 400");
    refuse_preprocessor("{\"image_std\": [1, 0, 1]}", UQM_ERR_FORMAT, "image_std");
    refuse_preprocessor("{\"image_mean\": [1, 0]}", UQM_ERR_FORMAT, "image_mean");
    refuse_preprocessor("{", UQM_ERR_FORMAT, "folder/preprocessor_config.json:1");
}

static void pictures_that_would_be_resized_otherwise_are_refused(void **state)
{
    (void) state;
    static const char *const squares[] = {
        "{\"size\": {\"height\": 336, \"width\": 336}}",
        "{\"size\": 336, \"default_to_square\": true}",
        "{\"image_processor_type\": \"CLIPImageProcessor\", \"do_pad\": true}",
    };
    static const char *const says[] = { "key size: pictures stretched", "key size: pictures stre",
                                        "key do_pad: true" };
    const enum uqm_status no = UQM_ERR_UNSUPPORTED;
    struct uqm_model_config c;
    struct uqm_err err = { 0 };
    for (size_t i = 0; i < 3; i++) {
        refuse_preprocessor(squares[i], no, says[i]);
        assert_ok(parse(&c,
                        (struct uqm_config_texts){ .config = flat_7b, /* pads */
                                                   .vision_config = clip_model,
                                                   .preprocessor = squares[i] },
                        &err),
                  err);
        assert_true(c.preprocess.pad_to_square);
    }
    const char *padded = "{\"size\": {\"height\": 336, \"width\": 336}, \"do_pad\": true}";
    assert_ok(parse(&c, (struct uqm_config_texts){ .config = hf_7b, .preprocessor = padded }, &err),
              err);
    const char *nulls =
        "{\"size\": {\"shortest_edge\": 336, \"longest_edge\": null, \"height\": null},"
        " \"do_pad\": null, \"image_processor_type\": \"CLIPImageProcessorFast\"}";
    assert_ok(parse(&c, (struct uqm_config_texts){ .config = hf_7b, .preprocessor = nulls }, &err),
              err);
    refuse_preprocessor("{\"size\": {\"shortest_edge\": 336, \"longest_edge\": 400}}", no,
                        "key size: a longest_edge");
    refuse_preprocessor("{\"image_processor_type\": \"SiglipImageProcessor\"}", no,
                        "image_processor_type: \"SiglipImageProcessor\"");
}

/* transformers 5 writes no preprocessor_config.json. */
static void the_preprocessor_may_be_in_processor_config(void **state)
{
    (void) state;
    struct uqm_model_config c;
    struct uqm_err err = { 0 };
    struct uqm_config_texts texts = {
        .config = hf_7b,
        .processor = "{\"image_processor\": {\"do_pad\": true, \"image_mean\": [0.5, 0.25, 0],"
                     " \"size\": {\"shortest_edge\": 336}}, \"patch_size\": 14,"
                     " \"processor_class\": \"LlavaProcessor\"}",
    };
    assert_ok(parse(&c, texts, &err), err);
    assert_true(c.preprocess.pad_to_square);
    assert_float_equal(c.preprocess.mean[1], 0.25, 0.0);

    texts.preprocessor = "{\"image_mean\": [1, 1, 1]}"; /* an older save's, left there */
    assert_ok(parse(&c, texts, &err), err);
    assert_true(c.preprocess.pad_to_square);
    assert_float_equal(c.preprocess.mean[1], 0.25, 0.0);

    texts.processor = "{\"patch_size\": 14, \"image_processor\": null}";
    assert_ok(parse(&c, texts, &err), err);
    assert_false(c.preprocess.pad_to_square);
    assert_float_equal(c.preprocess.mean[1], 1.0, 0.0);

    texts.processor = "{\"image_processor\": {\"resample\": 2}}";
    refuse_texts(texts, UQM_ERR_UNSUPPORTED,
                 "folder/processor_config.json: image_processor: key resample: 2");
    texts.processor = "{\"image_processor\": []}";
    refuse_texts(texts, UQM_ERR_FORMAT, "key image_processor: not an object");
    texts.processor = "{";
    refuse_texts(texts, UQM_ERR_FORMAT, "folder/processor_config.json:1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llava_hf_is_read_with_the_defaults_of_llama),
        cmocka_unit_test(llavas_own_layout_takes_the_tower_from_its_folder),
        cmocka_unit_test(without_a_tower_it_is_a_language_model),
        cmocka_unit_test(both_layouts_of_the_zoo_describe_one_model),
        cmocka_unit_test(special_ids_come_from_generation_config_first),
        cmocka_unit_test(a_tokenizer_without_a_limit_has_the_positions_limit),
        cmocka_unit_test(newer_spellings_are_understood),
        cmocka_unit_test(numbers_that_contradict_are_refused_by_key),
        cmocka_unit_test(what_we_do_not_compute_is_refused_by_name),
        cmocka_unit_test(the_preprocessor_gives_numbers_or_is_refused),
        cmocka_unit_test(pictures_that_would_be_resized_otherwise_are_refused),
        cmocka_unit_test(the_preprocessor_may_be_in_processor_config),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
