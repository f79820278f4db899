#include "tests/crash/losses.h"

#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/crash/wrapped.h"

enum kind { NOTHING, WRITE, SIZE, NAME, RENAME };

struct change {
    enum kind kind;
    dev_t dev; /* of the file; of the folder that the name is in */
    ino_t ino;
    int fd;          /* of the file: a copy, the writer may have closed its own */
    off_t off, size; /* size: before */
    size_t n;
    uint8_t *before; /* [n]; what lay behind the end is zeros */
    char path[PATH_MAX], from[PATH_MAX];
    unsigned flags;
};

static bool watching;
static struct change *changes;
static size_t n_changes, cap;

_Noreturn static void broken(const char *what)
{
    perror(what);
    _exit(1);
}

static void drop(struct change *c)
{
    if (c->kind == WRITE || c->kind == SIZE)
        close(c->fd);
    free(c->before);
    *c = (struct change){ .kind = NOTHING };
}

void losses_watch(bool watch)
{
    for (size_t i = 0; i < n_changes; i++)
        drop(&changes[i]);
    n_changes = 0;
    watching = watch;
}

static struct change *add(enum kind kind)
{
    if (n_changes == cap) {
        cap = cap ? 2 * cap : 64;
        changes = __real_realloc(changes, cap * sizeof *changes);
        if (!changes)
            broken("no memory for the world's memory");
    }
    struct change *c = &changes[n_changes++];
    *c = (struct change){ .kind = kind };
    return c;
}

static struct change *add_of_file(enum kind kind, int fd)
{
    struct stat st;
    char path[64];
    if (__real_fstat64(fd, &st) != 0)
        broken("fstat");
    struct change *c = add(kind);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    c->fd = __real_openat64(AT_FDCWD, path, O_RDWR | O_CLOEXEC); /* fd may be for writing alone */
    if (c->fd < 0)
        broken(path);
    c->dev = st.st_dev;
    c->ino = st.st_ino;
    c->size = st.st_size;
    return c;
}

void losses_note_write(int fd, off_t off, size_t n)
{
    struct stat st;
    if (!watching || __real_fstat64(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return;
    struct change *c = add_of_file(WRITE, fd);
    c->off = off;
    c->n = n;
    c->before = __real_calloc(1, n ? n : 1);
    if (!c->before || __real_pread64(c->fd, c->before, n, off) < 0)
        broken("reading what is about to be overwritten");
}

void losses_note_size(int fd)
{
    if (watching)
        add_of_file(SIZE, fd);
}

static void find_parent(struct change *c, const char *path)
{
    struct stat st;
    char parent[PATH_MAX];
    snprintf(c->path, sizeof c->path, "%s", path);
    snprintf(parent, sizeof parent, "%s", path);
    char *slash = strrchr(parent, '/');
    if (!slash || slash == parent)
        broken("a name without a folder");
    *slash = '\0';
    if (__real_stat64(parent, &st) != 0)
        broken(parent);
    c->dev = st.st_dev;
    c->ino = st.st_ino;
}

void losses_note_name(const char *path)
{
    if (watching)
        find_parent(add(NAME), path);
}

void losses_note_rename(const char *from, const char *to, unsigned flags)
{
    if (!watching)
        return;
    struct change *c = add(RENAME);
    find_parent(c, to);
    snprintf(c->from, sizeof c->from, "%s", from);
    c->flags = flags;
}

void losses_forget(int fd)
{
    struct stat st;
    if (!watching || __real_fstat64(fd, &st) != 0)
        return;
    for (size_t i = 0; i < n_changes; i++)
        if (changes[i].kind != NOTHING && changes[i].dev == st.st_dev &&
            changes[i].ino == st.st_ino)
            drop(&changes[i]);
}

/* --- the cut --- */

static uint32_t draw(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

static void garble(const struct change *c, uint32_t *state)
{
    uint8_t *rubbish = __real_malloc(c->n ? c->n : 1);
    if (!rubbish)
        broken("no memory for rubbish");
    for (size_t i = 0; i < c->n; i++)
        rubbish[i] = (uint8_t) draw(state);
    if (__real_pwrite64(c->fd, rubbish, c->n, c->off) < 0)
        broken("writing rubbish");
    free(rubbish);
}

static void undo(const struct change *c)
{
    struct stat st;
    switch (c->kind) {
    case WRITE:
        if (__real_pwrite64(c->fd, c->before, c->n, c->off) < 0)
            broken("undoing a write");
        if (__real_fstat64(c->fd, &st) == 0 && st.st_size > c->size &&
            st.st_size == c->off + (off_t) c->n && __real_ftruncate64(c->fd, c->size) != 0)
            broken("undoing a growth");
        break;
    case SIZE:
        if (__real_ftruncate64(c->fd, c->size) != 0)
            broken("undoing a change of size");
        break;
    case NAME:
        if (__real_unlinkat(AT_FDCWD, c->path, 0) != 0)
            __real_rmdir(c->path); /* full: what it holds was made sure of, so it stays */
        break;
    case RENAME: __real_renameat2(AT_FDCWD, c->path, AT_FDCWD, c->from, c->flags); break;
    case NOTHING: break;
    }
}

_Noreturn void losses_cut(enum world_loss loss, unsigned seed)
{
    uint32_t state = seed;
    for (size_t i = n_changes; i-- > 0;) {
        const struct change *c = &changes[i];
        enum world_loss now = loss;
        if (loss == WORLD_MIX)
            now = (enum world_loss[]){ WORLD_KEEP, WORLD_DROP, WORLD_GARBLE }[draw(&state) % 3];
        if (now == WORLD_GARBLE && c->kind == WRITE)
            garble(c, &state);
        else if (now == WORLD_DROP || (now == WORLD_GARBLE && c->kind == RENAME))
            undo(c);
    }
    _exit(WORLD_CUT_STATUS);
}
