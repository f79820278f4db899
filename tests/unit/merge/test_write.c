#include "src/merge/write.h"

#include <jansson.h>
#include <sys/file.h>
#include <sys/resource.h>

#include <fcntl.h>
#include <signal.h>

#include "src/format/manifest.h"
#include "src/merge/merge_report.h"
#include "tests/unit/merge/merge_test.h"

static float numbers[4096];

/* Two small models with vision, language and a buffer; a recipe for them. */
static char *start(void)
{
    char *dir = test_mkdtemp();
    for (size_t i = 0; i < 4096; i++)
        numbers[i] = (float) i / 64;
    for (int k = 0; k < 2; k++) {
        const float *d = numbers + 128 * k;
        struct made_tensor t[] = {
            { "language_model.model.embed_tokens.weight", UQM_F32, 2, { 32, 16 }, d },
            { "language_model.model.layers.0.mlp.up_proj.weight", UQM_F32, 2, { 48, 16 }, d + 64 },
            { "language_model.model.layers.1.mlp.up_proj.weight", UQM_F32, 2, { 48, 16 }, d + 99 },
            { "language_model.model.norm.weight", UQM_F32, 1, { 16 }, d + 7 },
            { "language_model.lm_head.weight", UQM_F32, 2, { 32, 16 }, d + 512 },
            { "vision_tower.vision_model.post_layernorm.weight", UQM_F16, 1, { 8 }, numbers },
            { "odd", UQM_I64, 1, { 3 }, numbers },
            { "nothing", UQM_F32, 2, { 0, 4 }, numbers },
        };
        char name[2] = { (char) ('a' + k), 0 };
        make_model(dir, name, "{\"architectures\":[\"L\"],\"torch_dtype\":\"float32\"}", t, 8);
        write_text(in_dir(dir, "%s/tokenizer.model", name), k ? "other" : "token");
        write_text(in_dir(dir, "%s/preprocessor_config.json", name), "{}");
        write_text(in_dir(dir, "%s/code.py", name), "pass\n");
        write_text(in_dir(dir, "%s/notes.txt", name), "not copied\n");
    }
    write_text(in_dir(dir, "r.yml"), "merge_method: linear\nparameters: {weight: 1}\nmodels:\n"
                                     "  - model: a\n  - model: b\nout_dtype: float16\n");
    return dir;
}

struct heard {
    int warnings, infos;
    char last[1024];
    volatile int cancel;
    uint64_t cancel_at;
    bool finished; /* progress reached its total */
};

static void hear(void *ctx, enum uqm_log_level level, const char *line)
{
    struct heard *h = ctx;
    h->warnings += level == UQM_LOG_WARN;
    h->infos += level == UQM_LOG_INFO;
    snprintf(h->last, sizeof h->last, "%s", line);
}

static void progress(void *ctx, const struct uqm_progress *p)
{
    struct heard *h = ctx;
    assert_true(p->done <= p->total);
    if (strcmp(p->stage, "merging") != 0)
        return;
    h->finished = p->done == p->total;
    if (h->cancel_at && p->done >= h->cancel_at)
        h->cancel = 1;
}

static int merge(char **json, const char *dir, const char *recipe, const char *out,
                 struct uqm_merge_params params, struct heard *h, struct uqm_err *err)
{
    char recipe_path[512], out_path[512];
    snprintf(recipe_path, sizeof recipe_path, "%s/%s", dir, recipe);
    snprintf(out_path, sizeof out_path, "%s/%s", dir, out);
    params.recipe_path = recipe_path;
    params.out_dir = out_path;
    params.common.log = hear;
    params.common.progress = progress;
    params.common.ctx = h;
    params.common.cancel = &h->cancel;
    if (!params.common.memory)
        params.common.memory = 64 << 20;
    *json = NULL;
    return uqm_merge(json, &params, err);
}

static void merge_ok(const char *dir, const char *out, struct uqm_merge_params params)
{
    struct heard h = { 0 };
    struct uqm_err err = { 0 };
    char *json;
    assert_ok(merge(&json, dir, "r.yml", out, params, &h, &err), err);
    assert_non_null(json);
    free(json);
}

static void assert_same_file(const char *dir, const char *a, const char *b, const char *name)
{
    char *x, *y;
    size_t n, m;
    struct uqm_err err = { 0 };
    assert_ok(uqm_read_file(&x, &n, in_dir(dir, "%s/%s", a, name), 1 << 26, &err), err);
    assert_ok(uqm_read_file(&y, &m, in_dir(dir, "%s/%s", b, name), 1 << 26, &err), err);
    if (n != m || memcmp(x, y, n) != 0)
        fail_msg("%s differs between %s and %s", name, a, b);
    free(x);
    free(y);
}

static bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static void a_merge_holds_what_it_should(void **state)
{
    (void) state;
    char *dir = start(), *json, *text;
    size_t len;
    struct heard h = { 0 };
    struct uqm_err err = { 0 };
    assert_ok(merge(&json, dir, "r.yml", "out", (struct uqm_merge_params){ 0 }, &h, &err), err);
    json_t *doc = json_loads(json, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(doc, "method")), "linear");
    assert_int_equal(json_integer_value(json_object_get(doc, "tensors")), 8);
    assert_true(json_is_false(json_object_get(doc, "resumed")));
    json_decref(doc);
    free(json);
    assert_int_equal(h.warnings, 1); /* b's tokenizer.model is another */
    assert_true(h.finished);
    rename(in_dir(dir, "r.yml"), in_dir(dir, "mergekit_config.yml"));
    assert_same_file(dir, "out", ".", "mergekit_config.yml");
    assert_same_file(dir, "out", "a", "tokenizer.model");
    assert_same_file(dir, "out", "a", "preprocessor_config.json");
    assert_same_file(dir, "out", "a", "code.py");
    assert_false(exists(in_dir(dir, "out/notes.txt")));
    assert_false(exists(in_dir(dir, "out/model.safetensors.index.json")));
    assert_false(exists(in_dir(dir, ".out.part")));
    assert_ok(uqm_read_file(&text, &len, in_dir(dir, "out/config.json"), 1 << 16, &err), err);
    assert_string_equal(text, "{\"architectures\":[\"L\"],\"torch_dtype\":\"float16\"}");
    free(text);
    assert_ok(uqm_read_file(&text, &len, in_dir(dir, "out/README.md"), 1 << 16, &err), err);
    assert_true(strncmp(text,
                        "---\nbase_model: []\nlibrary_name: transformers\ntags:\n- mergekit\n"
                        "- merge\n\n---\n# out\n",
                        80) == 0);
    assert_non_null(strstr(text, "* a\n* b\n"));
    assert_non_null(strstr(text, "```yaml\nmerge_method: linear\n"));
    free(text);
    test_rm(dir);
}

static bool card_says(const char *path, const char *what)
{
    char *text;
    size_t len;
    struct uqm_err err = { 0 };
    assert_ok(uqm_read_file(&text, &len, path, 1 << 16, &err), err);
    bool says = strstr(text, what);
    free(text);
    return says;
}

/* What slerp calls its base is one of its two ends. */
static void a_card_lists_a_base_among_the_models_of_slerp_alone(void **state)
{
    (void) state;
    static const struct {
        const char *method, *parameters, *text;
    } cases[] = {
        { "slerp", "t: 0.5",
          "Slerp) merge method.\n\n### Models Merged\n\nThe following models were "
          "included in the merge:\n* b\n* a\n\n" },
        { "ties", "weight: 1",
          "merge method using a as a base.\n\n### Models Merged\n\nThe "
          "following models were included in the merge:\n* b\n\n" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *dir = start();
        char recipe[256];
        snprintf(recipe, sizeof recipe,
                 "merge_method: %s\nbase_model: a\nmodels:\n  - model: b\nparameters: {%s}\n",
                 cases[i].method, cases[i].parameters);
        write_text(in_dir(dir, "r.yml"), recipe);
        merge_ok(dir, "out", (struct uqm_merge_params){ 0 });
        if (!card_says(in_dir(dir, "out/README.md"), cases[i].text))
            fail_msg("the card of %s", cases[i].method);
        test_rm(dir);
    }
}

static void the_written_tensors_are_the_sources(void **state)
{
    (void) state;
    char *dir = start();
    struct uqm_env *env = test_env(64 << 20, 2);
    struct uqm_err err = { 0 };
    struct uqm_open_params none = { 0 };
    struct uqm_source *virtual = NULL, *written = NULL;
    merge_ok(dir, "out", (struct uqm_merge_params){ .out_shard_bytes = 1500 });
    assert_ok(uqm_model_open(&virtual, env, in_dir(dir, "r.yml"), &none, &err), err);
    assert_ok(uqm_model_open(&written, env, in_dir(dir, "out"), &none, &err), err);
    assert_int_equal(virtual->n_tensors, written->n_tensors);
    uint8_t **x = read_all(virtual, 256), **y = read_all(written, 256);
    for (size_t i = 0; i < written->n_tensors; i++) {
        assert_string_equal(virtual->tensors[i].name, written->tensors[i].name);
        assert_int_equal(virtual->tensors[i].dtype, written->tensors[i].dtype);
        assert_memory_equal(x[i], y[i], written->tensors[i].n_bytes);
    }
    free_all(x, written->n_tensors);
    free_all(y, written->n_tensors);
    uqm_source_destroy(&virtual);
    uqm_source_destroy(&written);
    test_rm(dir);
}

static void shards_fill_in_the_order_of_names_up_to_the_limit(void **state)
{
    (void) state;
    char *dir = start(), *text;
    size_t len;
    struct uqm_err err = { 0 };
    merge_ok(dir, "out", (struct uqm_merge_params){ .out_shard_bytes = 2100 });
    assert_ok(
        uqm_read_file(&text, &len, in_dir(dir, "out/model.safetensors.index.json"), 1 << 16, &err),
        err);
    json_t *doc = json_loads(text, 0, NULL), *map = json_object_get(doc, "weight_map"), *value;
    /* f16: lm_head 1024 and embed_tokens 1024 fit in one; up_proj 1536 each do not join */
    static const char *const want[][2] = {
        { "language_model.lm_head.weight", "model-00001-of-00003.safetensors" },
        { "language_model.model.embed_tokens.weight", "model-00001-of-00003.safetensors" },
        { "language_model.model.layers.0.mlp.up_proj.weight", "model-00002-of-00003.safetensors" },
        { "language_model.model.layers.1.mlp.up_proj.weight", "model-00003-of-00003.safetensors" },
        { "language_model.model.norm.weight", "model-00003-of-00003.safetensors" },
        { "nothing", "model-00003-of-00003.safetensors" },
        { "odd", "model-00003-of-00003.safetensors" },
        { "vision_tower.vision_model.post_layernorm.weight", "model-00003-of-00003.safetensors" },
    };
    const char *key;
    size_t i = 0;
    json_object_foreach (map, key, value) {
        assert_string_equal(key, want[i][0]);
        assert_string_equal(json_string_value(value), want[i][1]);
        i++;
    }
    assert_int_equal(i, 8);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(doc, "metadata"), "total_size")),
        1024 * 2 + 1536 * 2 + 32 + 24 + 16);
    json_decref(doc);
    free(text);
    for (int s = 1; s <= 3; s++)
        assert_true(exists(in_dir(dir, "out/model-0000%d-of-00003.safetensors", s)));
    test_rm(dir);
}

static void threads_memory_and_io_change_no_byte(void **state)
{
    (void) state;
    char *dir = test_mkdtemp(), text[4096];
    static const char *const ten[] = { "reason", "know",    "knowmc",   "chat",   "ocr",
                                       "dense",  "general", "textonly", "region", "textcap" };
    static const char *const files[] = { "model-00001-of-00003.safetensors",
                                         "model-00002-of-00003.safetensors",
                                         "model-00003-of-00003.safetensors",
                                         "model.safetensors.index.json",
                                         "config.json",
                                         "tokenizer.model",
                                         "README.md",
                                         UQM_REPORT_NAME,
                                         UQM_MANIFEST_NAME };
    size_t n = (size_t) snprintf(text, sizeof text, "merge_method: linear\nmodels:\n");
    for (size_t i = 0; i < 10; i++)
        n += (size_t) snprintf(text + n, sizeof text - n,
                               "  - model: %s/%s\n    parameters: {weight: 1}\n",
                               zoo_path("models"), ten[i]);
    write_text(in_dir(dir, "r.yml"), text);
    static const struct uqm_common runs[] = {
        { .memory = 64 << 20, .n_threads = 1, .io = UQM_IO_PREAD, .direct = UQM_DIRECT_OFF },
        { .memory = 1 << 30, .n_threads = 5, .io = UQM_IO_AUTO, .direct = UQM_DIRECT_OFF },
        { .memory = 256 << 20, .n_threads = 2, .io = UQM_IO_PREAD, .direct = UQM_DIRECT_AUTO },
    };
    for (int i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d/out", i);
        mkdir(in_dir(dir, "%d", i), 0755);
        merge_ok(dir, name,
                 (struct uqm_merge_params){ .common = runs[i], .out_shard_bytes = 1600000 });
        for (size_t f = 0; i > 0 && f < sizeof files / sizeof *files; f++)
            assert_same_file(dir, "0/out", name, files[f]);
    }
    test_rm(dir);
}

static void an_interrupted_merge_names_nothing(void **state)
{
    (void) state;
    char *dir = start(), *json;
    struct heard h = { .cancel_at = 3000 };
    struct uqm_err err = { 0 };
    assert_int_equal(merge(&json, dir, "r.yml", "out", (struct uqm_merge_params){ 0 }, &h, &err),
                     UQM_ERR_INTERRUPTED);
    assert_null(json);
    assert_false(exists(in_dir(dir, "out")));
    test_rm(dir);
}

static void a_full_file_size_limit_leaves_nothing(void **state)
{
    (void) state;
    char *dir = start(), *json;
    struct heard h = { 0 };
    struct uqm_err err = { 0 };
    struct rlimit was, low;
    getrlimit(RLIMIT_FSIZE, &was);
    low = (struct rlimit){ 2000, was.rlim_max };
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &low);
    int ret = merge(&json, dir, "r.yml", "out", (struct uqm_merge_params){ 0 }, &h, &err);
    setrlimit(RLIMIT_FSIZE, &was);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(ret, UQM_ERR_IO);
    assert_non_null(strstr(err.msg, "model.safetensors"));
    assert_false(exists(in_dir(dir, "out")));
    assert_false(exists(in_dir(dir, ".out.part")));
    test_rm(dir);
}

static void what_a_dead_run_left_is_replaced(void **state)
{
    (void) state;
    char *dir = start(), *json;
    struct heard h = { 0 };
    struct uqm_err err = { 0 };
    mkdir(in_dir(dir, ".out.part"), 0755);
    mkdir(in_dir(dir, ".out.part/deep"), 0755);
    write_text(in_dir(dir, ".out.part/model.safetensors"), "half");
    write_text(in_dir(dir, ".out.part/deep/x"), "junk");
    /* not io_uring: where that is refused, it is another line */
    const struct uqm_merge_params params = { .common.io = UQM_IO_PREAD };
    assert_ok(merge(&json, dir, "r.yml", "out", params, &h, &err), err);
    free(json);
    assert_int_equal(h.infos, 1);
    assert_false(exists(in_dir(dir, "out/deep")));
    assert_false(exists(in_dir(dir, ".out.part")));
    test_rm(dir);
}

static void a_second_run_into_the_same_folder_is_refused(void **state)
{
    (void) state;
    char *dir = start(), *json;
    struct heard h = { 0 };
    struct uqm_err err = { 0 };
    mkdir(in_dir(dir, ".out.part"), 0755);
    int fd = open(in_dir(dir, ".out.part"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    assert_fails(merge(&json, dir, "r.yml", "out", (struct uqm_merge_params){ 0 }, &h, &err), err,
                 UQM_ERR_IO, "another run is writing it");
    assert_true(exists(in_dir(dir, ".out.part")));
    close(fd);
    test_rm(dir);
}

static void a_target_that_exists_needs_overwrite_and_a_manifest(void **state)
{
    (void) state;
    char *dir = start(), *json;
    struct heard h = { 0 };
    struct uqm_err err = { 0 };
    struct uqm_merge_params plain = { 0 }, over = { .overwrite = true };
    merge_ok(dir, "out", plain);
    assert_fails(merge(&json, dir, "r.yml", "out", plain, &h, &err), err, UQM_ERR_ARG,
                 "exists already; give another name or --overwrite");
    write_text(in_dir(dir, "out/mark"), "old");
    merge_ok(dir, "out", over);
    assert_false(exists(in_dir(dir, "out/mark")));
    assert_true(exists(in_dir(dir, "out/" UQM_MANIFEST_NAME)));
    assert_false(exists(in_dir(dir, ".out.part")));

    mkdir(in_dir(dir, "mine"), 0755);
    merge_ok(dir, "mine", over); /* empty: nothing is lost */
    mkdir(in_dir(dir, "full"), 0755);
    write_text(in_dir(dir, "full/thesis.tex"), "years");
    assert_fails(merge(&json, dir, "r.yml", "full", over, &h, &err), err, UQM_ERR_ARG,
                 "it is not a merge to replace");
    assert_true(exists(in_dir(dir, "full/thesis.tex")));
    write_text(in_dir(dir, "file"), "x");
    assert_fails(merge(&json, dir, "r.yml", "file", over, &h, &err), err, UQM_ERR_ARG,
                 "not a folder");
    assert_fails(merge(&json, dir, "r.yml", "no/where/out", over, &h, &err), err, UQM_ERR_IO,
                 "does not exist");
    test_rm(dir);
}

static void an_output_over_an_input_is_refused(void **state)
{
    (void) state;
    char *dir = start(), *json;
    struct heard h = { 0 };
    struct uqm_err err = { 0 };
    struct uqm_merge_params over = { .overwrite = true };
    write_text(in_dir(dir, "a/" UQM_MANIFEST_NAME), "{}");
    assert_fails(merge(&json, dir, "r.yml", "a", over, &h, &err), err, UQM_ERR_ARG, "the input");
    assert_fails(merge(&json, dir, "r.yml", "b/../a/", over, &h, &err), err, UQM_ERR_ARG,
                 "the input");
    assert_true(exists(in_dir(dir, "a/model.safetensors")));

    /* a merge that is itself an input of the next */
    merge_ok(dir, "merged-once", (struct uqm_merge_params){ 0 });
    write_text(in_dir(dir, "r2.yml"), "merge_method: linear\nparameters: {weight: 1}\nmodels:\n"
                                      "  - model: merged-once\n");
    assert_fails(merge(&json, dir, "r2.yml", "merged-once", over, &h, &err), err, UQM_ERR_ARG,
                 "the input");
    test_rm(dir);
}

/* A stranger's model must not carry off other files, nor lose its own in silence. */
static void companions_that_are_elsewhere_or_nowhere_are_refused_at_once(void **state)
{
    (void) state;
    static const char *const names[] = { "tokenizer.model", "preprocessor_config.json",
                                         "config.json" };
    static const struct {
        const char *to, *why;
    } links[] = { { "../secret", "a symbolic link that leaves the model's folder" },
                  { "none", "a symbolic link that leads nowhere" },
                  { "/dev/zero", "not a regular file" },
                  { ".", "not a regular file" } };
    char *dir = start(), *json;
    struct heard h = { 0 };
    struct uqm_err err = { 0 };
    write_text(in_dir(dir, "secret"), "{\"a\":1}");
    for (size_t i = 0; i < 3; i++) {
        rename(in_dir(dir, "a/%s", names[i]), in_dir(dir, "kept"));
        for (size_t k = 0; k < sizeof links / sizeof *links; k++) {
            assert_int_equal(symlink(links[k].to, in_dir(dir, "a/%s", names[i])), 0);
            int code = merge(&json, dir, "r.yml", "out", (struct uqm_merge_params){ 0 }, &h, &err);
            assert_true(code == UQM_ERR_FORMAT || code == UQM_ERR_IO);
            if (!strstr(err.msg, links[k].why) || !strstr(err.msg, names[i]))
                fail_msg("%s -> %s: %s", names[i], links[k].to, err.msg);
            assert_false(exists(in_dir(dir, "out")) || exists(in_dir(dir, ".out.part")));
            assert_int_equal(unlink(in_dir(dir, "a/%s", names[i])), 0);
        }
        /* within the folder a link is as good as the file */
        rename(in_dir(dir, "kept"), in_dir(dir, "a/kept"));
        assert_int_equal(symlink("kept", in_dir(dir, "a/%s", names[i])), 0);
        merge_ok(dir, "fine", (struct uqm_merge_params){ .overwrite = true });
        unlink(in_dir(dir, "a/%s", names[i]));
        rename(in_dir(dir, "a/kept"), in_dir(dir, "a/%s", names[i]));
    }
    test_rm(dir);
}

static void weight_files_equal_mergekits_to_the_byte(void **state)
{
    (void) state;
    static const char *const names[] = {
        "linear-f32",    "linear-f16",      "linear-bf16",        "linear-uniform",
        "linear-nonorm", "linear-out-bf16", "linear-mixed-dtype",
    };
    char *dir = test_mkdtemp(), out[512], recipe[512];
    struct uqm_err err = { 0 };
    assert_int_equal(symlink(data_path("golden/merge/models"), in_dir(dir, "models")), 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *text, *json, path[128];
        size_t len;
        snprintf(path, sizeof path, "golden/merge/recipes/%s.yml", names[i]);
        assert_ok(uqm_read_file(&text, &len, data_path(path), 1 << 16, &err), err);
        snprintf(recipe, sizeof recipe, "%s/%s.yml", dir, names[i]);
        write_text(recipe, text); /* where models are found from */
        free(text);
        snprintf(out, sizeof out, "%s/%s", dir, names[i]);
        struct uqm_merge_params params = { .common.memory = 64 << 20,
                                           .recipe_path = recipe,
                                           .out_dir = out,
                                           .numerics = UQM_NUMERICS_MERGEKIT };
        assert_ok(uqm_merge(&json, &params, &err), err);
        free(json);
        snprintf(path, sizeof path, "golden/merge/expected/%s", names[i]);
        assert_int_equal(symlink(data_path(path), in_dir(dir, "want-%zu", i)), 0);
        snprintf(path, sizeof path, "want-%zu", i);
        assert_same_file(dir, names[i], path, "model.safetensors");
    }
    test_rm(dir);
}

static void a_dry_run_writes_nothing_and_tells_all(void **state)
{
    (void) state;
    char *dir = start(), *json;
    struct heard h = { 0 };
    struct uqm_err err = { 0 };
    struct uqm_merge_params dry = { .dry_run = true };
    assert_ok(merge(&json, dir, "r.yml", "out", dry, &h, &err), err);
    json_t *doc = json_loads(json, 0, NULL);
    static const char *const keys[] = {
        "out",         "method",      "tensors",   "bytes_read", "bytes_write",     "passes",
        "peak_memory", "disk_needed", "disk_free", "parts",      "tensors_by_fate", "inputs",
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        assert_non_null(json_object_get(doc, keys[i]));
    json_t *fates = json_object_get(doc, "tensors_by_fate");
    assert_int_equal(json_integer_value(json_object_get(fates, "merged")), 6);
    assert_int_equal(json_integer_value(json_object_get(fates, "copied")), 1);
    assert_int_equal(json_integer_value(json_object_get(fates, "equal")), 1);
    assert_int_equal(json_array_size(json_object_get(doc, "inputs")), 2);
    json_int_t planned = json_integer_value(json_object_get(doc, "bytes_read"));
    json_decref(doc);
    free(json);
    assert_false(exists(in_dir(dir, "out")));
    assert_false(exists(in_dir(dir, ".out.part")));

    assert_ok(merge(&json, dir, "r.yml", "out", (struct uqm_merge_params){ 0 }, &h, &err), err);
    doc = json_loads(json, 0, NULL);
    json_int_t read = json_integer_value(json_object_get(doc, "bytes_read"));
    assert_in_range(read, planned - 4096, planned); /* small gaps go past the streams */
    json_decref(doc);
    free(json);
    test_rm(dir);
}

static void strict_makes_a_warning_an_error_and_leaves_nothing(void **state)
{
    (void) state;
    char *dir = start(), *json;
    struct heard h = { 0 };
    struct uqm_err err = { 0 };
    struct uqm_merge_params strict = { .common.strict = true };
    assert_fails(merge(&json, dir, "r.yml", "out", strict, &h, &err), err, UQM_ERR_FORMAT,
                 "tokenizer.model of b differs");
    strict.no_copy_tokenizer = true;
    assert_false(exists(in_dir(dir, "out")));
    assert_ok(merge(&json, dir, "r.yml", "out", strict, &h, &err), err);
    free(json);
    assert_false(exists(in_dir(dir, "out/tokenizer.model")));
    test_rm(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_merge_holds_what_it_should),
        cmocka_unit_test(a_card_lists_a_base_among_the_models_of_slerp_alone),
        cmocka_unit_test(the_written_tensors_are_the_sources),
        cmocka_unit_test(shards_fill_in_the_order_of_names_up_to_the_limit),
        cmocka_unit_test(threads_memory_and_io_change_no_byte),
        cmocka_unit_test(an_interrupted_merge_names_nothing),
        cmocka_unit_test(a_full_file_size_limit_leaves_nothing),
        cmocka_unit_test(what_a_dead_run_left_is_replaced),
        cmocka_unit_test(a_second_run_into_the_same_folder_is_refused),
        cmocka_unit_test(a_target_that_exists_needs_overwrite_and_a_manifest),
        cmocka_unit_test(an_output_over_an_input_is_refused),
        cmocka_unit_test(companions_that_are_elsewhere_or_nowhere_are_refused_at_once),
        cmocka_unit_test(weight_files_equal_mergekits_to_the_byte),
        cmocka_unit_test(a_dry_run_writes_nothing_and_tells_all),
        cmocka_unit_test(strict_makes_a_warning_an_error_and_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
