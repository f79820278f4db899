/*
 * The .uqz archive (docs/archive.md is its description, byte for byte): a header, blocks of packed
 * bytes one after the other, an index of what they are, a footer that says where the index lies.
 * Pure: the header's, footer's and index's bytes in, checked structs out, and back. The index is
 * handed over unpacked.
 *
 * A file is a row of segments; a segment is cut in blocks of block_bytes, the last one shorter;
 * a block's bytes are taken apart into planes (byte k of every word), and each plane stored as it
 * is or as one zstd frame. Blocks are stored without gaps, in the order of files and segments.
 * Every length is in the index, none in what it describes.
 */
#ifndef UQM_FORMAT_ARCHIVE_INDEX_H
#define UQM_FORMAT_ARCHIVE_INDEX_H

#include "src/base/arena.h"
#include "src/base/dtype.h"
#include "src/base/err.h"
#include "src/base/hash.h"

enum {
    UQM_ARCHIVE_VERSION = 1,
    UQM_ARCHIVE_HEADER_BYTES = 64,
    UQM_ARCHIVE_FOOTER_BYTES = 64,
    UQM_ARCHIVE_LEAST_BLOCK = 256 << 10,
    UQM_ARCHIVE_MOST_BLOCK = 4 << 20,
    UQM_ARCHIVE_MOST_INDEX = 256 << 20,
    UQM_ARCHIVE_MOST_PATH = 4095,
    UQM_ARCHIVE_MOST_FOLDERS = 64, /* that a file lies in */
    UQM_ARCHIVE_MAX_PLANES = 4,
    /* in the index: */
    UQM_ARCHIVE_BLOCK_ENTRY = 16, /* bytes, and 4 for each plane */
    UQM_ARCHIVE_SEGMENT_DELTA = 1,
    UQM_ARCHIVE_FILE_EXECUTABLE = 1,
};
#define UQM_ARCHIVE_PLANE_PACKED UINT32_C(0x80000000)

/* How a segment's bytes are taken apart: also the bytes of a word, and the number of planes. */
enum uqm_archive_words {
    UQM_ARCHIVE_BYTES = 1,
    UQM_ARCHIVE_WORDS16 = 2, /* u16, rotated left by one bit: planes are high bytes, low bytes */
    UQM_ARCHIVE_WORDS32 = 4, /* u32, likewise: from the highest byte to the lowest */
};

struct uqm_archive_plane {
    uint32_t stored_bytes;
    bool packed; /* one zstd frame; else the plane as it is */
};

struct uqm_archive_block {
    uint64_t stored_off; /* from the start of the archive; not in the index: the sum so far */
    uint32_t stored_bytes;
    uint64_t plain_xxh3;  /* XXH3-64 of the block's bytes in the file */
    uint64_t stored_xxh3; /* XXH3-64 of what is stored, all planes */
    struct uqm_archive_plane planes[UQM_ARCHIVE_MAX_PLANES];
};

struct uqm_archive_segment {
    uint64_t begin, n_bytes; /* in the file */
    enum uqm_archive_words words;
    bool is_delta;      /* XOR with n_bytes of the base */
    uint32_t base_file; /* index into base_files */
    uint64_t base_off;
    uint64_t first_block, n_blocks;
};

struct uqm_archive_file {
    const char *path; /* relative, '/' between components; valid UTF-8 or not */
    uint64_t n_bytes;
    bool executable;
    struct uqm_sha256_digest sha256;
    struct uqm_sha256_digest root; /* of the hash tree (base/tree.h) */
    const struct uqm_sha256_digest *leaves;
    size_t n_leaves; /* one a MiB */
    size_t first_segment, n_segments;
    size_t first_tensor, n_tensors;
};

/* For people and for messages: reading goes by bytes of files. Ascending by place in the file. */
struct uqm_archive_tensor {
    const char *name;
    enum uqm_dtype dtype;
    unsigned rank;
    const uint64_t *shape;
    uint64_t off_bytes, n_bytes; /* in the file */
};

struct uqm_archive_base_file {
    const char *path; /* in the base's folder */
    uint64_t n_bytes;
    struct uqm_sha256_digest sha256;
};

struct uqm_archive_index {
    uint32_t block_bytes;  /* a power of two */
    const char *base_path; /* as it was given; "": no base */
    struct uqm_archive_base_file *base_files;
    struct uqm_archive_file *files; /* ascending by path, bytewise */
    struct uqm_archive_segment *segments;
    struct uqm_archive_tensor *tensors;
    struct uqm_archive_block *blocks;
    size_t n_base_files, n_files, n_segments, n_tensors, n_blocks;
    struct uqm_arena arena; /* a parsed one's lists and strings */
};

/* --- header and footer --- */

void uqm_archive_header_put(uint8_t out[UQM_ARCHIVE_HEADER_BYTES]);
int uqm_archive_header_check(const uint8_t header[UQM_ARCHIVE_HEADER_BYTES], struct uqm_err *err);

struct uqm_archive_footer {
    uint64_t index_off, index_stored_bytes, index_bytes; /* index_bytes: unpacked */
    uint64_t index_xxh3;                                 /* XXH3-64 of what is stored */
    bool index_packed;
};
void uqm_archive_footer_put(uint8_t out[UQM_ARCHIVE_FOOTER_BYTES],
                            const struct uqm_archive_footer *footer);
/* Checked against the archive's size; the index is at most 64 times what is stored of it. */
int uqm_archive_footer_parse(struct uqm_archive_footer *out,
                             const uint8_t footer[UQM_ARCHIVE_FOOTER_BYTES], uint64_t archive_bytes,
                             struct uqm_err *err);

/* --- index --- */

/* malloc'ed; NULL: out of memory. Does not look at stored_off, stored_bytes and the tables' own
 * places. */
uint8_t *uqm_archive_index_dump(size_t *len, const struct uqm_archive_index *index);

/*
 * Parse and check: paths relative, unique and none a folder of another; segments that cover their
 * files; blocks that fill [UQM_ARCHIVE_HEADER_BYTES, index_off) of the archive; every plane's
 * length against what it unpacks to; tensors inside their files. Messages name the file or record,
 * not the archive. Allocates in proportion to len. On failure *out is untouched.
 */
int uqm_archive_index_parse(struct uqm_archive_index *out, const uint8_t *bytes, size_t len,
                            uint64_t index_off, struct uqm_err *err);
void uqm_archive_index_finish(struct uqm_archive_index *index);

/* Index of the file with this path, or -1. */
long uqm_archive_index_find(const struct uqm_archive_index *index, const char *path);
/* Of the file's segment that holds this byte, which lies inside the file. */
size_t uqm_archive_index_segment(const struct uqm_archive_index *index, size_t file,
                                 uint64_t off_bytes);
/* Bytes that block `block` of a segment unpacks to; it is counted from the segment's first. */
uint32_t uqm_archive_block_bytes(const struct uqm_archive_index *index,
                                 const struct uqm_archive_segment *segment, uint64_t block);
/* The tensor that covers this byte of the file, or NULL. */
const struct uqm_archive_tensor *uqm_archive_index_tensor(const struct uqm_archive_index *index,
                                                          size_t file, uint64_t off_bytes);
/* A relative path as archives hold them: no empty, "." or ".." component, none above 255 bytes, no
 * NUL, not too long. */
bool uqm_archive_path_is_valid(const char *path, size_t len);

#endif
