#include "src/merge/publish.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/fs.h"
#include "src/format/manifest.h"

struct uqm_publish {
    struct uqm_env *env;
    char *target, *parent, *part;
    int part_fd; /* of the folder; holds the lock */
    bool overwrite, owned;
};

/* --- checks --- */

static bool is_empty_dir(const char *path)
{
    DIR *d = opendir(path);
    bool empty = d != NULL;
    struct dirent *e;
    while (d && empty && (e = readdir(d)))
        empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
    if (d)
        closedir(d);
    return empty;
}

/* --overwrite is for merges: it removes no folder that holds anything else. */
static int check_replaceable(const char *target, struct uqm_err *err)
{
    struct stat st;
    if (lstat(target, &st) != 0)
        return uqm_fail_errno(err, "%s", target);
    if (!S_ISDIR(st.st_mode))
        return uqm_fail(err, UQM_ERR_ARG, "%s: not a folder, so it is not replaced", target);
    char *manifest = uqm_path_join(target, UQM_MANIFEST_NAME);
    if (!manifest)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", target);
    bool ok = uqm_is_file(manifest) || is_empty_dir(target);
    free(manifest);
    if (!ok)
        return uqm_fail(err, UQM_ERR_ARG,
                        "%s: holds files but no %s, so it is not a merge to replace", target,
                        UQM_MANIFEST_NAME);
    return UQM_OK;
}

int uqm_publish_check(const char *target, bool overwrite, struct uqm_err *err)
{
    struct stat st;
    char *parent = uqm_path_dir(target), *base = uqm_path_base(target);
    int ret = UQM_OK;
    if (!parent || !base)
        ret = uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", target);
    else if (!*base || strcmp(base, ".") == 0 || strcmp(base, "..") == 0 || strcmp(base, "/") == 0)
        ret = uqm_fail(err, UQM_ERR_ARG, "%s: give the name of a folder to make", target);
    else if (!uqm_is_dir(parent))
        ret = uqm_fail(err, UQM_ERR_IO, "%s: the folder %s does not exist", target, parent);
    else if (lstat(target, &st) != 0)
        ret = errno == ENOENT ? UQM_OK : uqm_fail_errno(err, "%s", target);
    else if (overwrite)
        ret = check_replaceable(target, err);
    else
        ret = uqm_fail(err, UQM_ERR_ARG, "%s: exists already; give another name or --overwrite",
                       target);
    free(parent);
    free(base);
    return ret;
}

/* --- the part folder --- */

/* Everything inside a folder that we hold the lock of. */
static int empty_dir(const char *path, struct uqm_err *err)
{
    DIR *d = opendir(path);
    struct dirent *e;
    int ret = UQM_OK;
    if (!d)
        return uqm_fail_errno(err, "%s", path);
    while (ret == UQM_OK && (e = readdir(d))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        char *child = uqm_path_join(path, e->d_name);
        ret = child ? uqm_remove_tree(child, err)
                    : uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", path);
        free(child);
    }
    closedir(d);
    return ret;
}

/* 1: we hold the folder that `part` names; 0: it was renamed or removed meanwhile, try again. */
static int lock_part(struct uqm_publish *p, struct uqm_err *err)
{
    struct stat held, named;
    p->part_fd = open(p->part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (p->part_fd < 0)
        return errno == ENOENT ? 0 : uqm_fail_errno(err, "%s", p->part);
    if (flock(p->part_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK)
            return uqm_fail(err, UQM_ERR_IO, "%s: another run is writing it (%s is locked)",
                            p->target, p->part);
        return uqm_fail_errno(err, "%s", p->part);
    }
    if (fstat(p->part_fd, &held) == 0 && lstat(p->part, &named) == 0 &&
        held.st_dev == named.st_dev && held.st_ino == named.st_ino)
        return 1;
    close(p->part_fd);
    p->part_fd = -1;
    return 0;
}

static int take_part(struct uqm_publish *p, struct uqm_err *err)
{
    for (int tries = 0; tries < 100; tries++) {
        bool stale = false;
        if (mkdir(p->part, 0777) != 0) {
            if (errno != EEXIST)
                return uqm_fail_errno(err, "%s", p->part);
            stale = true;
        }
        int ret = lock_part(p, err);
        if (ret < 0)
            return ret;
        if (ret == 0)
            continue;
        p->owned = true;
        if (stale)
            uqm_log(p->env, UQM_LOG_INFO, "%s: replacing what an interrupted run left", p->part);
        return stale ? empty_dir(p->part, err) : UQM_OK;
    }
    return uqm_fail(err, UQM_ERR_IO, "%s: other runs keep taking it", p->part);
}

int uqm_publish_begin(struct uqm_publish **out, struct uqm_env *env, const char *target,
                      bool overwrite, struct uqm_err *err)
{
    int ret = uqm_publish_check(target, overwrite, err);
    if (ret < 0)
        return ret;
    struct uqm_publish *p = calloc(1, sizeof *p);
    if (!p)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", target);
    char *base = uqm_path_base(target), *name = NULL;
    p->env = env;
    p->overwrite = overwrite;
    p->part_fd = -1;
    p->parent = uqm_path_dir(target);
    if (p->parent && base && asprintf(&name, ".%s.part", base) >= 0) {
        p->target = uqm_path_join(p->parent, base);
        p->part = uqm_path_join(p->parent, name);
    }
    free(name);
    free(base);
    ret = p->target && p->part ? take_part(p, err)
                               : uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", target);
    if (ret < 0)
        uqm_publish_end(&p);
    else
        *out = p;
    return ret;
}

const char *uqm_publish_dir(const struct uqm_publish *publish)
{
    return publish->part;
}

/* --- the name --- */

/* Swap old and new in one step; then the old one, which now has the part's name, can go. */
static int replace_target(struct uqm_publish *p, struct uqm_err *err)
{
    int ret = check_replaceable(p->target, err);
    if (ret < 0)
        return ret;
    if (renameat2(AT_FDCWD, p->part, AT_FDCWD, p->target, RENAME_EXCHANGE) != 0)
        return uqm_fail_errno(err, "%s: swapping it with %s", p->target, p->part);
    struct uqm_err old = { 0 };
    if (uqm_remove_tree(p->part, &old) < 0) /* the new one stands: that is what was asked for */
        uqm_log(p->env, UQM_LOG_WARN, "the replaced folder: %s", old.msg);
    return uqm_fsync_dir(p->parent, err);
}

static int name_target(struct uqm_publish *p, struct uqm_err *err)
{
    if (renameat2(AT_FDCWD, p->part, AT_FDCWD, p->target, RENAME_NOREPLACE) == 0)
        return uqm_fsync_dir(p->parent, err);
    if (errno == EEXIST)
        return p->overwrite
                   ? replace_target(p, err)
                   : uqm_fail(err, UQM_ERR_IO, "%s: came to exist during the merge", p->target);
    if (errno != EINVAL && errno != ENOSYS)
        return uqm_fail_errno(err, "%s", p->target);
    /* A file system without the flag: rename() takes an empty folder's place at worst. */
    if (rename(p->part, p->target) != 0)
        return uqm_fail_errno(err, "%s", p->target);
    return uqm_fsync_dir(p->parent, err);
}

int uqm_publish_commit(struct uqm_publish *publish, struct uqm_err *err)
{
    int ret = uqm_fsync_dir(publish->part, err);
    if (ret == UQM_OK)
        ret = name_target(publish, err);
    if (ret == UQM_OK)
        publish->owned = false;
    return ret;
}

void uqm_publish_end(struct uqm_publish **publish)
{
    struct uqm_publish *p = *publish;
    if (!p)
        return;
    if (p->owned)
        uqm_remove_tree(p->part, NULL);
    if (p->part_fd >= 0)
        close(p->part_fd);
    free(p->target);
    free(p->parent);
    free(p->part);
    free(p);
    *publish = NULL;
}
