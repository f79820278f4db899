/* Numbers as a page shows them, with their units. */
#ifndef UQM_STUDY_UNIT_H
#define UQM_STUDY_UNIT_H

#include <stddef.h>

enum uqm_unit {
    UQM_UNIT_NONE, /* not a column of numbers: a word, a name, a setting */
    UQM_UNIT_NUMBER,
    UQM_UNIT_NATS,
    UQM_UNIT_FRACTION, /* shown in percent */
    UQM_UNIT_COUNT,
    UQM_UNIT_SECONDS,
    UQM_UNIT_BYTES,
    UQM_UNIT_OPTIONS, /* options in a conformal set */
};

/* As a column's "unit" spells it; an unknown one is UQM_UNIT_NONE. NULL is accepted. */
enum uqm_unit uqm_unit_of(const char *name);
/* What stands in a heading: "nats", "%", ...; "" where the numbers carry their unit or have none.
 */
const char *uqm_unit_title(enum uqm_unit unit);

struct uqm_number_text {
    char text[48];
};
/* A number for a table's cell; without the unit, except bytes: those are "1.2 GB". */
const char *uqm_unit_format(struct uqm_number_text *buf, enum uqm_unit unit, double value);
/* The same, as short as steps of `step` allow, for an axis. */
const char *uqm_unit_tick(struct uqm_number_text *buf, enum uqm_unit unit, double value,
                          double step);

/* A number that can be drawn: finite and not of a size that no axis holds. */
#define UQM_DRAWN_MOST 1e15
static inline int uqm_can_draw(double v)
{
    return v >= -UQM_DRAWN_MOST && v <= UQM_DRAWN_MOST;
}

#endif
