/* The calls that tests/crash/world.c stands in the place of. */
#ifndef UQM_TESTS_WRAPPED_H
#define UQM_TESTS_WRAPPED_H

#include <dirent.h>
#include <jansson.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

/* Twice: as the program calls it, and as the system has it. */
#define WRAPPED(type, name, arguments)                                                             \
    type __wrap_##name arguments;                                                                  \
    type __real_##name arguments

WRAPPED(void *, malloc, (size_t n));
WRAPPED(void *, calloc, (size_t n, size_t size));
WRAPPED(void *, realloc, (void *p, size_t n));
WRAPPED(void *, reallocarray, (void *p, size_t n, size_t size));
WRAPPED(char *, strdup, (const char *s));
WRAPPED(char *, strndup, (const char *s, size_t n));
WRAPPED(char *, realpath, (const char *path, char *out));
WRAPPED(FILE *, open_memstream, (char **out, size_t *n));
int __wrap_vasprintf(char **out, const char *format, va_list ap)
    __attribute__((format(printf, 2, 0)));
int __real_vasprintf(char **out, const char *format, va_list ap)
    __attribute__((format(printf, 2, 0)));
int __wrap_asprintf(char **out, const char *format, ...) __attribute__((format(printf, 2, 3)));
WRAPPED(void *, mmap64, (void *p, size_t n, int protection, int flags, int fd, off_t off));
WRAPPED(int, pthread_create,
        (pthread_t * thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg));
WRAPPED(void *, EVP_MD_CTX_new, (void) );
WRAPPED(void *, XXH3_createState, (void) );

WRAPPED(int, openat64, (int dir_fd, const char *path, int flags, ...));
int __wrap_open64(const char *path, int flags, ...);
WRAPPED(FILE *, fopen64, (const char *path, const char *mode));
WRAPPED(DIR *, opendir, (const char *path));
WRAPPED(DIR *, fdopendir, (int fd));
WRAPPED(int, scandir64,
        (const char *path, struct dirent ***list, int (*filter)(const struct dirent *),
         int (*compare)(const struct dirent **, const struct dirent **)));
WRAPPED(int, stat64, (const char *path, struct stat *st));
WRAPPED(int, lstat64, (const char *path, struct stat *st));
WRAPPED(int, fstat64, (int fd, struct stat *st));
WRAPPED(int, statvfs64, (const char *path, struct statvfs *st));
WRAPPED(int, flock, (int fd, int operation));
WRAPPED(int, unlink, (const char *path));
WRAPPED(int, unlinkat, (int dir_fd, const char *path, int flags));
WRAPPED(int, rmdir, (const char *path));
WRAPPED(ssize_t, read, (int fd, void *buf, size_t n));
WRAPPED(ssize_t, pread64, (int fd, void *buf, size_t n, off_t off));
WRAPPED(ssize_t, pwrite64, (int fd, const void *buf, size_t n, off_t off));
WRAPPED(ssize_t, write, (int fd, const void *buf, size_t n));
WRAPPED(int, ftruncate64, (int fd, off_t size));
WRAPPED(int, fallocate64, (int fd, int mode, off_t off, off_t n));
WRAPPED(int, mkdir, (const char *path, mode_t mode));
WRAPPED(int, rename, (const char *from, const char *to));
WRAPPED(int, renameat2, (int from_fd, const char *from, int to_fd, const char *to, unsigned flags));
WRAPPED(int, fsync, (int fd));

#endif
