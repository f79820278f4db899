/* A merge that is stopped and run again, and again, ends in the bytes of one that was not. */
#include <jansson.h>

#include <fcntl.h>

#include "tests/unit/merge/folder_test.h"

enum { N_MODELS = 3, N_ELEM = 20000 };

static float numbers[N_MODELS][N_ELEM];

static char *start(void)
{
    char *dir = test_mkdtemp();
    uint32_t state = 5;
    for (size_t k = 0; k < N_MODELS; k++)
        for (size_t i = 0; i < N_ELEM; i++) {
            state = state * 1664525 + 1013904223;
            float noise = (float) (state >> 8) / (float) (1 << 24) - 0.5f;
            numbers[k][i] = k ? numbers[0][i] + noise / 20 : noise;
        }
    for (size_t k = 0; k < N_MODELS; k++) {
        const float *d = numbers[k];
        struct made_tensor t[] = {
            { "model.embed_tokens.weight", UQM_F32, 2, { 100, 100 }, d },
            { "model.layers.0.mlp.up_proj.weight", UQM_F32, 2, { 70, 100 }, d + 7 },
            { "model.layers.1.mlp.up_proj.weight", UQM_F32, 2, { 70, 100 }, d + 99 },
            { "model.layers.2.mlp.up_proj.weight", UQM_F32, 2, { 70, 100 }, d + 5 },
            { "model.norm.weight", UQM_F32, 1, { 100 }, d + 3000 },
            { "lm_head.weight", UQM_F32, 2, { 100, 100 }, d + 800 },
            { "odd", UQM_I64, 1, { 3 }, "the same in every model" },
            { "nothing", UQM_F32, 2, { 0, 4 }, d },
        };
        make_model(dir, (const char *[]){ "a", "b", "c" }[k],
                   "{\"architectures\":[\"LlamaForCausalLM\"],\"vocab_size\":100}", t, 8);
        write_text(in_dir(dir, "%c/tokenizer.model", (char) ('a' + k)), "token");
    }
    write_text(in_dir(dir, "linear.yml"),
               "merge_method: linear\nmodels:\n  - {model: a, parameters: {weight: 1}}\n"
               "  - {model: b, parameters: {weight: 2}}\nout_dtype: bfloat16\n");
    write_text(in_dir(dir, "dare.yml"),
               "merge_method: dare_ties\nbase_model: a\nmodels:\n"
               "  - {model: b, parameters: {weight: 0.5, density: 0.5}}\n"
               "  - {model: c, parameters: {weight: 0.5, density: 0.7}}\n");
    write_text(in_dir(dir, "ties.yml"),
               "merge_method: ties\nbase_model: a\nmodels:\n"
               "  - {model: b, parameters: {weight: 0.5, density: 0.5}}\n"
               "  - {model: c, parameters: {weight: 0.5, density: 0.7}}\n");
    return dir;
}

struct heard {
    int warnings;
    char last[1024], warning[1024];
    volatile int cancel;
    int cancel_at, n_reports; /* 0: never */
};

static void hear(void *ctx, enum uqm_log_level level, const char *line)
{
    struct heard *h = ctx;
    snprintf(h->last, sizeof h->last, "%s", line);
    if (level == UQM_LOG_WARN) {
        h->warnings++;
        snprintf(h->warning, sizeof h->warning, "%s", line);
    }
}

static void progress(void *ctx, const struct uqm_progress *p)
{
    struct heard *h = ctx;
    assert_true(p->done <= p->total);
    if (++h->n_reports == h->cancel_at)
        h->cancel = 1;
}

struct call {
    const char *recipes[4]; /* names without .yml, NULL-terminated */
    const char *out;
    enum uqm_numerics numerics;
    enum uqm_io_kind io;
    int n_threads;
    uint64_t sync_bytes;
    bool overwrite;
};

/* *resumed may be NULL. */
static int merge(bool *resumed, const char *dir, const struct call *c, struct heard *h,
                 struct uqm_err *err)
{
    char paths[4][512], out[512], *json = NULL;
    const char *v[4];
    size_t n = 0;
    for (; c->recipes[n]; n++) {
        snprintf(paths[n], sizeof paths[n], "%s/%s.yml", dir, c->recipes[n]);
        v[n] = paths[n];
    }
    snprintf(out, sizeof out, "%s/%s", dir, c->out);
    struct uqm_merge_params params = {
        .common = { .memory = 64 << 20,
                    .n_threads = c->n_threads,
                    .io = c->io,
                    .sync_bytes = c->sync_bytes ? c->sync_bytes : 1,
                    .log = hear,
                    .progress = progress,
                    .ctx = h,
                    .cancel = &h->cancel },
        .recipe_path = v[0],
        .recipes = { v, n > 1 ? n : 0 },
        .out_dir = out,
        .out_shard_bytes = 50000,
        .numerics = c->numerics,
        .overwrite = c->overwrite,
    };
    int ret = uqm_merge(&json, &params, err);
    if (resumed && ret == UQM_OK) {
        json_t *doc = json_loads(json, 0, NULL);
        *resumed = json_is_true(json_object_get(doc, "resumed"));
        json_decref(doc);
    }
    free(json);
    return ret;
}

static void merge_whole(const char *dir, struct call c)
{
    struct heard h = { 0 };
    struct uqm_err err = { 0 };
    bool resumed;
    c.out = c.recipes[1] ? "whole" : "whole/out";
    mkdir(in_dir(dir, "whole"), 0755);
    assert_ok(merge(&resumed, dir, &c, &h, &err), err);
    assert_false(resumed);
}

/* Stop at the k-th report of progress, again and again until it is done. Returns how often. */
static int in_pieces(const char *dir, const struct call *c, int k, int *n_resumed)
{
    for (int stops = 0; stops < 1000; stops++) {
        struct heard h = { .cancel_at = k };
        struct uqm_err err = { 0 };
        bool resumed = false;
        int ret = merge(&resumed, dir, c, &h, &err);
        *n_resumed += resumed;
        if (ret == UQM_OK)
            return stops;
        if (ret != UQM_ERR_INTERRUPTED)
            fail_msg("stop %d at report %d: %s", stops, k, err.msg);
        assert_false(!c->recipes[1] && exists(in_dir(dir, "%s", c->out)));
    }
    fail_msg("a merge that is stopped at report %d does not get on", k);
    return 0;
}

static void stop_everywhere(struct call c)
{
    char *dir = start();
    struct heard h = { 0 };
    struct uqm_err err = { 0 };
    merge_whole(dir, c);
    struct call count = c;
    count.out = "count";
    assert_ok(merge(NULL, dir, &count, &h, &err), err);
    assert_true(h.n_reports > 5);
    int n_stops = 0, n_resumed = 0;
    for (int k = 1; k <= h.n_reports + 1; k++) {
        mkdir(in_dir(dir, "%d", k), 0755);
        char out[64];
        snprintf(out, sizeof out, "%d/out", k);
        c.out = out;
        int stops = in_pieces(dir, &c, k, &n_resumed);
        assert_true((k > h.n_reports) == (stops == 0));
        n_stops += stops;
        assert_same_folder(in_dir(dir, "whole/out"), in_dir(dir, "%s", out));
        assert_false(exists(in_dir(dir, "%d/.out.part", k)));
    }
    printf("# %d runs stopped, %d merges ended in a run that went on from another\n", n_stops,
           n_resumed);
    assert_true(n_resumed > h.n_reports / 2);
    test_rm(dir);
}

static void a_linear_merge_goes_on_from_every_stop(void **state)
{
    (void) state;
    stop_everywhere((struct call){ .recipes = { "linear" } });
}

static void ties_goes_on_from_every_stop(void **state)
{
    (void) state;
    stop_everywhere((struct call){ .recipes = { "ties" }, .n_threads = 2 });
}

static void random_draws_go_on_from_every_stop(void **state)
{
    (void) state;
    stop_everywhere((struct call){ .recipes = { "dare" }, .numerics = UQM_NUMERICS_MERGEKIT });
    stop_everywhere((struct call){ .recipes = { "dare" }, .io = UQM_IO_PREAD });
}

static void several_merges_of_one_pass_go_on_from_every_stop(void **state)
{
    (void) state;
    char *dir = start();
    struct call c = { .recipes = { "ties", "linear", "dare" }, .sync_bytes = 30000 };
    merge_whole(dir, c);
    struct heard h = { 0 };
    struct uqm_err err = { 0 };
    c.out = "count";
    assert_ok(merge(NULL, dir, &c, &h, &err), err);
    int n_resumed = 0;
    for (int k = 2; k <= h.n_reports; k += 2) {
        char out[64];
        snprintf(out, sizeof out, "%d", k);
        c.out = out;
        assert_true(in_pieces(dir, &c, k, &n_resumed) > 0);
        for (size_t i = 0; c.recipes[i]; i++)
            assert_same_folder(in_dir(dir, "whole/%s", c.recipes[i]),
                               in_dir(dir, "%d/%s", k, c.recipes[i]));
    }
    assert_true(n_resumed > 0);
    test_rm(dir);
}

/* --- what is not gone on from --- */

/* One merge, stopped near its end; its part folder stays. */
static char *stopped(struct call *c)
{
    char *dir = start();
    struct heard h = { .cancel_at = 8 };
    struct uqm_err err = { 0 };
    *c = (struct call){ .recipes = { "linear" } };
    merge_whole(dir, *c);
    c->out = "out";
    assert_int_equal(merge(NULL, dir, c, &h, &err), UQM_ERR_INTERRUPTED);
    assert_false(exists(in_dir(dir, "out")));
    assert_true(exists(in_dir(dir, ".out.part/journal")));
    assert_true(exists(in_dir(dir, ".out.part/out/model-00001-of-00002.safetensors")));
    return dir;
}

static void finish(char *dir, const struct call *c, bool want_resumed, int n_warnings)
{
    struct heard h = { 0 };
    struct uqm_err err = { 0 };
    bool resumed;
    assert_ok(merge(&resumed, dir, c, &h, &err), err);
    assert_int_equal(resumed, want_resumed);
    assert_int_equal(h.warnings, n_warnings);
    assert_false(exists(in_dir(dir, ".out.part")));
}

static void what_was_left_is_gone_on_from_once_and_said(void **state)
{
    (void) state;
    struct call c;
    char *dir = stopped(&c);
    finish(dir, &c, true, 0);
    assert_same_folder(in_dir(dir, "whole/out"), in_dir(dir, "out"));
    test_rm(dir);
}

/* A byte of what was synced: of the header, of the first tensor, of a late one. */
static void bytes_that_changed_on_the_disk_are_found_and_all_is_made_anew(void **state)
{
    (void) state;
    static const off_t places[] = { 9, 2000, 20000 };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        struct call c;
        char *dir = stopped(&c), byte = 0;
        int fd = open(in_dir(dir, ".out.part/out/model-00001-of-00002.safetensors"), O_RDWR);
        assert_true(fd >= 0 && pread(fd, &byte, 1, places[i]) == 1);
        byte ^= 4;
        assert_int_equal(pwrite(fd, &byte, 1, places[i]), 1);
        close(fd);
        finish(dir, &c, false, 1);
        assert_same_folder(in_dir(dir, "whole/out"), in_dir(dir, "out"));
        test_rm(dir);
    }
}

static void a_shard_that_is_gone_or_short_is_found_too(void **state)
{
    (void) state;
    for (int i = 0; i < 2; i++) {
        struct call c;
        char *dir = stopped(&c);
        const char *shard = in_dir(dir, ".out.part/out/model-00001-of-00002.safetensors");
        assert_int_equal(i ? truncate(shard, 100) : unlink(shard), 0);
        finish(dir, &c, false, 1);
        assert_same_folder(in_dir(dir, "whole/out"), in_dir(dir, "out"));
        test_rm(dir);
    }
}

static void files_that_the_journal_does_not_know_are_not_taken_along(void **state)
{
    (void) state;
    struct call c;
    char *dir = stopped(&c);
    write_text(in_dir(dir, ".out.part/out/config.json"), "{\"half\":");
    write_text(in_dir(dir, ".out.part/out/stranger"), "x");
    finish(dir, &c, true, 0);
    assert_same_folder(in_dir(dir, "whole/out"), in_dir(dir, "out"));
    test_rm(dir);
}

static void an_input_that_was_written_again_begins_a_new_job(void **state)
{
    (void) state;
    struct call c;
    char *dir = stopped(&c);
    char *text = NULL;
    size_t len;
    struct uqm_err err = { 0 };
    const char *path = in_dir(dir, "b/model.safetensors");
    assert_ok(uqm_read_file(&text, &len, path, 1 << 24, &err), err);
    unlink(path);
    assert_ok(uqm_write_file(path, text, len, &err), err);
    free(text);
    finish(dir, &c, false, 0);
    assert_same_folder(in_dir(dir, "whole/out"), in_dir(dir, "out"));
    test_rm(dir);
}

static void another_recipe_or_seed_begins_a_new_job(void **state)
{
    (void) state;
    struct call c;
    char *dir = stopped(&c);
    c.recipes[0] = "ties";
    finish(dir, &c, false, 0);
    test_rm(dir);

    dir = stopped(&c);
    c.numerics = UQM_NUMERICS_MERGEKIT;
    finish(dir, &c, false, 0);
    test_rm(dir);
}

static void overwriting_goes_on_as_well_and_leaves_the_old_one_until_then(void **state)
{
    (void) state;
    char *dir = start();
    struct call c = { .recipes = { "linear" } }, old = { .recipes = { "ties" }, .out = "out" };
    struct heard h = { 0 };
    struct uqm_err err = { 0 };
    merge_whole(dir, c);
    assert_ok(merge(NULL, dir, &old, &h, &err), err);
    old.out = "kept/out";
    mkdir(in_dir(dir, "kept"), 0755);
    assert_ok(merge(NULL, dir, &old, &h, &err), err);

    c.out = "out";
    c.overwrite = true;
    h = (struct heard){ .cancel_at = 8 };
    assert_int_equal(merge(NULL, dir, &c, &h, &err), UQM_ERR_INTERRUPTED);
    assert_same_folder(in_dir(dir, "kept/out"), in_dir(dir, "out"));
    finish(dir, &c, true, 0);
    assert_same_folder(in_dir(dir, "whole/out"), in_dir(dir, "out"));
    test_rm(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_linear_merge_goes_on_from_every_stop),
        cmocka_unit_test(ties_goes_on_from_every_stop),
        cmocka_unit_test(random_draws_go_on_from_every_stop),
        cmocka_unit_test(several_merges_of_one_pass_go_on_from_every_stop),
        cmocka_unit_test(what_was_left_is_gone_on_from_once_and_said),
        cmocka_unit_test(bytes_that_changed_on_the_disk_are_found_and_all_is_made_anew),
        cmocka_unit_test(a_shard_that_is_gone_or_short_is_found_too),
        cmocka_unit_test(files_that_the_journal_does_not_know_are_not_taken_along),
        cmocka_unit_test(an_input_that_was_written_again_begins_a_new_job),
        cmocka_unit_test(another_recipe_or_seed_begins_a_new_job),
        cmocka_unit_test(overwriting_goes_on_as_well_and_leaves_the_old_one_until_then),
    };
    use_memory_disk();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
