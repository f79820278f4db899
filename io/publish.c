#include "io/publish.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/journal_impl.h"
#include "src/base/fs.h"

struct uqm_publish {
    struct uqm_env *env;
    struct uqm_publish_params params; /* but for the target */
    struct uqm_job_id job;
    char *target, *parent, *part, *out, *journal_path;
    struct uqm_journal *journal;
    int part_fd; /* of the folder; holds the lock */
    bool owned, keep, prepared, done;
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

/* --overwrite is for what this program made: it removes no folder that holds anything else. */
static int check_replaceable(const char *target, const struct uqm_publish_params *p,
                             struct uqm_err *err)
{
    struct stat st;
    if (lstat(target, &st) != 0)
        return uqm_fail_errno(err, "%s", target);
    if (p->is_file && !S_ISREG(st.st_mode))
        return uqm_fail(err, UQM_ERR_ARG, "%s: not a regular file, so it is not replaced", target);
    if (p->is_file)
        return UQM_OK;
    if (!S_ISDIR(st.st_mode))
        return uqm_fail(err, UQM_ERR_ARG, "%s: not a folder, so it is not replaced", target);
    char *marker = p->marker ? uqm_path_join(target, p->marker) : NULL;
    if (p->marker && !marker)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", target);
    bool ok = (marker && uqm_is_file(marker)) || is_empty_dir(target);
    free(marker);
    if (ok)
        return UQM_OK;
    if (!p->marker)
        return uqm_fail(err, UQM_ERR_ARG, "%s: not empty, so it is not replaced", target);
    return uqm_fail(err, UQM_ERR_ARG, "%s: holds files but no %s, so it is not %s to replace",
                    target, p->marker, p->noun);
}

/* The name and the place alone. */
static int check_name(const struct uqm_publish_params *p, struct uqm_err *err)
{
    char *parent = uqm_path_dir(p->target), *base = uqm_path_base(p->target);
    int ret = UQM_OK;
    if (!parent || !base)
        ret = uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", p->target);
    else if (!*base || strcmp(base, ".") == 0 || strcmp(base, "..") == 0 || strcmp(base, "/") == 0)
        ret = uqm_fail(err, UQM_ERR_ARG, "%s: give the name of a %s to make", p->target,
                       p->is_file ? "file" : "folder");
    else if (!uqm_is_dir(parent))
        ret = uqm_fail(err, UQM_ERR_IO, "%s: the folder %s does not exist", p->target, parent);
    free(parent);
    free(base);
    return ret;
}

static int check_absent(const struct uqm_publish_params *p, struct uqm_err *err)
{
    struct stat st;
    if (lstat(p->target, &st) != 0)
        return errno == ENOENT ? UQM_OK : uqm_fail_errno(err, "%s", p->target);
    if (p->overwrite)
        return check_replaceable(p->target, p, err);
    /* Folders without a marker are never replaced, nor do their commands have the option. */
    return uqm_fail(err, UQM_ERR_ARG, "%s: exists already; give another name%s", p->target,
                    p->is_file || p->marker ? " or --overwrite" : "");
}

int uqm_publish_check(const struct uqm_publish_params *params, struct uqm_err *err)
{
    int ret = check_name(params, err);
    return ret == UQM_OK ? check_absent(params, err) : ret;
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
        /* A folder that cannot be opened for want of descriptors had better not be made. */
        int spare = open(p->parent, O_PATH | O_CLOEXEC);
        if (spare < 0)
            return uqm_fail_errno(err, "%s", p->parent);
        close(spare);
        if (mkdir(p->part, 0700) != 0 && errno != EEXIST)
            return uqm_fail_errno(err, "%s", p->part);
        int ret = lock_part(p, err);
        if (ret < 0)
            return ret;
        if (ret > 0) {
            p->owned = true;
            return UQM_OK;
        }
    }
    return uqm_fail(err, UQM_ERR_IO, "%s: other runs keep taking it", p->part);
}

/* --- what lies there --- */

static bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

/* Whether the journal's last word is that the target got its name. */
static bool was_named(const struct uqm_publish *p)
{
    struct stat st;
    uint64_t inode;
    return p->journal && uqm_journal_find_publish(p->journal, &inode) &&
           lstat(p->target, &st) == 0 && (uint64_t) st.st_ino == inode;
}

/* A journal without the output that it speaks of is of no use. */
static bool is_sound(const struct uqm_publish *p)
{
    struct stat st;
    if (!p->journal || uqm_journal_is_new(p->journal) || lstat(p->out, &st) != 0)
        return false;
    return p->params.is_file ? S_ISREG(st.st_mode) : S_ISDIR(st.st_mode);
}

static int open_journal(struct uqm_publish *p, struct uqm_err *err)
{
    /* a missing journal is begun when the folder is known to be empty */
    if (!p->params.job || !exists(p->journal_path))
        return UQM_OK;
    return uqm_journal_open(&p->journal, p->journal_path, p->params.job, err);
}

static int begin_anew(struct uqm_publish *p, struct uqm_err *err)
{
    uqm_journal_close(&p->journal);
    if (!is_empty_dir(p->part))
        uqm_log(p->env, UQM_LOG_INFO,
                "%s: what another job, or another version of its inputs, left there is replaced",
                p->part);
    int ret = empty_dir(p->part, err);
    if (ret == UQM_OK && p->params.job)
        ret = uqm_journal_open(&p->journal, p->journal_path, p->params.job, err);
    if (ret == UQM_OK && !p->params.is_file && mkdir(p->out, 0777) != 0)
        ret = uqm_fail_errno(err, "%s", p->out);
    if (ret == UQM_OK)
        ret = uqm_fsync_dir(p->part, err);
    return ret == UQM_OK ? uqm_fsync_dir(p->parent, err) : ret;
}

static int take(struct uqm_publish *p, const struct uqm_publish_params *params, struct uqm_err *err)
{
    struct uqm_publish_params named = *params;
    named.target = p->target;
    int ret = exists(p->part) ? UQM_OK : check_absent(&named, err);
    if (ret == UQM_OK)
        ret = take_part(p, err);
    if (ret == UQM_OK)
        ret = open_journal(p, err);
    if (ret < 0)
        return ret;
    p->done = was_named(p);
    if (p->done)
        return UQM_OK;
    ret = check_absent(&named, err);
    if (ret < 0) {
        p->keep = is_sound(p); /* another name or --overwrite may yet come */
        return ret;
    }
    return is_sound(p) ? UQM_OK : begin_anew(p, err);
}

static bool make_paths(struct uqm_publish *p, const char *target)
{
    char *base = uqm_path_base(target), *name = NULL;
    p->parent = uqm_path_dir(target);
    if (p->parent && base && asprintf(&name, ".%s.part", base) >= 0) {
        p->target = uqm_path_join(p->parent, base);
        p->part = uqm_path_join(p->parent, name);
    }
    if (p->part) {
        p->out = uqm_path_join(p->part, "out");
        p->journal_path = uqm_path_join(p->part, "journal");
    }
    free(name);
    free(base);
    return p->target && p->part && p->out && p->journal_path;
}

static void free_paths(struct uqm_publish *p)
{
    free(p->target);
    free(p->parent);
    free(p->part);
    free(p->out);
    free(p->journal_path);
}

int uqm_publish_begin(struct uqm_publish **out, struct uqm_env *env,
                      const struct uqm_publish_params *params, struct uqm_err *err)
{
    int ret = check_name(params, err);
    if (ret < 0)
        return ret;
    struct uqm_publish *p = calloc(1, sizeof *p);
    if (!p)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", params->target);
    p->env = env;
    p->params = *params;
    if (params->job) {
        p->job = *params->job;
        p->params.job = &p->job;
    }
    p->part_fd = -1;
    ret = make_paths(p, params->target)
              ? take(p, params, err)
              : uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", params->target);
    if (ret < 0)
        uqm_publish_end(&p);
    else
        *out = p;
    return ret;
}

const char *uqm_publish_path(const struct uqm_publish *publish)
{
    return publish->out;
}

struct uqm_journal *uqm_publish_journal(const struct uqm_publish *publish)
{
    return publish->journal;
}

bool uqm_publish_is_done(const struct uqm_publish *publish)
{
    return publish->done;
}

int uqm_publish_check_free(const struct uqm_publish *publish, struct uqm_err *err)
{
    struct uqm_publish_params named = publish->params;
    named.target = publish->target;
    return publish->done ? UQM_OK : check_absent(&named, err);
}

bool uqm_publish_stands(const struct uqm_publish_params *params)
{
    struct uqm_publish p = { .env = NULL };
    bool stands = make_paths(&p, params->target) && exists(p.target) && !exists(p.part);
    free_paths(&p);
    return stands;
}

/* --- the name --- */

/* Swap old and new in one step: the old one then lies in the part folder and goes with it. */
static int replace_target(struct uqm_publish *p, struct uqm_err *err)
{
    int ret = check_replaceable(p->target, &p->params, err);
    if (ret < 0)
        return ret;
    if (renameat2(AT_FDCWD, p->out, AT_FDCWD, p->target, RENAME_EXCHANGE) == 0)
        return UQM_OK;
    /* a file takes a file's place on every file system */
    if (p->params.is_file && (errno == EINVAL || errno == ENOSYS) && rename(p->out, p->target) == 0)
        return UQM_OK;
    return uqm_fail_errno(err, "%s: swapping it with %s", p->target, p->out);
}

static int name_target(struct uqm_publish *p, struct uqm_err *err)
{
    if (renameat2(AT_FDCWD, p->out, AT_FDCWD, p->target, RENAME_NOREPLACE) == 0)
        return UQM_OK;
    if (errno == EEXIST)
        return p->params.overwrite
                   ? replace_target(p, err)
                   : uqm_fail(err, UQM_ERR_IO, "%s: came to exist meanwhile", p->target);
    if (errno != EINVAL && errno != ENOSYS)
        return uqm_fail_errno(err, "%s", p->target);
    /* A file system without the flag: rename() takes an empty folder's place at worst; a file's
     * only if it came to exist in this moment. */
    if (p->params.is_file && exists(p->target))
        return p->params.overwrite
                   ? replace_target(p, err)
                   : uqm_fail(err, UQM_ERR_IO, "%s: came to exist meanwhile", p->target);
    return rename(p->out, p->target) == 0 ? UQM_OK : uqm_fail_errno(err, "%s", p->target);
}

static int announce(struct uqm_publish *p, struct uqm_err *err)
{
    struct stat st;
    if (!p->journal)
        return UQM_OK;
    if (lstat(p->out, &st) != 0)
        return uqm_fail_errno(err, "%s", p->out);
    int ret = uqm_journal_append_publish(p->journal, (uint64_t) st.st_ino, err);
    return ret == UQM_OK ? uqm_journal_sync(p->journal, err) : ret;
}

int uqm_publish_prepare(struct uqm_publish *publish, struct uqm_err *err)
{
    struct uqm_publish *p = publish;
    if (p->done || p->prepared)
        return UQM_OK;
    int ret = p->params.is_file ? uqm_fsync_dir(p->part, err) : uqm_fsync_dir(p->out, err);
    if (ret < 0 && p->journal)
        uqm_journal_spoil(p->journal);
    if (ret == UQM_OK)
        ret = announce(p, err);
    p->prepared = ret == UQM_OK;
    return ret;
}

int uqm_publish_commit(struct uqm_publish *publish, struct uqm_err *err)
{
    struct uqm_publish *p = publish;
    int ret = uqm_publish_prepare(p, err);
    if (ret == UQM_OK && !p->done)
        ret = name_target(p, err);
    if (ret < 0)
        return ret;
    p->done = true;
    ret = uqm_fsync_dir(p->parent, err);
    p->keep = ret < 0; /* the next run finds it named, and tries to sync it again */
    return ret;
}

int uqm_publish_restart(struct uqm_publish *publish, struct uqm_err *err)
{
    return begin_anew(publish, err);
}

bool uqm_publish_keep(struct uqm_publish *publish)
{
    struct uqm_publish *p = publish;
    if (p->done)
        return p->keep = true;
    if (p->owned && p->journal && uqm_journal_is_spoilt(p->journal))
        uqm_log(
            p->env, UQM_LOG_WARN,
            "%s: dropped, with what was done: the disk may have lost some of it, or an input has "
            "changed",
            p->part);
    p->keep = p->owned && p->journal && uqm_journal_n_records(p->journal) > 0 &&
              !uqm_journal_is_spoilt(p->journal);
    if (p->keep)
        uqm_log(p->env, UQM_LOG_INFO, "%s: keeps what is done; the same command goes on from there",
                p->part);
    return p->keep;
}

void uqm_publish_end(struct uqm_publish **publish)
{
    struct uqm_publish *p = *publish;
    if (!p)
        return;
    uqm_journal_close(&p->journal);
    struct uqm_err why = { 0 };
    if (p->owned && !p->keep && uqm_remove_tree(p->part, &why) < 0)
        uqm_log(p->env, UQM_LOG_WARN, "left behind: %s", why.msg);
    if (p->part_fd >= 0)
        close(p->part_fd);
    free_paths(p);
    free(p);
    *publish = NULL;
}
