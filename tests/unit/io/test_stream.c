#include "tests/unit/io/io_test.h"

/* A plan over one file: pieces as a table, or as a repeated stride. */
struct plan {
    struct uqm_file *file;
    uint64_t off, stride;
    size_t n_bytes, n_left;
};

static int next_of_plan(void *ctx, struct uqm_piece *piece)
{
    struct plan *p = ctx;
    if (p->n_left == 0)
        return 0;
    *piece = (struct uqm_piece) {
        .file = p->file, .off_bytes = p->off, .n_bytes = p->n_bytes, .user = p
    };
    p->n_left--;
    p->off += p->stride;
    return 1;
}

static void read_plan(struct uqm_env *env, const char *path, struct plan plan, size_t n_views,
                      uint64_t memory)
{
    struct uqm_err err = { 0 };
    struct uqm_stream *s = NULL;
    uint64_t off = plan.off, total = plan.n_left * plan.n_bytes;
    assert_ok(uqm_file_open(&plan.file, env, path, &err), err);
    assert_ok(uqm_stream_create(&s, env, plan.n_bytes, n_views, memory, next_of_plan, &plan, &err),
              err);
    struct uqm_view view;
    int ret;
    while ((ret = uqm_stream_next(s, &view, &err)) == 1) {
        assert_int_equal(view.n_bytes, plan.n_bytes);
        assert_ptr_equal(view.user, &plan);
        assert_known(view.data, view.n_bytes, off);
        off += plan.stride;
        uqm_stream_release(s, &view);
    }
    assert_ok(ret, err);
    assert_int_equal(plan.n_left, 0);
    assert_int_equal(uqm_stream_next(s, &view, &err), 0);
    uqm_stream_destroy(&s);
    uqm_file_close(&plan.file);
    assert_int_equal(env->bytes_read, total);
    assert_int_equal(uqm_budget_left(env), env->budget.limit_bytes);
}

static void odd_pieces_come_back_equal_from_every_engine(void **state)
{
    (void) state;
    const char *path = make_file("odd", 1000003);
    for_each_engine(kind)
        for (int direct = UQM_DIRECT_ON; direct <= UQM_DIRECT_OFF; direct++) {
            struct uqm_env *env;
            env = io_env(kind, direct);
            read_plan(env, path, (struct plan) { NULL, 3, 7001, 7001, 142 }, 1, 1 << 20);
            env = io_env(kind, direct);
            read_plan(env, path, (struct plan) { NULL, 0, 1, 1, 300 }, 1, 100000);
            env = io_env(kind, direct);
            read_plan(env, path, (struct plan) { NULL, 2, 499999, 500001, 2 }, 1, 0);
            env = io_env(kind, direct);
            read_plan(env, path, (struct plan) { NULL, 1000002, 0, 1, 5 }, 1, 0);
            env = io_env(kind, direct);
            read_plan(env, path, (struct plan) { NULL, 0, 4096, 4096, 244 }, 3, 1 << 16);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(odd_pieces_come_back_equal_from_every_engine),
    };
    return cmocka_run_group_tests(tests, make_io_dir, drop_io_dir);
}
