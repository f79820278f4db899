/*
 * A model on its way into GGUF files (spec formats.md 3): the language model in one, the vision
 * tower and the projector, if it has them, in another that llama.cpp calls mmproj. Between
 * convert.c and gguf_*.c of this folder.
 */
#ifndef UQM_CONVERT_GGUF_EXPORT_H
#define UQM_CONVERT_GGUF_EXPORT_H

#include <jansson.h>

#include "compute/kernels.h"
#include "src/format/gguf.h"
#include "src/format/model_config.h"
#include "src/merge/plan.h"
#include "src/merge/write_form.h"

/* general.file_type */
enum uqm_gguf_kind {
    UQM_GGUF_ALL_F32 = 0,
    UQM_GGUF_ALL_F16 = 1,
    UQM_GGUF_ALL_Q8_0 = 7,
    UQM_GGUF_Q4_K_M = 15,
    UQM_GGUF_ALL_BF16 = 32,
};
const char *uqm_gguf_kind_name(enum uqm_gguf_kind kind); /* "Q4_K_M" */
/* false: no such type. */
bool uqm_gguf_kind_parse(enum uqm_gguf_kind *out, const char *name);

enum uqm_gguf_file { UQM_GGUF_LANGUAGE, UQM_GGUF_MMPROJ, UQM_GGUF_N_FILES };

/* The tokens' list, as long as the embedding has rows. */
struct uqm_gguf_vocab {
    uint32_t n;
    const char **texts;
    float *scores;
    int32_t *types;
    bool space_prefix, add_bos, add_eos;
    int64_t unknown, pad; /* -1: there is none */
};

/* One tensor of the output. */
struct uqm_gguf_export_tensor {
    size_t source; /* index */
    enum uqm_gguf_file file;
    const char *name;
    uint32_t n_heads; /* its rows are permuted, head by head; 0: they are not */
    uint32_t type;    /* UQM_GGML_... */
    bool fallen_back; /* the file's type does not fit its rows */
    unsigned n_dims;
    uint64_t dims[UQM_GGUF_MAX_DIMS];
};

struct uqm_gguf_export {
    struct uqm_write_form form; /* first */
    struct uqm_env *env;
    const char *in;           /* the model, for messages */
    const char *vision_tower; /* where the user says it is, or NULL */
    bool has_kind;            /* false: as the embedding is stored */
    enum uqm_gguf_kind kind;

    struct uqm_arena arena; /* holds the rest */
    char *name;             /* general.name; the files are called after it */
    struct uqm_model_config config;
    uint32_t n_vision_layers; /* that features need */
    uint32_t projection_dim;
    const char *chat_template; /* or NULL */
    uint32_t n_rows;           /* of the embedding */
    bool tied;                 /* it is the head, too */
    struct uqm_gguf_vocab vocab;
    size_t n_tensors;
    struct uqm_gguf_export_tensor *tensors; /* file after file, as they are written */
    const struct uqm_source *source;
    const struct uqm_shard_plan *shards;                          /* the plan's */
    const struct uqm_gguf_export_tensor *first[UQM_GGUF_N_FILES]; /* beside shards */
    struct uqm_kernels kernels;
};

int uqm_gguf_no_memory(const struct uqm_gguf_export *x, struct uqm_err *err);

/* gguf_model.c: what the files beside the weights say. UQM_ERR_UNSUPPORTED, by name: what GGUF's
 * llama or its readers do not know. */
int uqm_gguf_read_model(struct uqm_gguf_export *x, struct uqm_recipe_source *rs,
                        struct uqm_err *err);
/* gguf_vocab.c: after n_rows is known. config: tokenizer_config.json, or NULL; pad: the number that
 * config.json gives it, or -1. */
int uqm_gguf_read_vocab(struct uqm_gguf_export *x, const char *home, const json_t *config,
                        int64_t pad, struct uqm_err *err);

/*
 * gguf_names.c: 1, and file, name and n_heads of *out; 0: the tensor is left out, as buffers, the
 * layers behind the features and a tied head are; UQM_ERR_UNSUPPORTED: GGUF has no name for it.
 */
int uqm_gguf_name_tensor(struct uqm_gguf_export_tensor *out, struct uqm_gguf_export *x,
                         const struct uqm_tensor *tensor, struct uqm_err *err);
/* Whether the model has every tensor that its configs speak of: a reader would miss it. */
int uqm_gguf_check_complete(const struct uqm_gguf_export *x, const struct uqm_source *source,
                            struct uqm_err *err);
/* gguf_types.c: type and dims of *out, whose name is known. */
int uqm_gguf_type_tensor(struct uqm_gguf_export_tensor *out, const struct uqm_gguf_export *x,
                         const struct uqm_tensor *tensor, struct uqm_err *err);
/* The file type of a file; mmproj keeps to 16 bits where the language model has fewer. */
enum uqm_gguf_kind uqm_gguf_kind_of(const struct uqm_gguf_export *x, enum uqm_gguf_file file);

/* gguf_keys.c: all keys of a file. */
void uqm_gguf_put_keys(struct uqm_gguf_header *header, const struct uqm_gguf_export *x,
                       enum uqm_gguf_file file);

/* gguf_encode.c: struct uqm_write_form.encode. */
int uqm_gguf_encode(struct uqm_write_form *form, void *out, size_t *n_bytes,
                    const struct uqm_shard_plan *shard, size_t place, const struct uqm_tile *tile,
                    struct uqm_threads *threads, struct uqm_err *err);

/* gguf_layout.c. env, in, vision_tower, kind are set; the rest is filled in when the writer asks
 * for the layout. */
void uqm_gguf_export_init(struct uqm_gguf_export *x);
void uqm_gguf_export_finish(struct uqm_gguf_export *x);

#endif
