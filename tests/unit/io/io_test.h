/* What the I/O tests share: a folder of their own, known bytes, and faults to inject. */
#ifndef UQM_TESTS_IO_TEST_H
#define UQM_TESTS_IO_TEST_H

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/direct.h"
#include "io/engine_impl.h"
#include "src/base/fs.h"
#include "tests/unit/test.h"

static char io_dir[] = "/tmp/uqm-io-XXXXXX";

static inline int make_io_dir(void **state)
{
    (void) state;
    return mkdtemp(io_dir) ? 0 : -1;
}

static inline int drop_io_dir(void **state)
{
    (void) state;
    return uqm_remove_tree(io_dir, NULL);
}

/* In a ring of static buffers, good for a few calls. */
static inline const char *in_dir(const char *name)
{
    static char ring[8][256];
    static unsigned next;
    char *buf = ring[next++ % 8];
    snprintf(buf, sizeof ring[0], "%s/%s", io_dir, name);
    return buf;
}

/* Byte `off` of every test file: no period that an alignment could hide. */
static inline uint8_t known_byte(uint64_t off)
{
    uint64_t x = (off + 1) * UINT64_C(0x9E3779B97F4A7C15);
    return (uint8_t) (x >> 56 ^ x >> 29);
}

static inline uint8_t *known_bytes(size_t n)
{
    uint8_t *p = malloc(n ? n : 1);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++)
        p[i] = known_byte(i);
    return p;
}

static inline void assert_known(const uint8_t *data, size_t n, uint64_t off)
{
    for (size_t i = 0; i < n; i++)
        if (data[i] != known_byte(off + i))
            fail_msg("byte %zu of %zu from %llu is wrong", i, n, (unsigned long long) off);
}

static inline const char *make_file(const char *name, size_t n)
{
    struct uqm_err err = { 0 };
    uint8_t *p = known_bytes(n);
    assert_ok(uqm_write_file(in_dir(name), p, n, &err), err);
    free(p);
    return in_dir(name);
}

/* What goes wrong, counted by the transfers so far. */
struct mishaps {
    _Atomic int n_transfers;
    int sys_errno;   /* with what */
    int from, until; /* for transfers from <= number < until */
    size_t clip;     /* no transfer of more bytes than this; 0: no clipping */
    bool at_end;     /* answer 0 instead of -sys_errno */
};

static inline ssize_t mishap_transfer(void *ctx, const struct uqm_op *op, size_t len)
{
    struct mishaps *m = ctx;
    int n = atomic_fetch_add(&m->n_transfers, 1);
    (void) op;
    if (n >= m->from && n < m->until)
        return m->at_end ? 0 : -m->sys_errno;
    return (ssize_t) (m->clip && m->clip < len ? m->clip : len);
}

static inline struct uqm_env *io_env(enum uqm_io_kind kind, enum uqm_direct direct)
{
    struct uqm_env *env = test_env(UINT64_C(256) << 20, 2);
    env->io = kind;
    env->direct = direct;
    return env;
}

/* UQM_DIRECT_ON where the file system of the tests takes O_DIRECT; some (tmpfs) do not. */
static inline enum uqm_direct direct_if_possible(void)
{
    static enum uqm_direct answer = UQM_DIRECT_AUTO; /* not known yet */
    if (answer != UQM_DIRECT_AUTO)
        return answer;
    uint32_t off_align, mem_align;
    char path[64];
    snprintf(path, sizeof path, "%s/try-direct", io_dir);
    int direct_fd, fd = open(path, O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 8192), 0);
    int e = uqm_direct_open(&direct_fd, &off_align, &mem_align, path, O_RDONLY, fd);
    close(fd);
    if (e == 0)
        close(direct_fd);
    unlink(path);
    return answer = e == 0 ? UQM_DIRECT_ON : UQM_DIRECT_OFF;
}

static inline int count_open_files(void)
{
    int n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) != -1;
    return n;
}

static const enum uqm_io_kind both_engines[] = { UQM_IO_PREAD, UQM_IO_URING };
/* Every test that loops over engines skips io_uring where the system refuses it. */
static inline bool ring_works(void)
{
    struct uqm_io *io = NULL;
    if (uqm_io_uring_create(&io, 1, NULL) != 0)
        return false;
    uqm_io_destroy(&io);
    return true;
}
#define for_each_engine(kind)                                                                      \
    for (size_t i_##kind = 0, n_##kind = ring_works() ? 2 : 1; i_##kind < n_##kind; i_##kind++)    \
        for (enum uqm_io_kind kind = both_engines[i_##kind], *once_##kind = &kind; once_##kind;    \
             once_##kind = NULL)

#endif
