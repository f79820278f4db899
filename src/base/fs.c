#include "src/base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/part.h"
#include "src/base/utf8.h"

enum { MOST_DEPTH = 256 }; /* of folders that are removed: each takes a descriptor */

static int read_fully(int fd, char *buf, size_t len, size_t *got)
{
    *got = 0;
    while (*got < len) {
        ssize_t n = read(fd, buf + *got, len - *got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            return 0;
        *got += (size_t) n;
    }
    return 0;
}

int uqm_read_file(char **out, size_t *len, const char *path, size_t max_bytes, struct uqm_err *err)
{
    int ret;
    char *buf = NULL;
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return uqm_fail_errno(err, "%s", path);
    if (fstat(fd, &st) != 0) {
        ret = uqm_fail_errno(err, "%s", path);
        goto fail;
    }
    if (!S_ISREG(st.st_mode)) {
        ret = uqm_fail(err, UQM_ERR_FORMAT, "%s: not a regular file", path);
        goto fail;
    }
    if ((uint64_t) st.st_size > max_bytes) {
        ret = uqm_fail(err, UQM_ERR_FORMAT, "%s: %lld bytes, more than the %zu allowed", path,
                       (long long) st.st_size, max_bytes);
        goto fail;
    }
    size_t size = (size_t) st.st_size, got;
    buf = malloc(size + 1);
    if (!buf) {
        ret = uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for %zu bytes", path, size);
        goto fail;
    }
    if (read_fully(fd, buf, size, &got) != 0) {
        ret = uqm_fail_errno(err, "%s", path);
        goto fail;
    }
    buf[got] = '\0';
    close(fd);
    *out = buf;
    *len = got;
    return UQM_OK;

fail:
    free(buf);
    close(fd);
    return ret;
}

char *uqm_path_join(const char *dir, const char *name)
{
    if (!dir || !*dir || name[0] == '/')
        return strdup(name);
    size_t n = strlen(dir);
    char *out = NULL;
    if (asprintf(&out, "%s%s%s", dir, dir[n - 1] == '/' ? "" : "/", name) < 0)
        return NULL;
    return out;
}

static size_t without_slashes(const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    return n;
}

char *uqm_path_dir(const char *path)
{
    size_t n = without_slashes(path);
    while (n > 0 && path[n - 1] != '/')
        n--;
    while (n > 1 && path[n - 1] == '/')
        n--;
    return n ? strndup(path, n) : strdup(".");
}

char *uqm_path_base(const char *path)
{
    size_t n = without_slashes(path), start = n;
    while (start > 0 && path[start - 1] != '/')
        start--;
    return strndup(path + start, n - start);
}

bool uqm_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool uqm_is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static int find(mode_t kind, const char *path, struct uqm_err *err)
{
    struct stat st;
    if (stat(path, &st) == 0) {
        if ((st.st_mode & S_IFMT) == kind)
            return 1;
        return kind == S_IFDIR ? 0 : uqm_fail(err, UQM_ERR_FORMAT, "%s: not a regular file", path);
    }
    if (errno != ENOENT && errno != ENOTDIR)
        return uqm_fail_errno(err, "%s", path);
    if (lstat(path, &st) == 0)
        return uqm_fail(err, UQM_ERR_IO, "%s: a symbolic link that leads nowhere", path);
    return errno == ENOENT || errno == ENOTDIR ? 0 : uqm_fail_errno(err, "%s", path);
}

int uqm_find_dir(const char *path, struct uqm_err *err)
{
    return find(S_IFDIR, path, err);
}

int uqm_find_file(const char *path, struct uqm_err *err)
{
    return find(S_IFREG, path, err);
}

/* All of it, on the disk. Returns 0 or the errno. */
static int write_synced(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        data += n;
        len -= (size_t) n;
    }
    return fsync(fd) != 0 ? errno : 0;
}

int uqm_write_file(const char *path, const void *data, size_t len, struct uqm_err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return uqm_fail_errno(err, "%s", path);
    int bad = write_synced(fd, data, len);
    if (close(fd) != 0 && !bad)
        bad = errno;
    if (bad) {
        unlink(path);
        return uqm_fail_errno_of(err, bad, "%s", path);
    }
    return UQM_OK;
}

int uqm_fsync_dir(const char *path, struct uqm_err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return uqm_fail_errno(err, "%s", path);
    int bad = fsync(fd) != 0 ? errno : 0;
    close(fd);
    return bad ? uqm_fail_errno_of(err, bad, "%s", path) : UQM_OK;
}

int uqm_make_dir(const char *path, struct uqm_err *err)
{
    char *parent = uqm_path_dir(path);
    if (!parent)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", path);
    int ret = mkdir(path, 0777) == 0 ? uqm_fsync_dir(parent, err) : uqm_fail_errno(err, "%s", path);
    free(parent);
    return ret;
}

int uqm_replace_file(const char *path, const void *data, size_t len, struct uqm_err *err)
{
    char *part = NULL, *dir = uqm_path_dir(path);
    int ret, fd = -1;

    if (!dir || asprintf(&part, "%s.part", path) < 0) {
        free(dir);
        return uqm_fail(err, UQM_ERR_NOMEM, "%s", path);
    }
    ret = uqm_part_open(&fd, part, path, true, err);
    if (ret < 0)
        goto done;
    int bad = write_synced(fd, data, len);
    if (bad)
        ret = uqm_fail_errno_of(err, bad, "%s", part);
    else if (rename(part, path) != 0)
        ret = uqm_fail_errno(err, "%s", path);
    if (ret < 0)
        unlink(part);
    else
        ret = uqm_fsync_dir(dir, err);
    close(fd); /* and the lock with it */

done:
    free(part);
    free(dir);
    return ret;
}

int uqm_check_path_text(const char *path, bool whole, struct uqm_err *err)
{
    if (!uqm_utf8_valid((const uint8_t *) path, strlen(path)))
        return uqm_fail(err, UQM_ERR_ARG, "%s: a name that is not UTF-8", path);
    char *dir = whole && path[0] != '/' ? getcwd(NULL, 0) : NULL;
    int ret = dir && !uqm_utf8_valid((const uint8_t *) dir, strlen(dir))
                  ? uqm_fail(err, UQM_ERR_ARG, "%s: lies in a folder whose name is not UTF-8: %s",
                             path, dir)
                  : UQM_OK;
    free(dir);
    return ret;
}

bool uqm_is_same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

char *uqm_path_place(const char *path)
{
    char *dir = uqm_path_dir(path), *base = uqm_path_base(path);
    char *real = dir ? realpath(dir, NULL) : NULL;
    char *place = real && base ? uqm_path_join(real, base) : NULL;
    free(dir);
    free(base);
    free(real);
    return place;
}

bool uqm_is_same_place(const char *a, const char *b)
{
    char *x = uqm_path_place(a), *y = uqm_path_place(b);
    const bool same = x && y && strcmp(x, y) == 0;
    free(x);
    free(y);
    return same || uqm_is_same_file(a, b);
}

/* 1: the file begins with something that holds `mark`, or is empty. */
static int has_mark(const char *path, const char *mark)
{
    char head[4096];
    size_t got;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int bad = fd < 0 || read_fully(fd, head, sizeof head, &got) != 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    errno = bad;
    return bad ? -1 : got == 0 || memmem(head, got, mark, strlen(mark)) != NULL;
}

/* A file is replaced by another one that is made beside it. */
static int check_folder_of(const char *path, struct uqm_err *err)
{
    char *folder = uqm_path_dir(path);
    if (!folder)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", path);
    int ret =
        access(folder, W_OK | X_OK) == 0 ? UQM_OK : uqm_fail_errno(err, "%s: its folder", path);
    free(folder);
    return ret;
}

int uqm_check_replaceable(const char *path, const char *mark, const char *noun, struct uqm_err *err)
{
    struct stat st;
    int ret = check_folder_of(path, err);
    if (ret < 0)
        return ret;
    if (stat(path, &st) != 0)
        return errno == ENOENT ? UQM_OK : uqm_fail_errno(err, "%s", path);
    if (!S_ISREG(st.st_mode))
        return uqm_fail(err, UQM_ERR_ARG, "%s: not a regular file, so it is not replaced", path);
    int has = has_mark(path, mark);
    if (has < 0)
        return uqm_fail_errno(err, "%s", path);
    return has ? UQM_OK
               : uqm_fail(err, UQM_ERR_ARG, "%s: not %s, so it is not replaced", path, noun);
}

static int remove_at(int dir_fd, const char *name, int depth)
{
    if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if ((errno != EISDIR && errno != EPERM) || depth == 0)
        return -1;
    /* An empty folder goes without a descriptor, of which there may be none. */
    if (unlinkat(dir_fd, name, AT_REMOVEDIR) == 0)
        return 0;

    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -1;
    DIR *d = fdopendir(fd);
    if (!d) {
        close(fd);
        return -1;
    }
    int bad = 0;
    struct dirent *e;
    while (!bad && (e = readdir(d)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            bad = remove_at(fd, e->d_name, depth - 1);
    int kept = errno;
    closedir(d);
    errno = kept;
    return bad ? bad : unlinkat(dir_fd, name, AT_REMOVEDIR);
}

int uqm_remove_tree(const char *path, struct uqm_err *err)
{
    if (remove_at(AT_FDCWD, path, MOST_DEPTH) != 0)
        return uqm_fail_errno(err, "%s: cannot remove", path);
    return UQM_OK;
}
