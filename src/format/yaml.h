/*
 * YAML text to a small tree, for recipes: mappings with scalar keys, sequences, scalars, one
 * document. Anchors and aliases are followed (a shared node is shared, never copied), merge keys
 * (`<<: *a`) as PyYAML does; tags and further documents are refused. Errors are "where:LINE: WHAT".
 */
#ifndef UQM_FORMAT_YAML_H
#define UQM_FORMAT_YAML_H

#include <stdio.h>

#include "src/base/arena.h"
#include "src/base/err.h"

enum {
    UQM_YAML_MAX_BYTES = 1 << 20,
    UQM_YAML_MAX_DEPTH = 32,
    UQM_YAML_MAX_NODES = 1 << 16,
    UQM_YAML_MAX_KEYS = 1024, /* of one mapping */
};

enum uqm_yaml_kind { UQM_YAML_SCALAR, UQM_YAML_SEQUENCE, UQM_YAML_MAPPING };

struct uqm_yaml_node {
    enum uqm_yaml_kind kind;
    int line;         /* from 1 */
    bool plain;       /* a scalar without quotes: its type shows in its spelling */
    const char *text; /* a scalar's; NUL-terminated, without NUL inside */
    size_t n;         /* items of a sequence, pairs of a mapping */
    const struct uqm_yaml_node *const *items; /* a sequence's items, a mapping's values */
    const struct uqm_yaml_node *const *keys;  /* a mapping's scalars, all different */
};

/* *root lives in the arena. An empty document is an error. */
int uqm_yaml_parse(const struct uqm_yaml_node **root, struct uqm_arena *arena, const char *text,
                   size_t len, const char *where, struct uqm_err *err);

/* The value under `key`, or NULL; an explicit null counts as absent. */
const struct uqm_yaml_node *uqm_yaml_get(const struct uqm_yaml_node *mapping, const char *key);

/* What YAML 1.1 takes a scalar for, as PyYAML reads it: 1e-5 is a string, 1.0e-5 a float. */
enum uqm_yaml_type { UQM_YAML_NULL, UQM_YAML_BOOL, UQM_YAML_INT, UQM_YAML_FLOAT, UQM_YAML_STRING };
enum uqm_yaml_type uqm_yaml_type_of(const struct uqm_yaml_node *scalar);

/* Numbers, and strings that spell one ("1e-5"), as Python's float() reads them. */
bool uqm_yaml_double(double *out, const struct uqm_yaml_node *scalar);
/* true/false, yes/no, on/off, y/n, t/f, 1/0, quoted or not; 1.0 and 0.0. */
bool uqm_yaml_bool(bool *out, const struct uqm_yaml_node *scalar);

/* `text` as a double-quoted scalar; failures are the stream's. */
void uqm_yaml_put_quoted(FILE *f, const char *text);

#endif
