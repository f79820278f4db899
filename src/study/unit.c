#include "src/study/unit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name, *title;
} units[] = {
    [UQM_UNIT_NONE] = { "", "" },         [UQM_UNIT_NUMBER] = { "number", "" },
    [UQM_UNIT_NATS] = { "nats", "nats" }, [UQM_UNIT_FRACTION] = { "fraction", "%" },
    [UQM_UNIT_COUNT] = { "count", "" },   [UQM_UNIT_SECONDS] = { "seconds", "s" },
    [UQM_UNIT_BYTES] = { "bytes", "" },   [UQM_UNIT_OPTIONS] = { "options", "options" },
};

enum uqm_unit uqm_unit_of(const char *name)
{
    for (size_t i = 0; name && i < sizeof units / sizeof *units; i++)
        if (!strcmp(name, units[i].name))
            return (enum uqm_unit) i;
    return UQM_UNIT_NONE;
}

const char *uqm_unit_title(enum uqm_unit unit)
{
    return units[unit].title;
}

/* Powers of 1000; whole bytes below. */
static void put_bytes(struct uqm_number_text *buf, double v)
{
    static const char *const names[] = { "B", "kB", "MB", "GB", "TB", "PB" };
    size_t k = 0;
    while (fabs(v) >= 999.5 && k + 1 < sizeof names / sizeof *names) {
        v /= 1000;
        k++;
    }
    snprintf(buf->text, sizeof buf->text, "%.*f %s", k && fabs(v) < 99.95 ? 1 : 0, v, names[k]);
}

const char *uqm_unit_format(struct uqm_number_text *buf, enum uqm_unit unit, double v)
{
    if (!isfinite(v)) {
        snprintf(buf->text, sizeof buf->text, "\u2013");
    } else if (fabs(v) >= UQM_DRAWN_MOST) {
        snprintf(buf->text, sizeof buf->text, "%.4g", v);
    } else {
        switch (unit) {
        case UQM_UNIT_FRACTION: snprintf(buf->text, sizeof buf->text, "%.2f", v * 100); break;
        case UQM_UNIT_COUNT: snprintf(buf->text, sizeof buf->text, "%.0f", v); break;
        case UQM_UNIT_SECONDS:
            snprintf(buf->text, sizeof buf->text, "%.*f", fabs(v) < 10 ? 2 : 0, v);
            break;
        case UQM_UNIT_BYTES: put_bytes(buf, v); break;
        case UQM_UNIT_OPTIONS: snprintf(buf->text, sizeof buf->text, "%.3f", v); break;
        case UQM_UNIT_NATS: snprintf(buf->text, sizeof buf->text, "%.4f", v); break;
        case UQM_UNIT_NONE: snprintf(buf->text, sizeof buf->text, "%.10g", v); break;
        case UQM_UNIT_NUMBER:
            snprintf(buf->text, sizeof buf->text, fabs(v) >= 1e5 ? "%.4g" : "%.4f", v);
            break;
        }
    }
    return buf->text;
}

const char *uqm_unit_tick(struct uqm_number_text *buf, enum uqm_unit unit, double v, double step)
{
    if (unit == UQM_UNIT_BYTES) {
        put_bytes(buf, v);
        return buf->text;
    }
    if (unit == UQM_UNIT_FRACTION) {
        v *= 100;
        step *= 100;
    }
    int digits = step > 0 ? (int) ceil(-log10(step) - 1e-9) : 0;
    if (digits > 6 || fabs(v) >= 1e7)
        snprintf(buf->text, sizeof buf->text, "%.3g", v);
    else
        snprintf(buf->text, sizeof buf->text, "%.*f", digits > 0 ? digits : 0,
                 fabs(v) < step / 1000 ? 0.0 : v);
    return buf->text;
}
