/* Every allocation of ours fails once, in turn: each call ends with UQM_ERR_NOMEM and a message, or
 * does without; nothing leaks (the sanitizers see it). Linked with --wrap for the allocators. */
#include "tests/unit/checkpoint/checkpoint_test.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

static long countdown = -1; /* allocations until one fails; < 0: none does */

static bool fails_now(void)
{
    return countdown >= 0 && countdown-- == 0;
}

void *__wrap_malloc(size_t n)
{
    return fails_now() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails_now() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fails_now() ? NULL : __real_realloc(p, n);
}

/* Open and digest, with the k-th allocation failing, until it succeeds. */
static void open_and_digest(const char *path)
{
    for (long k = 0;; k++) {
        struct uqm_env *env = test_env(TEST_MEMORY, 1);
        struct uqm_checkpoint_params params = { .path = path };
        struct uqm_checkpoint *cp = NULL;
        struct uqm_xxh3_hex digest;
        struct uqm_err err = { 0 };
        countdown = k;
        env->io = UQM_IO_PREAD; /* io_uring falls back on failures of its own */
        int ret = uqm_checkpoint_open(&cp, env, &params, &err);
        if (ret >= 0)
            ret = uqm_checkpoint_part_digest(&digest, cp, UQM_PART_LANGUAGE, &err);
        bool failed = countdown < 0;
        countdown = -1;
        uqm_checkpoint_close(&cp);
        assert_int_equal(atomic_load(&env->budget.used_bytes), 0);
        if (!failed) {
            assert_ok(ret, err);
            assert_true(k > 10);
            return;
        }
        if (ret < 0 && ret != UQM_ERR_NOMEM)
            fail_msg("allocation %ld: %d: %s", k, ret, err.msg);
        if (ret < 0)
            assert_true(err.msg[0]);
    }
}

static void opening_safetensors_survives_every_failure(void **state)
{
    (void) state;
    open_and_digest(zoo_path("models/reason"));
}

static void opening_pytorch_files_survives_every_failure(void **state)
{
    (void) state;
    open_and_digest(zoo_path("models-original/llava-mini-know"));
    open_and_digest(data_path("unit/checkpoint/golden/plain.bin"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_safetensors_survives_every_failure),
        cmocka_unit_test(opening_pytorch_files_survives_every_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
