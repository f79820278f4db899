/*
 * The zoo's golden arrays for tests: a safetensors file and its JSON neighbour, read by a small
 * reader of its own (trusted data, independent of the program's parser). Every failure ends the
 * test with a message, so nothing here returns an error.
 */
#ifndef UQM_TESTS_GOLDEN_H
#define UQM_TESTS_GOLDEN_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct golden;

/* A safetensors file, read whole. */
struct golden *golden_load(const char *path);
void golden_free(struct golden **g);

struct golden_shape {
    size_t n_dims, dim[8], n_elem;
    char dtype[8]; /* as the file spells it: "F32", "U8" */
};
bool golden_has(const struct golden *g, const char *name);
struct golden_shape golden_shape(const struct golden *g, const char *name);

/* The tensor's elements, borrowed until golden_free, 16-aligned; *n_elem how many. */
const void *golden_tensor(const struct golden *g, const char *name, size_t *n_elem);
/* The same, insisting on the type. */
const float *golden_f32(const struct golden *g, const char *name, size_t *n_elem);
const uint8_t *golden_u8(const struct golden *g, const char *name, size_t *n_elem);

/* A JSON file; the caller's json_decref. */
json_t *golden_json(const char *path);
/* The record with this "id" of a JSON-lines file; the caller's json_decref. */
json_t *golden_record(const char *path, const char *id);
/* A member that must be there: a string, a number. */
const char *golden_string(const json_t *object, const char *key);
double golden_number(const json_t *object, const char *key);

/* ||a - b|| / ||b||, in double. */
double golden_relative_l2(const float *a, const float *b, size_t n);
double golden_max_abs(const float *a, const float *b, size_t n);

#endif
