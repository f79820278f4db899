/*
 * The small files beside a model's weights, by path, wherever the model is: config.json and the
 * tokenizer of an archive are FILE.uqz/config.json and so on, as if the archive were the folder.
 * The functions of base/fs.h and io/file.h, for such paths and for all others.
 */
#ifndef UQM_CHECKPOINT_MODEL_FILE_H
#define UQM_CHECKPOINT_MODEL_FILE_H

#include "io/file.h"

/* As uqm_find_file(); *bytes, unless NULL, is the size of one that is there. */
int uqm_find_model_file(const char *path, uint64_t *bytes, struct uqm_err *err);
/* Of a model's file whose content goes into an output: a link that leaves the folder is a failure,
 * or a stranger's model would carry off files of this machine. */
int uqm_find_own_file(const char *home, const char *name, struct uqm_err *err);
/* As uqm_read_file(). */
int uqm_read_model_file(char **out, size_t *len, const char *path, size_t max_bytes,
                        struct uqm_err *err);
/* As uqm_file_open(). */
int uqm_model_file_open(struct uqm_file **out, struct uqm_env *env, const char *path,
                        struct uqm_err *err);

/* The names of the files that lie in a model's folder or archive, not in folders of it, ascending.
 * Freed as a whole by uqm_model_files_free(). */
struct uqm_model_files {
    char **names;
    size_t n;
};
int uqm_model_files_list(struct uqm_model_files *out, const char *home, struct uqm_err *err);
void uqm_model_files_free(struct uqm_model_files *files);

#endif
