/* Where a folder's or an archive's signature lies. */
#ifndef UQM_MERGE_SIGNATURE_PLACE_H
#define UQM_MERGE_SIGNATURE_PLACE_H

#include <stdbool.h>

#include "src/base/err.h"

enum { UQM_MAX_SIGNATURE_BYTES = 1 << 28 };

struct uqm_signature_place {
    char *path;  /* of the bundle */
    char *below; /* the same relative to the folder; NULL: it lies elsewhere */
    char *model; /* the folder's or archive's own name */
};
/* signature NULL: DIR/model.sig; of an archive ARCHIVE.sig, or the model.sig packed in it where it
 * is not to be made (is_new) and there is none beside it. UQM_ERR_ARG when dir is neither folder
 * nor archive. The caller finishes it, also on failure. */
int uqm_signature_place_find(struct uqm_signature_place *out, const char *dir,
                             const char *signature, bool is_new, struct uqm_err *err);
void uqm_signature_place_finish(struct uqm_signature_place *place);

#endif
