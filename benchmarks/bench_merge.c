/*
 * A linear merge of synthetic models against a bare read of the same inputs and a bare write of the
 * same output. The merge also averages, takes SHA-256 of what it writes and XXH3-128 of everything,
 * and ends in a folder with its manifest. Interleaved, several rounds, one JSON line a case;
 * ratio = our time / the loop's.
 *
 *     bench_merge [--models 3] [--mib 512] [--rounds 3] [--dtype f16|bf16|f32] [--block-kib 4096]
 *                 [--memory-mib 256] [--threads 0] [--dir .]
 *
 * --mib is the size of one model. Before each turn the inputs are dropped from the page cache.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "benchmarks/bench.h"
#include "src/base/fs.h"
#include "src/base/hash.h"
#include "src/base/rng.h"
#include "src/format/safetensors.h"

enum { ALIGN = 4096, TENSOR_BYTES = 32 << 20 };

struct setup {
    char dir[512];
    int n_models, n_rounds, n_threads;
    size_t n_tensors; /* of TENSOR_BYTES each, in every model */
    size_t block_bytes;
    uint64_t memory_bytes, file_bytes;
    enum uqm_dtype dtype;
    uint8_t *block; /* aligned; of the bare loops */
};

static void die(const char *what)
{
    fprintf(stderr, "bench_merge: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void check(int ret, const struct uqm_err *err)
{
    if (ret < 0) {
        fprintf(stderr, "bench_merge: %s\n", err->msg);
        exit(1);
    }
}

static const char *path_of(const struct setup *s, const char *name, int model)
{
    static char ring[4][1024];
    static unsigned next;
    char *buf = ring[next++ % 4];
    if (model >= 0)
        snprintf(buf, sizeof ring[0], "%s/model-%d/%s", s->dir, model, name);
    else
        snprintf(buf, sizeof ring[0], "%s/%s", s->dir, name);
    return buf;
}

/* ---- the models ---- */

/* Finite numbers of ordinary size in any of the types: the exponent's top bits are kept low. */
static void fill(uint8_t *p, size_t n, enum uqm_dtype dtype, struct uqm_rng *rng)
{
    for (size_t i = 0; i < n; i += 4) {
        uint32_t bits = uqm_rng_u32(rng);
        bits = dtype == UQM_F16 ? bits & 0xBBFFBBFF : bits & 0xBFFFBFFF;
        memcpy(p + i, &bits, 4);
    }
}

static void make_model(struct setup *s, int model)
{
    struct uqm_err err = { 0 };
    struct uqm_st_tensor *t = calloc(s->n_tensors, sizeof *t);
    struct uqm_st_header h = { 0 };
    struct uqm_st_pair metadata = { "format", "pt" };
    char(*names)[32] = calloc(s->n_tensors, sizeof *names);
    uint64_t shape[2] = { 1024, TENSOR_BYTES / 1024 * 8 / uqm_dtype_bits(s->dtype) };
    struct uqm_rng rng;

    uqm_rng_init(&rng, uqm_rng_stream(1, UQM_RNG_SAMPLE, "bench", "merge", (uint32_t) model, 0));
    if (!t || !names || mkdir(path_of(s, "", model), 0755) != 0)
        die(path_of(s, "", model));
    for (size_t i = 0; i < s->n_tensors; i++) {
        snprintf(names[i], sizeof names[i], "layers.%zu.w", i);
        t[i] = (struct uqm_st_tensor){ .name = names[i],
                                       .name_len = strlen(names[i]),
                                       .dtype = s->dtype,
                                       .rank = 2,
                                       .shape = shape };
    }
    check(uqm_st_header_init(&h, t, s->n_tensors, &metadata, 1, 0, &err), &err);
    FILE *f = fopen(path_of(s, "model.safetensors", model), "wbe");
    if (!f || fwrite(h.bytes, 1, h.n_bytes, f) != h.n_bytes)
        die("model.safetensors");
    for (uint64_t at = 0; at < h.data_bytes; at += s->block_bytes) {
        size_t n =
            h.data_bytes - at < s->block_bytes ? (size_t) (h.data_bytes - at) : s->block_bytes;
        fill(s->block, n, s->dtype, &rng);
        if (fwrite(s->block, 1, n, f) != n)
            die("model.safetensors");
    }
    if (fclose(f) != 0)
        die("model.safetensors");
    s->file_bytes = h.n_bytes + h.data_bytes;
    uqm_st_header_finish(&h);
    free(t);
    free(names);
}

static void make_recipe(const struct setup *s)
{
    FILE *f = fopen(path_of(s, "recipe.yml", -1), "we");
    if (!f)
        die("recipe.yml");
    fprintf(f, "merge_method: linear\nmodels:\n");
    for (int k = 0; k < s->n_models; k++)
        fprintf(f, "  - model: %s/model-%d\n    parameters: {weight: %d}\n", s->dir, k, k + 1);
    if (fclose(f) != 0)
        die("recipe.yml");
}

/* ---- the contestants ---- */

static int open_or_die(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);
    if (fd < 0)
        die(path);
    return fd;
}

/* Block by block of every input, then of the output, as the merge does. */
static void bare(const struct setup *s, bool direct)
{
    int flags = direct ? O_DIRECT : 0, in[64];
    uint64_t whole = s->file_bytes / s->block_bytes * s->block_bytes;
    int out = open_or_die(path_of(s, "bare", -1), O_WRONLY | O_CREAT | O_TRUNC | flags);
    for (int k = 0; k < s->n_models; k++)
        in[k] = open_or_die(path_of(s, "model.safetensors", k), O_RDONLY | flags);
    for (uint64_t at = 0; at < whole; at += s->block_bytes) {
        ssize_t n = (ssize_t) s->block_bytes;
        for (int k = 0; k < s->n_models; k++)
            if (pread(in[k], s->block, s->block_bytes, (off_t) at) != n)
                die("reading");
        if (pwrite(out, s->block, s->block_bytes, (off_t) at) != n)
            die("writing");
    }
    if (fsync(out) != 0)
        die("writing");
    close(out);
    for (int k = 0; k < s->n_models; k++)
        close(in[k]);
    unlink(path_of(s, "bare", -1));
}

static void ours(const struct setup *s, bool direct)
{
    char *json = NULL;
    struct uqm_err err = { 0 };
    struct uqm_merge_params params = {
        .common = { .memory = s->memory_bytes,
                    .n_threads = s->n_threads,
                    .direct = direct ? UQM_DIRECT_ON : UQM_DIRECT_OFF },
        .recipe_path = path_of(s, "recipe.yml", -1),
        .out_dir = path_of(s, "out", -1),
    };
    check(uqm_merge(&json, &params, &err), &err);
    free(json);
}

static void forget_pages(const struct setup *s)
{
    for (int k = 0; k < s->n_models; k++) {
        int fd = open_or_die(path_of(s, "model.safetensors", k), O_RDONLY);
        if (fdatasync(fd) != 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
            die("dropping pages");
        close(fd);
    }
}

/* SHA-256 of as many bytes as one output has, alone: no merge can be faster. */
static double time_sha256(const struct setup *s)
{
    struct uqm_sha256 *h = uqm_sha256_create();
    if (!h)
        die("sha256");
    double t = bench_now();
    for (uint64_t at = 0; at < s->file_bytes; at += s->block_bytes)
        uqm_sha256_update(h, s->block, s->block_bytes);
    t = bench_now() - t;
    uqm_sha256_destroy(&h);
    return t;
}

static void run_case(const struct setup *s, bool direct, double sha256_s)
{
    struct bench_times us = { .n = 0 }, them = { .n = 0 };
    struct uqm_err err = { 0 };
    for (int i = 0; i < s->n_rounds; i++) {
        forget_pages(s);
        double t = bench_now();
        bare(s, direct);
        bench_add(&them, bench_now() - t);
        forget_pages(s);
        t = bench_now();
        ours(s, direct);
        bench_add(&us, bench_now() - t);
        check(uqm_remove_tree(path_of(s, "out", -1), &err), &err);
    }
    double mib = (double) s->file_bytes * (s->n_models + 1) / (1 << 20);
    bench_begin("merge", "linear");
    bench_text("dtype", uqm_dtype_name(s->dtype));
    bench_flag("direct", direct);
    bench_number("models", s->n_models);
    bench_number("mib_moved", mib);
    bench_number("memory_mib", (double) s->memory_bytes / (1 << 20));
    bench_number("rounds", s->n_rounds);
    bench_number("ours_s", bench_median(&us));
    bench_number("ours_min_s", bench_min(&us));
    bench_number("bare_s", bench_median(&them));
    bench_number("bare_min_s", bench_min(&them));
    bench_number("ours_mib_per_s", mib / bench_median(&us));
    bench_number("bare_mib_per_s", mib / bench_median(&them));
    bench_number("sha256_alone_s", sha256_s);
    bench_number("ratio", bench_median(&us) / bench_median(&them));
    bench_end();
}

static bool takes_direct(const struct setup *s)
{
    int fd = open(path_of(s, "model.safetensors", 0), O_RDONLY | O_DIRECT | O_CLOEXEC);
    bool yes = fd >= 0 && pread(fd, s->block, ALIGN, 0) > 0;
    if (fd >= 0)
        close(fd);
    return yes;
}

int main(int argc, char **argv)
{
    const char *dtype = bench_option_text(argc, argv, "--dtype", "f16");
    struct setup s = {
        .n_models = (int) bench_option(argc, argv, "--models", 3),
        .n_rounds = (int) bench_option(argc, argv, "--rounds", 3),
        .block_bytes = (size_t) bench_option(argc, argv, "--block-kib", 4096) << 10,
        .memory_bytes = (uint64_t) bench_option(argc, argv, "--memory-mib", 256) << 20,
        .n_tensors = ((size_t) bench_option(argc, argv, "--mib", 512) << 20) / TENSOR_BYTES,
        .n_threads = (int) bench_option(argc, argv, "--threads", 0),
        .dtype = strcmp(dtype, "f32") == 0    ? UQM_F32
                 : strcmp(dtype, "bf16") == 0 ? UQM_BF16
                                              : UQM_F16,
    };
    struct uqm_err err = { 0 };
    if (s.n_models > 64 || s.n_tensors == 0 || s.block_bytes % ALIGN != 0) {
        fprintf(stderr, "bench_merge: at most 64 models of at least 32 MiB, blocks of whole "
                        "pages\n");
        return 2;
    }
    s.block = aligned_alloc(ALIGN, s.block_bytes);
    snprintf(s.dir, sizeof s.dir, "%s/bench-merge-XXXXXX",
             bench_option_text(argc, argv, "--dir", "."));
    if (!s.block || !mkdtemp(s.dir))
        die(s.dir);
    for (int k = 0; k < s.n_models; k++)
        make_model(&s, k);
    make_recipe(&s);
    double sha256_s = time_sha256(&s);
    if (takes_direct(&s))
        run_case(&s, true, sha256_s);
    run_case(&s, false, sha256_s);
    check(uqm_remove_tree(s.dir, &err), &err);
    free(s.block);
    return 0;
}
