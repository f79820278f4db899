#include "tests/unit/io/io_test.h"

/* A made file over known bytes: waits a little, so that pieces are done out of order. */
struct made {
    uint64_t bad_from, bad_to; /* reads that touch these bytes fail */
    atomic_uint n_reads, n_made;
    struct uqm_file *disk; /* where parts of 100 bytes are read from; NULL: of nothing */
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

/* In parts: up to the next multiple of 100. Odd hundreds are made of two ranges of the file on the
 * disk, both of which begin with the bytes themselves. */
static size_t made_part(struct uqm_file_source sources[UQM_FILE_MAX_SOURCES], size_t *n_sources,
                        struct uqm_file *file, uint64_t off_bytes, size_t len)
{
    struct made *m = file->made_of;
    uint64_t begin = off_bytes / 100 * 100;
    sources[0] = (struct uqm_file_source){ m->disk, begin, 100 };
    sources[1] = (struct uqm_file_source){ m->disk, begin, 99 };
    *n_sources = !m->disk ? 0 : begin / 100 % 2 ? 2 : 1;
    return len < begin + 100 - off_bytes ? len : (size_t) (begin + 100 - off_bytes);
}

static int made_make(struct uqm_file *file, void *buf, size_t len, uint64_t off_bytes,
                     const uint8_t *const sources[UQM_FILE_MAX_SOURCES], struct uqm_err *err)
{
    struct made *m = file->made_of;
    uint64_t begin = off_bytes / 100 * 100;
    assert_true(off_bytes + len <= begin + 100);
    if (!sources[0])
        return made_read(file, buf, len, off_bytes, err);
    if (atomic_fetch_add(&m->n_made, 1) % 7 == 0)
        usleep(100);
    assert_true(begin / 100 % 2 == 0 || memcmp(sources[0], sources[1], 99) == 0);
    memcpy(buf, sources[0] + (off_bytes - begin), len);
    return UQM_OK;
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
    .part = made_part,
    .make = made_make,
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

/* Of the made pieces among the first n. */
static unsigned count_parts(size_t n)
{
    unsigned parts = 0;
    for (size_t i = 0; i < n; i++)
        if (i % 2)
            parts += (unsigned) ((i / 2 * 1001 + 1000) / 100 - i / 2 * 1001 / 100 + 1);
    return parts;
}

/* sources: 0: nothing is read for the made one; 1: from the disk; 2: there is no memory for it. */
static void read_in_turns(struct uqm_env *env, const char *path, int sources)
{
    struct uqm_err err = { 0 };
    struct made made = { 0 };
    struct turns turns = { .n = 300 };
    struct uqm_stream *s = NULL;
    struct uqm_view view;
    if (sources == 2)
        env->budget.limit_bytes = 200000;
    assert_ok(uqm_file_open(&turns.files[0], env, path, &err), err);
    assert_ok(uqm_file_make(&turns.files[1], "made", 200000, &made_ops, &made, &err), err);
    made.disk = sources ? turns.files[0] : NULL;
    assert_ok(uqm_stream_create(&s, env, 1001, 2, 100000, next_turn, &turns, &err), err);
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
    assert_int_equal(sources == 1 ? made.n_made : made.n_reads, count_parts(300));
    assert_int_equal(sources == 1 ? made.n_reads : made.n_made, 0);
    if (sources ==
        1) /* besides the disk's pieces: all hundreds, and of the odd ones 99 bytes more */
        assert_true(atomic_load(&env->bytes_read) >= 150 * 1001 + 1501 * 100 + 750 * 99);
    assert_int_equal(uqm_budget_left(env), env->budget.limit_bytes);
}

static void pieces_of_made_files_and_others_come_back_in_the_order_of_the_plan(void **state)
{
    (void) state;
    const char *path = make_file("disk", 200000);
    for_each_engine(kind) for (int sources = 0; sources < 3; sources++)
    {
        for (int direct = 0; direct < 2; direct++) {
            struct uqm_env *env = io_env(kind, direct ? UQM_DIRECT_ON : UQM_DIRECT_OFF);
            env->n_threads = sources == 1 ? 4 : 1;
            read_in_turns(env, path, sources);
        }
    }
}

static void a_source_that_cannot_be_read_is_named(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    const char *path = make_file("sources", 200000);
    for_each_engine(kind)
    {
        struct mishaps mishaps = { .sys_errno = EIO, .from = 40, .until = 42 };
        const struct uqm_io_faults faults = { .ctx = &mishaps, .transfer = mishap_transfer };
        struct made made = { 0 };
        struct turns turns = { .n = 300 };
        struct uqm_env *env = io_env(kind, UQM_DIRECT_OFF);
        struct uqm_stream *s = NULL;
        struct uqm_file *disk = NULL;
        struct uqm_view view;
        assert_ok(uqm_file_open(&disk, env, path, &err), err);
        assert_ok(uqm_file_make(&turns.files[0], "made", 200000, &made_ops, &made, &err), err);
        turns.files[1] = turns.files[0];
        made.disk = disk;
        assert_ok(
            uqm_stream_create_with(&s, env, 1001, 2, 100000, next_turn, &turns, &faults, &err),
            err);
        int ret;
        while ((ret = uqm_stream_next(s, &view, &err)) > 0)
            uqm_stream_release(s, &view);
        assert_fails(ret, err, UQM_ERR_IO, path);
        assert_non_null(strstr(err.msg, "bytes ["));
        uqm_stream_destroy(&s);
        uqm_file_close(&turns.files[0]);
        uqm_file_close(&disk);
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
    assert_fails(uqm_stream_next(s, &view, &err), err, UQM_ERR_FORMAT, "made: bad at 5000");
    assert_fails(uqm_stream_next(s, &view, &err), err, UQM_ERR_FORMAT, "made: bad at 5000");
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
        cmocka_unit_test(a_source_that_cannot_be_read_is_named),
        cmocka_unit_test(the_first_error_in_plan_order_is_told_and_the_stream_can_go),
        cmocka_unit_test(a_read_past_a_made_file_s_end_is_refused_before_it_is_asked),
    };
    return cmocka_run_group_tests(tests, make_io_dir, drop_io_dir);
}
