/*
 * uqmerge.manifest.json: what a merge was made from and what it wrote (spec cli.md, verify). Pure:
 * a struct to text and back.
 *
 * The document's last key, xxh3_128, is the digest of all bytes before the comma in front of it: so
 * a changed byte of the manifest itself is found too.
 */
#ifndef UQM_FORMAT_MANIFEST_H
#define UQM_FORMAT_MANIFEST_H

#include "src/base/arena.h"
#include "src/base/err.h"

#define UQM_MANIFEST_NAME "uqmerge.manifest.json"
#define UQM_LEAVES_NAME   "uqmerge.leaves"
#define UQM_SUMS_NAME     "SHA256SUMS"

struct uqm_manifest_file {
    const char *name; /* a bare name, no folder */
    uint64_t bytes;
    const char *digest; /* lower-case hex: xxh3_128 of inputs, sha256 of what was written */
    const char *root;   /* of what was written: its hash tree's (src/base/tree.h); NULL: not said */
};

struct uqm_manifest_input {
    const char *path;
    size_t n_files;
    struct uqm_manifest_file *files;
};

struct uqm_manifest_tensor {
    const char *name;
    size_t file;     /* index into files */
    uint64_t offset; /* from the start of the file */
    uint64_t bytes;
    const char *digest; /* xxh3_128 */
};

struct uqm_manifest {
    const char *program; /* "uqmerge 0.1.0" */
    const char *recipe;  /* its text */
    uint64_t seed;
    /* The file of leaves: those of all files with a root, in the list's order, 32 bytes each. NULL:
     * there is none, and no roots. */
    const char *leaves_name;
    size_t n_inputs, n_files, n_tensors;
    struct uqm_manifest_input *inputs;
    struct uqm_manifest_file *files;
    struct uqm_manifest_tensor *tensors;
    struct uqm_arena arena; /* a parsed one's strings and lists */
};

/* malloc'ed text; NULL: out of memory, or a string that is not UTF-8. Equal structs give equal
 * bytes. */
char *uqm_manifest_dump(const struct uqm_manifest *manifest);

/*
 * Parse and check: names bare and unique, digests of the right length, tensors inside their files.
 * *intact: whether the text is as it was written, to the byte; a manifest that is not may still
 * parse. Messages begin with `where`. The caller finishes it; on failure there is nothing to
 * finish.
 */
int uqm_manifest_parse(struct uqm_manifest *out, bool *intact, const char *text, size_t len,
                       const char *where, struct uqm_err *err);
void uqm_manifest_finish(struct uqm_manifest *manifest);

#endif
