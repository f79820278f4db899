#include "src/format/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/fs.h"

static const struct {
    const char *text;
    size_t len;
} python_literals[] = { { "NaN", 3 }, { "Infinity", 8 }, { "-Infinity", 9 } };

/* Length of the Python literal at s, 0 if there is none. */
static size_t python_literal(const char *s, size_t left)
{
    for (size_t k = 0; k < sizeof python_literals / sizeof *python_literals; k++) {
        size_t n = python_literals[k].len;
        if (n <= left && memcmp(s, python_literals[k].text, n) == 0)
            return n;
    }
    return 0;
}

/* A copy with Python's literals outside strings replaced by null. Each grows by one byte at most
 * (NaN), so 4/3 of the length is room enough. NULL: no memory. */
static char *without_python_literals(size_t *out_len, const char *text, size_t len)
{
    char *copy = malloc(len + len / 3 + 8);
    if (!copy)
        return NULL;

    size_t o = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        size_t n = in_string ? 0 : python_literal(text + i, len - i);
        if (n > 0) {
            memcpy(copy + o, "null", 4);
            o += 4;
            i += n - 1;
            continue;
        }
        if (in_string && text[i] == '\\' && i + 1 < len)
            copy[o++] = text[i++];
        else if (text[i] == '"')
            in_string = !in_string;
        copy[o++] = text[i];
    }
    *out_len = o;
    return copy;
}

json_t *uqm_json_parse(const char *text, size_t len, const char *where, bool python,
                       struct uqm_err *err)
{
    char *copy = NULL;
    if (python) {
        copy = without_python_literals(&len, text, len);
        if (!copy) {
            uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for %zu bytes of JSON", where, len);
            return NULL;
        }
        text = copy;
    }

    json_error_t why;
    json_t *value = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
    if (!value) {
        struct uqm_printable shown;
        enum uqm_status code =
            json_error_code(&why) == json_error_out_of_memory ? UQM_ERR_NOMEM : UQM_ERR_FORMAT;
        uqm_fail(err, code, "%s:%d: %s", where, why.line > 0 ? why.line : 1,
                 uqm_printable(&shown, why.text, strnlen(why.text, sizeof why.text)));
    }
    free(copy);
    return value;
}

/* At least what jansson 2.14 allocates on a 64-bit machine, malloc's own part included: an object
 * has 8 buckets from the start, a list 8 places; both double. Strings are there twice for a moment.
 */
static uint64_t tree_bytes(const char *text, size_t len)
{
    uint64_t n = 2 * (uint64_t) len + 64;
    for (size_t i = 0; i < len; i++)
        switch (text[i]) {
        case '{': n += 256; break;
        case '[': n += 160; break;
        case ':': n += 112; break;
        case ',': n += 64; break;
        case '"': n += 40; break;
        }
    return n;
}

int uqm_json_check_room(const struct uqm_env *env, const char *text, size_t len, const char *where,
                        struct uqm_err *err)
{
    const double mib = 1 << 20;
    uint64_t needed = tree_bytes(text, len), left = uqm_budget_left(env);
    if (needed <= left)
        return UQM_OK;
    return uqm_fail(err, UQM_ERR_NOMEM,
                    "%s: its JSON may take %.1f MiB, %.1f MiB of --memory are left; give more",
                    where, (double) needed / mib, (double) left / mib);
}

json_t *uqm_json_load(const char *path, size_t max_bytes, struct uqm_err *err)
{
    char *text;
    size_t len;
    if (uqm_read_file(&text, &len, path, max_bytes, err) < 0)
        return NULL;
    json_t *value = uqm_json_parse(text, len, path, false, err);
    free(text);
    return value;
}

static const char *type_name(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "a list";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a fraction";
    case JSON_TRUE:
    case JSON_FALSE: return "true or false";
    case JSON_NULL: break;
    }
    return "null";
}

/* 1: *out is the member; 0: it is absent or null, and may be; < 0: it may not. */
static int member(const json_t **out, const json_t *object, const char *key, bool required,
                  const char *where, struct uqm_err *err)
{
    if (!json_is_object(object))
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: key %s: looked for in %s, not an object", where,
                        key, object ? type_name(object) : "nothing");
    *out = json_object_get(object, key);
    if (*out && !json_is_null(*out))
        return 1;
    if (required)
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: key %s: %s", where, key,
                        *out ? "is null" : "is missing");
    return 0;
}

int uqm_json_u32(uint32_t *out, const json_t *object, const char *key, bool required,
                 const char *where, struct uqm_err *err)
{
    const json_t *v = NULL;
    int ret = member(&v, object, key, required, where, err);
    if (ret <= 0)
        return ret;
    if (!json_is_integer(v))
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: key %s: %s where an integer belongs", where, key,
                        type_name(v));
    json_int_t i = json_integer_value(v);
    if (i < 0 || i > UINT32_MAX)
        return uqm_fail(err, UQM_ERR_FORMAT,
                        "%s: key %s: %" JSON_INTEGER_FORMAT " is outside 0 to 4294967295", where,
                        key, i);
    *out = (uint32_t) i;
    return UQM_OK;
}

int uqm_json_double(double *out, const json_t *object, const char *key, bool required,
                    const char *where, struct uqm_err *err)
{
    const json_t *v = NULL;
    int ret = member(&v, object, key, required, where, err);
    if (ret <= 0)
        return ret;
    if (!json_is_number(v))
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: key %s: %s where a number belongs", where, key,
                        type_name(v));
    *out = json_number_value(v);
    return UQM_OK;
}

int uqm_json_bool(bool *out, const json_t *object, const char *key, bool required,
                  const char *where, struct uqm_err *err)
{
    const json_t *v = NULL;
    int ret = member(&v, object, key, required, where, err);
    if (ret <= 0)
        return ret;
    if (!json_is_boolean(v))
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: key %s: %s where true or false belongs", where,
                        key, type_name(v));
    *out = json_is_true(v);
    return UQM_OK;
}

int uqm_json_string(const char **out, const json_t *object, const char *key, bool required,
                    const char *where, struct uqm_err *err)
{
    const json_t *v = NULL;
    int ret = member(&v, object, key, required, where, err);
    if (ret <= 0)
        return ret;
    if (!json_is_string(v))
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: key %s: %s where a string belongs", where, key,
                        type_name(v));
    *out = json_string_value(v);
    return UQM_OK;
}

/*
 * Into a buffer of the right size, because jansson's own, which grows, is not safe: where there is
 * no memory for it in the middle of a key, json_dumps() of 2.14 goes on without the rest of the key
 * and reports success.
 */
static char *dump(const json_t *value, size_t flags, size_t n_behind)
{
    size_t n = json_dumpb(value, NULL, 0, flags);
    char *text = n > 0 ? malloc(n + n_behind + 1) : NULL;
    if (text && json_dumpb(value, text, n, flags) != n) {
        free(text);
        return NULL;
    }
    if (text)
        text[n] = '\0';
    return text;
}

char *uqm_json_dump_as(const json_t *value, size_t flags)
{
    return dump(value, flags, 0);
}

char *uqm_json_dump(const json_t *value)
{
    char *text = dump(value, JSON_INDENT(2) | JSON_REAL_PRECISION(17) | JSON_ENCODE_ANY, 1);
    if (text)
        strcat(text, "\n");
    return text;
}
