/* jansson with the manners that strangers' files need: bounded, no duplicate keys, errors that
 * name file, line and key. */
#ifndef UQM_FORMAT_JSON_H
#define UQM_FORMAT_JSON_H

#include <jansson.h>

#include "src/base/env.h"

/* NULL and *err on failure. `where` names the text in messages. Accepts Python's NaN, Infinity and
 * -Infinity as null when `python` is set. The caller decrefs. */
json_t *uqm_json_parse(const char *text, size_t len, const char *where, bool python,
                       struct uqm_err *err);
/* A whole file of at most max_bytes. */
json_t *uqm_json_load(const char *path, size_t max_bytes, struct uqm_err *err);

/*
 * Whether the tree of a stranger's text fits in what is left of the memory: it may take 80 times
 * the text's bytes. UQM_ERR_NOMEM if not. Nothing is charged: the tree is gone before tiles come.
 */
int uqm_json_check_room(const struct uqm_env *env, const char *text, size_t len, const char *where,
                        struct uqm_err *err);

/* Typed members. Absent (or null): *out is left as it is and the call succeeds, unless required. */
int uqm_json_u32(uint32_t *out, const json_t *object, const char *key, bool required,
                 const char *where, struct uqm_err *err);
int uqm_json_double(double *out, const json_t *object, const char *key, bool required,
                    const char *where, struct uqm_err *err);
int uqm_json_bool(bool *out, const json_t *object, const char *key, bool required,
                  const char *where, struct uqm_err *err);
/* Borrowed from the object. */
int uqm_json_string(const char **out, const json_t *object, const char *key, bool required,
                    const char *where, struct uqm_err *err);

/* One document, numbers at full precision (round-trip), malloc'ed with a final newline. NULL: no
 * memory. Steals nothing. */
char *uqm_json_dump(const json_t *value);
/* In place of json_dumps(), which must not be used on objects: it may lose a key for want of memory
 * and not say so. */
char *uqm_json_dump_as(const json_t *value, size_t flags);

#endif
