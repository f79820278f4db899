/*
 * What every part of the program is handed: where to log, how far it has come, when to
 * give up, how much memory it may use. Built once a command from struct uqm_common.
 */
#ifndef UQM_BASE_ENV_H
#define UQM_BASE_ENV_H

#include <stdatomic.h>

#include "src/base/err.h"

/*
 * The memory ceiling. Large blocks (tile buffers, activations, caches) are taken from it
 * before they are allocated; small ones are not counted.
 * Thread-safety: safe.
 */
struct uqm_budget {
    uint64_t limit_bytes;
    _Atomic uint64_t used_bytes;
    _Atomic uint64_t peak_bytes;
};

/* Messages that are said once a run. */
enum uqm_said { UQM_SAID_NO_RING = 1u << 0, UQM_SAID_CUT = 1u << 1 };

struct uqm_env {
    uqm_log_fn log;
    uqm_progress_fn progress;
    void *ctx;
    const volatile int *cancel;
    int n_threads; /* >= 1 */
    enum uqm_io_kind io;
    enum uqm_direct direct;
    uint64_t seed;
    bool strict;
    bool ignore_crc;     /* checksums of PyTorch's records are not looked at */
    uint64_t sync_bytes; /* written output that an interruption may cost */
    struct uqm_budget budget;
    _Atomic uint64_t bytes_read; /* weight bytes asked of the disk, for the result's JSON */
    _Atomic uint64_t bytes_written;
    _Atomic int io_used;        /* enum uqm_io_kind that the last engine turned out to be */
    _Atomic int direct_used;    /* 1 when at least one file was opened with O_DIRECT */
    _Atomic unsigned said_once; /* bits of enum uqm_said */
};

/* Fill in the defaults. UQM_ERR_USAGE for a memory ceiling under 64 MiB or a silly thread count. */
int uqm_env_init(struct uqm_env *env, const struct uqm_common *common, struct uqm_err *err);

void uqm_log(const struct uqm_env *env, enum uqm_log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * A warning: logged, and with --strict an error in *err. Returns UQM_OK, or UQM_ERR_FORMAT
 * under --strict.
 */
int uqm_warn(const struct uqm_env *env, struct uqm_err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

void uqm_report(const struct uqm_env *env, const char *stage, const char *unit, uint64_t done,
                uint64_t total);

/* UQM_OK, or UQM_ERR_INTERRUPTED with its message once the caller's flag is set. */
int uqm_check_cancel(const struct uqm_env *env, struct uqm_err *err);

/* Bytes that are still free in the budget. */
uint64_t uqm_budget_left(const struct uqm_env *env);

/* Count bytes that are allocated elsewhere (by a driver, in the host's memory). Errors as below. */
int uqm_budget_take(struct uqm_env *env, uint64_t bytes, const char *what, struct uqm_err *err);
void uqm_budget_give(struct uqm_env *env, uint64_t bytes);

/*
 * Aligned, zeroed memory taken from the budget. `what` names it in the error ("the tile
 * buffers"). UQM_ERR_NOMEM names what was wanted, what is left and the ceiling.
 */
int uqm_budget_alloc(void **out, struct uqm_env *env, size_t bytes, size_t align, const char *what,
                     struct uqm_err *err);
/* Give it back, with the size it was taken with. NULL is accepted. Nulls *p. */
void uqm_budget_free(void **p, struct uqm_env *env, size_t bytes);

#endif
