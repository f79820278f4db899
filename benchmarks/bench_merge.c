/*
 * Merges of synthetic models, each beside its floor: reading the same inputs and writing as many
 * bytes as the output has through the same engine, as bench_io copies, digest included. The merge
 * also computes, hashes its inputs, looks at what it did to them, and ends in a folder with its
 * manifest. Interleaved, several rounds, one JSON line a case; ratio = our time / the floor's.
 *
 *     bench_merge [--methods linear,task_arithmetic,...] [--models 3] [--mib 256] [--rounds 3]
 *                 [--dtype bf16|f16|f32] [--tensor-mib 32] [--memory-mib 2048] [--threads 0]
 *                 [--cache cold|warm|both] [--touch-mib 512] [--dir .]
 *
 * --mib is the size of one model; methods with a base read one more, slerp only one beside it.
 * "cold" finds nothing in the page cache and reads as the program would by itself; "warm" finds
 * everything there and reads without O_DIRECT. *_cpu_s: of all threads, the kernel's part too.
 *
 * Before each turn --touch-mib of memory are taken, touched and given back. A virtual machine may
 * get memory from its host page by page when it is first touched, at a fraction of a gigabyte a
 * second, and give it back when it lies idle: without this whoever comes second finds what the
 * other has paid for. 0: as it is.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "benchmarks/bench.h"
#include "benchmarks/io_copy.h"
#include "benchmarks/merge_models.h"
#include "src/base/fs.h"

enum { BLOCK_BYTES = 4 << 20, SINK_BYTES = 16 << 20, STREAM_BYTES = 128 << 20 };

struct setup {
    char dir[512];
    int n_rounds, n_threads;
    uint64_t memory_bytes;
    size_t touch_bytes;
    struct merge_models models;
};

struct contestant {
    struct bench_times wall, cpu;
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

static double cpu_now(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double) (u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           1e-6 * (double) (u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

/* ---- the methods ---- */

struct method {
    const char *name;
    bool has_base;
    int most_models; /* 0: any */
    const char *per_model, *per_merge;
};

static const struct method methods[] = {
    { "linear", false, 0, "weight: 0.5", NULL },
    { "task_arithmetic", true, 0, "weight: 0.4", NULL },
    { "slerp", true, 1, NULL, "t: 0.4" },
    { "model_stock", true, 0, NULL, NULL },
    { "ties", true, 0, "weight: 0.4, density: 0.5", NULL },
    { "dare_linear", true, 0, "weight: 0.4, density: 0.5", NULL },
    { "dare_ties", true, 0, "weight: 0.4, density: 0.5", NULL },
    { "della_linear", true, 0, "weight: 0.4, density: 0.5, epsilon: 0.15", NULL },
    { "della", true, 0, "weight: 0.4, density: 0.5, epsilon: 0.15", NULL },
    { "breadcrumbs", true, 0, "weight: 0.4, density: 0.5, gamma: 0.01", NULL },
    { "breadcrumbs_ties", true, 0, "weight: 0.4, density: 0.5, gamma: 0.01", NULL },
    { "sce", true, 0, NULL, "select_topk: 0.5" },
    { "nuslerp", false, 2, "weight: 0.4", NULL },
    { "multislerp", false, 0, "weight: 0.4", NULL },
    { "karcher", false, 0, NULL, NULL },
    { "nearswap", true, 1, NULL, "t: 0.001" },
    { "arcee_fusion", true, 1, NULL, NULL },
    { "ram", true, 0, NULL, NULL },
    { "ramplus_tl", true, 0, NULL, NULL },
    { "passthrough", false, 1, NULL, NULL },
};

static int models_of(const struct setup *s, const struct method *m)
{
    int n = s->models.n_models;
    return m->most_models && n > m->most_models ? m->most_models : n;
}

static void make_recipe(const struct setup *s, const struct method *m, const char *path)
{
    FILE *f = fopen(path, "we");
    if (!f)
        die(path);
    fprintf(f, "merge_method: %s\n", m->name);
    if (m->has_base)
        fprintf(f, "base_model: %s/base\n", s->dir);
    fprintf(f, "models:\n");
    for (int k = 1; k <= models_of(s, m); k++) {
        fprintf(f, "  - model: %s/model-%d\n", s->dir, k);
        if (m->per_model)
            fprintf(f, "    parameters: {%s}\n", m->per_model);
    }
    if (m->per_merge)
        fprintf(f, "parameters: {%s}\n", m->per_merge);
    if (fclose(f) != 0)
        die(path);
}

/* ---- the contestants ---- */

static struct uqm_common common_of(const struct setup *s, bool warm)
{
    return (struct uqm_common){ .memory = s->memory_bytes,
                                .n_threads = s->n_threads,
                                .seed = 1,
                                .direct = warm ? UQM_DIRECT_OFF : UQM_DIRECT_AUTO };
}

static void ours(const struct setup *s, const char *recipe, bool warm)
{
    char *json = NULL, out[1024];
    struct uqm_err err = { 0 };
    snprintf(out, sizeof out, "%s/out", s->dir);
    struct uqm_merge_params params = {
        .common = common_of(s, warm),
        .recipe_path = recipe,
        .out_dir = out,
    };
    check(uqm_merge(&json, &params, &err), &err);
    free(json);
}

static void floor_of(const struct setup *s, const struct method *m, bool warm)
{
    static char paths[IO_COPY_MOST_INPUTS][1024];
    char out[1024];
    struct uqm_env env;
    struct uqm_err err = { 0 };
    struct uqm_common common = common_of(s, warm);
    struct io_copy copy = {
        .out = out,
        .n_bytes = s->models.file_bytes,
        .block_bytes = BLOCK_BYTES,
        .stream_bytes = STREAM_BYTES,
        .sink_bytes = SINK_BYTES,
    };
    snprintf(out, sizeof out, "%s/floor", s->dir);
    for (int k = m->has_base ? 0 : 1; k <= models_of(s, m); k++) {
        merge_models_path(paths[copy.n_inputs], sizeof paths[0], &s->models, k);
        copy.in[copy.n_inputs] = paths[copy.n_inputs];
        copy.n_inputs++;
    }
    check(uqm_env_init(&env, &common, &err), &err);
    check(io_copy_run(&copy, &env, &err), &err);
}

/* In huge pages, as the buffers of streams and sinks. */
static void touch_memory(const struct setup *s)
{
    if (s->touch_bytes == 0)
        return;
    char *p =
        mmap(NULL, s->touch_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        die("memory to touch");
    madvise(p, s->touch_bytes, MADV_HUGEPAGE);
    for (size_t at = 0; at < s->touch_bytes; at += 4096)
        ((volatile char *) p)[at] = 1;
    munmap(p, s->touch_bytes);
}

/* Into the page cache, or out of it. */
static void prepare(const struct setup *s, bool warm)
{
    static char block[1 << 20];
    char path[1024];
    for (int k = 0; k <= s->models.n_models; k++) {
        merge_models_path(path, sizeof path, &s->models, k);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fdatasync(fd) != 0)
            die(path);
        if (!warm && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
            die(path);
        while (warm && read(fd, block, sizeof block) > 0)
            ;
        close(fd);
    }
    touch_memory(s);
}

static void clean_up(const struct setup *s)
{
    char path[1024];
    struct uqm_err err = { 0 };
    snprintf(path, sizeof path, "%s/floor", s->dir);
    unlink(path);
    snprintf(path, sizeof path, "%s/out", s->dir);
    if (access(path, F_OK) == 0)
        check(uqm_remove_tree(path, &err), &err);
}

static void print_case(const struct setup *s, const struct method *m, bool warm,
                       const struct contestant *us, const struct contestant *floor)
{
    int n_inputs = models_of(s, m) + (m->has_base ? 1 : 0);
    double seconds = bench_median(&us->wall);
    bench_begin("merge", m->name);
    bench_text("dtype", uqm_dtype_name(s->models.dtype));
    bench_text("cache", warm ? "warm" : "cold");
    bench_number("inputs", n_inputs);
    bench_number("mib_read", (double) s->models.file_bytes * n_inputs / (1 << 20));
    bench_number("mib_written", (double) s->models.file_bytes / (1 << 20));
    bench_number("memory_mib", (double) s->memory_bytes / (1 << 20));
    bench_number("touch_mib", (double) s->touch_bytes / (1 << 20));
    bench_number("rounds", s->n_rounds);
    bench_number("ours_s", seconds);
    bench_number("ours_min_s", bench_min(&us->wall));
    bench_number("ours_cpu_s", bench_median(&us->cpu));
    bench_number("floor_s", bench_median(&floor->wall));
    bench_number("floor_min_s", bench_min(&floor->wall));
    bench_number("floor_cpu_s", bench_median(&floor->cpu));
    bench_number("melem_per_s", (double) s->models.n_elem * 1e-6 / seconds);
    bench_number("cpu_ns_per_elem", bench_median(&us->cpu) * 1e9 / (double) s->models.n_elem);
    bench_number("ratio", seconds / bench_median(&floor->wall));
    bench_end();
}

static void run_case(const struct setup *s, const struct method *m, bool warm)
{
    struct contestant us = { .wall.n = 0 }, floor = { .wall.n = 0 };
    char recipe[1024];
    snprintf(recipe, sizeof recipe, "%s/%s.yml", s->dir, m->name);
    make_recipe(s, m, recipe);
    for (int i = 0; i < s->n_rounds; i++)
        for (int k = 0; k < 2; k++) {
            struct contestant *c = k ? &us : &floor;
            prepare(s, warm);
            double t = bench_now(), cpu = cpu_now();
            if (k)
                ours(s, recipe, warm);
            else
                floor_of(s, m, warm);
            bench_add(&c->wall, bench_now() - t);
            bench_add(&c->cpu, cpu_now() - cpu);
            clean_up(s);
        }
    print_case(s, m, warm, &us, &floor);
}

/* ---- the whole ---- */

static bool is_listed(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = list; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, name, n) == 0 && (at[n] == ',' || at[n] == 0))
            return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    const char *dtype = bench_option_text(argc, argv, "--dtype", "bf16");
    const char *cache = bench_option_text(argc, argv, "--cache", "both");
    const char *list = bench_option_text(
        argc, argv, "--methods",
        "linear,task_arithmetic,slerp,model_stock,ties,dare_linear,dare_ties,della");
    struct setup s = {
        .n_rounds = (int) bench_option(argc, argv, "--rounds", 3),
        .n_threads = (int) bench_option(argc, argv, "--threads", 0),
        .memory_bytes = (uint64_t) bench_option(argc, argv, "--memory-mib", 2048) << 20,
        .touch_bytes = (size_t) bench_option_from(0.0, argc, argv, "--touch-mib", 512) << 20,
        .models = {
            .dir = s.dir,
            .n_models = (int) bench_option(argc, argv, "--models", 3),
            .tensor_bytes = (size_t) bench_option(argc, argv, "--tensor-mib", 32) << 20,
            .dtype = strcmp(dtype, "f32") == 0   ? UQM_F32
                     : strcmp(dtype, "f16") == 0 ? UQM_F16
                                                 : UQM_BF16,
        },
    };
    struct uqm_err err = { 0 };
    s.models.n_tensors =
        ((size_t) bench_option(argc, argv, "--mib", 256) << 20) / s.models.tensor_bytes;
    if (s.models.n_models >= IO_COPY_MOST_INPUTS || s.models.n_tensors == 0) {
        fprintf(stderr, "bench_merge: fewer than 64 models, of one tensor at least\n");
        return 2;
    }
    snprintf(s.dir, sizeof s.dir, "%s/bench-merge-XXXXXX",
             bench_option_text(argc, argv, "--dir", "."));
    if (!mkdtemp(s.dir))
        die(s.dir);
    check(merge_models_make(&s.models, &err), &err);
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if (!is_listed(list, methods[i].name))
            continue;
        if (strcmp(cache, "warm") != 0)
            run_case(&s, &methods[i], false);
        if (strcmp(cache, "cold") != 0)
            run_case(&s, &methods[i], true);
    }
    check(uqm_remove_tree(s.dir, &err), &err);
    return 0;
}
