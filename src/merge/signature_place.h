/* Where a folder's signature lies. */
#ifndef UQM_MERGE_SIGNATURE_PLACE_H
#define UQM_MERGE_SIGNATURE_PLACE_H

#include "src/base/err.h"

enum { UQM_MAX_SIGNATURE_BYTES = 1 << 28 };

struct uqm_signature_place {
    char *path;  /* of the bundle */
    char *below; /* the same relative to the folder; NULL: it lies elsewhere */
    char *model; /* the folder's or archive's own name */
};
/* signature NULL: DIR/model.sig, in an archive too. UQM_ERR_ARG when dir is neither that nor a
 * folder. The caller finishes it, also on failure. */
int uqm_signature_place_find(struct uqm_signature_place *out, const char *dir,
                             const char *signature, struct uqm_err *err);
void uqm_signature_place_finish(struct uqm_signature_place *place);

#endif
