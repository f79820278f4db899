/*
 * A pull reader of strict JSON for headers too large for a tree: the caller asks for what its
 * grammar expects next, nothing is kept. UTF-8, escapes and surrogate pairs are checked; numbers
 * come as unsigned integers or not at all.
 */
#ifndef UQM_FORMAT_JSON_PULL_H
#define UQM_FORMAT_JSON_PULL_H

#include "src/base/arena.h"
#include "src/base/err.h"

enum { UQM_JSON_PULL_MAX_DEPTH = 32 };

struct uqm_json_pull {
    const uint8_t *text;
    size_t len, at;
    unsigned depth;
    struct uqm_arena *arena; /* strings that hold escapes are unescaped into it */
    char subject[300];       /* what is being read, for messages: "tensor w", "header" */
    struct uqm_err *err;
};

/* Any bytes, a NUL included; in the text itself or in the arena. */
struct uqm_text {
    const char *s;
    size_t len;
};
bool uqm_text_is(const struct uqm_text *text, const char *s);

/* "SUBJECT: byte AT: WHAT" */
int uqm_json_pull_fail(struct uqm_json_pull *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3), cold));

/* The next byte that is not white space, or -1 at the end. */
int uqm_json_pull_peek(struct uqm_json_pull *r);

/* Step over `{` or `[`; then ask for members or elements until one returns 0. */
int uqm_json_pull_open(struct uqm_json_pull *r, char bracket, const char *what);
/* 1: *key is read and its value comes next; 0: the object is closed. *n counts, from 0. */
int uqm_json_pull_member(struct uqm_json_pull *r, size_t *n, struct uqm_text *key);
/* 1: an element comes next; 0: the list is closed. */
int uqm_json_pull_element(struct uqm_json_pull *r, size_t *n);

int uqm_json_pull_string(struct uqm_json_pull *r, struct uqm_text *out, const char *what);
/* Decimal digits alone: no sign, fraction, exponent or leading zero; at most 2^64 - 1. */
int uqm_json_pull_u64(struct uqm_json_pull *r, uint64_t *out, const char *what);
/* Any value, checked and dropped. */
int uqm_json_pull_skip(struct uqm_json_pull *r);
/* Nothing but white space is left. */
int uqm_json_pull_end(struct uqm_json_pull *r);

#endif
