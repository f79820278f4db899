/* YAML 1.1's implicit types, by the regular expressions of PyYAML's resolver. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "src/format/yaml.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_one_of(const char *s, const char *const *words)
{
    for (; *words; words++)
        if (strcmp(s, *words) == 0)
            return true;
    return false;
}

static const char *const null_words[] = { "", "~", "null", "Null", "NULL", NULL };
static const char *const true_words[] = { "yes",  "Yes", "YES", "true", "True",
                                          "TRUE", "on",  "On",  "ON",   NULL };
static const char *const false_words[] = { "no",    "No",  "NO",  "false", "False",
                                           "FALSE", "off", "Off", "OFF",   NULL };

static const char *skip(const char *s, const char *set)
{
    return s + strspn(s, set);
}

/* [-+]? then 0b[01_]+, 0x[0-9a-fA-F_]+, 0[0-7_]*, [1-9][0-9_]* */
static bool is_int(const char *s)
{
    if (*s == '-' || *s == '+')
        s++;
    if (s[0] == '0' && (s[1] == 'b' || s[1] == 'x')) {
        const char *digits = s + 2,
                   *end = skip(digits, s[1] == 'b' ? "01_" : "0123456789abcdefABCDEF_");
        return end > digits && *end == '\0';
    }
    if (*s == '0')
        return *skip(s, "01234567_") == '\0';
    return is_digit(*s) && *skip(s, "0123456789_") == '\0';
}

/* [-+]?[0-9][0-9_]*\.[0-9_]*(e[-+][0-9]+)? and the forms without a leading digit, inf, nan. The
 * exponent needs its sign, the number its point. */
static bool is_float(const char *s)
{
    static const char *const specials[] = { ".inf", ".Inf", ".INF", NULL };
    static const char *const nans[] = { ".nan", ".NaN", ".NAN", NULL };
    if (is_one_of(s, nans))
        return true;
    if (*s == '-' || *s == '+')
        s++;
    if (is_one_of(s, specials))
        return true;
    if (is_digit(*s)) {
        s = skip(s, "0123456789_");
        if (*s++ != '.')
            return false;
    } else if (*s++ != '.' || !is_digit(*s)) {
        return false;
    }
    s = skip(s, "0123456789_");
    if (*s == 'e' || *s == 'E') {
        s++;
        if (*s != '-' && *s != '+')
            return false;
        s++;
        if (!is_digit(*s))
            return false;
        s = skip(s, "0123456789");
    }
    return *s == '\0';
}

enum uqm_yaml_type uqm_yaml_type_of(const struct uqm_yaml_node *scalar)
{
    const char *s = scalar->text;
    if (!scalar->plain)
        return UQM_YAML_STRING;
    if (is_one_of(s, null_words))
        return UQM_YAML_NULL;
    if (is_one_of(s, true_words) || is_one_of(s, false_words))
        return UQM_YAML_BOOL;
    if (is_int(s))
        return UQM_YAML_INT;
    return is_float(s) ? UQM_YAML_FLOAT : UQM_YAML_STRING;
}

/* Without the underscores that group digits. false: too long for a number. */
static bool strip_underscores(char out[64], const char *s)
{
    size_t n = 0;
    for (; *s; s++) {
        if (*s == '_')
            continue;
        if (n + 1 == 64)
            return false;
        out[n++] = *s;
    }
    out[n] = '\0';
    return n > 0;
}

static bool int_value(double *out, const char *s)
{
    char digits[64];
    if (!strip_underscores(digits, s))
        return false;
    const char *p = digits;
    bool negative = *p == '-';
    if (*p == '-' || *p == '+')
        p++;
    int base = 10;
    if (p[0] == '0' && p[1] != '\0') {
        base = p[1] == 'x' ? 16 : p[1] == 'b' ? 2 : 8;
        p += base == 8 ? 1 : 2;
    }
    char *end;
    errno = 0;
    unsigned long long v = strtoull(p, &end, base);
    if (*end != '\0' || end == p || errno != 0)
        return false;
    *out = negative ? -(double) v : (double) v;
    return true;
}

/* Decimal only: strtod alone would take hexadecimal and nan(...) too. The locale is C's. */
static bool decimal_value(double *out, const char *s)
{
    char digits[64], *end;
    s = skip(s, " \t\r\n");
    if (!strip_underscores(digits, s))
        return false;
    size_t n = strlen(digits);
    while (n > 0 && strchr(" \t\r\n", digits[n - 1]))
        digits[--n] = '\0';
    const char *p = digits + (digits[0] == '-' || digits[0] == '+');
    if (*p == '.' && !is_digit(p[1])) { /* YAML's .inf and .nan */
        const char *word = p + 1;
        bool inf = strcasecmp(word, "inf") == 0;
        if (!inf && strcasecmp(word, "nan") != 0)
            return false;
        *out = !inf ? __builtin_nan("") : digits[0] == '-' ? -__builtin_inf() : __builtin_inf();
        return true;
    }
    if (!is_digit(*p) && *p != '.')
        return false;
    if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X'))
        return false;
    *out = strtod(digits, &end);
    return *end == '\0' && end != digits;
}

bool uqm_yaml_double(double *out, const struct uqm_yaml_node *scalar)
{
    if (scalar->kind != UQM_YAML_SCALAR)
        return false;
    switch (uqm_yaml_type_of(scalar)) {
    case UQM_YAML_INT: return int_value(out, scalar->text);
    case UQM_YAML_FLOAT:
    case UQM_YAML_STRING: return decimal_value(out, scalar->text);
    case UQM_YAML_NULL:
    case UQM_YAML_BOOL: break;
    }
    return false;
}

bool uqm_yaml_bool(bool *out, const struct uqm_yaml_node *scalar)
{
    static const char *const yes[] = { "true", "yes", "on", "1", "y", "t" };
    static const char *const no[] = { "false", "no", "off", "0", "n", "f" };
    if (scalar->kind != UQM_YAML_SCALAR)
        return false;
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        if (strcasecmp(scalar->text, yes[i]) == 0) {
            *out = true;
            return true;
        }
        if (strcasecmp(scalar->text, no[i]) == 0) {
            *out = false;
            return true;
        }
    }
    double v; /* mergekit writes its recipes with 1.0 and 0.0 */
    if (uqm_yaml_type_of(scalar) != UQM_YAML_FLOAT || !uqm_yaml_double(&v, scalar) ||
        (v != 0 && v != 1))
        return false;
    *out = v == 1;
    return true;
}

void uqm_yaml_put_quoted(FILE *f, const char *text)
{
    fputc('"', f);
    for (const unsigned char *p = (const unsigned char *) text; *p; p++) {
        if (*p == '"' || *p == '\\')
            fprintf(f, "\\%c", *p);
        else if (*p < 0x20 || *p == 0x7f)
            fprintf(f, "\\x%02x", *p);
        else
            fputc(*p, f);
    }
    fputc('"', f);
}
