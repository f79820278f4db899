/*
 * A tensor whose elements do not lie as a tensor's do here, one after the other in row-major order
 * and little-endian: a made file (io/file.h) of the bytes as they should be. Transposed, sliced and
 * repeated views are gathered while they are read, a range at a time; nothing is held.
 */
#ifndef UQM_CHECKPOINT_STRIDED_H
#define UQM_CHECKPOINT_STRIDED_H

#include "io/file.h"

struct uqm_strided {
    struct uqm_file *file; /* borrowed; open as long as what is made of it */
    uint64_t begin, end;   /* the storage's bytes in it */
    uint64_t offset_elem;  /* of the first element, in the storage */
    unsigned elem_bytes;   /* 1, 2, 4 or 8 */
    unsigned swap_bytes;   /* 2, 4 or 8: runs of so many bytes are reversed; 0: none are */
    unsigned rank;
    const uint64_t *shape, *strides; /* [rank]; strides in elements */
};

/* Every element lies inside the storage: the caller has checked it. Copies what it is given. `name`
 * is the tensor's, fit for a message. */
int uqm_strided_open(struct uqm_file **out, const struct uqm_strided *tensor, const char *name,
                     struct uqm_err *err);

#endif
