/* Small files, paths, and the steps that make a finished name appear at once. */
#ifndef UQM_BASE_FS_H
#define UQM_BASE_FS_H

#include "src/base/err.h"

/*
 * Read a whole small file (config, index, recipe). *out is malloc'ed, NUL-terminated and the
 * caller's; *len excludes the NUL. More than max_bytes is UQM_ERR_FORMAT, before allocating.
 */
int uqm_read_file(char **out, size_t *len, const char *path, size_t max_bytes, struct uqm_err *err);

/* malloc'ed "dir/name", or a copy of name when it is absolute or dir is NULL or "".
 * NULL: no memory. */
char *uqm_path_join(const char *dir, const char *name);
/* malloc'ed folder of path ("." when it names none); trailing slashes are ignored. */
char *uqm_path_dir(const char *path);
/* malloc'ed last component of path, trailing slashes ignored. */
char *uqm_path_base(const char *path);

/* false also where it cannot be told: for messages and wishes. */
bool uqm_is_dir(const char *path);
bool uqm_is_file(const char *path);
/* 1: a folder, a regular file, links followed; 0: nothing is there, or no folder; a failure: the
 * system would not say, a link leads nowhere, or what bears a file's name is none. For what decides
 * about an output. */
int uqm_find_dir(const char *path, struct uqm_err *err);
int uqm_find_file(const char *path, struct uqm_err *err);

/* Write and fsync; the file must not exist. For files inside a part folder. */
int uqm_write_file(const char *path, const void *data, size_t len, struct uqm_err *err);
/*
 * Replace `path` as a whole: write `path` + ".part", fsync, rename, fsync the folder. For
 * single-file outputs (traces, state). Runs that replace one file at a time take turns.
 */
int uqm_replace_file(const char *path, const void *data, size_t len, struct uqm_err *err);
/*
 * What uqm_replace_file() may replace: nothing, an empty file, or one that this program made, which
 * holds `mark` in its first 4 KiB. Anything else is UQM_ERR_ARG, so that no slip in an option's
 * value costs a data set, a key or weights: "PATH: not NOUN, so it is not replaced". UQM_ERR_IO:
 * its folder is not there, or not to be written to.
 */
int uqm_check_replaceable(const char *path, const char *mark, const char *noun,
                          struct uqm_err *err);
/*
 * Results, manifests and recipes name paths, and are UTF-8: UQM_ERR_ARG for a path that is not, so
 * that it is said before the work and not after. whole: nor may the working directory be another
 * that a relative path starts from, for what names absolute ones.
 */
int uqm_check_path_text(const char *path, bool whole, struct uqm_err *err);
/* The same file, by whatever names; links are followed. false also where it cannot be told. */
bool uqm_is_same_file(const char *a, const char *b);
/* malloc'ed absolute path of what is there or will be: its folder's real path, and its own name.
 * NULL: its folder is not there, or no memory. */
char *uqm_path_place(const char *path);
/* The same file, or the same name of one that is yet to be. */
bool uqm_is_same_place(const char *a, const char *b);
int uqm_fsync_dir(const char *path, struct uqm_err *err);
/* A folder that outlives a power cut: made, and its own folder synced. It must not be there. */
int uqm_make_dir(const char *path, struct uqm_err *err);
/* Remove a folder of plain files and folders, up to 256 of them in each other; a missing one is
 * fine. Follows no links. */
int uqm_remove_tree(const char *path, struct uqm_err *err);

#endif
