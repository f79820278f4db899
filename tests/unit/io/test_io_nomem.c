/* Allocation 1, 2, 3, ... fails, until the whole of reading and writing succeeds. */
#include "tests/unit/io/io_test.h"

static int n_until_failure; /* 0: none fails */

static bool fails_now(void)
{
    return n_until_failure > 0 && --n_until_failure == 0;
}

/* Linked in the place of calloc and strdup (-Wl,--wrap), in our objects alone. */
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
char *__real_strdup(const char *s);
char *__wrap_strdup(const char *s);

void *__wrap_calloc(size_t n, size_t size)
{
    return fails_now() ? NULL : __real_calloc(n, size);
}

char *__wrap_strdup(const char *s)
{
    return fails_now() ? NULL : __real_strdup(s);
}

struct copy {
    struct uqm_file *file;
    uint64_t off;
};

static int next_of_copy(void *ctx, struct uqm_piece *piece)
{
    struct copy *c = ctx;
    if (c->off == 100000)
        return 0;
    *piece = (struct uqm_piece){ .file = c->file, .off_bytes = c->off, .n_bytes = 10000 };
    c->off += 10000;
    return 1;
}

static int copy_file(struct uqm_env *env, struct uqm_err *err)
{
    struct copy copy = { 0 };
    struct uqm_stream *stream = NULL;
    struct uqm_sink *sink = NULL;
    struct uqm_file_digest digest = { .n_leaves = 0 };
    struct uqm_view view;
    int ret = uqm_file_open(&copy.file, env, in_dir("from"), err);
    if (ret == UQM_OK)
        ret = uqm_stream_create(&stream, env, 10000, 1, 40000, next_of_copy, &copy, err);
    if (ret == UQM_OK)
        ret = uqm_sink_create(&sink, env, in_dir("to"), 100000, 0, err);
    while (ret == UQM_OK && (ret = uqm_stream_next(stream, &view, err)) == 1) {
        ret = uqm_sink_write(sink, view.data, view.n_bytes, err);
        uqm_stream_release(stream, &view);
    }
    if (ret == UQM_OK)
        ret = uqm_sink_finish(sink, &digest, err);
    uqm_file_digest_finish(&digest);
    uqm_sink_destroy(&sink);
    uqm_stream_destroy(&stream);
    uqm_file_close(&copy.file);
    return ret;
}

static void no_allocation_may_fail_unnoticed_or_leave_anything(void **state)
{
    (void) state;
    make_file("from", 100000);
    for_each_engine(kind)
    {
        struct uqm_env *env = io_env(kind, UQM_DIRECT_OFF);
        int n_open = count_open_files(), ret = UQM_ERR_NOMEM, n = 0;
        while (ret == UQM_ERR_NOMEM) {
            struct uqm_err err = { 0 };
            n_until_failure = ++n;
            ret = copy_file(env, &err);
            bool failed = n_until_failure == 0;
            n_until_failure = 0;
            if (ret == UQM_OK && failed) { /* a registration is only a wish */
                assert_int_equal(unlink(in_dir("to")), 0);
                ret = UQM_ERR_NOMEM;
                continue;
            }
            assert_int_equal(ret, failed ? UQM_ERR_NOMEM : UQM_OK);
            assert_true(ret == UQM_OK || err.msg[0]);
            assert_int_equal(access(in_dir("to"), F_OK), ret == UQM_OK ? 0 : -1);
            assert_int_equal(count_open_files(), n_open);
            assert_int_equal(uqm_budget_left(env), env->budget.limit_bytes);
        }
        assert_int_equal(ret, UQM_OK);
        assert_true(n > 10);
        assert_int_equal(unlink(in_dir("to")), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_allocation_may_fail_unnoticed_or_leave_anything),
    };
    return cmocka_run_group_tests(tests, make_io_dir, drop_io_dir);
}
