/* Between inspect.c and inspect_gguf.c. */
#ifndef UQM_CHECKPOINT_INSPECT_H
#define UQM_CHECKPOINT_INSPECT_H

#include "src/checkpoint/checkpoint.h"
#include "src/format/json.h"

/* Text that may not be UTF-8 (a path): malformed bytes as \xNN. NULL gives null. */
json_t *uqm_inspect_text(const char *s);
/* A size beside a zero may exceed what a JSON integer holds. */
json_t *uqm_inspect_u64(uint64_t v);

/* The document of a .gguf file, or of all parts of one that is split. */
int uqm_inspect_gguf(char **json, struct uqm_env *env, const char *path, struct uqm_err *err);

#endif
