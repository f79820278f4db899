#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "io/pool.h"
#include "tests/unit/io/io_test.h"

static struct uqm_io *engine(enum uqm_io_kind kind, unsigned n, const struct uqm_io_faults *faults)
{
    struct uqm_err err = { 0 };
    struct uqm_io *io = NULL;
    assert_ok(uqm_io_create_with(&io, io_env(kind, UQM_DIRECT_OFF), n, faults, &err), err);
    assert_int_equal(uqm_io_kind_of(io), kind);
    return io;
}

/* One operation from submission to result. */
static void run_op(struct uqm_io *io, struct uqm_op *op)
{
    struct uqm_err err = { 0 };
    assert_ok(uqm_io_submit(io, op, &err), err);
    assert_ptr_equal(uqm_io_wait(io), op);
    assert_null(uqm_io_wait(io));
}

static struct uqm_op op_of(enum uqm_op_kind kind, int fd, void *buf, size_t len, uint64_t off)
{
    return (struct uqm_op){ .kind = kind,
                            .fd = fd,
                            .buf = buf,
                            .len = len,
                            .min_len = len,
                            .off_bytes = off,
                            .buf_index = -1 };
}

static void what_one_engine_writes_the_other_reads(void **state)
{
    (void) state;
    enum { N = 64, LEN = 4999, SIZE = N * LEN };
    for_each_engine(writer) for_each_engine(reader)
    {
        uint8_t *in = known_bytes(SIZE), *out = calloc(1, SIZE);
        struct uqm_op ops[N], *op;
        struct uqm_err err = { 0 };
        int fd = open(in_dir("both"), O_RDWR | O_CREAT | O_TRUNC, 0600), n = 0;
        struct uqm_io *io = engine(writer, N, NULL);
        for (unsigned i = 0; i < N; i++) { /* last first */
            size_t off = (N - 1 - i) * (size_t) LEN;
            ops[i] = op_of(UQM_OP_WRITE, fd, in + off, LEN, off);
            assert_ok(uqm_io_submit(io, &ops[i], &err), err);
        }
        for (; (op = uqm_io_wait(io)); n++)
            assert_int_equal(op->sys_errno, 0);
        assert_int_equal(n, N);
        uqm_io_destroy(&io);

        io = engine(reader, 5, NULL);
        for (unsigned i = 0, under_way = 0; i < N || under_way; under_way--) {
            for (; i < N && under_way < 5; i++, under_way++) {
                ops[i] = op_of(UQM_OP_READ, fd, out + i * LEN, LEN, i * LEN);
                assert_ok(uqm_io_submit(io, &ops[i], &err), err);
            }
            op = uqm_io_wait(io);
            assert_int_equal(op->sys_errno, 0);
            assert_int_equal(op->done, LEN);
        }
        uqm_io_destroy(&io);
        assert_known(out, SIZE, 0);
        close(fd);
        free(in);
        free(out);
    }
}

static void a_read_may_end_at_the_end_of_the_file_but_not_before_its_minimum(void **state)
{
    (void) state;
    const char *path = make_file("end", 10000);
    for_each_engine(kind) for (int direct = 0; direct <= (direct_if_possible() == UQM_DIRECT_ON);
                               direct++)
    {
        struct uqm_io *io = engine(kind, 1, NULL);
        int fd = open(path, O_RDONLY | (direct ? O_DIRECT : 0));
        uint8_t *buf = aligned_alloc(4096, 16384);
        struct uqm_op op = op_of(UQM_OP_READ, fd, buf, 16384, 0);
        op.align = direct ? 4096 : 0;
        op.min_len = 10000;
        run_op(io, &op);
        assert_int_equal(op.sys_errno, 0);
        assert_int_equal(op.done, 10000);
        assert_known(buf, 10000, 0);
        op.min_len = 10001;
        run_op(io, &op);
        assert_int_equal(op.sys_errno, ENODATA);
        op.off_bytes = 12288; /* nothing at all there */
        op.len = 4096;
        op.min_len = 1;
        run_op(io, &op);
        assert_int_equal(op.sys_errno, ENODATA);
        assert_int_equal(op.done, 0);
        free(buf);
        close(fd);
        uqm_io_destroy(&io);
    }
}

static void what_the_system_refuses_comes_back_with_the_operation(void **state)
{
    (void) state;
    char byte[1] = { 1 };
    for_each_engine(kind)
    {
        struct uqm_io *io = engine(kind, 1, NULL);
        int full = open("/dev/full", O_WRONLY), fd = open(make_file("ro", 10), O_RDONLY);
        struct uqm_op op = op_of(UQM_OP_WRITE, full, byte, 1, 0);
        run_op(io, &op);
        assert_int_equal(op.sys_errno, ENOSPC);
        op = op_of(UQM_OP_WRITE, fd, byte, 1, 0);
        run_op(io, &op);
        assert_int_equal(op.sys_errno, EBADF);
        op = op_of(UQM_OP_READ, -1, byte, 1, 0);
        run_op(io, &op);
        assert_int_equal(op.sys_errno, EBADF);
        op = op_of(UQM_OP_READ, fd, byte, 1, 3); /* and it goes on */
        run_op(io, &op);
        assert_int_equal(op.sys_errno, 0);
        assert_known((uint8_t *) byte, 1, 3);
        close(full);
        close(fd);
        unlink(in_dir("ro"));
        uqm_io_destroy(&io);
    }
}

static void one_byte_at_a_time_is_slow_but_right(void **state)
{
    (void) state;
    uint8_t buf[3000];
    int fd = open(make_file("bytes", sizeof buf), O_RDONLY);
    for_each_engine(kind)
    {
        struct mishaps m = { .clip = 1, .sys_errno = EINTR, .from = 100, .until = 700 };
        struct uqm_io_faults faults = { .ctx = &m, .transfer = mishap_transfer };
        struct uqm_io *io = engine(kind, 1, &faults);
        struct uqm_op op = op_of(UQM_OP_READ, fd, buf, sizeof buf, 0);
        memset(buf, 0, sizeof buf);
        run_op(io, &op);
        assert_int_equal(op.sys_errno, 0);
        assert_known(buf, sizeof buf, 0);
        assert_int_equal(m.n_transfers, (int) sizeof buf + 600);
        uqm_io_destroy(&io);
    }
    close(fd);
}

static void engines_wait_for_what_is_under_way_when_they_go(void **state)
{
    (void) state;
    enum { N = 16, LEN = 1 << 18 };
    uint8_t *buf = malloc((size_t) N * LEN);
    struct uqm_err err = { 0 };
    int fd = open(make_file("going", LEN), O_RDONLY);
    for_each_engine(kind)
    {
        struct uqm_io *io = engine(kind, N, NULL);
        struct uqm_op ops[N];
        for (size_t i = 0; i < N; i++) {
            ops[i] = op_of(UQM_OP_READ, fd, buf + i * LEN, LEN, 0);
            assert_ok(uqm_io_submit(io, &ops[i], &err), err);
        }
        uqm_io_destroy(&io);
        assert_null(io);
        for (size_t i = 0; i < N; i++)
            assert_known(buf + i * LEN, LEN, 0);
        uqm_io_destroy(&io);
    }
    close(fd);
    free(buf);
}

static int n_lines;
static void count_line(void *ctx, enum uqm_log_level level, const char *line)
{
    (void) ctx;
    assert_int_equal(level, UQM_LOG_INFO);
    assert_non_null(strstr(line, "io_uring is refused"));
    n_lines++;
}

static int refuse_with(void *ctx)
{
    return *(int *) ctx;
}

static void a_refused_ring_is_replaced_and_mentioned_once(void **state)
{
    (void) state;
    static const int errnos[] = { EPERM, ENOSYS, EINVAL, ENOMEM };
    for (size_t i = 0; i < 4; i++) {
        int e = errnos[i];
        struct uqm_io_faults faults = { .ctx = &e, .ring_setup = refuse_with };
        struct uqm_env *env = io_env(UQM_IO_AUTO, UQM_DIRECT_AUTO);
        struct uqm_err err = { 0 };
        struct uqm_io *a = NULL, *b = NULL;
        env->log = count_line;
        n_lines = 0;
        assert_ok(uqm_io_create_with(&a, env, 4, &faults, &err), err);
        assert_ok(uqm_io_create_with(&b, env, 4, &faults, &err), err);
        assert_int_equal(n_lines, 1);
        assert_int_equal(uqm_io_kind_of(a), UQM_IO_PREAD);
        assert_int_equal(env->io_used, UQM_IO_PREAD);
        uqm_io_destroy(&a);
        uqm_io_destroy(&b);

        env->io = UQM_IO_URING; /* asked for by name: then it is an error */
        assert_int_equal(uqm_io_create_with(&a, env, 4, &faults, &err),
                         e == ENOMEM ? UQM_ERR_NOMEM : UQM_ERR_IO);
        assert_non_null(strstr(err.msg, "--io uring: the system refuses io_uring: "));
        assert_null(a);
    }
}

/* As containers do it: a filter that answers io_uring_setup with EPERM, in a process of its own. */
static int create_behind_a_filter(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = { .len = sizeof code / sizeof *code, .filter = code };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
        return 77;
    struct uqm_env *env = io_env(UQM_IO_AUTO, UQM_DIRECT_OFF);
    struct uqm_io *io = NULL;
    struct uqm_err err = { 0 };
    env->log = count_line;
    if (uqm_io_create(&io, env, 4, &err) < 0 || uqm_io_kind_of(io) != UQM_IO_PREAD || n_lines != 1)
        return 1;
    uqm_io_destroy(&io);
    env->io = UQM_IO_URING;
    return uqm_io_create(&io, env, 4, &err) == UQM_ERR_IO && err.sys_errno == EPERM ? 0 : 2;
}

static void a_container_s_filter_is_a_refusal_like_any_other(void **state)
{
    (void) state;
    fflush(NULL);
    n_lines = 0;
    pid_t child = fork();
    if (child == 0)
        _exit(create_behind_a_filter());
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        test_skip("no system call filter may be set here");
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int allow_two_buffers(void *ctx, size_t n_bufs)
{
    (void) ctx;
    return n_bufs > 2 ? ENOMEM : 0;
}

static int allow_none(void *ctx, size_t n_bufs)
{
    (void) ctx;
    (void) n_bufs;
    return EPERM;
}

static void registered_half_or_not_at_all_buffers_hold_the_same_bytes(void **state)
{
    (void) state;
    enum { N = 9, LEN = 8192 };
    if (!ring_works())
        test_skip("io_uring is refused here");
    static const struct uqm_io_faults faults[] = { { 0 },
                                                   { .ring_register = allow_two_buffers },
                                                   { .ring_register = allow_none } };
    struct uqm_env *env = io_env(UQM_IO_URING, UQM_DIRECT_OFF);
    int fd = open(make_file("registered", N * LEN), O_RDWR);
    for (size_t k = 0; k < 3; k++) {
        struct uqm_err err = { 0 };
        struct uqm_pool pool;
        struct uqm_op ops[N], *op;
        struct uqm_io *io = engine(UQM_IO_URING, N, &faults[k]);
        assert_ok(uqm_pool_init(&pool, env, LEN, N, "buffers", &err), err);
        bool done = uqm_io_register(io, pool.bufs, LEN, N);
        if (k > 0) /* how much the machine itself allows is its business */
            assert_int_equal(done, k == 1);
        for (int round = 0; round < 2; round++) {
            for (size_t i = 0; i < N; i++) {
                ops[i] = op_of(round ? UQM_OP_WRITE : UQM_OP_READ, fd, pool.bufs[i], LEN, i * LEN);
                ops[i].buf_index = (int) i;
                assert_ok(uqm_io_submit(io, &ops[i], &err), err);
            }
            while ((op = uqm_io_wait(io)))
                assert_int_equal(op->sys_errno, 0);
        }
        assert_known(pool.block, N * LEN, 0);
        uqm_io_destroy(&io);
        uqm_pool_finish(&pool);
    }
    close(fd);
}

/* An own process without the right to lock memory: 0 when everything went as it should. */
static int copy_without_locked_memory(void)
{
    struct rlimit none = { 0 };
    if (setrlimit(RLIMIT_MEMLOCK, &none) != 0)
        return 1;
    if (geteuid() == 0 && (chmod(io_dir, 0777) != 0 || setresuid(65534, 65534, 65534) != 0))
        return 2;
    struct uqm_env *env = io_env(UQM_IO_AUTO, UQM_DIRECT_OFF);
    struct uqm_sink *sink = NULL;
    struct uqm_file_digest digest = { .n_leaves = 0 };
    struct uqm_err err = { 0 };
    if (uqm_sink_create(&sink, env, in_dir("unlocked"), 3, 0, &err) < 0 ||
        uqm_sink_write(sink, "abc", 3, &err) < 0 || uqm_sink_finish(sink, &digest, &err) < 0)
        return 3;
    uqm_sink_destroy(&sink);
    bool right = strcmp(digest.sha256.text, "ba7816bf8f01cfea414140de5dae2223"
                                            "b00361a396177a9cb410ff61f20015ad") == 0;
    uqm_file_digest_finish(&digest);
    return right ? 0 : 4;
}

static void without_lockable_memory_everything_still_works(void **state)
{
    (void) state;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        _exit(copy_without_locked_memory());
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(unlink(in_dir("unlocked")), 0);
}

static volatile sig_atomic_t n_alarms;
static void on_alarm(int sig)
{
    (void) sig;
    n_alarms = n_alarms + 1;
}

static void real_signals_do_not_disturb_it(void **state)
{
    (void) state;
    enum { LEN = 1 << 20 };
    struct sigaction act = { .sa_handler = on_alarm }, old; /* no SA_RESTART */
    struct itimerval often = { { 0, 500 }, { 0, 500 } }, never = { 0 };
    uint8_t *buf = malloc(LEN);
    int fd = open(make_file("alarms", LEN), O_RDONLY);
    sigaction(SIGALRM, &act, &old);
    for_each_engine(kind)
    {
        struct uqm_io *io = engine(kind, 2, NULL);
        n_alarms = 0;
        setitimer(ITIMER_REAL, &often, NULL);
        while (n_alarms < 40) {
            struct uqm_op op = op_of(UQM_OP_READ, fd, buf, LEN, 0);
            run_op(io, &op);
            assert_int_equal(op.sys_errno, 0);
        }
        setitimer(ITIMER_REAL, &never, NULL);
        assert_known(buf, LEN, 0);
        uqm_io_destroy(&io);
    }
    sigaction(SIGALRM, &old, NULL);
    close(fd);
    free(buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_one_engine_writes_the_other_reads),
        cmocka_unit_test(a_read_may_end_at_the_end_of_the_file_but_not_before_its_minimum),
        cmocka_unit_test(what_the_system_refuses_comes_back_with_the_operation),
        cmocka_unit_test(one_byte_at_a_time_is_slow_but_right),
        cmocka_unit_test(engines_wait_for_what_is_under_way_when_they_go),
        cmocka_unit_test(a_refused_ring_is_replaced_and_mentioned_once),
        cmocka_unit_test(a_container_s_filter_is_a_refusal_like_any_other),
        cmocka_unit_test(registered_half_or_not_at_all_buffers_hold_the_same_bytes),
        cmocka_unit_test(without_lockable_memory_everything_still_works),
        cmocka_unit_test(real_signals_do_not_disturb_it),
    };
    return cmocka_run_group_tests(tests, make_io_dir, drop_io_dir);
}
