/*
 * Question sets: JSON lines, or the JSON arrays of the paper's code (spec uq.md 5.1), as records in
 * memory. Two record shapes are read, whichever of the two files they stand in:
 *
 *     {"id", "image", "question", "hint"?, "choices": [...], "answer": index, letter or null}
 *     {"id", "image_path", "question", "hint"?, "A", "B", "C", "D", "answer": "A".."D"}
 *
 * and generation records, {"id", "image", "question", "hint"?, "choices"?, "answers": [...]}: what
 * counts as a right answer, as texts or as VQAv2's objects {"answer": text}. Where there are
 * neither choices nor "answers", "answer" is read as one text or a list of them.
 *
 * "image" (or "images", or "image_path") may be a list of up to UQM_MAX_IMAGES paths: the record's
 * pictures, in the order of their `<image>` marks. Where question, hint or choices name pictures as
 * MMMU does, `<image 1>`, `<image 2>`, ..., the record has only those of the list that are named,
 * in the order of their numbers; these marks stay as they are.
 *
 * Tables (.tsv) as MMBench ships them are read, too (dataset_tsv.h).
 *
 * null, Python's NaN and the text "nan" in any case mean "none". The choices A to D end at the
 * first that is none. An empty hint is a hint. A record without an id gets the number of its line
 * (of its place, in an array); two records with one id are an error, because random streams are
 * named by it.
 */
#ifndef UQM_UQ_DATASET_H
#define UQM_UQ_DATASET_H

#include "src/base/arena.h"
#include "src/base/env.h"
#include "src/base/hash.h"

enum {
    UQM_N_OPTIONS = 6, /* the letters A to F whose logits are read */
    UQM_MAX_CHOICES = 26,
    UQM_MAX_IMAGES = 64, /* of a record */
};

struct uqm_record {
    const char *id;
    const char
        *image; /* a path that can be opened from here, or NULL: a question without picture */
    uint64_t
        image_at; /* ... in a table (dataset_tsv.h): where in that file its base64 begins ... */
    size_t image_bytes;             /* ... and how much there is; 0: the file is the picture */
    const char *const *more_images; /* of a record with several pictures: those after the first */
    size_t n_more_images;
    const char *question;
    const char *hint; /* NULL: none */
    const char *const *choices;
    size_t n_choices;           /* 0: not multiple choice */
    int answer;                 /* index into choices; -1: no label */
    const char *const *answers; /* of a generation record, in the file's order */
    size_t n_answers;           /* 0: none */
    const char *category;       /* "category", else "dataset"; NULL: none */
    size_t line;                /* from 1; in an array, the place from 1 */
};

static inline size_t uqm_record_n_images(const struct uqm_record *r)
{
    return r->image ? 1 + r->n_more_images : 0;
}
/* The path of the k-th picture. */
static inline const char *uqm_record_image(const struct uqm_record *r, size_t k)
{
    return k ? r->more_images[k - 1] : r->image;
}

struct uqm_dataset {
    const char *name;
    const char *path;
    bool is_array;              /* a JSON array, not lines or rows */
    struct uqm_xxh3_hex digest; /* of the file's bytes */
    size_t n_records;
    struct uqm_record *records; /* in the file's order */
    struct uqm_arena arena;     /* holds everything above */
};

enum { UQM_DATASET_MAX_BYTES = 1 << 28, UQM_DATASET_MAX_RECORDS = 1 << 24 };

/*
 * arg: FILE or NAME=FILE; a file whose whole name is `arg` wins. The name is else the file's,
 * without its ending. Image paths are looked for in the file's folder, then in its parents, nearest
 * first; one that is nowhere stays as in the folder, and fails when it is opened. An absolute one
 * is refused: the file would name pictures of somebody else's machine.
 *
 * UQM_ERR_FORMAT: uqm_record_where(), then what is wrong. The file may not take more than an eighth
 * of the memory that is left. *out is to be finished, whatever is returned.
 */
int uqm_dataset_load(struct uqm_dataset *out, struct uqm_env *env, const char *arg,
                     struct uqm_err *err);
void uqm_dataset_finish(struct uqm_dataset *set);

/* "FILE:LINE: record ID" ("FILE[PLACE]: record ID" in an array), for messages; cut where too long.
 */
struct uqm_record_where {
    char text[320];
};
const char *uqm_record_where(struct uqm_record_where *buf, const struct uqm_dataset *set,
                             const struct uqm_record *record);

#endif
