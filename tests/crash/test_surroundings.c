/* Systems that refuse, and inputs that change while they are read: each in a process of its own. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/crash/small_merge.h"

enum { NOT_ALLOWED = 100 };
static char note[512]; /* what the child says when it fails */

__attribute__((format(printf, 1, 2))) static int because(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(note, sizeof note, format, ap);
    va_end(ap);
    fprintf(stderr, "# %s\n", note);
    return 1;
}

/* false: the machine does not allow it. */
static bool in_a_child(int (*run)(void))
{
    int status;
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(run());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == NOT_ALLOWED)
        return false;
    assert_int_equal(WEXITSTATUS(status), 0);
    return true;
}

/* 0: merges, in this engine, and to the same bytes. */
static int merges(enum uqm_io_kind io, enum uqm_direct direct)
{
    struct uqm_err err = { 0 };
    const char *why;
    m.common.io = io;
    m.common.direct = direct;
    mkdir(in_dir(m.dir, "run"), 0755);
    if (small_run(&m, "run", false, &err) < 0)
        return because("%s", err.msg);
    why = small_fault(&m, "run", false);
    uqm_remove_tree(in_dir(m.dir, "run"), NULL);
    return why ? because("%s", why) : 0;
}

/* 0: fails with this text, and leaves nothing. */
static int refuses(const char *name, enum uqm_io_kind io, enum uqm_direct direct, const char *text)
{
    struct uqm_err err = { 0 };
    m.common.io = io;
    m.common.direct = direct;
    mkdir(in_dir(m.dir, "%s", name), 0755);
    if (small_run(&m, name, false, &err) == UQM_OK)
        return because("it was to fail with \"%s\"", text);
    if (!strstr(err.msg, text))
        return because("\"%s\" lacks \"%s\"", err.msg, text);
    if (exists(in_dir(m.dir, "%s/out", name)) || exists(in_dir(m.dir, "%s/.out.part", name)))
        return because("something is left");
    return 0;
}

/* --- io_uring --- */

/* As containers do it. */
static int without_io_uring(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = { sizeof code / sizeof *code, code };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
        return NOT_ALLOWED;
    int bad = merges(UQM_IO_AUTO, UQM_DIRECT_OFF);
    return bad ? bad
               : refuses("run", UQM_IO_URING, UQM_DIRECT_OFF, "--io uring: the system refuses");
}

static void a_refused_io_uring_is_done_without_unless_it_was_asked_for(void **state)
{
    (void) state;
    if (!in_a_child(without_io_uring))
        test_skip("no seccomp filter may be set here");
}

static int with_little_locked_memory(void)
{
    struct rlimit few = { 64 << 10, 64 << 10 };
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct none[2] = { { 0 } };
    if (setrlimit(RLIMIT_MEMLOCK, &few) != 0 || syscall(SYS_capset, &header, none) != 0)
        return NOT_ALLOWED;
    return merges(UQM_IO_AUTO, UQM_DIRECT_OFF);
}

static void little_locked_memory_will_do(void **state)
{
    (void) state;
    if (!in_a_child(with_little_locked_memory))
        test_skip("the limit cannot be set here");
}

/* --- file systems --- */

/* m.dir/NAME becomes a file system of its own, in a view of the world of its own. */
static bool mount_new(const char *name, const char *type, const char *options)
{
    mkdir(in_dir(m.dir, "%s", name), 0755);
    return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("uqm", in_dir(m.dir, "%s", name), type, 0, options) == 0;
}

static bool mount_small(const char *name, const char *options)
{
    return mount_new(name, "tmpfs", options);
}

static int onto_a_read_only_disk(void)
{
    if (!mount_small("disk", "size=1m") ||
        mount("uqm", in_dir(m.dir, "disk"), "tmpfs", MS_REMOUNT | MS_RDONLY, "size=1m") != 0)
        return NOT_ALLOWED;
    return refuses("disk", UQM_IO_PREAD, UQM_DIRECT_OFF, "Read-only file system");
}

static void a_read_only_disk_is_named(void **state)
{
    (void) state;
    if (!in_a_child(onto_a_read_only_disk))
        test_skip("no file system may be mounted here");
}

static int onto_a_full_disk(void)
{
    if (!mount_small("disk", "size=64k"))
        return NOT_ALLOWED;
    return refuses("disk", UQM_IO_PREAD, UQM_DIRECT_OFF, "MB are free");
}

static void a_full_disk_is_known_before_anything_is_read(void **state)
{
    (void) state;
    if (!in_a_child(onto_a_full_disk))
        test_skip("no file system may be mounted here");
}

static bool was_warned;

static void take_warning(void *ctx, enum uqm_log_level level, const char *line)
{
    (void) ctx;
    was_warned |= level == UQM_LOG_WARN && strstr(line, "does not say how much is free");
}

/* ramfs: no O_DIRECT, no fallocate, and statvfs() counts no blocks. */
static int onto_a_disk_that_does_not_count(void)
{
    if (!mount_new("run", "ramfs", NULL))
        return NOT_ALLOWED;
    m.common.log = take_warning;
    int bad = merges(UQM_IO_AUTO, UQM_DIRECT_AUTO);
    return bad || was_warned ? bad : because("nothing was said");
}

static void a_disk_that_does_not_say_what_is_free_will_do_with_a_warning(void **state)
{
    (void) state;
    if (!in_a_child(onto_a_disk_that_does_not_count))
        test_skip("no file system may be mounted here");
}

/* tmpfs took up O_DIRECT in Linux 6.6. */
static int onto_a_disk_in_memory(void)
{
    struct uqm_err err = { 0 };
    if (!mount_small("run", "size=16m"))
        return NOT_ALLOWED;
    m.common.io = UQM_IO_AUTO;
    m.common.direct = UQM_DIRECT_AUTO;
    if (small_run(&m, "run", false, &err) < 0)
        return because("%s", err.msg);
    const char *why = small_fault(&m, "run", false);
    if (why)
        return because("%s", why);
    uqm_remove_tree(in_dir(m.dir, "run/out"), NULL);
    m.common.direct = UQM_DIRECT_ON;
    int ret = small_run(&m, "run", false, &err);
    if (ret < 0 && !strstr(err.msg, "--direct on: "))
        return because("%s", err.msg);
    why = ret < 0 ? NULL : small_fault(&m, "run", false);
    return why ? because("%s", why) : 0;
}

static void a_disk_without_o_direct_will_do_unless_it_was_asked_for(void **state)
{
    (void) state;
    if (!in_a_child(onto_a_disk_in_memory))
        test_skip("no file system may be mounted here");
}

/* --- inputs that change --- */

static enum change { CUT_SHORT, REPLACED, WRITTEN, TOUCHED } change;
static int n_reports;

static void change_input(void *ctx, const struct uqm_progress *p)
{
    (void) ctx, (void) p;
    char path[512], copy[512], *text = NULL;
    size_t len = 0;
    struct uqm_err err = { 0 };
    if (n_reports++ > 0)
        return;
    snprintf(path, sizeof path, "%s", in_dir(m.dir, "b/model.safetensors"));
    snprintf(copy, sizeof copy, "%s", in_dir(m.dir, "b/other"));
    struct stat was, now;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(fstat(fd, &was), 0);
    switch (change) {
    case CUT_SHORT: assert_int_equal(ftruncate(fd, 400), 0); break;
    case WRITTEN:
    case TOUCHED:
        do { /* until its time is another one: how fine they are is the file system's business */
            usleep(1000);
            if (change == WRITTEN)
                assert_int_equal(pwrite(fd, "????", 4, 5000), 4);
            else
                assert_int_equal(futimens(fd, NULL), 0);
            assert_int_equal(fstat(fd, &now), 0);
        } while (was.st_mtim.tv_sec == now.st_mtim.tv_sec &&
                 was.st_mtim.tv_nsec == now.st_mtim.tv_nsec);
        break;
    case REPLACED:
        assert_ok(uqm_read_file(&text, &len, path, 1 << 20, &err), err);
        assert_ok(uqm_write_file(copy, text, len, &err), err);
        assert_int_equal(rename(copy, path), 0);
        free(text);
        break;
    }
    close(fd);
}

static int with_an_input_that_changes(void)
{
    static const char *const texts[] = { "model.safetensors", "replaced by another file",
                                         "changed since it was opened",
                                         "changed since it was opened" };
    m.common.progress = change_input;
    return refuses("run", UQM_IO_PREAD, UQM_DIRECT_OFF, texts[change]);
}

static void an_input_that_changes_meanwhile_is_named_and_nothing_else_is(void **state)
{
    (void) state;
    char *text = NULL;
    size_t len = 0;
    struct uqm_err err = { 0 };
    const char *path = in_dir(m.dir, "b/model.safetensors");
    assert_ok(uqm_read_file(&text, &len, path, 1 << 20, &err), err);
    for (int i = 0; i < 4; i++) {
        change = (enum change) i;
        assert_true(in_a_child(with_an_input_that_changes));
        path = in_dir(m.dir, "b/model.safetensors");
        unlink(path);
        assert_ok(uqm_write_file(path, text, len, &err), err);
        small_forget(&m, "run");
    }
    free(text);
}

static int start(void **state)
{
    small_group_start(state);
    m.common.sync_bytes = 0;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refused_io_uring_is_done_without_unless_it_was_asked_for),
        cmocka_unit_test(little_locked_memory_will_do),
        cmocka_unit_test(a_read_only_disk_is_named),
        cmocka_unit_test(a_full_disk_is_known_before_anything_is_read),
        cmocka_unit_test(a_disk_that_does_not_say_what_is_free_will_do_with_a_warning),
        cmocka_unit_test(a_disk_without_o_direct_will_do_unless_it_was_asked_for),
        cmocka_unit_test(an_input_that_changes_meanwhile_is_named_and_nothing_else_is),
    };
    return cmocka_run_group_tests(tests, start, small_group_stop);
}
