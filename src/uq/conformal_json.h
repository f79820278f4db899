/* What conformal sets say of a data set, as the result documents have it (docs/json.md). */
#ifndef UQM_UQ_CONFORMAL_JSON_H
#define UQM_UQ_CONFORMAL_JSON_H

#include <jansson.h>

#include "src/uq/conformal.h"

/* "calibration", "lac", "aps", "accuracy", "uacc", ... into a set's object. Without memory some are
 * absent. */
void uqm_conformal_add(json_t *set, const struct uqm_conformal *c);

/* Into a model's object, of these the unweighted means over its "datasets": of all but the number
 * of records that calibrate and qhat, a score of one set. null where a set has none. */
void uqm_conformal_add_means(json_t *model);

#endif
