#include "tests/unit/io/io_test.h"

/* A made file over known bytes: waits a little, so that pieces are done out of order. */
struct made {
    uint64_t bad_from, bad_to; /* reads that touch these bytes fail */
    atomic_uint n_reads, n_expected;
    bool closed;
};

static int made_read(struct uqm_file *file, void *buf, size_t len, uint64_t off_bytes,
                     struct uqm_err *err)
{
    struct made *m = file->made_of;
    if (atomic_fetch_add(&m->n_reads, 1) % 3 == 0)
        usleep(300);
    if (off_bytes < m->bad_to && off_bytes + len > m->bad_from)
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: bad at %llu", file->name,
                        (unsigned long long) off_bytes);
    for (size_t i = 0; i < len; i++)
        ((uint8_t *) buf)[i] = known_byte(off_bytes + i);
    return UQM_OK;
}

static void made_expect(struct uqm_file *file, uint64_t off_bytes, size_t len)
{
    struct made *m = file->made_of;
    assert_true(off_bytes + len <= file->size_bytes);
    atomic_fetch_add(&m->n_expected, 1);
}

static int made_check(const struct uqm_file *file, struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_IO, "%s: asked whether it changed", file->name);
}

static void made_close(struct uqm_file *file)
{
    ((struct made *) file->made_of)->closed = true;
}

static const struct uqm_file_ops made_ops = {
    .read = made_read,
    .expect = made_expect,
    .check_unchanged = made_check,
    .close = made_close,
};

/* Pieces of 1001 bytes, in turn from a file on the disk and from a made one. */
struct turns {
    struct uqm_file *files[2];
    size_t at, n;
};

static int next_turn(void *ctx, struct uqm_piece *piece)
{
    struct turns *t = ctx;
    if (t->at == t->n)
        return 0;
    *piece = (struct uqm_piece){ .file = t->files[t->at % 2],
                                 .off_bytes = t->at / 2 * 1001,
                                 .n_bytes = 1001 };
    t->at++;
    return 1;
}

static void pieces_of_made_files_and_others_come_back_in_the_order_of_the_plan(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    const char *path = make_file("disk", 200000);
    for_each_engine(kind) for (int n_threads = 1; n_threads <= 4; n_threads += 3)
    {
        struct made made = { 0 };
        struct turns turns = { .n = 300 };
        struct uqm_env *env = io_env(kind, UQM_DIRECT_OFF);
        env->n_threads = n_threads;
        struct uqm_stream *s = NULL;
        assert_ok(uqm_file_open(&turns.files[0], env, path, &err), err);
        assert_ok(uqm_file_make(&turns.files[1], "made", 200000, &made_ops, &made, &err), err);
        assert_ok(uqm_stream_create(&s, env, 1001, 2, 100000, next_turn, &turns, &err), err);
        struct uqm_view view;
        for (size_t i = 0; i < 300; i++) {
            assert_int_equal(uqm_stream_next(s, &view, &err), 1);
            assert_known(view.data, 1001, i / 2 * 1001);
            uqm_stream_release(s, &view);
        }
        assert_int_equal(uqm_stream_next(s, &view, &err), 0);
        uqm_stream_destroy(&s);
        uqm_file_close(&turns.files[0]);
        uqm_file_close(&turns.files[1]);
        assert_true(made.closed);
        assert_int_equal(made.n_reads, 150);
        assert_int_equal(made.n_expected, 150);
        assert_int_equal(uqm_budget_left(env), env->budget.limit_bytes);
    }
}

static void the_first_error_in_plan_order_is_told_and_the_stream_can_go(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    const char *path = make_file("errors", 200000);
    struct made made = { .bad_from = 5000, .bad_to = 20000 };
    struct turns turns = { .n = 300 };
    struct uqm_env *env = io_env(UQM_IO_PREAD, UQM_DIRECT_OFF);
    env->n_threads = 4;
    struct uqm_stream *s = NULL;
    struct uqm_view view;
    assert_ok(uqm_file_open(&turns.files[0], env, path, &err), err);
    assert_ok(uqm_file_make(&turns.files[1], "made", 200000, &made_ops, &made, &err), err);
    assert_ok(uqm_stream_create(&s, env, 1001, 2, 100000, next_turn, &turns, &err), err);
    for (size_t i = 0; i < 9; i++) {
        assert_int_equal(uqm_stream_next(s, &view, &err), 1);
        uqm_stream_release(s, &view);
    }
    assert_fails(uqm_stream_next(s, &view, &err), err, UQM_ERR_FORMAT, "made: bad at 4004");
    assert_fails(uqm_stream_next(s, &view, &err), err, UQM_ERR_FORMAT, "made: bad at 4004");
    uqm_stream_destroy(&s);
    uqm_file_close(&turns.files[0]);
    uqm_file_close(&turns.files[1]);
}

static void a_read_past_a_made_file_s_end_is_refused_before_it_is_asked(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    struct made made = { 0 };
    struct uqm_file *file = NULL;
    uint8_t buf[16];
    assert_ok(uqm_file_make(&file, "made", 100, &made_ops, &made, &err), err);
    assert_ok(uqm_file_read(file, buf, 16, 84, &err), err);
    assert_known(buf, 16, 84);
    assert_fails(uqm_file_read(file, buf, 16, 85, &err), err, UQM_ERR_FORMAT,
                 "made: bytes [85, 101): the file ends at 100");
    assert_fails(uqm_file_read(file, buf, 16, UINT64_MAX - 3, &err), err, UQM_ERR_FORMAT, "made");
    assert_int_equal(made.n_reads, 1);
    assert_fails(uqm_file_check_unchanged(file, &err), err, UQM_ERR_IO, "asked whether");
    uqm_file_close(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_of_made_files_and_others_come_back_in_the_order_of_the_plan),
        cmocka_unit_test(the_first_error_in_plan_order_is_told_and_the_stream_can_go),
        cmocka_unit_test(a_read_past_a_made_file_s_end_is_refused_before_it_is_asked),
    };
    return cmocka_run_group_tests(tests, make_io_dir, drop_io_dir);
}
