/*
 * uqmerge: merge neural-network checkpoints that are larger than memory, and choose
 * which ones to merge by their uncertainty.
 *
 * The one public header. Every command of the program is one call here: a params
 * struct whose zero means the default, a result, an error. The library never prints,
 * never exits and keeps no global state; it calls the log and progress callbacks it
 * was given.
 *
 * Results are JSON documents in the form that docs/json.md fixes, as text: what a
 * script reads from `uqmerge COMMAND --json` and what a program gets from the call
 * are the same bytes. The caller frees them with free().
 */
#ifndef UQMERGE_H
#define UQMERGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define UQM_API __attribute__((visibility("default")))

/* 0 is success, failures are negative. */
enum uqm_status {
    UQM_OK = 0,
    UQM_ERR_IO = -1,          /* the system refused; see uqm_err.sys_errno */
    UQM_ERR_FORMAT = -2,      /* a file contradicts itself, or another one it belongs with */
    UQM_ERR_NOMEM = -3,       /* the allocator or the memory budget refused */
    UQM_ERR_ARG = -4,         /* what was asked for does not fit what is there */
    UQM_ERR_UNSUPPORTED = -5, /* well-formed, but not something this version does */
    UQM_ERR_INTERRUPTED = -6, /* the caller's interrupt flag was seen */
    UQM_ERR_CHECK = -7,       /* a verification did not hold */
    UQM_ERR_DEVICE = -8,      /* the GPU was lost while it worked */
    UQM_ERR_USAGE = -9,       /* the params alone make no sense, whatever the files hold */
};

/* The caller's: zero it once, reuse it freely. One thread at a time. */
struct uqm_err {
    enum uqm_status code;
    int sys_errno; /* 0 where no system call was at fault */
    char msg[512]; /* one line: WHERE: WHAT */
};

enum uqm_log_level { UQM_LOG_ERROR, UQM_LOG_WARN, UQM_LOG_INFO, UQM_LOG_DEBUG };

/* One finished line without its newline. May be called from any thread. */
typedef void (*uqm_log_fn)(void *ctx, enum uqm_log_level level, const char *line);

/* How far a call has come. `total` 0: not known yet. */
struct uqm_progress {
    const char *stage; /* e.g. "merging", "uncertainty of reason (3/10)" */
    const char *unit;  /* "bytes", "prompts", "images" */
    uint64_t done, total;
};
/* Called often, from one thread at a time; must return quickly. */
typedef void (*uqm_progress_fn)(void *ctx, const struct uqm_progress *progress);

enum uqm_io_kind { UQM_IO_AUTO, UQM_IO_URING, UQM_IO_PREAD };
enum uqm_direct { UQM_DIRECT_AUTO, UQM_DIRECT_ON, UQM_DIRECT_OFF };

/* What every command takes. Zero everywhere is a good default. */
struct uqm_common {
    uint64_t memory; /* bytes for everything; 0: a quarter of what is available, within
                        [256 MiB, 4 GiB] */
    int n_threads;   /* 0: the CPUs we may run on */
    enum uqm_io_kind io;
    enum uqm_direct direct;
    const char *device; /* NULL, "auto", "cpu", "vulkan", "vulkan:N", "vulkan:PART-OF-NAME" */
    uint64_t seed;
    bool strict;         /* warnings become errors */
    bool ignore_crc;     /* read PyTorch files whose checksums are wrong */
    uint64_t sync_bytes; /* written output that an interruption may cost, so that the same call goes
                            on from there; 0: 256 MiB, and never more than some seconds of it */
    uqm_log_fn log;
    uqm_progress_fn progress;
    void *ctx;                  /* handed to both callbacks */
    const volatile int *cancel; /* NULL, or a flag that a signal handler sets, or another thread
                                   atomically: the call winds up and returns
                                   UQM_ERR_INTERRUPTED */
};

/* A list of strings, borrowed for the call. */
struct uqm_strings {
    const char *const *v;
    size_t n;
};

struct uqm_inspect_params {
    struct uqm_common common;
    const char *path; /* a checkpoint folder or one weight file, GGUF's among them */
};
UQM_API int uqm_inspect(char **json, const struct uqm_inspect_params *params, struct uqm_err *err);

struct uqm_diff_params {
    struct uqm_common common;
    const char *path_a, *path_b;
};
UQM_API int uqm_diff(char **json, const struct uqm_diff_params *params, struct uqm_err *err);

/* How merges compute (docs/cli.md, merge). Random methods draw different numbers in the two. */
enum uqm_numerics {
    UQM_NUMERICS_ACCURATE, /* widen once, f32 and f64 inside, round once */
    UQM_NUMERICS_MERGEKIT, /* mergekit 0.1.5's roundings and random stream, operation by operation
                            */
};

/* What is said of each tensor after a merge (docs/formats/report.md). */
enum uqm_report_kind {
    UQM_REPORT_SAMPLED, /* of large tensors every 64th block is compared */
    UQM_REPORT_FULL,    /* every element is */
    UQM_REPORT_OFF,     /* nothing; elements that become NaN are found all the same */
};

struct uqm_merge_params {
    struct uqm_common common;
    const char *recipe_path;
    struct uqm_strings recipes; /* n > 0: several recipes instead, in one pass over their inputs */
    const char *out_dir;        /* must not exist, unless overwrite; of several recipes: a folder,
                                   made if it is not there, that gets one for each, called as the
                                   recipe's file without its ending */
    bool overwrite;             /* replace a finished OUT, atomically */
    bool dry_run;               /* the result is the plan; nothing is written */
    uint64_t out_shard_bytes;   /* 0: 5 * 10^9; UINT64_MAX: one file */
    bool no_copy_tokenizer;
    bool no_model_card;       /* neither README.md nor mergekit_config.yml */
    bool truncate_embeddings; /* cut vocabularies to the shortest input's */
    bool allow_crimes;        /* merge different architectures */
    bool allow_nan;           /* write elements that became NaN though no input is NaN there */
    const char *vision_tower;
    enum uqm_numerics numerics;
    enum uqm_report_kind report;
};
/*
 * Merge the recipe's checkpoints into out_dir, tile by tile.
 *
 * Peak memory is common.memory, whatever the models' size. The bytes written depend on
 * recipe and inputs alone, not on threads, memory, engine, CPU or timing. out_dir appears
 * whole or not at all. What an interrupted call left beside it (.NAME.part) the same call, on the
 * same inputs, goes on from.
 */
UQM_API int uqm_merge(char **json, const struct uqm_merge_params *params, struct uqm_err *err);

struct uqm_pack_params {
    struct uqm_common common;
    const char *dir;        /* any folder; of weight files in it the tensors are packed apart */
    const char *archive;    /* OUT.uqz; must not exist, unless overwrite */
    const char *delta_from; /* NULL, or a folder or archive: store what differs from its tensors */
    bool overwrite;
};
/*
 * Pack a folder into one archive (docs/archive.md): every byte of every file, in blocks that are
 * compressed and checksummed by themselves, so that any range can be read without unpacking the
 * rest. The archive's bytes depend on the files alone. It appears whole or not at all.
 */
UQM_API int uqm_pack(char **json, const struct uqm_pack_params *params, struct uqm_err *err);

struct uqm_unpack_params {
    struct uqm_common common;
    const char *archive;
    const char *out_dir; /* must not exist */
    const char *base;    /* NULL: the base is where the archive says, or beside it; UQM_ERR_ARG when
                            the archive needs none */
};
/*
 * Restore every file of an archive, each proven by its SHA-256. out_dir appears whole or not at
 * all; what an interrupted call left beside it the same call goes on from.
 */
UQM_API int uqm_unpack(char **json, const struct uqm_unpack_params *params, struct uqm_err *err);

enum uqm_convert_to { UQM_TO_HF, UQM_TO_LLAVA, UQM_TO_GGUF };

struct uqm_convert_params {
    struct uqm_common common;
    const char *in, *out; /* as in a merge; OUT must not exist, unless overwrite */
    enum uqm_convert_to to;
    const char *vision_tower; /* of a LLaVA in its own layout; NULL: its own, or beside it */
    /* NULL: as stored; "float16", "bfloat16", "float32", "float64", or "f16" and so on; to GGUF
     * also "q8_0" and "q4_k_m", and not "float64" */
    const char *dtype;
    uint64_t out_shard_bytes; /* as in a merge */
    bool overwrite;
};
/*
 * Write a checkpoint anew as safetensors: files of PyTorch, or in other shards, or of another type,
 * or of LLaVA's own layout in Hugging Face's and back: names, vocabulary, configs, processor and
 * tokenizer, with the vision tower in the checkpoint. Or as GGUF, of a LLaMA or LLaVA 1.5: OUT gets
 * NAME-TYPE.gguf, and mmproj-NAME-TYPE.gguf of a model with a vision tower; IN may be a recipe, and
 * out_shard_bytes is 0. All that uqm_merge() promises holds; *json is as there.
 */
UQM_API int uqm_convert(char **json, const struct uqm_convert_params *params, struct uqm_err *err);

struct uqm_verify_params {
    struct uqm_common common;
    const char *path;
    bool inputs; /* also check that the manifest's inputs are still those */
    /* n > 0: only these tensors, through the hash trees: no more is read than the chunks of 1 MiB
     * that they lie in, their files' headers and the leaves */
    struct uqm_strings tensors;
    /* At most one, and then the files are checked against the signature, not the manifest: the
     * signer's key, or certificates one of which the signer's must lead to; PEM */
    const char *public_key, *certificate_chain;
    /* NULL: PATH/model.sig; of an archive PATH.sig, or where there is none the packed model.sig */
    const char *signature;
};
/* UQM_ERR_CHECK when something differs: *json then lists it all the same. */
UQM_API int uqm_verify(char **json, const struct uqm_verify_params *params, struct uqm_err *err);

struct uqm_sign_params {
    struct uqm_common common;
    const char *path;      /* a folder or an archive */
    const char *key;       /* a private key on P-256, P-384 or P-521, PEM without a password */
    const char *signature; /* NULL: PATH/model.sig, of an archive PATH.sig; replaced if there */
};
/* Sign all files of a folder, or of an archive, as OpenSSF Model Signing does. */
UQM_API int uqm_sign(char **json, const struct uqm_sign_params *params, struct uqm_err *err);

struct uqm_ask_params {
    struct uqm_common common;
    const char *model;
    const char *vision_tower;  /* NULL: the model's own, or beside it */
    struct uqm_strings images; /* pictures, in the order of the prompt's <image> marks; those that
                                  it has no mark for stand before it. At most 64; none: text only */
    const char *prompt;
    const char *system; /* NULL: vicuna_v1's */
    int max_tokens;     /* 0: 64 */
    bool logits;
    bool dry_run; /* as in struct uqm_question_params */
    bool fast;    /* as there */
};
UQM_API int uqm_ask(char **json, const struct uqm_ask_params *params, struct uqm_err *err);

/* What `uq`, `select` and `eval` share: which models are asked which questions. */
struct uqm_question_params {
    struct uqm_strings models; /* folders or recipes */
    struct uqm_strings data;   /* [NAME=]FILE */
    const char *task;          /* NULL: tasks.json or the record's shape decides */
    const char *vision_tower;
    double sample_ratio;   /* 0: all; in (0,1]: that share of each set */
    uint64_t sample_count; /* 0: sample_ratio decides */
    bool dry_run;          /* nothing is asked: the log says how it would be, and in what memory */
    /* On a Vulkan device: products with F16 weights round the other factor to F16, and add up in
     * f32 as ever (docs/vulkan.md says how far results are then off: option probabilities 1e-3,
     * seldom more). UQM_ERR_ARG on the CPU, UQM_ERR_USAGE in a sweep (window) and in a select,
     * whose steps differ by less than that. */
    bool fast;
};

enum { UQM_PERTURB_IMAGE = 1, UQM_PERTURB_TEXT = 2, UQM_PERTURB_MODEL = 4, UQM_PERTURB_NONE = 8 };

/* How a model's uncertainty is measured. */
enum uqm_uq_method {
    UQM_UQ_PERTURB,   /* mutual information of answer and perturbation; no label is used */
    UQM_UQ_CONFORMAL, /* size of conformal prediction sets; needs labels */
};

/* Where random draws come from. */
enum uqm_streams {
    UQM_STREAMS_OWN,     /* by counter, from the seed: independent of what else is asked */
    UQM_STREAMS_AUTHORS, /* the prompts' prefixes, and the sample, as the paper's code draws them:
                            from one generator seeded with 42, set after set. The rest is ours */
};

struct uqm_uq_params {
    struct uqm_common common;
    struct uqm_question_params questions;
    unsigned perturb; /* 0: all three */
    int repeats;      /* J; 0: 4 */
    double dropout;   /* used when has_dropout; default 0.1 */
    bool has_dropout;
    const char *trace_path; /* NULL, or JSON lines of every option distribution */
    enum uqm_uq_method method;
    double alpha; /* of conformal sets: the share that may miss the truth; 0: 0.1 */
    enum uqm_streams streams;
    int window;       /* so many models are measured in one sweep over their inputs, where they are
                         merges of the models of the last of them (recipes); 0: 1 */
    bool with_values; /* each set's JSON has "values": a number a record, null without one */
};
UQM_API int uqm_uq(char **json, const struct uqm_uq_params *params, struct uqm_err *err);

enum uqm_order {
    UQM_ORDER_UQ_DESC,
    UQM_ORDER_UQ_ASC,
    UQM_ORDER_ACCURACY_DESC,
    UQM_ORDER_ACCURACY_ASC,
    UQM_ORDER_GIVEN,
    UQM_ORDER_RANDOM,
};

struct uqm_select_params {
    struct uqm_uq_params uq;
    const char *out_dir;  /* required unless no_write */
    const char *merge;    /* NULL: "linear"; a method's name, or a recipe without models (.yml) */
    const char *base_dir; /* of methods that take differences to one */
    enum uqm_order order; /* by accuracy: the loop is guided by accuracy as well */
    bool no_write;
    bool all_steps; /* go on past the stop */
    bool overwrite;
    double min_drop;
    int patience;
    double guard;      /* stop before a model whose uncertainty is below this times the current
                          merge's, and at a step whose answers have collapsed; 0: off */
    double min_spread; /* stop before a step whose answers, put together, have less than this times
                         the largest entropy of the steps before it; 0: off */
    double confident;  /* in (0, 1): ask a step's records only until its comparison with the best
                          is decided at this level; 0: ask all */
    int window;        /* steps that are measured in one sweep over the inputs; 0: 1 */
    const char *state_path; /* NULL: beside out_dir */
};
/* UQ-Merge, Algorithm 1. An interrupted call goes on from the last finished model or step. */
UQM_API int uqm_select(char **json, const struct uqm_select_params *params, struct uqm_err *err);

/* max_new_tokens that stand for each task's own limit; and the most there can be. */
enum { UQM_TASK_TOKENS = -1, UQM_MOST_TOKENS = 1 << 20 };

struct uqm_eval_params {
    struct uqm_common common;
    struct uqm_question_params questions;
    int max_new_tokens;     /* of an answer in words; 0: 15; UQM_TASK_TOKENS: the task's own */
    const char *trace_path; /* NULL, or JSON lines of every answer */
    int window;             /* as in uqm_uq_params */
};
UQM_API int uqm_eval(char **json, const struct uqm_eval_params *params, struct uqm_err *err);

struct uqm_experiment_params {
    struct uqm_common common; /* seed must be 0: a study's seeds stand in its file */
    const char *study_path;   /* required */
    const char *out_dir;      /* required: new, empty, or left by an earlier run */
    struct uqm_strings only;  /* names of tables, "f1", "t1", ...; none: what the study says */
    bool dry_run;             /* the result lists the jobs; nothing is asked or written */
};
/* The paper's tables over a study file (docs/experiments.md). An interrupted call goes on from the
 * last answer that was found. */
UQM_API int uqm_experiment(char **json, const struct uqm_experiment_params *params,
                           struct uqm_err *err);

struct uqm_report_params {
    struct uqm_common common;
    struct uqm_strings files; /* what uq, select, eval, diff, merge and experiment gave as JSON, and
                                 a merge's uqmerge.report.json */
    const char *document;     /* instead of files: one such document as text */
    const char *out_path;     /* required; a page there is replaced as a whole, nothing else is */
    const char *title;        /* NULL: "uqmerge report" */
    bool check_only; /* say whether out_path can be written, of what is not known yet: *json
                        is NULL */
};
/* One self-contained HTML page. UQM_ERR_FORMAT names a file that is no such document. */
UQM_API int uqm_write_report(char **json, const struct uqm_report_params *params,
                             struct uqm_err *err);

/* What this machine can run network layers on. */
UQM_API int uqm_devices(char **json, struct uqm_err *err);

/* "0.1.0" */
UQM_API const char *uqm_version(void);

/* The i-th name of a merge method (uqm_select_params.merge) and of a task that is known without a
 * tasks.json (uqm_question_params.task); NULL behind the last. */
UQM_API const char *uqm_method_name(size_t i);
UQM_API const char *uqm_task_name(size_t i);

#ifdef __cplusplus
}
#endif
#endif
