/* A merge as small as one can be and still have shards, a copied tensor, and companions. */
#ifndef UQM_TESTS_SMALL_MERGE_H
#define UQM_TESTS_SMALL_MERGE_H

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/crash/world.h"
#include "tests/unit/merge/folder_test.h"

struct small_merge {
    char *dir; /* holds the models, whole/out and NAME/out for each run */
    struct uqm_common common;
    bool converts; /* a is converted instead */
    int n_open;    /* files, before any run */
};

static inline void small_log(void *ctx, enum uqm_log_level level, const char *line)
{
    (void) ctx, (void) level, (void) line;
}

/* name/out: the model card has its name in it. */
static inline int small_run(const struct small_merge *m, const char *name, bool overwrite,
                            struct uqm_err *err)
{
    char recipe[512], out[512], *json = NULL;
    snprintf(recipe, sizeof recipe, "%s/r.yml", m->dir);
    snprintf(out, sizeof out, "%s/%s/out", m->dir, name);
    const struct uqm_convert_params convert = {
        .common = m->common, .in = in_dir(m->dir, "a"), .out = out, .dtype = "float16"
    };
    const struct uqm_merge_params params = { .common = m->common,
                                             .recipe_path = recipe,
                                             .out_dir = out,
                                             .overwrite = overwrite,
                                             .out_shard_bytes = 6000 };
    int ret = m->converts ? uqm_convert(&json, &convert, err) : uqm_merge(&json, &params, err);
    assert_true((ret == UQM_OK) == (json != NULL));
    free(json);
    return ret;
}

static inline int small_count_open(void)
{
    int n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) != -1;
    return n;
}

static inline struct small_merge small_start(void)
{
    static float numbers[2][4096];
    struct small_merge m = { .common = { .memory = 64 << 20,
                                         .n_threads = 1,
                                         .io = UQM_IO_PREAD,
                                         .direct = UQM_DIRECT_OFF,
                                         .sync_bytes = 1,
                                         .log = small_log } };
    use_memory_disk();
    m.dir = test_mkdtemp();
    for (size_t i = 0; i < 8192; i++)
        numbers[i / 4096][i % 4096] = (float) (i * 2654435761u >> 8) / (float) (1 << 24);
    for (int k = 0; k < 2; k++) {
        const struct made_tensor t[] = {
            { "model.embed_tokens.weight", UQM_F32, 2, { 50, 20 }, numbers[k] },
            { "model.layers.0.mlp.up_proj.weight", UQM_F32, 2, { 30, 20 }, numbers[k] + 1000 },
            { "model.norm.weight", UQM_F32, 1, { 20 }, numbers[k] + 2000 },
            { "lm_head.weight", UQM_F32, 2, { 50, 20 }, numbers[k] + 2100 },
        };
        make_model(m.dir, k ? "b" : "a",
                   "{\"architectures\":[\"LlamaForCausalLM\"],\"vocab_size\":50}", t, 4);
        write_text(in_dir(m.dir, "%s/tokenizer.model", k ? "b" : "a"), "token");
        write_text(in_dir(m.dir, "%s/generation_config.json", k ? "b" : "a"), "{}");
    }
    write_text(in_dir(m.dir, "r.yml"),
               "merge_method: ties\nbase_model: a\nmodels:\n"
               "  - {model: b, parameters: {weight: 0.5, density: 0.5}}\nout_dtype: float16\n");
    mkdir(in_dir(m.dir, "whole"), 0755);
    struct uqm_err err = { 0 };
    assert_ok(small_run(&m, "whole", false, &err), err);
    m.n_open = small_count_open();
    return m;
}

/* NULL, or what is wrong with name/out: it must be absent or whole. */
static inline const char *small_fault(const struct small_merge *m, const char *name,
                                      bool absent_too)
{
    if (!exists(in_dir(m->dir, "%s/out", name)))
        return absent_too ? NULL : "it is not there";
    return folder_difference(in_dir(m->dir, "whole/out"), in_dir(m->dir, "%s/out", name));
}

static inline void small_forget(const struct small_merge *m, const char *name)
{
    struct uqm_err err = { 0 };
    assert_ok(uqm_remove_tree(in_dir(m->dir, "%s", name), &err), err);
}

/* The tests' own, from small_group_start() to small_group_stop(). */
static struct small_merge m;

/* Run it in a process of its own, which dies at the plan's cut. true: it came to its end. */
static inline bool small_run_until_cut(int (*run)(struct uqm_err *err),
                                       const struct world_plan *plan)
{
    int status;
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct uqm_err err = { 0 };
        world_set(plan);
        int ret = run(&err);
        world_set(NULL);
        if (ret < 0)
            fprintf(stderr, "# %s\n", err.msg);
        _exit(ret < 0 ? 1 : 0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != WORLD_CUT_STATUS))
        fail_msg("the run until the cut at %ld ended with %x", plan->at, (unsigned) status);
    return WEXITSTATUS(status) == 0;
}

static inline int small_group_start(void **state)
{
    (void) state;
    m = small_start();
    return 0;
}

static inline int small_group_stop(void **state)
{
    (void) state;
    test_rm(m.dir);
    return 0;
}

#endif
