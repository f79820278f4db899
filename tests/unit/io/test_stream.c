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
    *piece = (struct uqm_piece){
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
    for_each_engine(kind) for (int i = 0; i < 2; i++)
    {
        enum uqm_direct direct = i ? direct_if_possible() : UQM_DIRECT_OFF;
        struct uqm_env *env;
        env = io_env(kind, direct);
        read_plan(env, path, (struct plan){ NULL, 3, 7001, 7001, 142 }, 1, 1 << 20);
        env = io_env(kind, direct);
        read_plan(env, path, (struct plan){ NULL, 0, 1, 1, 300 }, 1, 100000);
        env = io_env(kind, direct);
        read_plan(env, path, (struct plan){ NULL, 2, 499999, 500001, 2 }, 1, 0);
        env = io_env(kind, direct);
        read_plan(env, path, (struct plan){ NULL, 1000002, 0, 1, 5 }, 1, 0);
        env = io_env(kind, direct);
        read_plan(env, path, (struct plan){ NULL, 0, 4096, 4096, 244 }, 3, 1 << 16);
    }
}

/* A stream over `path` with a plan of n pieces of n_bytes each, back to back. */
struct fixture {
    struct uqm_env *env;
    struct plan plan;
    struct uqm_stream *stream;
};

static void open_fixture(struct fixture *f, struct uqm_env *env, const char *path, size_t n_bytes,
                         size_t n, size_t n_buffers, const struct uqm_io_faults *faults)
{
    struct uqm_err err = { 0 };
    *f = (struct fixture){ .env = env, .plan = { NULL, 0, n_bytes, n_bytes, n } };
    assert_ok(uqm_file_open(&f->plan.file, env, path, &err), err);
    assert_ok(uqm_stream_create_with(&f->stream, env, n_bytes, n_buffers, 0, next_of_plan, &f->plan,
                                     faults, &err),
              err);
}

static void close_fixture(struct fixture *f)
{
    uqm_stream_destroy(&f->stream);
    assert_null(f->stream);
    uqm_file_close(&f->plan.file);
    assert_int_equal(uqm_budget_left(f->env), f->env->budget.limit_bytes);
}

static void views_may_be_released_in_any_order(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    const char *path = make_file("order", 400000);
    for_each_engine(kind)
    {
        struct fixture f;
        struct uqm_view v[4];
        open_fixture(&f, io_env(kind, UQM_DIRECT_OFF), path, 1000, 400, 5, NULL);
        for (unsigned round = 0; round < 100; round++) {
            for (unsigned i = 0; i < 4; i++)
                assert_int_equal(uqm_stream_next(f.stream, &v[i], &err), 1);
            for (unsigned i = 0; i < 4; i++) {
                unsigned k = (i * 3 + round) % 4;
                assert_known(v[k].data, 1000, (round * 4 + k) * 1000);
                uqm_stream_release(f.stream, &v[k]);
                assert_null(v[k].data);
            }
        }
        assert_int_equal(uqm_stream_next(f.stream, &v[0], &err), 0);
        close_fixture(&f);
    }
}

static void it_can_go_with_reads_under_way_and_views_held(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    const char *path = make_file("under-way", 4 << 20);
    for_each_engine(kind) for (size_t n_held = 0; n_held < 3; n_held++)
    {
        struct fixture f;
        struct uqm_view v;
        open_fixture(&f, io_env(kind, n_held ? direct_if_possible() : UQM_DIRECT_OFF), path,
                     256 << 10, 16, 12, NULL);
        for (size_t i = 0; i < n_held; i++)
            assert_int_equal(uqm_stream_next(f.stream, &v, &err), 1);
        close_fixture(&f);
    }
}

static void short_interrupted_and_deferred_reads_end_in_the_same_bytes(void **state)
{
    (void) state;
    static const struct {
        struct mishaps m;
        bool direct;
    } cases[] = {
        { { .clip = 4096 }, true },
        { { .clip = 777 }, false },
        { { .sys_errno = EINTR, .until = 900, .clip = 8192 }, true },
        { { .sys_errno = EAGAIN, .from = 2, .until = 12, .clip = 5000 }, false },
        { { .sys_errno = ECANCELED, .from = 1, .until = 3 }, false },
    };
    const char *path = make_file("short", 300007);
    for_each_engine(kind) for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    {
        struct mishaps m = cases[i].m;
        struct uqm_io_faults faults = { .ctx = &m, .transfer = mishap_transfer };
        struct fixture f;
        struct uqm_view v;
        struct uqm_err err = { 0 };
        uint64_t off = 0;
        int ret;
        open_fixture(&f, io_env(kind, cases[i].direct ? direct_if_possible() : UQM_DIRECT_OFF),
                     path, 300007 / 7, 7, 3, &faults);
        while ((ret = uqm_stream_next(f.stream, &v, &err)) == 1) {
            assert_known(v.data, v.n_bytes, off);
            off += v.n_bytes;
            uqm_stream_release(f.stream, &v);
        }
        assert_ok(ret, err);
        assert_int_equal(off, 300007 / 7 * 7);
        close_fixture(&f);
    }
}

/* Pieces that begin from this offset on fail. */
struct bad_from {
    uint64_t off_bytes;
    int sys_errno;
};

static ssize_t fail_from(void *ctx, const struct uqm_op *op, size_t len)
{
    const struct bad_from *bad = ctx;
    return op->off_bytes + op->len > bad->off_bytes ? -bad->sys_errno : (ssize_t) len;
}

static void a_bad_block_is_reported_in_its_turn_with_file_and_range(void **state)
{
    (void) state;
    const char *path = make_file("bad-block", 100000);
    for_each_engine(kind)
    {
        struct bad_from bad = { 30500, EIO };
        struct uqm_io_faults faults = { .ctx = &bad, .transfer = fail_from };
        struct fixture f;
        struct uqm_view v;
        struct uqm_err err = { 0 };
        open_fixture(&f, io_env(kind, UQM_DIRECT_OFF), path, 10000, 10, 10, &faults);
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(uqm_stream_next(f.stream, &v, &err), 1);
            assert_known(v.data, 10000, i * 10000);
        }
        for (unsigned i = 0; i < 2; i++) { /* and again when asked again */
            assert_fails(uqm_stream_next(f.stream, &v, &err), err, UQM_ERR_IO,
                         "bad-block: bytes [30000, 40000): Input/output error");
            assert_int_equal(err.sys_errno, EIO);
        }
        close_fixture(&f);
    }
}

static void retries_have_an_end(void **state)
{
    (void) state;
    struct mishaps m = { .sys_errno = EAGAIN, .until = 1 << 30 };
    struct uqm_io_faults faults = { .ctx = &m, .transfer = mishap_transfer };
    struct fixture f;
    struct uqm_view v;
    struct uqm_err err = { 0 };
    open_fixture(&f, io_env(UQM_IO_PREAD, UQM_DIRECT_OFF), make_file("again", 100), 100, 1, 1,
                 &faults);
    assert_fails(uqm_stream_next(f.stream, &v, &err), err, UQM_ERR_IO, "again: bytes [0, 100)");
    assert_int_equal(err.sys_errno, EAGAIN);
    close_fixture(&f);
}

static void a_file_that_shrinks_under_us_is_an_error_that_says_where_it_ends(void **state)
{
    (void) state;
    for_each_engine(kind) for (int i = 0; i < 2; i++)
    {
        enum uqm_direct direct = i ? direct_if_possible() : UQM_DIRECT_OFF;
        char path[256];
        snprintf(path, sizeof path, "%s", make_file("shrunk", 100000));
        struct fixture f;
        struct uqm_view v;
        struct uqm_err err = { 0 };
        open_fixture(&f, io_env(kind, direct), path, 20000, 5, 1, NULL);
        assert_int_equal(truncate(path, 50001), 0);
        for (unsigned k = 0; k < 2; k++) {
            assert_int_equal(uqm_stream_next(f.stream, &v, &err), 1);
            assert_known(v.data, 20000, k * 20000);
            uqm_stream_release(f.stream, &v);
        }
        assert_fails(uqm_stream_next(f.stream, &v, &err), err, UQM_ERR_FORMAT,
                     "shrunk: bytes [40000, 60000): the file ends at 50001");
        assert_int_equal(uqm_file_check_unchanged(f.plan.file, &err), UQM_ERR_IO);
        close_fixture(&f);
        assert_int_equal(unlink(path), 0);
    }
}

static void a_plan_past_the_end_is_refused_without_reading(void **state)
{
    (void) state;
    struct fixture f;
    struct uqm_view v;
    struct uqm_err err = { 0 };
    open_fixture(&f, io_env(UQM_IO_AUTO, UQM_DIRECT_OFF), make_file("plan", 1000), 400, 3, 3, NULL);
    assert_int_equal(uqm_stream_next(f.stream, &v, &err), 1);
    assert_int_equal(uqm_stream_next(f.stream, &v, &err), 1);
    assert_fails(uqm_stream_next(f.stream, &v, &err), err, UQM_ERR_FORMAT,
                 "plan: bytes [800, 1200): the file ends at 1000");
    close_fixture(&f);
    open_fixture(&f, io_env(UQM_IO_AUTO, UQM_DIRECT_OFF), in_dir("plan"), 400, 1, 1, NULL);
    f.plan.off = UINT64_MAX - 100;
    assert_int_equal(uqm_stream_next(f.stream, &v, &err), UQM_ERR_FORMAT);
    close_fixture(&f);
}

static ssize_t refuse_direct_reads(void *ctx, const struct uqm_op *op, size_t len)
{
    (void) ctx;
    return op->align > 1 ? -EINVAL : (ssize_t) len;
}

static void extents_that_refuse_o_direct_are_read_through_the_cache(void **state)
{
    (void) state;
    struct uqm_io_faults faults = { .transfer = refuse_direct_reads };
    const char *path = make_file("extents", (16 << 20) + 9);
    for_each_engine(kind)
    {
        struct fixture f;
        struct uqm_view v;
        struct uqm_err err = { 0 };
        open_fixture(&f, io_env(kind, UQM_DIRECT_AUTO), path, 7777, 2, 1, &faults);
        assert_int_equal(f.env->direct_used, direct_if_possible() == UQM_DIRECT_ON);
        assert_int_equal(uqm_stream_next(f.stream, &v, &err), 1);
        assert_known(v.data, 7777, 0);
        uqm_stream_release(f.stream, &v);
        assert_int_equal(uqm_stream_next(f.stream, &v, &err), 1);
        assert_known(v.data, 7777, 7777);
        close_fixture(&f);
    }
}

static void an_interrupt_ends_it(void **state)
{
    (void) state;
    struct uqm_env *env = io_env(UQM_IO_AUTO, UQM_DIRECT_OFF);
    struct fixture f;
    struct uqm_view v;
    struct uqm_err err = { 0 };
    volatile int flag = 0;
    env->cancel = &flag;
    open_fixture(&f, env, make_file("cancel", 100), 10, 10, 2, NULL);
    assert_int_equal(uqm_stream_next(f.stream, &v, &err), 1);
    flag = 1;
    assert_fails(uqm_stream_next(f.stream, &v, &err), err, UQM_ERR_INTERRUPTED, "interrupted");
    close_fixture(&f);
}

static void too_little_memory_is_an_error_but_less_than_wished_is_not(void **state)
{
    (void) state;
    struct uqm_env *env = io_env(UQM_IO_AUTO, UQM_DIRECT_OFF);
    struct plan plan = { 0 };
    struct uqm_stream *s = NULL;
    struct uqm_err err = { 0 };
    assert_ok(uqm_stream_create(&s, env, 1 << 20, 2, UINT64_C(1) << 40, next_of_plan, &plan, &err),
              err);
    assert_true(env->budget.used_bytes > 200 << 20);
    uqm_stream_destroy(&s);
    assert_fails(uqm_stream_create(&s, env, 100 << 20, 3, 0, next_of_plan, &plan, &err), err,
                 UQM_ERR_NOMEM, "the reading buffers");
    assert_null(s);
    assert_int_equal(uqm_budget_left(env), env->budget.limit_bytes);
}

static void an_empty_plan_ends_at_once(void **state)
{
    (void) state;
    struct fixture f;
    struct uqm_view v;
    struct uqm_err err = { 0 };
    open_fixture(&f, io_env(UQM_IO_AUTO, UQM_DIRECT_OFF), make_file("empty", 0), 10, 0, 1, NULL);
    assert_int_equal(uqm_stream_next(f.stream, &v, &err), 0);
    assert_int_equal(uqm_stream_next(f.stream, &v, &err), 0);
    close_fixture(&f);
}

/* Pieces of any size anywhere in three files, drawn from a counter. */
struct random_plan {
    struct uqm_file *files[3];
    struct uqm_piece pieces[400];
    unsigned n;
    _Atomic unsigned n_transfers;
};

static uint32_t draw(uint32_t i)
{
    uint64_t x = (i + 1) * UINT64_C(0xD1B54A32D192ED03);
    x ^= x >> 31;
    return (uint32_t) (x * UINT64_C(0x9E3779B97F4A7C15) >> 33);
}

static int next_random(void *ctx, struct uqm_piece *piece)
{
    struct random_plan *p = ctx;
    unsigned i = p->n;
    if (i == 400)
        return 0;
    struct uqm_file *file = p->files[draw(3 * i) % 3];
    size_t n_bytes = 1 + draw(3 * i + 1) % 20000;
    uint64_t off = draw(3 * i + 2) % (file->size_bytes - n_bytes + 1);
    p->pieces[i] = (struct uqm_piece){ file, off, n_bytes, &p->pieces[i] };
    *piece = p->pieces[p->n++];
    return 1;
}

/* A third short by whole blocks, some interrupted, some deferred. */
static ssize_t random_mishap(void *ctx, const struct uqm_op *op, size_t len)
{
    struct random_plan *p = ctx;
    (void) op;
    uint32_t r = draw(7777 + atomic_fetch_add(&p->n_transfers, 1));
    if (r % 16 == 0)
        return -EINTR;
    if (r % 16 == 1)
        return -EAGAIN;
    return (ssize_t) (r % 3 == 0 && len > 4096 ? len / 2 / 4096 * 4096 + 4096 : len);
}

static void read_random_plan(struct uqm_env *env, struct random_plan *plan, struct uqm_stream *s)
{
    struct uqm_err err = { 0 };
    struct uqm_view held[6] = { 0 };
    for (unsigned i = 0;; i++) {
        struct uqm_view *v = &held[draw(i) % 6];
        if (v->slot) {
            const struct uqm_piece *p = v->user;
            assert_known(v->data, v->n_bytes, p->off_bytes);
            uqm_stream_release(s, v);
        }
        int ret = uqm_stream_next(s, v, &err);
        assert_ok(ret, err);
        if (ret == 0)
            break;
        assert_ptr_equal(v->user, &plan->pieces[i]);
        assert_int_equal(v->n_bytes, plan->pieces[i].n_bytes);
    }
    uint64_t total = 0;
    for (unsigned i = 0; i < plan->n; i++)
        total += plan->pieces[i].n_bytes;
    assert_int_equal(plan->n, 400);
    assert_int_equal(env->bytes_read, total);
}

static void a_long_plan_over_several_files_comes_back_whole(void **state)
{
    (void) state;
    make_file("random-0", 20000);
    make_file("random-1", 333333);
    make_file("random-2", 1 << 20);
    for_each_engine(kind) for (int i = 0; i < 4; i++)
    {
        enum uqm_direct direct = i % 2 ? direct_if_possible() : UQM_DIRECT_OFF;
        struct uqm_env *env = io_env(kind, direct);
        struct random_plan plan = { 0 };
        struct uqm_io_faults faults = { .ctx = &plan, .transfer = random_mishap };
        struct uqm_stream *s = NULL;
        struct uqm_err err = { 0 };
        assert_ok(uqm_file_open(&plan.files[0], env, in_dir("random-0"), &err), err);
        assert_ok(uqm_file_open(&plan.files[1], env, in_dir("random-1"), &err), err);
        assert_ok(uqm_file_open(&plan.files[2], env, in_dir("random-2"), &err), err);
        assert_ok(uqm_stream_create_with(&s, env, 20000, 6, i < 2 ? 0 : 1 << 20, next_random, &plan,
                                         &faults, &err),
                  err);
        read_random_plan(env, &plan, s);
        uqm_stream_destroy(&s);
        for (int f = 0; f < 3; f++)
            uqm_file_close(&plan.files[f]);
        assert_int_equal(uqm_budget_left(env), env->budget.limit_bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(odd_pieces_come_back_equal_from_every_engine),
        cmocka_unit_test(views_may_be_released_in_any_order),
        cmocka_unit_test(it_can_go_with_reads_under_way_and_views_held),
        cmocka_unit_test(short_interrupted_and_deferred_reads_end_in_the_same_bytes),
        cmocka_unit_test(a_bad_block_is_reported_in_its_turn_with_file_and_range),
        cmocka_unit_test(retries_have_an_end),
        cmocka_unit_test(a_file_that_shrinks_under_us_is_an_error_that_says_where_it_ends),
        cmocka_unit_test(a_plan_past_the_end_is_refused_without_reading),
        cmocka_unit_test(extents_that_refuse_o_direct_are_read_through_the_cache),
        cmocka_unit_test(an_interrupt_ends_it),
        cmocka_unit_test(too_little_memory_is_an_error_but_less_than_wished_is_not),
        cmocka_unit_test(an_empty_plan_ends_at_once),
        cmocka_unit_test(a_long_plan_over_several_files_comes_back_whole),
    };
    return cmocka_run_group_tests(tests, make_io_dir, drop_io_dir);
}
