/* A folder of a test's own under $TMPDIR or /tmp, and files in it. */
#ifndef UQM_TESTS_UQ_WORKDIR_H
#define UQM_TESTS_UQ_WORKDIR_H

#include <sys/stat.h>
#include <unistd.h>

#include "src/base/fs.h"
#include "tests/unit/test.h"

static char workdir[512];

static inline int make_workdir(void **state)
{
    const char *tmp = getenv("TMPDIR");
    (void) state;
    snprintf(workdir, sizeof workdir, "%s/uqm-uq-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    return mkdtemp(workdir) ? 0 : -1;
}

static inline int drop_workdir(void **state)
{
    struct uqm_err err = { 0 };
    (void) state;
    return uqm_remove_tree(workdir, &err);
}

/* workdir/name; in a ring of static buffers. */
static inline const char *in_workdir(const char *name)
{
    static char ring[64][1024];
    static unsigned next;
    char *buf = ring[next++ % 64];
    snprintf(buf, sizeof ring[0], "%s/%s", workdir, name);
    return buf;
}

/* The file anew, beside the old one until it is whole: where times of change are coarse, what was
 * unlinked first would have left its inode's number to its successor, and pass for it. */
static inline void replace_file(const char *path, const void *data, size_t len)
{
    char fresh[1100];
    struct uqm_err err = { 0 };
    snprintf(fresh, sizeof fresh, "%s.new", path);
    assert_ok(uqm_write_file(fresh, data, len, &err), err);
    assert_int_equal(rename(fresh, path), 0);
}

/* Write a file of the workdir anew, the folders of its name included; its path. */
static inline const char *put_file(const char *name, const char *text)
{
    const char *path = in_workdir(name);
    for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
        char part[256];
        snprintf(part, sizeof part, "%.*s", (int) (slash - name), name);
        mkdir(in_workdir(part), 0755);
    }
    replace_file(path, text, strlen(text));
    return path;
}

#endif
