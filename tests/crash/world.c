#include "tests/crash/world.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "tests/crash/losses.h"
#include "tests/crash/wrapped.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct world_plan plan; /* under lock, as all of these */
static bool is_set, has_struck;
static long n_done;

void world_set(const struct world_plan *next)
{
    pthread_mutex_lock(&lock);
    is_set = next != NULL;
    if (next) {
        plan = *next;
        has_struck = false;
        n_done = 0;
    }
    losses_watch(next && next->fault == WORLD_CUT);
    pthread_mutex_unlock(&lock);
}

long world_count(void)
{
    return n_done;
}

bool world_has_struck(void)
{
    return has_struck;
}

/* Whether the fault comes to pass at this operation. Under lock. */
static bool strikes(enum world_count count)
{
    if (!is_set || plan.count != count)
        return false;
    bool now = n_done++ == plan.at && plan.fault != WORLD_NONE;
    has_struck |= now;
    return now;
}

/* --- memory --- */

static bool no_memory(void)
{
    pthread_mutex_lock(&lock);
    bool now = strikes(WORLD_ALLOCS);
    pthread_mutex_unlock(&lock);
    if (now)
        errno = ENOMEM;
    return now;
}

void *__wrap_malloc(size_t n)
{
    return no_memory() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return no_memory() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return no_memory() ? NULL : __real_realloc(p, n);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
    return no_memory() ? NULL : __real_reallocarray(p, n, size);
}

char *__wrap_strdup(const char *s)
{
    return no_memory() ? NULL : __real_strdup(s);
}

char *__wrap_strndup(const char *s, size_t n)
{
    return no_memory() ? NULL : __real_strndup(s, n);
}

char *__wrap_realpath(const char *path, char *out)
{
    return no_memory() ? NULL : __real_realpath(path, out);
}

FILE *__wrap_open_memstream(char **out, size_t *n)
{
    return no_memory() ? NULL : __real_open_memstream(out, n);
}

int __wrap_vasprintf(char **out, const char *format, va_list ap)
{
    return no_memory() ? -1 : __real_vasprintf(out, format, ap);
}

int __wrap_asprintf(char **out, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int n = __wrap_vasprintf(out, format, ap);
    va_end(ap);
    return n;
}

void *__wrap_mmap64(void *p, size_t n, int protection, int flags, int fd, off_t off)
{
    return no_memory() ? MAP_FAILED : __real_mmap64(p, n, protection, flags, fd, off);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
                          void *arg)
{
    return no_memory() ? EAGAIN : __real_pthread_create(thread, attr, run, arg);
}

void *__wrap_EVP_MD_CTX_new(void)
{
    return no_memory() ? NULL : __real_EVP_MD_CTX_new();
}

void *__wrap_XXH3_createState(void)
{
    return no_memory() ? NULL : __real_XXH3_createState();
}

/* --- files --- */

static const char *struck_in;
static char struck_path[PATH_MAX];

const char *world_struck_path(void)
{
    return struck_path;
}

const char *world_struck_in(void)
{
    return struck_in;
}

/* Take the lock. false: the call fails with errno. *n, of a transfer, may become less. */
static bool enter_in(const char *name, size_t *n)
{
    pthread_mutex_lock(&lock);
    if (!strikes(WORLD_IO))
        return true;
    struck_in = name;
    if (plan.fault == WORLD_CUT)
        losses_cut(plan.loss, plan.seed);
    if (plan.fault == WORLD_SHORT) {
        has_struck = n && *n > 1;
        if (has_struck)
            *n /= 2;
        return true;
    }
    pthread_mutex_unlock(&lock);
    errno = plan.sys_errno;
    return false;
}

#define enter(n) enter_in(__func__, n)

static void leave(void)
{
    int kept = errno;
    pthread_mutex_unlock(&lock);
    errno = kept;
}

#define IN_THE_WORLD(type, failed, call)                                                           \
    if (!enter(NULL))                                                                              \
        return failed;                                                                             \
    type result = call;                                                                            \
    leave();                                                                                       \
    return result

static mode_t mode_of(int flags, va_list ap)
{
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(ap, mode_t) : 0;
}

int __wrap_openat64(int dir_fd, const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = mode_of(flags, ap);
    va_end(ap);
    if (!enter(NULL))
        return -1;
    bool is_new = flags & O_CREAT && faccessat(dir_fd, path, F_OK, 0) != 0;
    int fd = __real_openat64(dir_fd, path, flags, mode);
    if (fd >= 0 && is_new && dir_fd == AT_FDCWD)
        losses_note_name(path);
    leave();
    return fd;
}

int __wrap_open64(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = mode_of(flags, ap);
    va_end(ap);
    return __wrap_openat64(AT_FDCWD, path, flags, mode);
}

FILE *__wrap_fopen64(const char *path, const char *mode)
{
    IN_THE_WORLD(FILE *, NULL, __real_fopen64(path, mode));
}

DIR *__wrap_opendir(const char *path)
{
    IN_THE_WORLD(DIR *, NULL, __real_opendir(path));
}

DIR *__wrap_fdopendir(int fd)
{
    IN_THE_WORLD(DIR *, NULL, __real_fdopendir(fd));
}

int __wrap_scandir64(const char *path, struct dirent ***list, int (*filter)(const struct dirent *),
                     int (*compare)(const struct dirent **, const struct dirent **))
{
    IN_THE_WORLD(int, -1, __real_scandir64(path, list, filter, compare));
}

int __wrap_stat64(const char *path, struct stat *st)
{
    IN_THE_WORLD(int, -1, __real_stat64(path, st));
}

int __wrap_lstat64(const char *path, struct stat *st)
{
    IN_THE_WORLD(int, -1, __real_lstat64(path, st));
}

int __wrap_fstat64(int fd, struct stat *st)
{
    IN_THE_WORLD(int, -1, __real_fstat64(fd, st));
}

int __wrap_statvfs64(const char *path, struct statvfs *st)
{
    IN_THE_WORLD(int, -1, __real_statvfs64(path, st));
}

int __wrap_flock(int fd, int operation)
{
    IN_THE_WORLD(int, -1, __real_flock(fd, operation));
}

int __wrap_unlink(const char *path)
{
    IN_THE_WORLD(int, -1, __real_unlink(path));
}

int __wrap_unlinkat(int dir_fd, const char *path, int flags)
{
    IN_THE_WORLD(int, -1, __real_unlinkat(dir_fd, path, flags));
}

int __wrap_rmdir(const char *path)
{
    IN_THE_WORLD(int, -1, __real_rmdir(path));
}

ssize_t __wrap_read(int fd, void *buf, size_t n)
{
    IN_THE_WORLD(ssize_t, -1, __real_read(fd, buf, n));
}

ssize_t __wrap_pread64(int fd, void *buf, size_t n, off_t off)
{
    if (!enter(&n))
        return -1;
    ssize_t done = __real_pread64(fd, buf, n, off);
    leave();
    return done;
}

ssize_t __wrap_pwrite64(int fd, const void *buf, size_t n, off_t off)
{
    if (!enter(&n))
        return -1;
    losses_note_write(fd, off, n);
    ssize_t done = __real_pwrite64(fd, buf, n, off);
    leave();
    return done;
}

ssize_t __wrap_write(int fd, const void *buf, size_t n)
{
    if (!enter(&n))
        return -1;
    losses_note_write(fd, lseek(fd, 0, SEEK_CUR), n);
    ssize_t done = __real_write(fd, buf, n);
    leave();
    return done;
}

int __wrap_ftruncate64(int fd, off_t size)
{
    if (!enter(NULL))
        return -1;
    losses_note_size(fd);
    int done = __real_ftruncate64(fd, size);
    leave();
    return done;
}

int __wrap_fallocate64(int fd, int mode, off_t off, off_t n)
{
    if (!enter(NULL))
        return -1;
    losses_note_size(fd);
    int done = __real_fallocate64(fd, mode, off, n);
    leave();
    return done;
}

int __wrap_mkdir(const char *path, mode_t mode)
{
    if (!enter(NULL))
        return -1;
    int done = __real_mkdir(path, mode);
    if (done == 0)
        losses_note_name(path);
    leave();
    return done;
}

int __wrap_rename(const char *from, const char *to)
{
    if (!enter(NULL))
        return -1;
    int done = __real_rename(from, to);
    if (done == 0)
        losses_note_rename(from, to, 0);
    leave();
    return done;
}

int __wrap_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    if (!enter(NULL))
        return -1;
    int done = __real_renameat2(from_fd, from, to_fd, to, flags);
    if (done == 0)
        losses_note_rename(from, to, flags);
    leave();
    return done;
}

int __wrap_fsync(int fd)
{
    if (!enter(NULL))
        return -1;
    bool now = strikes(WORLD_SYNCS);
    if (now) {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, struck_path, sizeof struck_path - 1);
        struck_path[n > 0 ? n : 0] = '\0';
    }
    if (now && plan.fault == WORLD_FAIL) {
        leave();
        errno = plan.sys_errno;
        return -1;
    }
    if (now && !plan.after)
        losses_cut(plan.loss, plan.seed);
    int done = __real_fsync(fd);
    if (done == 0)
        losses_forget(fd);
    if (now && plan.after)
        losses_cut(plan.loss, plan.seed);
    leave();
    return done;
}
