/*
 * The zip archive that torch.save writes (spec formats.md 2): its directory, checked so strictly
 * that any two programs which accept the file read the same records. Refused: compression,
 * encryption, a local name other than the directory's, a name twice, a second root, entries that
 * overlap or leave gaps, bytes before the first or after the end record, several disks, paths that
 * climb, and by name the older kinds of file (legacy, tar) and TorchScript.
 */
#ifndef UQM_FORMAT_TORCH_ZIP_H
#define UQM_FORMAT_TORCH_ZIP_H

#include "src/base/arena.h"
#include "src/base/err.h"

enum { UQM_ZIP_MAX_ENTRIES = 1 << 20, UQM_ZIP_MAX_DIRECTORY_BYTES = 128 << 20 };

/* The file, read through the caller: exactly len bytes at off_bytes, inside size_bytes. */
struct uqm_zip_input {
    int (*read)(void *ctx, void *buf, size_t len, uint64_t off_bytes, struct uqm_err *err);
    void *ctx;
    uint64_t size_bytes;
    bool ignore_crc;
};

struct uqm_zip_record {
    const char *name;        /* below the root: "data.pkl", "data/0" */
    uint64_t begin, n_bytes; /* where its bytes lie in the file */
    uint32_t crc;
};

struct uqm_torch_zip {
    struct uqm_zip_record *records; /* ascending by name */
    size_t n_records;
    struct uqm_arena arena;
};

/*
 * Messages name the entry, not the file, unless input->read wrote them. UQM_ERR_UNSUPPORTED for
 * files of a known other kind. On failure *out is untouched.
 */
int uqm_torch_zip_open(struct uqm_torch_zip *out, const struct uqm_zip_input *input,
                       struct uqm_err *err);
void uqm_torch_zip_finish(struct uqm_torch_zip *zip);

/* NULL when there is none of this name. */
const struct uqm_zip_record *uqm_torch_zip_find(const struct uqm_torch_zip *zip, const char *name);

/* A whole record of at most max_bytes, its CRC-32 checked unless the input says not to. *out is
 * malloc'ed and the caller's. */
int uqm_torch_zip_read(uint8_t **out, const struct uqm_zip_record *record,
                       const struct uqm_zip_input *input, size_t max_bytes, struct uqm_err *err);

/* CRC-32 of ISO 3309, as zip uses it; start from 0. */
uint32_t uqm_crc32(uint32_t crc, const uint8_t *bytes, size_t len);

#endif
