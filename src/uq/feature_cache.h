/*
 * Vision features of the survey's pictures, computed once for all models whose towers agree.
 *
 * They are kept in a scratch file without a name (f32, as computed) and read back when a prompt
 * wants them: a full-size set has more of them than memory. A picture that cannot be decoded is
 * counted, warned of once, and its records have no value; with --strict it is an error.
 */
#ifndef UQM_UQ_FEATURE_CACHE_H
#define UQM_UQ_FEATURE_CACHE_H

#include "src/model/network.h"
#include "src/uq/candidate.h"
#include "src/uq/survey.h"

struct uqm_features;

/* dir: where scratch files go; NULL: $TMPDIR, else /tmp. survey and env are borrowed. */
int uqm_features_create(struct uqm_features **out, const struct uqm_survey *survey, const char *dir,
                        struct uqm_err *err);
/* All candidates will be one and the same model: no digest need tell its tower from others, and the
 * tower is read once. */
void uqm_features_of_one_model(struct uqm_features *features);
/* Takes NULL. */
void uqm_features_destroy(struct uqm_features **features);

/*
 * Make the features that this candidate sees the ones that read() gives: at once where a tower of
 * the same digest, asked in the same way, went before. Without pictures in the survey, nothing
 * happens. memory_bytes: for network and pictures together.
 */
int uqm_features_prepare(struct uqm_features *features, struct uqm_candidate *candidate,
                         struct uqm_machine *machine, uint64_t memory_bytes, struct uqm_err *err);

/* Features of a record's k-th picture in pass j, (rows, hidden). record: numbered over all sets. */
int uqm_features_read(const struct uqm_features *features, float *dst, size_t record, size_t k,
                      uint32_t j, struct uqm_err *err);

/* After prepare(): whether one of a record's pictures could not be decoded. */
bool uqm_features_is_bad(const struct uqm_features *features, size_t record);

/* Pixels of one pass: decode the record's k-th picture, perturb (AugMix in the stream of set, id,
 * j, k), preprocess. */
int uqm_features_pixels(float *pixels, const struct uqm_survey *survey, size_t set,
                        const struct uqm_record *record, size_t k, uint32_t j,
                        const struct uqm_preprocess_config *config, uint64_t max_pixels,
                        struct uqm_err *err);

#endif
