#include "tests/golden/golden.h"

#include <math.h>

#include "tests/unit/test.h"

struct golden {
    json_t *header;
    char *path;
    uint8_t *data;
    size_t data_len;
    json_t *copies; /* name -> address of an aligned copy, as an integer */
};

static void *checked_alloc(size_t n_bytes)
{
    void *p = aligned_alloc(16, (n_bytes + 31) & ~(size_t) 15);
    if (!p)
        fail_msg("no memory for %zu bytes of golden data", n_bytes);
    return p;
}

struct golden *golden_load(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("%s: cannot be opened", path);
    uint8_t len_bytes[8];
    uint64_t header_len = 0;
    assert_int_equal(fread(len_bytes, 1, 8, f), 8);
    for (size_t i = 0; i < 8; i++)
        header_len |= (uint64_t) len_bytes[i] << 8 * i;

    struct golden *g = calloc(1, sizeof *g);
    char *header = checked_alloc(header_len);
    assert_non_null(g);
    g->path = strdup(path);
    assert_int_equal(fread(header, 1, header_len, f), header_len);
    json_error_t je;
    g->header = json_loadb(header, header_len, 0, &je);
    if (!g->header)
        fail_msg("%s: %s", path, je.text);
    free(header);

    long at = ftell(f);
    fseek(f, 0, SEEK_END);
    g->data_len = (size_t) (ftell(f) - at);
    fseek(f, at, SEEK_SET);
    g->data = checked_alloc(g->data_len);
    assert_int_equal(fread(g->data, 1, g->data_len, f), g->data_len);
    fclose(f);
    g->copies = json_object();
    return g;
}

void golden_free(struct golden **gp)
{
    struct golden *g = *gp;
    if (!g)
        return;
    const char *name;
    json_t *copy;
    json_object_foreach (g->copies, name, copy)
        free((void *) (uintptr_t) json_integer_value(copy));
    json_decref(g->copies);
    json_decref(g->header);
    free(g->data);
    free(g->path);
    free(g);
    *gp = NULL;
}

bool golden_has(const struct golden *g, const char *name)
{
    return json_object_get(g->header, name) != NULL;
}

struct golden_shape golden_shape(const struct golden *g, const char *name)
{
    struct golden_shape s = { .n_elem = 1 };
    const json_t *entry = json_object_get(g->header, name);
    if (!entry)
        fail_msg("%s: no tensor %s", g->path, name);
    const json_t *shape = json_object_get(entry, "shape");
    s.n_dims = json_array_size(shape);
    assert_true(s.n_dims <= 8);
    for (size_t i = 0; i < s.n_dims; i++) {
        s.dim[i] = (size_t) json_integer_value(json_array_get(shape, i));
        s.n_elem *= s.dim[i];
    }
    snprintf(s.dtype, sizeof s.dtype, "%s", golden_string(entry, "dtype"));
    return s;
}

/* Tensors lie at any offset in the file, so each is copied to aligned memory when first asked. */
const void *golden_tensor(const struct golden *g, const char *name, size_t *n_elem)
{
    const struct golden_shape s = golden_shape(g, name);
    if (n_elem)
        *n_elem = s.n_elem;
    const json_t *copy = json_object_get(g->copies, name);
    if (copy)
        return (const void *) (uintptr_t) json_integer_value(copy);

    const json_t *offsets = json_object_get(json_object_get(g->header, name), "data_offsets");
    const size_t begin = (size_t) json_integer_value(json_array_get(offsets, 0));
    const size_t end = (size_t) json_integer_value(json_array_get(offsets, 1));
    assert_true(begin <= end && end <= g->data_len);
    void *p = checked_alloc(end - begin);
    memcpy(p, g->data + begin, end - begin);
    json_object_set_new(g->copies, name, json_integer((json_int_t) (uintptr_t) p));
    return p;
}

static const void *typed(const struct golden *g, const char *name, const char *dtype, size_t *n)
{
    const struct golden_shape s = golden_shape(g, name);
    if (strcmp(s.dtype, dtype) != 0)
        fail_msg("%s: tensor %s is %s, not %s", g->path, name, s.dtype, dtype);
    return golden_tensor(g, name, n);
}

const float *golden_f32(const struct golden *g, const char *name, size_t *n_elem)
{
    return typed(g, name, "F32", n_elem);
}

const uint8_t *golden_u8(const struct golden *g, const char *name, size_t *n_elem)
{
    return typed(g, name, "U8", n_elem);
}

json_t *golden_json(const char *path)
{
    json_error_t je;
    json_t *root = json_load_file(path, 0, &je);
    if (!root)
        fail_msg("%s:%d: %s", path, je.line, je.text);
    return root;
}

json_t *golden_record(const char *path, const char *id)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("%s: cannot be opened", path);
    char *line = NULL;
    size_t cap = 0;
    json_t *found = NULL;
    while (!found && getline(&line, &cap, f) > 0) {
        json_error_t je;
        json_t *record = json_loads(line, 0, &je);
        if (!record)
            fail_msg("%s: %s", path, je.text);
        if (strcmp(golden_string(record, "id"), id) == 0)
            found = record;
        else
            json_decref(record);
    }
    free(line);
    fclose(f);
    if (!found)
        fail_msg("%s: no record %s", path, id);
    return found;
}

const char *golden_string(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    if (!s)
        fail_msg("no string \"%s\" in the golden JSON", key);
    return s;
}

double golden_number(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    if (!json_is_number(v))
        fail_msg("no number \"%s\" in the golden JSON", key);
    return json_number_value(v);
}

double golden_relative_l2(const float *a, const float *b, size_t n)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = (double) a[i] - (double) b[i];
        difference += d * d;
        size += (double) b[i] * (double) b[i];
    }
    return sqrt(difference / size);
}

double golden_max_abs(const float *a, const float *b, size_t n)
{
    double max = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = fabs((double) a[i] - (double) b[i]);
        if (!(d <= max))
            max = d;
    }
    return max;
}
