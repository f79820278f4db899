/* Whole output folders, compared byte for byte. */
#ifndef UQM_TESTS_FOLDER_TEST_H
#define UQM_TESTS_FOLDER_TEST_H

#include <dirent.h>
#include <sys/statvfs.h>

#include "tests/unit/merge/merge_test.h"

/* For tests of many syncs: none waits for a disk. Containers have a small one, or a full one. */
static inline void use_memory_disk(void)
{
    struct statvfs disk;
    if (access("/dev/shm", W_OK) == 0 && statvfs("/dev/shm", &disk) == 0 &&
        (uint64_t) disk.f_bavail * disk.f_frsize >= UINT64_C(1) << 30)
        setenv("TMPDIR", "/dev/shm", 1);
}

static inline bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static inline int is_no_dot(const struct dirent *e)
{
    return strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
}

/* NULL, or how the plain files of two folders differ; in a static buffer. */
static inline const char *folder_difference(const char *a, const char *b)
{
    static char why[1024];
    struct dirent **in_a = NULL, **in_b = NULL;
    int n = scandir(a, &in_a, is_no_dot, alphasort), m = scandir(b, &in_b, is_no_dot, alphasort);
    why[0] = '\0';
    if (n < 0 || m < 0 || n != m)
        snprintf(why, sizeof why, "%s holds %d files, %s %d", a, n, b, m);
    for (int i = 0; i < n && i < m && !why[0]; i++) {
        char pa[1024], pb[1024], *x = NULL, *y = NULL;
        size_t len_x = 0, len_y = 0;
        struct uqm_err err = { 0 };
        snprintf(pa, sizeof pa, "%s/%s", a, in_a[i]->d_name);
        snprintf(pb, sizeof pb, "%s/%s", b, in_b[i]->d_name);
        if (strcmp(in_a[i]->d_name, in_b[i]->d_name) != 0 ||
            uqm_read_file(&x, &len_x, pa, 1 << 28, &err) < 0 ||
            uqm_read_file(&y, &len_y, pb, 1 << 28, &err) < 0 || len_x != len_y ||
            memcmp(x, y, len_x) != 0)
            snprintf(why, sizeof why, "%.400s differs from %.400s", pa, pb);
        free(x);
        free(y);
    }
    for (int i = 0; i < n; i++)
        free(in_a[i]);
    for (int i = 0; i < m; i++)
        free(in_b[i]);
    free(in_a);
    free(in_b);
    return why[0] ? why : NULL;
}

static inline void assert_same_folder(const char *a, const char *b)
{
    const char *why = folder_difference(a, b);
    if (why)
        fail_msg("%s", why);
}

#endif
