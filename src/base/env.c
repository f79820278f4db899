#include "src/base/env.h"

#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "src/base/checked.h"

#define MIB (UINT64_C(1) << 20)

static uint64_t available_bytes(void)
{
    FILE *f = fopen("/proc/meminfo", "re");
    if (!f)
        return 0;
    char line[256];
    uint64_t kib = 0;
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1)
            break;
    fclose(f);
    return kib * 1024;
}

static int count_cpus(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    int n = CPU_COUNT(&set);
    return n > 0 ? n : 1;
}

int uqm_env_init(struct uqm_env *env, const struct uqm_common *common, struct uqm_err *err)
{
    *env = (struct uqm_env){
        .log = common->log,
        .progress = common->progress,
        .ctx = common->ctx,
        .cancel = common->cancel,
        .io = common->io,
        .direct = common->direct,
        .seed = common->seed,
        .strict = common->strict,
        .ignore_crc = common->ignore_crc,
        .sync_bytes = common->sync_bytes ? common->sync_bytes : 256 * MIB,
    };
    if (common->n_threads < 0 || common->n_threads > 1024)
        return uqm_fail(err, UQM_ERR_USAGE, "--threads %d: give a number from 1 to 1024",
                        common->n_threads);
    env->n_threads = common->n_threads ? common->n_threads : count_cpus();

    uint64_t limit = common->memory;
    if (limit == 0) {
        limit = available_bytes() / 4;
        limit = limit < 256 * MIB ? 256 * MIB : limit > 4096 * MIB ? 4096 * MIB : limit;
    }
    if (limit < 64 * MIB)
        return uqm_fail(err, UQM_ERR_USAGE, "--memory %" PRIu64 ": at least 64M is needed", limit);
    env->budget.limit_bytes = limit;
    return UQM_OK;
}

void uqm_log(const struct uqm_env *env, enum uqm_log_level level, const char *fmt, ...)
{
    if (!env->log)
        return;
    char line[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    env->log(env->ctx, level, line);
}

int uqm_warn(const struct uqm_env *env, struct uqm_err *err, const char *fmt, ...)
{
    char line[sizeof err->msg];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (env->strict)
        return uqm_fail(err, UQM_ERR_FORMAT, "%s", line);
    if (env->log)
        env->log(env->ctx, UQM_LOG_WARN, line);
    return UQM_OK;
}

void uqm_report(const struct uqm_env *env, const char *stage, const char *unit, uint64_t done,
                uint64_t total)
{
    if (!env->progress)
        return;
    struct uqm_progress p = { .stage = stage, .unit = unit, .done = done, .total = total };
    env->progress(env->ctx, &p);
}

int uqm_check_cancel(const struct uqm_env *env, struct uqm_err *err)
{
    if (env->cancel && __atomic_load_n(env->cancel, __ATOMIC_RELAXED))
        return uqm_fail(err, UQM_ERR_INTERRUPTED, "interrupted");
    return UQM_OK;
}

uint64_t uqm_budget_left(const struct uqm_env *env)
{
    uint64_t used = atomic_load(&env->budget.used_bytes);
    return used < env->budget.limit_bytes ? env->budget.limit_bytes - used : 0;
}

int uqm_budget_take(struct uqm_env *env, uint64_t bytes, const char *what, struct uqm_err *err)
{
    struct uqm_budget *b = &env->budget;
    uint64_t used = atomic_load(&b->used_bytes), want;
    do {
        if (!uqm_add_u64(&want, used, bytes) || want > b->limit_bytes)
            return uqm_fail(err, UQM_ERR_NOMEM,
                            "--memory: %s need %.1f MiB, %.1f MiB of %.1f MiB are left; "
                            "give more memory",
                            what, (double) bytes / (double) MIB,
                            (double) (used < b->limit_bytes ? b->limit_bytes - used : 0) /
                                (double) MIB,
                            (double) b->limit_bytes / (double) MIB);
    } while (!atomic_compare_exchange_weak(&b->used_bytes, &used, want));

    uint64_t peak = atomic_load(&b->peak_bytes);
    while (peak < want && !atomic_compare_exchange_weak(&b->peak_bytes, &peak, want))
        ;
    return UQM_OK;
}

void uqm_budget_give(struct uqm_env *env, uint64_t bytes)
{
    atomic_fetch_sub(&env->budget.used_bytes, bytes);
}

/* mmap rather than malloc: what is freed goes back to the system at once, so that the
 * resident size follows the budget. */
int uqm_budget_alloc(void **out, struct uqm_env *env, size_t bytes, size_t align, const char *what,
                     struct uqm_err *err)
{
    *out = NULL;
    if (bytes == 0)
        bytes = 1;
    int ret = uqm_budget_take(env, bytes, what, err);
    if (ret < 0)
        return ret;
    void *p = align <= 4096
                  ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                  : MAP_FAILED;
    if (p == MAP_FAILED) {
        uqm_budget_give(env, bytes);
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: the system has no %.1f MiB left", what,
                        (double) bytes / (double) MIB);
    }
    *out = p;
    return UQM_OK;
}

void uqm_budget_free(void **p, struct uqm_env *env, size_t bytes)
{
    if (!*p)
        return;
    if (bytes == 0)
        bytes = 1;
    munmap(*p, bytes);
    *p = NULL;
    uqm_budget_give(env, bytes);
}
