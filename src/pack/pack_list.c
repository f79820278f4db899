#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/fs.h"
#include "src/pack/pack_plan.h"

enum { MOST_DEPTH = UQM_ARCHIVE_MOST_FOLDERS, MOST_FILES = 1 << 20 };

struct listed {
    char *path; /* from the folder */
    struct stat stat;
};

struct listing {
    struct uqm_pack_plan *plan;
    struct listed *files;
    size_t n, cap;
    struct uqm_err *err;
};

static int no_memory(const struct listing *l)
{
    return uqm_fail(l->err, UQM_ERR_NOMEM, "%s: no memory to list it", l->plan->dir);
}

/* Takes the path over. */
static int add(struct listing *l, char *path, const struct stat *st)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 64;
        struct listed *more = l->n < MOST_FILES ? realloc(l->files, cap * sizeof *more) : NULL;
        if (!more) {
            free(path);
            return no_memory(l);
        }
        l->files = more;
        l->cap = cap;
    }
    l->files[l->n++] = (struct listed){ path, *st };
    return UQM_OK;
}

static int list_folder(struct listing *l, const char *below, int depth);

/* Takes the path, from the folder, over. */
static int take(struct listing *l, char *path, int depth)
{
    struct stat st;
    char *full = path ? uqm_path_join(l->plan->dir, path) : NULL;
    int ret;
    if (!full)
        ret = no_memory(l);
    else if (lstat(full, &st) != 0)
        ret = uqm_fail_errno(l->err, "%s", full);
    else if (!uqm_archive_path_is_valid(path, strlen(path)))
        ret = uqm_fail(l->err, UQM_ERR_UNSUPPORTED, "%s: archives hold no such name", full);
    else if (S_ISDIR(st.st_mode))
        ret = list_folder(l, path, depth + 1);
    else if (S_ISLNK(st.st_mode) &&
             (ret = uqm_checkpoint_check_link(l->plan->dir, full, l->err)) < 0)
        ret = l->err->code;
    else if (stat(full, &st) != 0)
        ret = uqm_fail_errno(l->err, "%s", full);
    else if (!S_ISREG(st.st_mode))
        ret = uqm_fail(l->err, UQM_ERR_UNSUPPORTED,
                       "%s: neither a file nor a folder; archives hold files alone", full);
    else {
        ret = add(l, path, &st);
        path = NULL;
    }
    free(full);
    free(path);
    return ret;
}

/* below: "" or a path from the folder. */
static int list_folder(struct listing *l, const char *below, int depth)
{
    char *full = *below ? uqm_path_join(l->plan->dir, below) : strdup(l->plan->dir);
    if (!full)
        return no_memory(l);
    if (depth > MOST_DEPTH) {
        int ret = uqm_fail(l->err, UQM_ERR_UNSUPPORTED, "%s: more than %d folders deep", full,
                           MOST_DEPTH);
        free(full);
        return ret;
    }
    DIR *d = opendir(full);
    int ret = d ? UQM_OK : uqm_fail_errno(l->err, "%s", full);
    size_t n_before = l->n;
    bool any = false;
    while (ret == UQM_OK) {
        errno = 0;
        struct dirent *e = readdir(d);
        if (!e) {
            if (errno != 0)
                ret = uqm_fail_errno(l->err, "%s", full);
            break;
        }
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        any = true;
        ret = take(l, uqm_path_join(below, e->d_name), depth);
    }
    if (d)
        closedir(d);
    if (ret == UQM_OK && !any && n_before == l->n && depth > 0)
        uqm_log(l->plan->env, UQM_LOG_INFO, "%s: an empty folder, which archives do not keep",
                full);
    free(full);
    return ret;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct listed *) a)->path, ((const struct listed *) b)->path);
}

static int keep(struct listing *l)
{
    struct uqm_archive_index *ix = &l->plan->index;
    ix->files = uqm_arena_alloc(&ix->arena, l->n + 1, sizeof *ix->files);
    l->plan->stats = uqm_arena_alloc(&ix->arena, l->n + 1, sizeof *l->plan->stats);
    if (!ix->files || !l->plan->stats)
        return no_memory(l);
    for (size_t i = 0; i < l->n; i++) {
        const struct listed *f = &l->files[i];
        ix->files[i] = (struct uqm_archive_file){
            .path = uqm_arena_strndup(&ix->arena, f->path, strlen(f->path)),
            .n_bytes = (uint64_t) f->stat.st_size,
            .executable = (f->stat.st_mode & S_IXUSR) != 0,
        };
        if (!ix->files[i].path)
            return no_memory(l);
        l->plan->stats[i] = f->stat;
        l->plan->n_bytes += ix->files[i].n_bytes;
    }
    ix->n_files = l->n;
    return UQM_OK;
}

int uqm_pack_list(struct uqm_pack_plan *plan, struct uqm_err *err)
{
    struct listing l = { .plan = plan, .err = err };
    int ret = list_folder(&l, "", 0);
    if (l.n > 1)
        qsort(l.files, l.n, sizeof *l.files, by_path);
    if (ret == UQM_OK)
        ret = l.n > 0 ? keep(&l) : uqm_fail(err, UQM_ERR_ARG, "%s: holds no files", plan->dir);
    for (size_t i = 0; i < l.n; i++)
        free(l.files[i].path);
    free(l.files);
    return ret;
}
