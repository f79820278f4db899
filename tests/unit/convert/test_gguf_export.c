/* GGUF files, read back by a reader of their own: keys, names, rows where they belong, values. */
#include "src/merge/relayout.h"
#include "tests/unit/convert/gguf_reader.h"
#include "tests/unit/merge/folder_test.h"

#include <jansson.h>

#define ORIGINAL "models-original/llava-mini-know"

enum { F32 = 0, F16 = 1, Q8_0 = 8, Q4_K = 12, Q6_K = 14, BF16 = 30 };

struct call {
    const char *in, *out, *dtype, *tower;
    uint64_t memory;
    int n_threads;
    bool strict;
};

struct heard {
    char warning[1024];
    volatile int cancel;
    int cancel_at, n_reports; /* 0: never */
    bool resumed;
};

static void hear(void *ctx, enum uqm_log_level level, const char *line)
{
    struct heard *h = ctx;
    if (level == UQM_LOG_WARN)
        snprintf(h->warning, sizeof h->warning, "%s", line);
}

static void progress(void *ctx, const struct uqm_progress *p)
{
    struct heard *h = ctx;
    assert_true(p->done <= p->total);
    if (++h->n_reports == h->cancel_at)
        h->cancel = 1;
}

static int export(const struct call *c, struct heard *h, struct uqm_err *err)
{
    struct heard own = { 0 };
    h = h ? h : &own;
    const struct uqm_convert_params params = {
        .common = { .memory = c->memory ? c->memory : 128 << 20,
                    .n_threads = c->n_threads ? c->n_threads : 2,
                    .sync_bytes = 1,
                    .strict = c->strict,
                    .log = hear,
                    .progress = progress,
                    .ctx = h,
                    .cancel = &h->cancel },
        .in = c->in,
        .out = c->out,
        .to = UQM_TO_GGUF,
        .dtype = c->dtype,
        .vision_tower = c->tower,
    };
    char *json = NULL;
    int ret = uqm_convert(&json, &params, err);
    if (ret == UQM_OK) {
        json_t *doc = json_loads(json, 0, NULL);
        h->resumed = json_is_true(json_object_get(doc, "resumed"));
        json_decref(doc);
    }
    free(json);
    return ret;
}

static int verify(const char *path)
{
    const struct uqm_verify_params params = { .path = path, .inputs = true };
    struct uqm_err err = { 0 };
    char *json = NULL;
    int ret = uqm_verify(&json, &params, &err);
    free(json);
    return ret;
}

/* --- against the checkpoint --- */

static struct uqm_checkpoint *open_model(const char *path)
{
    const struct uqm_checkpoint_params params = { .path = path };
    struct uqm_checkpoint *cp = NULL;
    struct uqm_err err = { 0 };
    assert_ok(uqm_checkpoint_open(&cp, test_env(0, 1), &params, &err), err);
    return cp;
}

/* The tensor's elements as f32; NULL: there is none. */
static float *numbers_of(const struct uqm_checkpoint *cp, const char *canonical,
                         const struct uqm_tensor **out)
{
    long k = uqm_source_find(&cp->source, canonical);
    if (k < 0)
        return NULL;
    const struct uqm_tensor *t = *out = &cp->source.tensors[k];
    uint64_t off;
    struct uqm_file *file = uqm_location_file(cp, &cp->locations[k], &off);
    uint8_t *raw = malloc(t->n_bytes + 1);
    float *x = malloc(t->n_elem * sizeof *x + 1);
    struct uqm_err err = { 0 };
    assert_true(raw && x);
    assert_ok(uqm_file_read(file, raw, (size_t) t->n_bytes, off, &err), err);
    for (uint64_t i = 0; i < t->n_elem; i++) {
        uint16_t h = (uint16_t) (raw[2 * i] | raw[2 * i + 1] << 8);
        if (t->dtype == UQM_F32)
            x[i] = f32_at(raw + 4 * i);
        else
            x[i] = t->dtype == UQM_F16 ? uqm_f32_of_f16(h) : uqm_f32_of_bf16(h);
    }
    free(raw);
    return x;
}

/* Of element i of a row of numbers in its block of 32, as Q8_0's rule has it. */
static float q8_0_of(const float *x, uint64_t i)
{
    const float *b = x + i / 32 * 32;
    float most = 0;
    for (int k = 0; k < 32; k++)
        most = fmaxf(most, fabsf(b[k]));
    float d = most / 127.0f, inverse = d > 0 ? 1.0f / d : 0.0f;
    return uqm_f32_of_f16(uqm_f16_of_f32(d)) * roundf(x[i] * inverse);
}

static float expected(uint32_t type, const float *x, uint64_t i)
{
    return type == F16    ? uqm_f32_of_f16(uqm_f16_of_f32(x[i]))
           : type == BF16 ? uqm_f32_of_bf16(uqm_bf16_of_f32(x[i]))
           : type == Q8_0 ? q8_0_of(x, i)
                          : x[i];
}

/* heads > 0: row 2j + s of a head of n rows is the checkpoint's row s n/2 + j. */
static void assert_tensor(const struct read_gguf *g, const char *name,
                          const struct uqm_checkpoint *cp, const char *canonical, uint64_t heads,
                          uint32_t type)
{
    const struct uqm_tensor *of = NULL;
    const struct read_tensor *t = tensor_of(g, name);
    float *x = numbers_of(cp, canonical, &of);
    if (!t || !x)
        fail_msg("%s or %s is missing", name, canonical);
    assert_int_equal(t->n_dims, of->rank);
    for (unsigned d = 0; d < of->rank; d++)
        assert_int_equal(t->dims[d], of->shape[of->rank - 1 - d]);
    if (t->type != type)
        fail_msg("%s is of type %u, not %u", name, t->type, type);
    uint64_t cols = of->n_elem / of->shape[0], n = heads ? of->shape[0] / heads : 1;
    double error = 0, norm = 0;
    for (uint64_t i = 0; i < of->n_elem; i++) {
        uint64_t row = i / cols, r = row % n;
        uint64_t from = heads ? row - r + r % 2 * (n / 2) + r / 2 : row;
        float is = element(t, i), want = expected(type, x, from * cols + i % cols);
        if (type != Q4_K && type != Q6_K && is != want)
            fail_msg("%s: element %zu is %a, not %a", name, (size_t) i, (double) is, (double) want);
        error += ((double) is - (double) want) * ((double) is - (double) want);
        norm += (double) want * (double) want;
    }
    if (error > norm * (type == Q4_K ? 0.08 * 0.08 : 0.02 * 0.02))
        fail_msg("%s: relative error %g", name, sqrt(error / norm));
    free(x);
}

static void assert_text(const struct read_gguf *g, const char *key, const char *text)
{
    const struct read_pair *p = key_of(g, key);
    if (!p || p->type != 8 || p->n != strlen(text) || memcmp(p->at, text, p->n) != 0)
        fail_msg("%s is not \"%s\"", key, text);
}

/* Token `id` of the list. */
static void assert_token(const struct read_gguf *g, uint64_t id, const char *text, int32_t type)
{
    const uint8_t *p = key_of(g, "tokenizer.ggml.tokens")->at;
    const uint8_t *types = key_of(g, "tokenizer.ggml.token_type")->at + 4 * id;
    skip_elements(&p, 8, id);
    uint64_t len = read_int(&p, 8);
    if (len != strlen(text) || memcmp(p, text, len) != 0)
        fail_msg("token %zu is %.*s, not %s", (size_t) id, (int) len, p, text);
    assert_int_equal((int32_t) read_int(&types, 4), type);
}

struct spelling {
    const char *gguf, *canonical;
};

#define BLOCK  "language_model.model.layers."
#define VISION "vision_tower.vision_model."

static void assert_block(const struct read_gguf *g, const struct uqm_checkpoint *cp, int layer,
                         uint64_t heads, uint64_t kv_heads, uint32_t type, uint32_t v_type,
                         uint32_t down_type)
{
    static const struct spelling names[] = {
        { "attn_norm", "input_layernorm" },    { "attn_q", "self_attn.q_proj" },
        { "attn_k", "self_attn.k_proj" },      { "attn_v", "self_attn.v_proj" },
        { "attn_output", "self_attn.o_proj" }, { "ffn_norm", "post_attention_layernorm" },
        { "ffn_gate", "mlp.gate_proj" },       { "ffn_up", "mlp.up_proj" },
        { "ffn_down", "mlp.down_proj" },
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char to[128], from[128];
        snprintf(to, sizeof to, "blk.%d.%s.weight", layer, names[i].gguf);
        snprintf(from, sizeof from, BLOCK "%d.%s.weight", layer, names[i].canonical);
        bool is_norm = strstr(names[i].gguf, "norm") != NULL;
        assert_tensor(g, to, cp, from,
                      i == 1   ? heads
                      : i == 2 ? kv_heads
                               : 0,
                      is_norm  ? F32
                      : i == 3 ? v_type
                      : i == 8 ? down_type
                               : type);
    }
}

static void assert_language(const struct read_gguf *g, const struct uqm_checkpoint *cp,
                            uint32_t type)
{
    assert_int_equal(g->n_tensors, 3 + 6 * 9);
    assert_tensor(g, "token_embd.weight", cp, "language_model.model.embed_tokens.weight", 0, type);
    assert_tensor(g, "output.weight", cp, "language_model.lm_head.weight", 0, type);
    assert_tensor(g, "output_norm.weight", cp, "language_model.model.norm.weight", 0, F32);
    for (int l = 0; l < 6; l++)
        assert_block(g, cp, l, 4, 4, type, type, type);
}

/* type: of matrices. Three of four layers, for features of the last but one. */
static void assert_mmproj(const struct read_gguf *g, const struct uqm_checkpoint *cp, uint32_t type)
{
    static const struct spelling names[] = {
        { "ln1", "layer_norm1" },         { "ln2", "layer_norm2" },
        { "attn_q", "self_attn.q_proj" }, { "attn_k", "self_attn.k_proj" },
        { "attn_v", "self_attn.v_proj" }, { "attn_out", "self_attn.out_proj" },
        { "ffn_up", "mlp.fc1" },          { "ffn_down", "mlp.fc2" },
    };
    assert_int_equal(g->n_tensors, 5 + 4 + 3 * 16);
    assert_tensor(g, "v.class_embd", cp, VISION "embeddings.class_embedding", 0, F32);
    assert_tensor(g, "v.patch_embd.weight", cp, VISION "embeddings.patch_embedding.weight", 0,
                  type == F32 ? F32 : F16);
    assert_tensor(g, "v.position_embd.weight", cp, VISION "embeddings.position_embedding.weight", 0,
                  F32);
    assert_tensor(g, "v.pre_ln.weight", cp, VISION "pre_layrnorm.weight", 0, F32);
    assert_tensor(g, "v.pre_ln.bias", cp, VISION "pre_layrnorm.bias", 0, F32);
    assert_tensor(g, "mm.0.weight", cp, "multi_modal_projector.linear_1.weight", 0, type);
    assert_tensor(g, "mm.0.bias", cp, "multi_modal_projector.linear_1.bias", 0, F32);
    assert_tensor(g, "mm.2.weight", cp, "multi_modal_projector.linear_2.weight", 0, type);
    assert_tensor(g, "mm.2.bias", cp, "multi_modal_projector.linear_2.bias", 0, F32);
    for (int l = 0; l < 3; l++)
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            char to[128], from[128];
            snprintf(to, sizeof to, "v.blk.%d.%s.bias", l, names[i].gguf);
            snprintf(from, sizeof from, VISION "encoder.layers.%d.%s.bias", l, names[i].canonical);
            assert_tensor(g, to, cp, from, 0, F32);
            snprintf(to, sizeof to, "v.blk.%d.%s.weight", l, names[i].gguf);
            snprintf(from, sizeof from, VISION "encoder.layers.%d.%s.weight", l,
                     names[i].canonical);
            assert_tensor(g, to, cp, from, 0, strncmp(names[i].gguf, "ln", 2) == 0 ? F32 : type);
        }
}

/* --- LLaVA --- */

static void a_llava_goes_into_two_files_in_every_type(void **state)
{
    static const struct {
        const char *dtype, *language, *mmproj;
        uint32_t type, mmproj_type, file_type, mmproj_file_type;
    } cases[] = {
        { NULL, "know-F16.gguf", "mmproj-know-F16.gguf", F16, F16, 1, 1 },
        { "f32", "know-F32.gguf", "mmproj-know-F32.gguf", F32, F32, 0, 0 },
        { "bfloat16", "know-BF16.gguf", "mmproj-know-BF16.gguf", BF16, BF16, 32, 32 },
        { "q8_0", "know-Q8_0.gguf", "mmproj-know-F16.gguf", Q8_0, F16, 7, 1 },
        { "Q4_K_M", "know-Q4_K_M.gguf", "mmproj-know-F16.gguf", Q8_0, F16, 15, 1 },
    };
    (void) state;
    struct uqm_checkpoint *cp = open_model(zoo_path("models/know"));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *dir = test_mkdtemp(), out[512];
        struct read_gguf g;
        struct heard h = { 0 };
        struct uqm_err err = { 0 };
        snprintf(out, sizeof out, "%s/out", dir);
        const struct call c = { .in = zoo_path("models/know"),
                                .out = out,
                                .dtype = cases[i].dtype };
        assert_ok(export(&c, &h, &err), err);
        read_gguf(&g, in_dir(out, "%s", cases[i].language));
        assert_language(&g, cp, cases[i].type);
        assert_int_equal(u32_of(&g, "general.file_type"), cases[i].file_type);
        bool blocks = cases[i].type == Q8_0;
        assert_int_equal(key_of(&g, "general.quantization_version") != NULL, blocks);
        free_gguf(&g);
        read_gguf(&g, in_dir(out, "%s", cases[i].mmproj));
        assert_mmproj(&g, cp, cases[i].mmproj_type);
        assert_int_equal(u32_of(&g, "general.file_type"), cases[i].mmproj_file_type);
        free_gguf(&g);
        assert_int_equal(strstr(h.warning, "44 matrices") != NULL, i == 4);
        assert_int_equal(verify(out), UQM_OK);
        test_rm(dir);
    }
    uqm_checkpoint_close(&cp);
}

static void the_keys_say_what_the_configs_say(void **state)
{
    (void) state;
    char *dir = test_mkdtemp(), out[512];
    struct read_gguf g;
    struct uqm_err err = { 0 };
    snprintf(out, sizeof out, "%s/out", dir);
    assert_ok(export(&(struct call){ .in = zoo_path("models/know"), .out = out }, NULL, &err), err);

    read_gguf(&g, in_dir(out, "know-F16.gguf"));
    assert_int_equal(g.n_pairs, 26);
    assert_text(&g, "general.architecture", "llama");
    assert_text(&g, "general.type", "model");
    assert_text(&g, "general.name", "know");
    assert_text(&g, "tokenizer.ggml.model", "llama");
    assert_text(&g, "tokenizer.ggml.pre", "default");
    static const struct {
        const char *key;
        uint64_t value;
    } numbers[] = {
        { "llama.block_count", 6 },
        { "llama.context_length", 512 },
        { "llama.embedding_length", 128 },
        { "llama.feed_forward_length", 352 },
        { "llama.attention.head_count", 4 },
        { "llama.attention.head_count_kv", 4 },
        { "llama.rope.dimension_count", 32 },
        { "llama.vocab_size", 1024 },
        { "tokenizer.ggml.bos_token_id", 1 },
        { "tokenizer.ggml.eos_token_id", 2 },
        { "tokenizer.ggml.unknown_token_id", 0 },
        { "tokenizer.ggml.padding_token_id", 1001 },
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        assert_int_equal(u32_of(&g, numbers[i].key), numbers[i].value);
    assert_true(f32_at(key_of(&g, "llama.attention.layer_norm_rms_epsilon")->at) == 1e-5f);
    assert_true(f32_at(key_of(&g, "llama.rope.freq_base")->at) == 10000.0f);
    assert_int_equal(*key_of(&g, "tokenizer.ggml.add_bos_token")->at, 1);
    assert_int_equal(*key_of(&g, "tokenizer.ggml.add_eos_token")->at, 0);
    assert_int_equal(*key_of(&g, "tokenizer.ggml.add_space_prefix")->at, 1);
    assert_int_equal(key_of(&g, "tokenizer.ggml.tokens")->n, 1024);
    assert_int_equal(key_of(&g, "tokenizer.ggml.scores")->n, 1024);
    assert_token(&g, 0, "<unk>", 2);
    assert_token(&g, 1, "<s>", 3);
    assert_token(&g, 3, "<0x00>", 6);
    assert_token(&g, 1000, "<image>", 3);
    assert_token(&g, 1001, "<pad>", 3);
    assert_token(&g, 1002, "[PAD1002]", 5);
    assert_token(&g, 1023, "[PAD1023]", 5);
    free_gguf(&g);

    read_gguf(&g, in_dir(out, "mmproj-know-F16.gguf"));
    assert_int_equal(g.n_pairs, 20);
    assert_text(&g, "general.architecture", "clip");
    assert_text(&g, "general.type", "mmproj");
    assert_text(&g, "clip.projector_type", "mlp");
    assert_int_equal(*key_of(&g, "clip.has_vision_encoder")->at, 1);
    assert_int_equal(*key_of(&g, "clip.has_text_encoder")->at, 0);
    assert_int_equal(*key_of(&g, "clip.has_llava_projector")->at, 1);
    assert_int_equal(*key_of(&g, "clip.use_gelu")->at, 0);
    assert_int_equal(u32_of(&g, "clip.vision.image_size"), 56);
    assert_int_equal(u32_of(&g, "clip.vision.patch_size"), 14);
    assert_int_equal(u32_of(&g, "clip.vision.embedding_length"), 96);
    assert_int_equal(u32_of(&g, "clip.vision.feed_forward_length"), 384);
    assert_int_equal(u32_of(&g, "clip.vision.projection_dim"), 64);
    assert_int_equal(u32_of(&g, "clip.vision.attention.head_count"), 4);
    assert_int_equal(u32_of(&g, "clip.vision.block_count"), 3);
    assert_true(f32_at(key_of(&g, "clip.vision.attention.layer_norm_epsilon")->at) == 1e-5f);
    assert_true(f32_at(key_of(&g, "clip.vision.image_mean")->at) == 0.48145466f);
    assert_true(f32_at(key_of(&g, "clip.vision.image_std")->at + 8) == 0.27577711f);
    const struct read_pair *layer = key_of(&g, "clip.vision.feature_layer");
    assert_true(layer->elem == 5 && layer->n == 1 && layer->at[0] == 3);
    free_gguf(&g);
    test_rm(dir);
}

static void the_original_layout_brings_its_tower_from_beside_it(void **state)
{
    (void) state;
    char *dir = test_mkdtemp(), out[512];
    struct read_gguf g;
    struct uqm_err err = { 0 };
    struct uqm_checkpoint *cp = open_model(zoo_path(ORIGINAL)); /* with the tower beside it */
    snprintf(out, sizeof out, "%s/out", dir);
    assert_ok(export(&(struct call){ .in = zoo_path(ORIGINAL), .out = out }, NULL, &err), err);
    read_gguf(&g, in_dir(out, "llava-mini-know-F16.gguf"));
    assert_language(&g, cp, F16);
    assert_int_equal(u32_of(&g, "llama.vocab_size"), 1000);
    free_gguf(&g);
    read_gguf(&g, in_dir(out, "mmproj-llava-mini-know-F16.gguf"));
    assert_mmproj(&g, cp, F16);
    free_gguf(&g);
    assert_int_equal(verify(out), UQM_OK);
    uqm_checkpoint_close(&cp);
    test_rm(dir);
}

/* --- a language model, made here --- */

enum { HIDDEN = 256, INNER = 288, N_LAYERS = 2, ROWS = 1003 };

/* What is said of tying concerns a head that is not stored. */
static const char llama_config[] =
    "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"hidden_size\":256,"
    "\"intermediate_size\":288,\"num_hidden_layers\":2,\"num_attention_heads\":4,"
    "\"num_key_value_heads\":2,\"max_position_embeddings\":64,\"rms_norm_eps\":1e-6,"
    "\"rope_theta\":50000.0,\"vocab_size\":1003,\"hidden_act\":\"silu\",\"bos_token_id\":1,"
    "\"eos_token_id\":2,\"tie_word_embeddings\":true}";

static uint64_t hidden = HIDDEN, inner = INNER; /* of what make_llama() makes */
static bool has_head = true;                    /* too */
static float random_numbers[ROWS * HIDDEN];
static uint16_t random_bf16[ROWS * HIDDEN];

static void make_numbers(void)
{
    uint32_t state = 7;
    for (size_t i = 0; i < ROWS * HIDDEN; i++) {
        state = state * 1664525 + 1013904223;
        random_numbers[i] = ((float) (state >> 8) / (float) (1 << 24) - 0.5f) / 8;
        random_bf16[i] = uqm_bf16_of_f32(random_numbers[i]);
    }
}

static void copy_tokenizer(const char *folder)
{
    char *data = NULL;
    size_t len = 0;
    struct uqm_err err = { 0 };
    assert_ok(uqm_read_file(&data, &len, zoo_path("models/know/tokenizer.model"), 1 << 20, &err),
              err);
    unlink(in_dir(folder, "tokenizer.model"));
    assert_ok(uqm_write_file(in_dir(folder, "tokenizer.model"), data, len, &err), err);
    free(data);
}

/* dir/llama: grouped queries, rows of which some are no whole number of Q4_K's blocks; `odd`
 * tensors more. */
static const char *make_llama(const char *dir, const struct made_tensor *odd, size_t n_odd)
{
    static char folder[512];
    static char names[32][96];
    struct made_tensor t[32];
    size_t n = 0;
    const struct {
        const char *name;
        unsigned rank;
        uint64_t rows, cols;
    } kinds[] = {
        { "input_layernorm", 1, hidden, 0 },
        { "self_attn.q_proj", 2, hidden, hidden },
        { "self_attn.k_proj", 2, hidden / 2, hidden },
        { "self_attn.v_proj", 2, hidden / 2, hidden },
        { "self_attn.o_proj", 2, hidden, hidden },
        { "post_attention_layernorm", 1, hidden, 0 },
        { "mlp.gate_proj", 2, inner, hidden },
        { "mlp.up_proj", 2, inner, hidden },
        { "mlp.down_proj", 2, hidden, inner },
    };
    make_numbers();
    for (int l = 0; l < N_LAYERS; l++)
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++, n++) {
            snprintf(names[n], sizeof names[n], "model.layers.%d.%s.weight", l, kinds[k].name);
            t[n] = (struct made_tensor){ names[n],
                                         UQM_BF16,
                                         kinds[k].rank,
                                         { kinds[k].rows, kinds[k].cols },
                                         random_bf16 + 977 * n };
        }
    t[n++] = (struct made_tensor){
        "model.embed_tokens.weight", UQM_BF16, 2, { ROWS, hidden }, random_bf16
    };
    t[n++] = (struct made_tensor){ "model.norm.weight", UQM_F32, 1, { hidden }, random_numbers };
    if (has_head)
        t[n++] =
            (struct made_tensor){ "lm_head.weight", UQM_F32, 2, { ROWS, hidden }, random_numbers };
    t[n++] = (struct made_tensor){
        "model.layers.0.self_attn.rotary_emb.inv_freq", UQM_F32, 1, { 8 }, random_numbers
    };
    for (size_t i = 0; i < n_odd; i++)
        t[n++] = odd[i];
    make_model(dir, "llama", llama_config, t, n);
    snprintf(folder, sizeof folder, "%s/llama", dir);
    copy_tokenizer(folder);
    return folder;
}

static void q4_k_m_has_more_bits_where_llama_cpp_gives_them(void **state)
{
    (void) state;
    char *dir = test_mkdtemp(), out[512];
    const char *in = make_llama(dir, NULL, 0);
    struct read_gguf g;
    struct heard h = { 0 };
    struct uqm_err err = { 0 };
    snprintf(out, sizeof out, "%s/out", dir);
    assert_ok(export(&(struct call){ .in = in, .out = out, .dtype = "q4_k_m" }, &h, &err), err);
    struct uqm_checkpoint *cp = open_model(in);
    read_gguf(&g, in_dir(out, "llama-Q4_K_M.gguf"));
    assert_int_equal(g.n_tensors, 3 + 2 * 9);
    assert_tensor(&g, "token_embd.weight", cp, "language_model.model.embed_tokens.weight", 0, Q4_K);
    assert_tensor(&g, "output.weight", cp, "language_model.lm_head.weight", 0, Q6_K);
    assert_block(&g, cp, 0, 4, 2, Q4_K, Q4_K, Q8_0);
    assert_block(&g, cp, 1, 4, 2, Q4_K, Q6_K, Q8_0);
    assert_non_null(strstr(h.warning, "2 matrices"));
    assert_int_equal(u32_of(&g, "llama.attention.head_count_kv"), 2);
    assert_int_equal(u32_of(&g, "llama.rope.dimension_count"), 64);
    assert_token(&g, 1002, "[PAD1002]", 5);
    free_gguf(&g);
    assert_false(exists(in_dir(out, "mmproj-llama-F16.gguf")));
    uqm_checkpoint_close(&cp);
    test_rm(dir);
}

static void a_tied_head_is_left_out_and_biases_move_with_their_rows(void **state)
{
    (void) state;
    char *dir = test_mkdtemp(), out[512];
    make_numbers();
    const struct made_tensor biases[] = {
        { "model.layers.1.self_attn.q_proj.bias", UQM_F32, 1, { HIDDEN }, random_numbers + 3 },
        { "model.layers.1.self_attn.k_proj.bias", UQM_BF16, 1, { HIDDEN / 2 }, random_bf16 + 5 },
    };
    has_head = false;
    const char *in = make_llama(dir, biases, 2);
    has_head = true;
    struct read_gguf g;
    struct uqm_err err = { 0 };
    snprintf(out, sizeof out, "%s/out", dir);
    assert_ok(export(&(struct call){ .in = in, .out = out, .dtype = "q4_k_m" }, NULL, &err), err);
    struct uqm_checkpoint *cp = open_model(in);
    read_gguf(&g, in_dir(out, "llama-Q4_K_M.gguf"));
    assert_int_equal(g.n_tensors, 2 + 2 * 9 + 2);
    assert_null(tensor_of(&g, "output.weight"));
    assert_tensor(&g, "token_embd.weight", cp, "language_model.model.embed_tokens.weight", 0, Q6_K);
    assert_tensor(&g, "blk.1.attn_q.bias", cp, BLOCK "1.self_attn.q_proj.bias", 4, F32);
    assert_tensor(&g, "blk.1.attn_k.bias", cp, BLOCK "1.self_attn.k_proj.bias", 2, F32);
    free_gguf(&g);
    uqm_checkpoint_close(&cp);
    test_rm(dir);
}

/* Both files of two exports hold the same tensors. */
static void assert_same_tensors(const char *out_a, const char *name_a, const char *out_b,
                                const char *name_b)
{
    for (size_t k = 0; k < 2; k++) {
        struct read_gguf a, b;
        char path[1024];
        snprintf(path, sizeof path, k == 0 ? "%s/%s-F16.gguf" : "%s/mmproj-%s-F16.gguf", out_a,
                 name_a);
        read_gguf(&a, path);
        snprintf(path, sizeof path, k == 0 ? "%s/%s-F16.gguf" : "%s/mmproj-%s-F16.gguf", out_b,
                 name_b);
        read_gguf(&b, path);
        assert_int_equal(a.n_tensors, b.n_tensors);
        for (size_t i = 0; i < a.n_tensors; i++) {
            assert_string_equal(a.tensors[i].name, b.tensors[i].name);
            assert_int_equal(a.tensors[i].type, b.tensors[i].type);
            assert_memory_equal(a.tensors[i].data, b.tensors[i].data,
                                bytes_of_type(a.tensors[i].type, a.tensors[i].n_elem));
        }
        free_gguf(&a);
        free_gguf(&b);
    }
}

static void a_recipe_gives_what_its_merge_gives_and_an_archive_what_was_packed(void **state)
{
    (void) state;
    char *dir = test_mkdtemp(), *json = NULL, *text = NULL;
    struct uqm_err err = { 0 };
    const struct uqm_common common = { .memory = 128 << 20, .n_threads = 2 };
    char recipe[512], merged[512], packed[512], a[512], b[512], c[512];
    snprintf(recipe, sizeof recipe, "%s/mix.yml", dir);
    snprintf(merged, sizeof merged, "%s/merged", dir);
    snprintf(packed, sizeof packed, "%s/packed.uqz", dir);
    snprintf(a, sizeof a, "%s/a", dir);
    snprintf(b, sizeof b, "%s/b", dir);
    snprintf(c, sizeof c, "%s/c", dir);
    assert_true(asprintf(&text,
                         "merge_method: linear\nmodels:\n  - model: %s\n  - model: %s\n"
                         "parameters: {weight: 0.5}\n",
                         zoo_path("models/know"), zoo_path("models/base")) > 0);
    write_text(recipe, text);
    free(text);
    const struct uqm_merge_params merge = { .common = common,
                                            .recipe_path = recipe,
                                            .out_dir = merged };
    const struct uqm_pack_params pack = { .common = common, .dir = merged, .archive = packed };
    assert_ok(uqm_merge(&json, &merge, &err), err);
    free(json);
    assert_ok(uqm_pack(&json, &pack, &err), err);
    free(json);
    assert_ok(export(&(struct call){ .in = recipe, .out = a }, NULL, &err), err);
    assert_ok(export(&(struct call){ .in = merged, .out = b }, NULL, &err), err);
    assert_ok(export(&(struct call){ .in = packed, .out = c }, NULL, &err), err);
    assert_same_tensors(a, "mix", b, "merged");
    assert_same_tensors(c, "packed", b, "merged");
    assert_int_equal(verify(a), UQM_OK);
    test_rm(dir);
}

static void the_bytes_depend_neither_on_threads_nor_on_memory(void **state)
{
    (void) state;
    char *dir = test_mkdtemp(), a[512], b[512];
    const char *in = make_llama(dir, NULL, 0);
    struct uqm_err err = { 0 };
    snprintf(a, sizeof a, "%s/a", dir);
    snprintf(b, sizeof b, "%s/b", dir);
    struct call c = { .in = in, .out = a, .dtype = "q4_k_m", .memory = 64 << 20, .n_threads = 1 };
    assert_ok(export(&c, NULL, &err), err);
    c = (struct call){ .in = in, .out = b, .dtype = "q4_k_m", .memory = 256 << 20, .n_threads = 3 };
    assert_ok(export(&c, NULL, &err), err);
    assert_same_folder(a, b);
    test_rm(dir);
}

/* Stopped after the step `first` and others behind it: the next run goes on (n_least times at
 * least), and ends in the same bytes. */
static void assert_goes_on(const char *in, const char *dtype, int first, int by, int n, int n_least)
{
    char *dir = test_mkdtemp(), a[512], b[512];
    struct uqm_err err = { 0 };
    int n_resumed = 0;
    snprintf(a, sizeof a, "%s/a", dir);
    snprintf(b, sizeof b, "%s/b", dir);
    struct call c = { .in = in, .out = a, .dtype = dtype };
    assert_ok(export(&c, NULL, &err), err);
    c.out = b;
    for (int i = 0; i < n; i++) {
        struct heard h = { .cancel_at = first + i * by };
        assert_int_equal(export(&c, &h, &err), UQM_ERR_INTERRUPTED);
        assert_false(exists(b));
        h = (struct heard){ 0 };
        assert_ok(export(&c, &h, &err), err);
        n_resumed += h.resumed;
        assert_same_folder(a, b);
        assert_ok(uqm_remove_tree(b, &err), err);
    }
    assert_in_range(n_resumed, n_least, n);
    test_rm(dir);
}

static void an_export_that_is_stopped_is_gone_on_with(void **state)
{
    (void) state;
    assert_goes_on(zoo_path("models/know"), "q8_0", 1, 21, 6, 4);
}

/* Tensors of 1003 rows of 40, and of 9: they end between two places. */
static void the_zeros_between_tensors_are_gone_on_with_too(void **state)
{
    (void) state;
    char *dir = test_mkdtemp(), *config = strdup(llama_config);
    hidden = 40;
    inner = 9;
    const char *in = make_llama(dir, NULL, 0);
    memcpy(strstr(config, "256"), " 40", 3);
    memcpy(strstr(config, "288"), "  9", 3);
    write_text(in_dir(in, "config.json"), config);
    free(config);
    assert_goes_on(in, "f16", 1, 1, 20, 15);
    hidden = HIDDEN;
    inner = INNER;
    test_rm(dir);
}

/* --- refusals --- */

static void assert_refused(const char *in, const char *dir, const char *dtype, int code,
                           const char *text)
{
    char out[512];
    struct uqm_err err = { 0 };
    snprintf(out, sizeof out, "%s/refused", dir);
    assert_fails(export(&(struct call){ .in = in, .out = out, .dtype = dtype }, NULL, &err), err,
                 code, text);
    assert_false(exists(out));
}

static void what_gguf_cannot_hold_is_refused_by_name(void **state)
{
    (void) state;
    char *dir = test_mkdtemp();
    static float bad[HIDDEN];
    const struct made_tensor odd = {
        "model.layers.0.self_attn.q_norm.weight", UQM_F32, 1, { 64 }, random_numbers
    };
    const struct made_tensor other = { "scores", UQM_F32, 1, { 64 }, random_numbers };
    const struct made_tensor far = {
        "model.layers.2.input_layernorm.weight", UQM_F32, 1, { HIDDEN }, random_numbers
    };
    const struct made_tensor bias = {
        "model.layers.1.self_attn.q_proj.bias", UQM_F32, 1, { HIDDEN }, bad
    };
    bad[5] = 1e30f;
    assert_refused(make_llama(dir, &odd, 1), dir, NULL, UQM_ERR_UNSUPPORTED,
                   "q_norm.weight: GGUF's llama has no name");
    assert_refused(make_llama(dir, &other, 1), dir, NULL, UQM_ERR_UNSUPPORTED, "tensor scores");
    assert_refused(make_llama(dir, &far, 1), dir, NULL, UQM_ERR_UNSUPPORTED, "layers.2");
    const char *in = make_llama(dir, &bias, 1);
    assert_refused(in, dir, "int8", UQM_ERR_USAGE, "--dtype int8");
    assert_refused(in, dir, "float64", UQM_ERR_USAGE, "--dtype float64");
    char out[512];
    struct uqm_err err = { 0 };
    snprintf(out, sizeof out, "%s/model.gguf", dir);
    assert_fails(export(&(struct call){ .in = in, .out = out }, NULL, &err), err, UQM_ERR_USAGE,
                 "OUT is a folder");
    test_rm(dir);
}

static void numbers_that_a_type_cannot_hold_are_refused(void **state)
{
    (void) state;
    char *dir = test_mkdtemp();
    const char *in = make_llama(dir, NULL, 0);
    /* the head alone is of F32 */
    FILE *f = fopen(in_dir(in, "model.safetensors"), "r+b");
    assert_non_null(f);
    struct uqm_checkpoint *cp = open_model(in);
    long head = uqm_source_find(&cp->source, "language_model.lm_head.weight");
    long place = (long) cp->locations[head].off_bytes + 4 * (HIDDEN + 5);
    uqm_checkpoint_close(&cp);
    const struct {
        float value;
        const char *dtype, *text;
    } cases[] = {
        { 1e30f, "f16",
          "lm_head.weight: an element from number 256 on is not finite, or too large "
          "for F16" },
        { 1e30f, "q8_0", "too large for Q8_0" },
        { NAN, "q8_0", "too large for Q8_0" },
        { NAN, "q4_k_m", "too large for Q6_K" },
        { -INFINITY, "q4_k_m", "too large for Q6_K" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(fseek(f, place, SEEK_SET), 0);
        assert_int_equal(fwrite(&cases[i].value, 4, 1, f), 1);
        assert_int_equal(fflush(f), 0);
        assert_refused(in, dir, cases[i].dtype, UQM_ERR_FORMAT, cases[i].text);
    }
    fclose(f);
    char out[512];
    struct uqm_err err = { 0 };
    snprintf(out, sizeof out, "%s/out", dir);
    assert_ok(export(&(struct call){ .in = in, .out = out, .dtype = "f32" }, NULL, &err), err);
    test_rm(dir);
}

static void what_is_missing_is_named(void **state)
{
    (void) state;
    char *dir = test_mkdtemp(), path[600];
    const char *in = make_llama(dir, NULL, 0);
    snprintf(path, sizeof path, "%s/tokenizer.model", in);
    unlink(path);
    assert_refused(in, dir, NULL, UQM_ERR_FORMAT, "llama/tokenizer.model: is missing");
    copy_tokenizer(in);
    char *config = strdup(llama_config), *layers = strstr(config, "\"num_hidden_layers\":2");
    assert_non_null(layers);
    layers[strlen("\"num_hidden_layers\":")] = '3';
    write_text(in_dir(in, "config.json"), config);
    free(config);
    assert_refused(in, dir, NULL, UQM_ERR_FORMAT, "layers.2.input_layernorm.weight is missing");
    unlink(in_dir(in, "config.json"));
    assert_refused(in, dir, NULL, UQM_ERR_FORMAT, "config.json is missing");
    test_rm(dir);
}

int main(void)
{
    use_memory_disk();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_llava_goes_into_two_files_in_every_type),
        cmocka_unit_test(the_keys_say_what_the_configs_say),
        cmocka_unit_test(the_original_layout_brings_its_tower_from_beside_it),
        cmocka_unit_test(q4_k_m_has_more_bits_where_llama_cpp_gives_them),
        cmocka_unit_test(a_tied_head_is_left_out_and_biases_move_with_their_rows),
        cmocka_unit_test(a_recipe_gives_what_its_merge_gives_and_an_archive_what_was_packed),
        cmocka_unit_test(the_bytes_depend_neither_on_threads_nor_on_memory),
        cmocka_unit_test(an_export_that_is_stopped_is_gone_on_with),
        cmocka_unit_test(the_zeros_between_tensors_are_gone_on_with_too),
        cmocka_unit_test(what_gguf_cannot_hold_is_refused_by_name),
        cmocka_unit_test(numbers_that_a_type_cannot_hold_are_refused),
        cmocka_unit_test(what_is_missing_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
