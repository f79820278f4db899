/* A model of the zoo, opened as far as its network. Failures end the test. */
#ifndef UQM_TESTS_ZOO_NETWORK_H
#define UQM_TESTS_ZOO_NETWORK_H

#include "src/base/fs.h"
#include "src/checkpoint/checkpoint.h"
#include "src/model/network.h"
#include "tests/unit/test.h"

struct zoo_network {
    struct uqm_env env;
    struct uqm_machine machine;
    struct uqm_checkpoint *checkpoint;
    struct uqm_model_config config;
    struct uqm_network *network;
};

/* NULL when the folder has no such file. */
static inline char *zoo_text(const char *folder, const char *name)
{
    struct uqm_err err = { 0 };
    char *text = NULL, *path = uqm_path_join(folder, name);
    size_t len;
    if (path && uqm_is_file(path))
        assert_ok(uqm_read_file(&text, &len, path, 1 << 20, &err), err);
    free(path);
    return text;
}

static inline void zoo_config(struct uqm_model_config *config, const struct uqm_checkpoint *cp)
{
    struct uqm_err err = { 0 };
    char *preprocessor = zoo_text(cp->path, "preprocessor_config.json");
    char *tokenizer = zoo_text(cp->path, "tokenizer_config.json");
    char *generation = zoo_text(cp->path, "generation_config.json");
    const struct uqm_config_texts texts = {
        .where = cp->path,
        .config = cp->config_text,
        .vision_config = cp->vision_config_text,
        .preprocessor = preprocessor,
        .tokenizer_config = tokenizer,
        .generation = generation,
    };
    assert_ok(uqm_model_config_parse(config, &texts, &err), err);
    free(preprocessor);
    free(tokenizer);
    free(generation);
}

/* The network alone, anew: after a change of the config, or with other memory. */
static inline void zoo_network_again(struct zoo_network *z, uint64_t memory)
{
    struct uqm_err err = { 0 };
    uqm_network_destroy(&z->network);
    assert_ok(uqm_network_create(&z->network, &z->machine, &z->checkpoint->source, &z->config,
                                 memory, &err),
              err);
}

/* Of networks that are opened from now on: in the device's mode `fast`. */
static bool zoo_fast;

static inline void zoo_network_open_on(struct zoo_network *z, const char *path, uint64_t memory,
                                       int n_threads, const char *device)
{
    struct uqm_err err = { 0 };
    const struct uqm_common common = { .memory = memory, .n_threads = n_threads };
    const struct uqm_checkpoint_params params = { .path = path, .need_vision = true };
    *z = (struct zoo_network){ 0 };
    assert_ok(uqm_env_init(&z->env, &common, &err), err);
    assert_ok(uqm_machine_init(&z->machine, &z->env, device, NULL, &err), err);
    if (zoo_fast)
        assert_ok(uqm_machine_make_fast(&z->machine, &err), err);
    assert_ok(uqm_checkpoint_open(&z->checkpoint, &z->env, &params, &err), err);
    zoo_config(&z->config, z->checkpoint);
    zoo_network_again(z, memory);
}

static inline void zoo_network_open(struct zoo_network *z, const char *path, uint64_t memory,
                                    int n_threads)
{
    zoo_network_open_on(z, path, memory, n_threads, "cpu");
}

static inline void zoo_network_close(struct zoo_network *z)
{
    uqm_network_destroy(&z->network);
    uqm_checkpoint_close(&z->checkpoint);
    uqm_machine_finish(&z->machine);
    assert_int_equal(atomic_load(&z->env.budget.used_bytes), 0);
}

#endif
