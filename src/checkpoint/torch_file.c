#include "src/checkpoint/load.h"

int uqm_load_torch(struct uqm_loading *ld, size_t file, struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_UNSUPPORTED, "%s: PyTorch files are not read yet",
                    ld->cp->files[file]->name);
}
