/* Values of options: numbers, sizes, choices. */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tools/cli.h"

int cli_fail(struct uqm_err *err, enum uqm_status code, const char *fmt, ...)
{
    va_list ap;
    err->code = code;
    err->sys_errno = 0;
    va_start(ap, fmt);
    vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    va_end(ap);
    return code;
}

int cli_set_true(void *field, const char *value, const struct cli_option *option,
                 struct uqm_err *err)
{
    (void) value, (void) option, (void) err;
    *(bool *) field = true;
    return UQM_OK;
}

int cli_set_false(void *field, const char *value, const struct cli_option *option,
                  struct uqm_err *err)
{
    (void) value, (void) option, (void) err;
    *(bool *) field = false;
    return UQM_OK;
}

int cli_set_more(void *field, const char *value, const struct cli_option *option,
                 struct uqm_err *err)
{
    (void) value, (void) option, (void) err;
    ++*(int *) field;
    return UQM_OK;
}

int cli_set_text(void *field, const char *value, const struct cli_option *option,
                 struct uqm_err *err)
{
    (void) option;
    if (!value[0])
        return cli_fail(err, UQM_ERR_ARG, "is empty");
    *(const char **) field = value;
    return UQM_OK;
}

static bool is_digits(const char *s)
{
    return *s && s[strspn(s, "0123456789")] == 0;
}

/* Digits only: strtoull would take a sign and blanks. False, too, where it is beyond 64 bits. */
static bool read_u64(uint64_t *out, const char *s)
{
    uint64_t x = 0;
    if (!is_digits(s))
        return false;
    for (; *s; s++) {
        if (__builtin_mul_overflow(x, 10u, &x) ||
            __builtin_add_overflow(x, (uint64_t) (*s - '0'), &x))
            return false;
    }
    *out = x;
    return true;
}

/* Infinite where it is beyond a double's range. */
static bool read_double(double *out, const char **end, const char *s)
{
    /* No "inf", "nan", hexadecimal or blanks, which strtod would take. */
    if (!strchr("0123456789.+-", *s) || !*s || strpbrk(s, "xXnN"))
        return false;
    char *stop;
    *out = strtod(s, &stop);
    *end = stop;
    return stop != s;
}

static int out_of_range(const struct cli_option *o, const char *value, struct uqm_err *err)
{
    if (o->max > 0.0)
        return cli_fail(err, UQM_ERR_ARG, "%.60s is not within [%.12g, %.12g]", value, o->min,
                        o->max);
    return cli_fail(err, UQM_ERR_ARG, "%.60s is less than %.12g", value, o->min);
}

/* A whole number that does not fit its field, or is none. */
static int not_whole(const struct cli_option *o, const char *value, uint64_t most,
                     struct uqm_err *err)
{
    const bool below = value[0] == '-' && is_digits(value + 1) && strpbrk(value, "123456789");
    if (below || (is_digits(value) && o->max > 0.0))
        return out_of_range(o, value, err);
    if (is_digits(value))
        return cli_fail(err, UQM_ERR_ARG, "%.60s is more than %llu", value,
                        (unsigned long long) most);
    return cli_fail(err, UQM_ERR_ARG, "%.60s is not a whole number, written in digits alone",
                    value);
}

static bool in_range(const struct cli_option *o, double x)
{
    return x >= o->min && (o->max <= 0.0 || x <= o->max);
}

int cli_set_u64(void *field, const char *value, const struct cli_option *option,
                struct uqm_err *err)
{
    uint64_t x;
    if (!read_u64(&x, value))
        return not_whole(option, value, UINT64_MAX, err);
    if (!in_range(option, (double) x))
        return out_of_range(option, value, err);
    *(uint64_t *) field = x;
    return UQM_OK;
}

int cli_set_int(void *field, const char *value, const struct cli_option *option,
                struct uqm_err *err)
{
    uint64_t x;
    if (!read_u64(&x, value) || x > INT32_MAX)
        return not_whole(option, value, INT32_MAX, err);
    if (!in_range(option, (double) x))
        return out_of_range(option, value, err);
    *(int *) field = (int) x;
    return UQM_OK;
}

int cli_set_double(void *field, const char *value, const struct cli_option *option,
                   struct uqm_err *err)
{
    double x;
    const char *end;
    if (!read_double(&x, &end, value) || *end)
        return cli_fail(err, UQM_ERR_ARG, "%.60s is not a number", value);
    if (!in_range(option, x))
        return out_of_range(option, value, err);
    if (!isfinite(x))
        return cli_fail(err, UQM_ERR_ARG, "%.60s is more than any number here", value);
    *(double *) field = x;
    return UQM_OK;
}

/* What one unit is, or 0. K, KiB: 1024; KB: 1000. */
static double unit_bytes(const char *unit)
{
    static const char letters[] = "KMGT";
    if (!*unit || strcasecmp(unit, "B") == 0)
        return 1.0;
    const char *letter = strchr(letters, unit[0] & ~0x20);
    if (!letter || !*letter)
        return 0.0;
    int power = (int) (letter - letters) + 1;
    if (!unit[1] || strcasecmp(unit + 1, "iB") == 0)
        return ldexp(1.0, 10 * power);
    if (strcasecmp(unit + 1, "B") == 0)
        return pow(1000.0, power);
    return 0.0;
}

static int not_a_size(const char *value, struct uqm_err *err)
{
    return cli_fail(err, UQM_ERR_ARG,
                    "%.60s is not a size; sizes are bytes, or like 512M, 4G, 1.5GiB", value);
}

static int size_of_number(uint64_t *out, double x, double unit, const char *value,
                          struct uqm_err *err)
{
    double bytes = floor(x * unit + 0.5);
    if (!(bytes >= 0.0) || bytes >= 0x1p63)
        return cli_fail(err, UQM_ERR_ARG, "%.60s is more bytes than there can be", value);
    *out = (uint64_t) bytes;
    return UQM_OK;
}

static int read_size(uint64_t *out, const char *value, struct uqm_err *err)
{
    if (read_u64(out, value))
        return *out < UINT64_C(1) << 63
                   ? UQM_OK
                   : cli_fail(err, UQM_ERR_ARG, "%.60s is more bytes than there can be", value);

    double x;
    const char *end;
    if (value[0] == '-' || value[0] == '+' || !read_double(&x, &end, value))
        return not_a_size(value, err);
    double unit = unit_bytes(end);
    /* A fraction of a byte is no size. */
    if (unit == 0.0 || (unit == 1.0 && x != floor(x)))
        return not_a_size(value, err);
    return size_of_number(out, x, unit, value, err);
}

int cli_set_size(void *field, const char *value, const struct cli_option *option,
                 struct uqm_err *err)
{
    uint64_t bytes;
    int ret = read_size(&bytes, value, err);
    if (ret < 0)
        return ret;
    if (!in_range(option, (double) bytes)) {
        const bool large = option->min >= 0x1p20;
        return cli_fail(err, UQM_ERR_ARG, "%.60s is less than %.0f%s", value,
                        large ? option->min / 0x1p20 : option->min, large ? "M" : "");
    }
    *(uint64_t *) field = bytes;
    return UQM_OK;
}

int cli_set_shard_size(void *field, const char *value, const struct cli_option *option,
                       struct uqm_err *err)
{
    uint64_t bytes = 0;
    double x;
    const char *end;
    (void) option;
    if (value[0] != '-' && value[0] != '+' && read_double(&x, &end, value) && *end && !end[1] &&
        strchr("KMBkmb", *end)) {
        int letter = *end & ~0x20;
        double unit = letter == 'K' ? 1e3 : letter == 'M' ? 1e6 : 1e9;
        int ret = size_of_number(&bytes, x, unit, value, err);
        if (ret < 0)
            return ret;
    } else {
        int ret = read_size(&bytes, value, err);
        if (ret < 0)
            return ret;
    }
    *(uint64_t *) field = bytes == 0 ? UINT64_MAX : bytes;
    return UQM_OK;
}

static int find_choice(const struct cli_option *o, const char *s, size_t len)
{
    for (int i = 0; o->choices[i]; i++) {
        if (strlen(o->choices[i]) == len && memcmp(o->choices[i], s, len) == 0)
            return i;
    }
    return -1;
}

static int no_such_choice(const struct cli_option *o, const char *s, size_t len,
                          struct uqm_err *err)
{
    char list[256] = "";
    size_t used = 0;
    for (int i = 0; o->choices[i] && used < sizeof list; i++)
        used += (size_t) snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "",
                                  o->choices[i]);
    return cli_fail(err, UQM_ERR_ARG, "%.*s is none of %s", (int) (len < 60 ? len : 60), s, list);
}

int cli_set_choice(void *field, const char *value, const struct cli_option *option,
                   struct uqm_err *err)
{
    int i = find_choice(option, value, strlen(value));
    if (i < 0)
        return no_such_choice(option, value, strlen(value), err);
    *(int *) field = i;
    return UQM_OK;
}

int cli_set_names(void *field, const char *value, const struct cli_option *option,
                  struct uqm_err *err)
{
    unsigned bits = 0;
    const char *s = value;
    for (;;) {
        size_t len = strcspn(s, ",");
        int i = find_choice(option, s, len);
        if (i < 0)
            return no_such_choice(option, s, len, err);
        bits |= 1u << i;
        if (!s[len])
            break;
        s += len + 1;
    }
    *(unsigned *) field = bits;
    return UQM_OK;
}

int cli_set_device(void *field, const char *value, const struct cli_option *option,
                   struct uqm_err *err)
{
    (void) option;
    const bool gpu = strcmp(value, "vulkan") == 0 || strncmp(value, "vulkan:", 7) == 0;
    if (strcmp(value, "auto") != 0 && strcmp(value, "cpu") != 0 && !gpu)
        return cli_fail(err, UQM_ERR_ARG,
                        "%.60s is none of auto, cpu, vulkan, vulkan:N, "
                        "vulkan:NAME",
                        value);
    *(const char **) field = value;
    return UQM_OK;
}

int cli_set_list(void *field, const char *value, const struct cli_option *option,
                 struct uqm_err *err)
{
    (void) option;
    struct uqm_strings *list = field;
    if (!value[0])
        return cli_fail(err, UQM_ERR_ARG, "is empty");
    /* The parser has made room: an element for every argument. */
    ((const char **) (uintptr_t) list->v)[list->n++] = value;
    return UQM_OK;
}
