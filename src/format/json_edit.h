/* Where things stand in a JSON text, so that a few of them can be replaced and the rest stays as it
 * was, byte for byte: numbers that no integer holds, spellings, white space. */
#ifndef UQM_FORMAT_JSON_EDIT_H
#define UQM_FORMAT_JSON_EDIT_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"

struct uqm_json_span {
    size_t begin, end; /* bytes [begin, end) of the text */
};

/*
 * The member of the text's object, which is checked to be JSON throughout. *value: its value;
 * *member (or NULL): what has to go with it when it is taken out, a comma included. 1: it is there;
 * 0: it is not. UQM_ERR_FORMAT: no JSON object, or it is there twice. `where` opens messages.
 */
int uqm_json_find(struct uqm_json_span *value, struct uqm_json_span *member, const char *text,
                  size_t len, const char *key, const char *where, struct uqm_err *err);

/* Replace the member's value in a malloc'ed text, or put the member in front; value NULL: take it
 * out. *text is another one then, its length follows. */
int uqm_json_set(char **text, size_t *len, const char *key, const char *value, const char *where,
                 struct uqm_err *err);

/* Called for every element of an array, every member of an object: its text (of a member with the
 * key), its key, and the number that its member "id" holds, or UINT64_MAX. < 0 ends the walk. */
typedef int (*uqm_json_item_fn)(void *ctx, const struct uqm_json_span *item, const char *key,
                                size_t key_len, uint64_t id, struct uqm_err *err);
int uqm_json_each(const char *text, struct uqm_json_span container, const char *where,
                  uqm_json_item_fn fn, void *ctx, struct uqm_err *err);

/* A JSON string with its quotes, malloc'ed; NULL: no memory, or not UTF-8. */
char *uqm_json_quote(const char *text, size_t len);

#endif
