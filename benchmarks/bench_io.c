/*
 * The stream and the sink against a bare loop of pread and pwrite over the same bytes with the
 * same block size: reading, writing (with fsync on both sides; the sink also takes SHA-256), and
 * copying. Interleaved, several rounds, one JSON line a case; ratio = our time / the loop's.
 *
 *     bench_io [--mib 512] [--rounds 5] [--block-kib 4096] [--memory-mib 32] [--dir .]
 *              [--only CASE]
 *
 * "cold" reads find nothing in the page cache, "warm" ones everything.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "benchmarks/bench.h"
#include "benchmarks/io_copy.h"
#include "io/engine.h"
#include "src/base/hash.h"

enum { ALIGN = 4096 };

struct setup {
    const char *dir;
    size_t block_bytes;
    uint64_t n_bytes, memory_bytes;
    int n_rounds;
    uint8_t *block; /* aligned; of the bare loops */
    char in[512], out[512];
    double sha256_s; /* of as many bytes, alone: what no sink can be faster than */
};

static void die(const char *what)
{
    fprintf(stderr, "bench_io: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void check(int ret, const struct uqm_err *err)
{
    if (ret < 0) {
        fprintf(stderr, "bench_io: %s\n", err->msg);
        exit(1);
    }
}

/* ---- the bare loops ---- */

static int open_or_die(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);
    if (fd < 0)
        die(path);
    return fd;
}

static void bare_copy(const struct setup *s, const char *in, const char *out, bool direct)
{
    int flags = direct ? O_DIRECT : 0;
    int from = in ? open_or_die(in, O_RDONLY | flags) : -1;
    int to = out ? open_or_die(out, O_WRONLY | O_CREAT | O_TRUNC | flags) : -1;
    for (uint64_t off = 0; off < s->n_bytes; off += s->block_bytes) {
        ssize_t n = (ssize_t) s->block_bytes;
        if (from >= 0 && pread(from, s->block, s->block_bytes, (off_t) off) != n)
            die(in);
        if (to >= 0 && pwrite(to, s->block, s->block_bytes, (off_t) off) != n)
            die(out);
    }
    if (to >= 0 && fsync(to) != 0)
        die(out);
    if (from >= 0)
        close(from);
    if (to >= 0)
        close(to);
}

/* ---- ours ---- */

static void our_copy(const struct setup *s, struct uqm_env *env, const char *in, const char *out)
{
    struct uqm_err err = { 0 };
    const struct io_copy copy = {
        .in = { in },
        .n_inputs = in ? 1 : 0,
        .out = out,
        .n_bytes = s->n_bytes,
        .block_bytes = s->block_bytes,
        .stream_bytes = s->memory_bytes,
        .sink_bytes = s->memory_bytes,
        .block = s->block,
    };
    check(io_copy_run(&copy, env, &err), &err);
}

/* ---- the cases ---- */

static void forget_pages(const char *path)
{
    int fd = open_or_die(path, O_RDONLY);
    if (fdatasync(fd) != 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
        die(path);
    close(fd);
}

static void prepare(const struct setup *s, bool reads, bool warm)
{
    unlink(s->out);
    if (!reads)
        return;
    forget_pages(s->in);
    if (warm)
        bare_copy(s, s->in, NULL, false);
}

struct bench_case {
    const char *name;
    bool reads, writes, direct, warm;
};

static void run_case(const struct setup *s, const struct bench_case *c, enum uqm_io_kind kind)
{
    struct bench_times ours = { .n = 0 }, bare = { .n = 0 };
    const char *in = c->reads ? s->in : NULL, *out = c->writes ? s->out : NULL;
    struct uqm_env env;
    struct uqm_err err = { 0 };
    struct uqm_common common = { .io = kind, .direct = c->direct ? UQM_DIRECT_ON : UQM_DIRECT_OFF };
    check(uqm_env_init(&env, &common, &err), &err);
    for (int i = 0; i < s->n_rounds; i++) {
        prepare(s, c->reads, c->warm);
        double t = bench_now();
        bare_copy(s, in, out, c->direct);
        bench_add(&bare, bench_now() - t);
        prepare(s, c->reads, c->warm);
        t = bench_now();
        our_copy(s, &env, in, out);
        bench_add(&ours, bench_now() - t);
    }
    unlink(s->out);
    double mib = (double) s->n_bytes / (1 << 20);
    bench_begin("io", c->name);
    bench_text("engine", kind == UQM_IO_URING ? "io_uring" : "pread");
    bench_flag("direct", c->direct);
    bench_number("mib", mib);
    bench_number("block_kib", (double) s->block_bytes / 1024);
    bench_number("rounds", s->n_rounds);
    bench_number("ours_s", bench_median(&ours));
    bench_number("ours_min_s", bench_min(&ours));
    bench_number("bare_s", bench_median(&bare));
    bench_number("bare_min_s", bench_min(&bare));
    bench_number("ours_mib_per_s", mib / bench_median(&ours));
    bench_number("bare_mib_per_s", mib / bench_median(&bare));
    if (c->writes)
        bench_number("sha256_alone_s", s->sha256_s);
    bench_number("ratio", bench_median(&ours) / bench_median(&bare));
    bench_end();
}

static const struct bench_case cases[] = {
    { "read", true, false, true, false },      { "write", false, true, true, false },
    { "copy", true, true, true, false },       { "read cold", true, false, false, false },
    { "read warm", true, false, false, true }, { "write", false, true, false, false },
    { "copy cold", true, true, false, false },
};

/* Whether the folder's file system takes O_DIRECT. */
static bool takes_direct(const struct setup *s)
{
    int fd = open(s->in, O_RDONLY | O_DIRECT | O_CLOEXEC);
    bool takes = fd >= 0 && pread(fd, s->block, s->block_bytes, 0) > 0;
    if (fd >= 0)
        close(fd);
    return takes;
}

static double time_sha256(const struct setup *s)
{
    struct uqm_sha256 *h = uqm_sha256_create();
    if (!h)
        die("SHA-256");
    double t = bench_now();
    for (uint64_t off = 0; off < s->n_bytes; off += s->block_bytes)
        uqm_sha256_update(h, s->block, s->block_bytes);
    t = bench_now() - t;
    uqm_sha256_destroy(&h);
    return t;
}

static bool has_ring(void)
{
    struct uqm_env env;
    struct uqm_err err = { 0 };
    struct uqm_io *io = NULL;
    struct uqm_common common = { .io = UQM_IO_URING };
    if (uqm_env_init(&env, &common, &err) < 0 || uqm_io_create(&io, &env, 1, &err) < 0)
        return false;
    uqm_io_destroy(&io);
    return true;
}

int main(int argc, char **argv)
{
    struct setup s = { .dir = bench_option_text(argc, argv, "--dir", ".") };
    s.block_bytes = (size_t) bench_option(argc, argv, "--block-kib", 4096) * 1024;
    s.block_bytes = (s.block_bytes + ALIGN - 1) / ALIGN * ALIGN;
    uint64_t wish = (uint64_t) (bench_option(argc, argv, "--mib", 512) * (1 << 20));
    s.n_bytes = (wish + s.block_bytes - 1) / s.block_bytes * s.block_bytes;
    s.memory_bytes = (uint64_t) (bench_option(argc, argv, "--memory-mib", 32) * (1 << 20));
    s.n_rounds = (int) bench_option(argc, argv, "--rounds", 5);
    if (s.n_rounds > BENCH_MAX_ROUNDS)
        s.n_rounds = BENCH_MAX_ROUNDS;
    snprintf(s.in, sizeof s.in, "%s/bench_io.%ld.in", s.dir, (long) getpid());
    snprintf(s.out, sizeof s.out, "%s/bench_io.%ld.out", s.dir, (long) getpid());
    s.block = aligned_alloc(ALIGN, s.block_bytes);
    if (!s.block)
        die("the block");
    for (size_t i = 0; i < s.block_bytes; i++)
        s.block[i] = (uint8_t) (i * 2654435761u >> 13);
    bare_copy(&s, NULL, s.in, false);

    const char *only = bench_option_text(argc, argv, "--only", NULL);
    s.sha256_s = time_sha256(&s);
    bool direct = takes_direct(&s), ring = has_ring();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if ((cases[i].direct && !direct) || (only && strcmp(only, cases[i].name) != 0))
            continue;
        if (ring)
            run_case(&s, &cases[i], UQM_IO_URING);
        run_case(&s, &cases[i], UQM_IO_PREAD);
    }
    unlink(s.in);
    free(s.block);
    return 0;
}
