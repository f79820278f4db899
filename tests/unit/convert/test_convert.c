/* Conversions between LLaVA's layouts, on the zoo: know is there in both. */
#include "src/format/json_edit.h"
#include "src/format/model_config.h"
#include "src/merge/relayout.h"
#include "tests/unit/merge/folder_test.h"

#define ORIGINAL "models-original/llava-mini-know"

enum { REAL_ROWS = 1000, HF_ROWS = 1024 };

struct said {
    char line[1024];
};

static void hear(void *ctx, enum uqm_log_level level, const char *line)
{
    struct said *s = ctx;
    if (level == UQM_LOG_INFO && strstr(line, "rows of the vocabulary"))
        snprintf(s->line, sizeof s->line, "%s", line);
}

static int convert(const char *in, const char *out, enum uqm_convert_to to, struct said *said,
                   struct uqm_err *err)
{
    const struct uqm_convert_params params = {
        .common = { .memory = 256 << 20, .n_threads = 2, .log = said ? hear : NULL, .ctx = said },
        .in = in,
        .out = out,
        .to = to,
    };
    char *json = NULL;
    int ret = uqm_convert(&json, &params, err);
    free(json);
    return ret;
}

static struct uqm_checkpoint *open_model(const char *path)
{
    const struct uqm_checkpoint_params params = { .path = path };
    struct uqm_checkpoint *cp = NULL;
    struct uqm_err err = { 0 };
    assert_ok(uqm_checkpoint_open(&cp, test_env(0, 1), &params, &err), err);
    return cp;
}

static void *read_tensor(const struct uqm_checkpoint *cp, size_t i)
{
    uint64_t off;
    struct uqm_file *file = uqm_location_file(cp, &cp->locations[i], &off);
    size_t n = (size_t) cp->source.tensors[i].n_bytes;
    void *data = malloc(n + 1);
    struct uqm_err err = { 0 };
    assert_non_null(data);
    assert_ok(uqm_file_read(file, data, n, off, &err), err);
    return data;
}

static long find(const struct uqm_checkpoint *cp, const char *canonical)
{
    for (size_t i = 0; i < cp->source.n_tensors; i++)
        if (strcmp(cp->source.tensors[i].canonical, canonical) == 0)
            return (long) i;
    return -1;
}

/* Every weight of a is in b, bit for bit; of the vocabulary the real rows. Returns how many. */
static size_t assert_same_weights(const char *path_a, const char *path_b)
{
    struct uqm_checkpoint *a = open_model(path_a), *b = open_model(path_b);
    size_t n = 0;
    for (size_t i = 0; i < a->source.n_tensors; i++) {
        const struct uqm_tensor *t = &a->source.tensors[i];
        if (uqm_layout_is_buffer(t->name) || t->part == UQM_PART_OTHER)
            continue;
        long k = find(b, t->canonical);
        if (k < 0)
            fail_msg("%s is not in %s", t->canonical, path_b);
        const struct uqm_tensor *u = &b->source.tensors[k];
        bool has_rows = strstr(t->canonical, "embed_tokens") || strstr(t->canonical, "lm_head");
        assert_true(has_rows || t->n_bytes == u->n_bytes);
        uint64_t bytes = has_rows ? t->n_bytes / t->shape[0] * REAL_ROWS : t->n_bytes;
        void *x = read_tensor(a, i), *y = read_tensor(b, (size_t) k);
        if (t->dtype != u->dtype || memcmp(x, y, (size_t) bytes) != 0)
            fail_msg("%s differs", t->canonical);
        free(x);
        free(y);
        n++;
    }
    uqm_checkpoint_close(&a);
    uqm_checkpoint_close(&b);
    return n;
}

static void assert_same_names(const char *path_a, const char *path_b)
{
    struct uqm_checkpoint *a = open_model(path_a), *b = open_model(path_b);
    assert_int_equal(a->source.n_tensors, b->source.n_tensors);
    for (size_t i = 0; i < a->source.n_tensors; i++)
        assert_string_equal(a->source.tensors[i].name, b->source.tensors[i].name);
    uqm_checkpoint_close(&a);
    uqm_checkpoint_close(&b);
}

static void read_config(struct uqm_model_config *out, const char *path)
{
    struct uqm_checkpoint *cp = open_model(path);
    char *preprocessor = NULL, *tokenizer = NULL, *generation = NULL;
    const char *tower = cp->vision_tower_path ? cp->vision_tower_path : path;
    struct uqm_err err = { 0 };
    assert_ok(uqm_relayout_read(&preprocessor, tower, "preprocessor_config.json", &err), err);
    assert_ok(uqm_relayout_read(&tokenizer, path, "tokenizer_config.json", &err), err);
    assert_ok(uqm_relayout_read(&generation, path, "generation_config.json", &err), err);
    const struct uqm_config_texts texts = {
        .where = path,
        .config = cp->config_text,
        .vision_config = cp->vision_config_text,
        .preprocessor = preprocessor,
        .tokenizer_config = tokenizer,
        .generation = generation,
    };
    assert_ok(uqm_model_config_parse(out, &texts, &err), err);
    free(preprocessor);
    free(tokenizer);
    free(generation);
    uqm_checkpoint_close(&cp);
}

/* What is computed is the same, but for the rows of the vocabulary. */
static void assert_same_config(const char *path_a, const char *path_b)
{
    struct uqm_model_config a, b;
    read_config(&a, path_a);
    read_config(&b, path_b);
    b.text.vocab_size = a.text.vocab_size;
    assert_true(a.has_vision && b.has_vision);
    assert_memory_equal(&a.text.vocab_size, &b.text.vocab_size, 8 * sizeof(uint32_t));
    assert_true(a.text.rms_eps == b.text.rms_eps && a.text.rope_theta == b.text.rope_theta);
    assert_int_equal(a.text.tied_head, b.text.tied_head);
    assert_memory_equal(&a.vision, &b.vision, offsetof(struct uqm_vision_config, keep_class_token));
    assert_int_equal(a.vision.keep_class_token, b.vision.keep_class_token);
    assert_int_equal(a.preprocess.image_size, b.preprocess.image_size);
    assert_int_equal(a.preprocess.pad_to_square, b.preprocess.pad_to_square);
    assert_memory_equal(a.preprocess.mean, b.preprocess.mean, 7 * sizeof(double));
    assert_int_equal(a.max_length, b.max_length);
    assert_int_equal(a.bos_id, b.bos_id);
    assert_int_equal(a.eos_ids[0], b.eos_ids[0]);
    assert_int_equal(a.n_real_tokens, b.n_real_tokens);
}

static void assert_tokens(const char *path, long image, long pad, const char *pad_token)
{
    struct uqm_vocab *v = NULL;
    struct uqm_err err = { 0 };
    struct uqm_json_span span;
    assert_ok(uqm_vocabulary_read(&v, path, &err), err);
    const struct uqm_vocab_token *i = uqm_vocabulary_find(v, "<image>", 7);
    const struct uqm_vocab_token *p = uqm_vocabulary_find(v, "<pad>", 5);
    assert_int_equal(i ? (long) i->id : -1, image);
    assert_int_equal(p ? (long) p->id : -1, pad);
    uqm_vocabulary_free(&v);
    static const char *const names[] = { "tokenizer_config.json", "special_tokens_map.json" };
    for (size_t k = 0; k < 2; k++) {
        char *text = NULL;
        assert_ok(uqm_relayout_read(&text, path, names[k], &err), err);
        assert_int_equal(
            uqm_json_find(&span, NULL, text, strlen(text), "pad_token", names[k], &err), 1);
        assert_int_equal(span.end - span.begin, strlen(pad_token));
        assert_memory_equal(text + span.begin, pad_token, strlen(pad_token));
        free(text);
    }
}

static double half(uint16_t bits)
{
    int e = bits >> 10 & 31;
    double m = bits & 1023, x = e ? (1024 + m) / 1024 : m / 1024 * 2;
    for (e -= 15; e > 0; e--)
        x *= 2;
    for (; e < 0; e++)
        x /= 2;
    return bits >> 15 ? -x : x;
}

/* Rows from REAL_ROWS on are the mean of those before, to the last place of a half. */
static void assert_mean_rows(const char *path, const char *canonical)
{
    struct uqm_checkpoint *cp = open_model(path);
    long at = find(cp, canonical);
    assert_true(at >= 0);
    const struct uqm_tensor *t = &cp->source.tensors[at];
    assert_int_equal(t->shape[0], HF_ROWS);
    size_t dim = (size_t) t->shape[1];
    uint16_t *x = read_tensor(cp, (size_t) at);
    for (size_t col = 0; col < dim; col++) {
        double sum = 0;
        for (size_t row = 0; row < REAL_ROWS; row++)
            sum += half(x[row * dim + col]);
        double mean = sum / REAL_ROWS, most = (mean < 0 ? -mean : mean) / 2048 + 6e-8;
        for (size_t row = REAL_ROWS; row < HF_ROWS; row++) {
            double off = half(x[row * dim + col]) - mean;
            assert_true(off <= most && off >= -most);
        }
    }
    free(x);
    uqm_checkpoint_close(&cp);
}

static void llavas_own_layout_becomes_hugging_faces(void **state)
{
    (void) state;
    char *dir = test_mkdtemp();
    struct said said = { 0 };
    struct uqm_err err = { 0 };
    const char *out = in_dir(dir, "hf");
    assert_ok(convert(zoo_path(ORIGINAL), out, UQM_TO_HF, &said, &err), err);
    assert_non_null(strstr(said.line, "1000 rows of the vocabulary become 1024"));
    assert_same_names(out, zoo_path("models/know"));
    assert_int_equal(assert_same_weights(out, zoo_path("models/know")), 132);
    assert_same_config(out, zoo_path("models/know"));
    struct uqm_model_config c;
    read_config(&c, out);
    assert_int_equal(c.image_token, REAL_ROWS);
    assert_int_equal(c.text.vocab_size, HF_ROWS);
    assert_tokens(out, REAL_ROWS, REAL_ROWS + 1, "\"<pad>\"");
    assert_mean_rows(out, "language_model.model.embed_tokens.weight");
    assert_mean_rows(out, "language_model.lm_head.weight");
    assert_true(exists(in_dir(out, "processor_config.json")));
    test_rm(dir);
}

/* One file, shards, PyTorch's, and the newer names. */
static void what_goes_to_llavas_layout_and_back_has_equal_tensors(void **state)
{
    static const char *const models[] = { "know", "knowmc", "chat", "dense" };
    (void) state;
    for (size_t i = 0; i < 4; i++) {
        char *dir = test_mkdtemp(), in[64];
        struct said said = { 0 };
        struct uqm_err err = { 0 };
        snprintf(in, sizeof in, "models/%s", models[i]);
        const char *there = in_dir(dir, "llava"), *back = in_dir(dir, "hf");
        assert_ok(convert(zoo_path(in), there, UQM_TO_LLAVA, &said, &err), err);
        assert_non_null(strstr(said.line, "1024 rows of the vocabulary become 1000"));
        struct uqm_checkpoint *cp = open_model(there);
        assert_int_equal(cp->layout, UQM_LAYOUT_LLAVA);
        assert_null(cp->vision_tower_path);
        uqm_checkpoint_close(&cp);
        assert_int_equal(assert_same_weights(there, zoo_path(in)), 132);
        assert_same_config(zoo_path(in), there);
        assert_tokens(there, -1, -1, "\"<unk>\"");
        assert_false(exists(in_dir(there, "processor_config.json")));

        assert_ok(convert(there, back, UQM_TO_HF, NULL, &err), err);
        assert_same_names(back, zoo_path("models/know"));
        assert_int_equal(assert_same_weights(back, zoo_path(in)), 132);
        assert_same_config(zoo_path(in), back);
        assert_tokens(back, REAL_ROWS, REAL_ROWS + 1, "\"<pad>\"");
        test_rm(dir);
    }
}

static void the_names_are_those_of_the_released_model(void **state)
{
    (void) state;
    char *dir = test_mkdtemp();
    struct uqm_err err = { 0 };
    const char *out = in_dir(dir, "llava");
    assert_ok(convert(zoo_path("models/dense"), out, UQM_TO_LLAVA, NULL, &err), err);
    struct uqm_checkpoint *a = open_model(out), *b = open_model(zoo_path(ORIGINAL));
    size_t n_vision = 0;
    for (size_t i = 0; i < a->source.n_tensors; i++) {
        const struct uqm_tensor *t = &a->source.tensors[i];
        if (t->part == UQM_PART_VISION) {
            n_vision++;
            assert_int_equal(strncmp(t->name, "model.vision_tower.vision_tower.vision_model.", 45),
                             0);
            continue;
        }
        long k = find(b, t->canonical);
        assert_true(k >= 0);
        assert_string_equal(t->name, b->source.tensors[k].name);
        assert_int_equal(t->n_bytes, b->source.tensors[k].n_bytes);
    }
    assert_true(n_vision > 60);
    uqm_checkpoint_close(&a);
    uqm_checkpoint_close(&b);
    test_rm(dir);
}

/* --- refusals --- */

static void copy_folder(const char *from, const char *to)
{
    struct dirent **in = NULL;
    struct uqm_err err = { 0 };
    int n = scandir(from, &in, is_no_dot, alphasort);
    assert_true(n > 0);
    mkdir(to, 0755);
    for (int i = 0; i < n; i++) {
        char a[1024], b[1024], *text;
        size_t len;
        snprintf(a, sizeof a, "%s/%s", from, in[i]->d_name);
        snprintf(b, sizeof b, "%s/%s", to, in[i]->d_name);
        assert_ok(uqm_read_file(&text, &len, a, 1 << 28, &err), err);
        assert_ok(uqm_write_file(b, text, len, &err), err);
        free(text);
        free(in[i]);
    }
    free(in);
}

/* One key of one file. */
static void change(const char *dir, const char *file, const char *key, const char *value)
{
    char *text = NULL, path[1024];
    struct uqm_err err = { 0 };
    assert_ok(uqm_relayout_read(&text, dir, file, &err), err);
    size_t len = strlen(text);
    assert_ok(uqm_json_set(&text, &len, key, value, file, &err), err);
    snprintf(path, sizeof path, "%s/%s", dir, file);
    unlink(path);
    assert_ok(uqm_write_file(path, text, len, &err), err);
    free(text);
}

static void what_has_no_place_in_the_other_layout_is_refused_by_name(void **state)
{
    (void) state;
    char *dir = test_mkdtemp(), in[512], out[512];
    struct uqm_err err = { 0 };
    snprintf(in, sizeof in, "%s/in", dir);
    snprintf(out, sizeof out, "%s/out", dir);
    copy_folder(zoo_path("models/know"), in);

    change(in, "added_tokens.json", "<extra>", "1002");
    assert_fails(convert(in, out, UQM_TO_LLAVA, NULL, &err), err, UQM_ERR_UNSUPPORTED,
                 "token <extra>, 1002, stands behind the image token, 1000");
    change(in, "added_tokens.json", "<extra>", NULL);
    change(in, "config.json", "image_token_index", "900");
    assert_fails(convert(in, out, UQM_TO_LLAVA, NULL, &err), err, UQM_ERR_UNSUPPORTED,
                 "stands behind the image token, 900");
    change(in, "config.json", "image_token_index", "0");
    assert_fails(convert(in, out, UQM_TO_LLAVA, NULL, &err), err, UQM_ERR_FORMAT,
                 "the image token is number 0");
    change(in, "config.json", "image_token_index", "1000");
    change(in, "config.json", "projector_hidden_act", "\"relu\"");
    assert_fails(convert(in, out, UQM_TO_LLAVA, NULL, &err), err, UQM_ERR_UNSUPPORTED,
                 "projector_hidden_act");
    unlink(in_dir(in, "config.json"));
    assert_fails(convert(in, out, UQM_TO_LLAVA, NULL, &err), err, UQM_ERR_FORMAT,
                 "without config.json");
    assert_false(exists(out));
    test_rm(dir);
}

static void a_tower_that_is_nowhere_is_missed(void **state)
{
    (void) state;
    char *dir = test_mkdtemp(), in[512], out[512], *json = NULL;
    struct uqm_err err = { 0 };
    snprintf(in, sizeof in, "%s/in", dir);
    snprintf(out, sizeof out, "%s/out", dir);
    copy_folder(zoo_path(ORIGINAL), in); /* its tower is not beside it here */
    assert_fails(convert(in, out, UQM_TO_HF, NULL, &err), err, UQM_ERR_FORMAT, "--vision-tower");
    const struct uqm_convert_params params = {
        .common = { .memory = 256 << 20, .n_threads = 1 },
        .in = in,
        .out = out,
        .to = UQM_TO_HF,
        .vision_tower = zoo_path("models-original/clip-mini"),
    };
    assert_ok(uqm_convert(&json, &params, &err), err);
    free(json);
    assert_int_equal(assert_same_weights(out, zoo_path("models/know")), 132);
    test_rm(dir);
}

static void a_member_of_a_text_is_replaced_added_or_taken_out(void **state)
{
    static const struct {
        const char *text, *key, *value, *becomes;
    } cases[] = {
        { "{\"a\": 1, \"b\": [2]}", "b", "\"x\"", "{\"a\": 1, \"b\": \"x\"}" },
        { "{\"a\": 1e30}", "b", "2", "{\n  \"b\": 2,\"a\": 1e30}" },
        { " { }\n", "b", "2", " {\n  \"b\": 2 }\n" },
        { "{\"a\":1,\"b\":2}", "b", NULL, "{\"a\":1}" },
        { "{\"a\":1,\"b\":2}", "a", NULL, "{\"b\":2}" },
        { "{\"a\":1}", "b", NULL, "{\"a\":1}" },
    };
    (void) state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = strdup(cases[i].text);
        size_t len = strlen(text);
        struct uqm_err err = { 0 };
        assert_ok(uqm_json_set(&text, &len, cases[i].key, cases[i].value, "t", &err), err);
        assert_string_equal(text, cases[i].becomes);
        assert_int_equal(len, strlen(text));
        free(text);
    }
    char *bad = strdup("[1]");
    size_t len = 3;
    struct uqm_err err = { 0 };
    assert_true(uqm_json_set(&bad, &len, "a", "1", "t", &err) < 0);
    free(bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llavas_own_layout_becomes_hugging_faces),
        cmocka_unit_test(what_goes_to_llavas_layout_and_back_has_equal_tensors),
        cmocka_unit_test(the_names_are_those_of_the_released_model),
        cmocka_unit_test(what_has_no_place_in_the_other_layout_is_refused_by_name),
        cmocka_unit_test(a_tower_that_is_nowhere_is_missed),
        cmocka_unit_test(a_member_of_a_text_is_replaced_added_or_taken_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
