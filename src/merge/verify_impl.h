/* The state of one uqm_verify(); between verify.c, verify_archive.c,
 * verify_tensor.c and verify_signature.c. */
#ifndef UQM_MERGE_VERIFY_IMPL_H
#define UQM_MERGE_VERIFY_IMPL_H

#include <jansson.h>

#include "io/file.h"
#include "src/base/env.h"
#include "src/base/hash.h"
#include "src/format/manifest.h"

struct uqm_verify {
    struct uqm_env *env;
    const struct uqm_verify_params *params;
    const char *path; /* the folder, or the archive */
    struct uqm_manifest m;
    struct uqm_sha256_hex manifest_sha256; /* of its text */
    struct uqm_sha256_hex signed_manifest; /* what a signature that holds says of it; "": nothing */
    json_t *differences;
    json_t *signature; /* what verify_signature.c has to say; NULL: nothing */
    uint64_t n_files, n_tensors, n_bytes, n_planned;
    struct uqm_xxh3 *xxh3;
    struct uqm_sha256 *sha256;
    struct uqm_err *err;
};

int uqm_verify_no_memory(const struct uqm_verify *v);
/* Note a difference within bytes [begin, end) of a file. tensor NULL: it is no tensor's. */
int uqm_verify_differs(struct uqm_verify *v, const char *file, const char *tensor, uint64_t begin,
                       uint64_t end, const char *what);

/* The manifest itself. *trusted: it is as it was written, and what was signed if something was, so
 * that the rest can be checked against it; else that is a difference. */
int uqm_verify_manifest(struct uqm_verify *v, bool *trusted);
int uqm_verify_inputs(struct uqm_verify *v);

/* verify_archive.c: an archive, with all that params asks for. */
int uqm_verify_archive(struct uqm_verify *v);

/* verify_tensor.c: the tensors that params->tensors names, through the hash trees: read are their
 * chunks, those of their files' headers and the leaves. */
int uqm_verify_tensors(struct uqm_verify *v);
/* One tensor of a file whose leaves are known to lead to its root. */
struct uqm_verify_chunks {
    const struct uqm_manifest_tensor *tensor; /* digest NULL: not known */
    const struct uqm_manifest_file *said;
    struct uqm_file *file;
    const struct uqm_sha256_digest *leaves; /* of the whole file */
    size_t n_leaves;
    uint64_t header_end;
};
int uqm_verify_chunks(struct uqm_verify *v, const struct uqm_verify_chunks *chunks);
/* That SHA256SUMS, if there is one, is what the manifest's files make it. */
int uqm_verify_sums(struct uqm_verify *v);

/* verify_signature.c: that the signature holds and that the files are those that it was made over;
 * with params->tensors only the signature. *holds: the signature does. */
int uqm_verify_signature(struct uqm_verify *v, bool *holds);

#endif
