/*
 * What a merge method is to the engine: a handful of functions on runs of elements. The engine
 * (exec.h, merge_stream.c) reads, cuts, spreads over threads, keeps what fits, counts passes; a
 * method knows none of that.
 *
 * One output tensor is one job. A method with statistics over a whole tensor (norms, thresholds)
 * has passes before it merges:
 *
 *     for each pass p:  scan() every block, on all threads, in any order
 *                       fold() their partials one by one, in the order of the blocks
 *                       gather() the workers' tallies, one by one, after every segment
 *                       end_pass()
 *     then merge() any run of elements, in any order, on all threads, from the state alone
 *
 * Blocks are cut from the tensor's start, of equal size (the last may be shorter), by the job
 * alone. So floating-point sums, in f64 within a block and then folded in order, give the same
 * bytes for any number of threads, memory, tile, I/O engine. Tallies are integers: their order is
 * no matter.
 *
 * The data. Input i of a span is data[i], n_elem packed elements of inputs[i].dtype, at any
 * address. Every input is cast to `work` before anything is computed (spec merge.md 1):
 * uqm_job_load() does that and widens. Inputs stand in the order of the arithmetic, recipe order;
 * the base, where there is one, may stand anywhere among them.
 *
 * Numerics. UQM_NUMERICS_ACCURATE: widen once, f32 elements (f64 where work is F64), f64 for sums,
 * one rounding at the end (uqm_job_store()); a result within one ulp of an evaluation in f64.
 * UQM_NUMERICS_MERGEKIT: rules R1 to R7 of merge.md 1, to the bit.
 * Ranks and thresholds are of f32(|x - base|) in both; among equal magnitudes the lowest index
 * counts as the larger. Elementwise loops that are hot go into compute/kernels.h; elsewhere plain
 * C: multiply, then add, two roundings, no fma, so that all machines agree.
 */
#ifndef UQM_MERGE_METHOD_OPS_H
#define UQM_MERGE_METHOD_OPS_H

#include "compute/kernels.h"
#include "compute/mix.h"
#include "src/base/err.h"
#include "src/format/method.h"
#include "src/uqmerge.h"

enum {
    UQM_BLOCK_ELEM = 4096, /* elements of a block, and the most that merge() is given at once,
                              where a unit is smaller */
    UQM_MOST_UNIT_ELEM = 1 << 20, /* a unit is kept whole in memory: longer ones are refused */
    UQM_SAMPLE_ELEM = 512         /* neighbours that a sample takes at once */
};

struct uqm_method_ops;

struct uqm_job_input {
    enum uqm_dtype dtype; /* as stored */
    bool is_base;
    const double *params; /* by uqm_method_param_index(); NaN for what it has not */
    /* Random methods. mergekit: how many numbers of the one stream are drawn before this input's
     * first (merge.md 2.1). accurate: the key of this input's own numbers in this tensor. */
    uint64_t n_drawn_before;
    struct uqm_rng_key key;
};

struct uqm_job {
    const struct uqm_method_info *method;
    const struct uqm_method_ops *ops;
    const struct uqm_kernels *kernels;
    const char *where; /* the recipe's file, and ... */
    const char *name;  /* ... the output tensor's name, for errors */
    enum uqm_numerics numerics;
    enum uqm_dtype work;   /* D of merge.md 1 */
    enum uqm_dtype result; /* what the method's result is rounded to: work, or F32 for those
                              whose ops say result_is_f32 */
    enum uqm_dtype out;    /* what is stored */
    unsigned rank;
    const uint64_t *shape;
    uint64_t n_elem;      /* > 0 */
    const double *params; /* per output, by uqm_method_param_index(); NaN for the others */
    size_t n_inputs;
    const struct uqm_job_input *inputs;
    long base; /* index into inputs, or -1 */
    size_t n_others;
    /* filled in by uqm_job_init() from the ops */
    uint64_t unit_elem, block_elem, n_blocks;
    unsigned n_passes;
};

/* A run of elements of all inputs: whole units. */
struct uqm_span {
    uint64_t first;
    size_t n_elem;
    const void *const *data;      /* [n_inputs] */
    const uint32_t *const *draws; /* [n_inputs], with ops->draws: n_elem words of each input that
                                     draws; else NULL */
};

/* Memory of one job. All is zeroed before the first pass. */
struct uqm_job_state {
    void *result; /* result_bytes: what merge() reads; kept, and only read after the passes */
    void *work;   /* work_bytes: what the passes need beside it; gone after the last */
    /* NULL, or note_bytes, not zeroed: what the passes found of each element, for merge() to read
     * instead of finding it again. The same bytes come out without. */
    void *notes;
    bool kept; /* the tensor stays in memory: no pass behind the first reads anything */
};

struct uqm_method_ops {
    bool result_is_f32; /* unless the working type is F64, or the recipe has an out_dtype */

    /* From the plan, before anything is read: UQM_ERR_FORMAT for a parameter out of its domain,
     * UQM_ERR_UNSUPPORTED for what cannot be computed. NULL: nothing to check. */
    int (*check)(const struct uqm_job *job, struct uqm_err *err);

    /*
     * Elements that scan() and merge() must see together, e.g. one row's. A divisor of n_elem,
     * 1 to UQM_MOST_UNIT_ELEM. NULL: 1. Blocks are as many whole units as fit into UQM_BLOCK_ELEM,
     * at least one.
     */
    uint64_t (*unit_elem)(const struct uqm_job *job);

    /* Passes before merge(), at most; NULL: none. */
    unsigned (*n_passes)(const struct uqm_job *job);
    /* Sizes; NULL: 0. Scratch is one worker's, for scan() and merge(), 64-byte aligned, not
     * zeroed; a partial is one block's, zeroed before it; a tally one worker's, zeroed before
     * each segment. Sizes are multiples of 8, the scratch's of any. */
    size_t (*result_bytes)(const struct uqm_job *job);
    size_t (*work_bytes)(const struct uqm_job *job);
    size_t (*partial_bytes)(const struct uqm_job *job);
    size_t (*tally_bytes)(const struct uqm_job *job);
    size_t (*scratch_bytes)(const struct uqm_job *job);
    /* Of state->notes, for the whole tensor; NULL: 0, it takes none. */
    uint64_t (*note_bytes)(const struct uqm_job *job);
    /* Into how many runs of blocks a pass is cut for gather(); NULL: 1. */
    unsigned (*n_segments)(const struct uqm_job *job, unsigned pass);

    /* Before the first pass. NULL: zeroed memory is a good start. */
    void (*begin)(const struct uqm_job *job, struct uqm_job_state *state);

    /*
     * A look at the tensor ahead of pass 0, where reading it once more would cost: n_samples runs
     * of UQM_SAMPLE_ELEM elements, spread evenly (uqm_job_sample_at()), at most a hundredth of the
     * tensor; 0: none. sample() sees them in that order, on one thread; then end_sample(). They
     * may change what passes are needed, never a result. NULL: no samples.
     */
    uint64_t (*n_samples)(const struct uqm_job *job);
    void (*sample)(const struct uqm_job *job, struct uqm_job_state *state,
                   const struct uqm_span *span, void *scratch);
    void (*end_sample)(const struct uqm_job *job, struct uqm_job_state *state);
    /* Whether a pass over all blocks is needed only where the tensor is not as tensors mostly are,
     * or, if samples are taken, where these mislead. NULL: none is. */
    bool (*is_rare)(const struct uqm_job *job, unsigned pass, bool is_sampled);

    /*
     * Which blocks pass p reads, decided when the pass before has ended: [*first, *first + *n),
     * *n = 0 to skip it; pass 0 reads all. NULL: every pass reads all blocks. most_blocks: the most
     * that pass may ask for, from the plan alone, for the count of what is read; NULL: all.
     */
    void (*pass_blocks)(const struct uqm_job *job, const struct uqm_job_state *state, unsigned pass,
                        uint64_t *first, uint64_t *n);
    uint64_t (*most_blocks)(const struct uqm_job *job, unsigned pass);

    /* One block. Its partial is zeroed; the worker's tally holds other blocks' counts. */
    void (*scan)(const struct uqm_job *job, const struct uqm_job_state *state, unsigned pass,
                 const struct uqm_span *span, void *partial, void *tally, void *scratch);
    /* In the order of the blocks. NULL without partials. */
    void (*fold)(const struct uqm_job *job, struct uqm_job_state *state, unsigned pass,
                 uint64_t block, const void *partial);
    /* A worker's tally of one segment, which it leaves zeroed. NULL without tallies. */
    void (*gather)(const struct uqm_job *job, struct uqm_job_state *state, unsigned pass,
                   unsigned segment, void *tally);
    /* 0; 1, with pass_blocks: the passes that are left are not needed; < 0: an error that names
     * job->name. */
    int (*end_pass)(const struct uqm_job *job, struct uqm_job_state *state, unsigned pass,
                    struct uqm_err *err);

    /*
     * Passes [*first, *end) are late: they only refine what is done with elements behind those that
     * they have seen. So they read nothing of their own where the pass behind them, or the merge
     * of ranges, goes over all elements front to back: of each span, what of it pass_blocks() still
     * asks for is scanned, in runs of block_elem elements that may begin anywhere; settle() is
     * fold() for these, `first` the run's first element; then end_pass(), and the span is scanned
     * or merged. NULL: none are.
     */
    void (*late_passes)(const struct uqm_job *job, unsigned *first, unsigned *end);
    void (*settle)(const struct uqm_job *job, struct uqm_job_state *state, unsigned pass,
                   uint64_t first, const void *partial);

    /* dst: span->n_elem elements of job->out, any alignment. */
    void (*merge)(const struct uqm_job *job, const struct uqm_job_state *state, void *dst,
                  const struct uqm_span *span, void *scratch);

    /* What kind of mixture (compute/mix.h) the merge may be, from the plan. NULL: none. */
    enum uqm_mixes (*mixes)(const struct uqm_job *job);
    /* The merge of a span as a mixture: *mix, and its inputs in `inputs` [n_inputs], the base
     * behind the others, which keep their order. False: it is none, or not a safe one. NULL without
     * `mixes`. */
    bool (*as_mix)(const struct uqm_job *job, const struct uqm_job_state *state,
                   const struct uqm_span *span, struct uqm_mix *mix, struct uqm_mix_input *inputs);

    /* Whether an element of the result is finite only where all of its inputs' are: what is
     * infinite or NaN is never dropped, nor outweighed. NULL: it may be. */
    bool (*spreads_specials)(const struct uqm_job *job);

    /* Whether the passes, which are over, have found no element of any input that is infinite or
     * NaN. NULL: they do not tell. */
    bool (*found_finite)(const struct uqm_job *job, const struct uqm_job_state *state);

    /* Whether input i draws n_elem numbers of the mergekit stream in this tensor (merge.md 2.1),
     * which span->draws then holds, as 24 bits each, in UQM_NUMERICS_MERGEKIT. NULL: never. */
    bool (*draws)(const struct uqm_job *job, size_t input);
};

/* The ops of a method, or NULL: known, but not computed by this version. */
const struct uqm_method_ops *uqm_method_ops_of(enum uqm_method_id id);

/* Fill in base, n_others, unit_elem, block_elem, n_blocks, n_passes; ops->check(). */
int uqm_job_init(struct uqm_job *job, struct uqm_err *err);

/* The first block behind a segment of a pass: segments are equal, but for one block. */
uint64_t uqm_job_segment_end(const struct uqm_job *job, unsigned pass, unsigned segment);
/* Likewise, where there are n of them. */
uint64_t uqm_job_segment_end_of(const struct uqm_job *job, unsigned n, unsigned segment);
/* Where a sample lies: its first element. */
uint64_t uqm_job_sample_at(const struct uqm_job *job, uint64_t n_samples, uint64_t sample);

/* Parameter `name` of an input, or of the output. The method has it, else it is our mistake. */
double uqm_job_input_param(const struct uqm_job *job, size_t input, const char *name);
double uqm_job_param(const struct uqm_job *job, const char *name);

/* Element `at` of input i of the span and those behind it, as they are stored: F32, F16 or BF16;
 * NULL where the arithmetic sees other values, rounded to the working type, or F64. */
const void *uqm_job_stored(const struct uqm_job *job, const struct uqm_span *span, size_t i,
                           size_t at);
/* dst[e] = f32(work(x)): elements [at, at + n) of input i of the span. work is not F64. half: n
 * uint16_t of scratch. */
void uqm_job_load_f32(float *dst, const struct uqm_job *job, const struct uqm_span *span, size_t i,
                      size_t at, size_t n, uint16_t *half);
/* The same in f64, for any working type; wide: n floats of scratch. */
void uqm_job_load_f64(double *dst, const struct uqm_job *job, const struct uqm_span *span, size_t i,
                      size_t at, size_t n, float *wide, uint16_t *half);
/* Whether mixtures are computed and rounded as the job's results would be, from the plan alone. */
bool uqm_job_may_mix(const struct uqm_job *job);
/* Whether *mix, whose inputs are as they are stored (uqm_job_stored(), NULL: they are not), is
 * computed and rounded as the job would. */
bool uqm_job_is_mix(const struct uqm_job *job, const struct uqm_mix *mix);
/* Round x to job->result, then to job->out, and store it as elements [at, at + n) of dst. x is
 * overwritten. */
void uqm_job_store_f32(void *dst, const struct uqm_job *job, size_t at, float *x, size_t n,
                       uint16_t *half);
void uqm_job_store_f64(void *dst, const struct uqm_job *job, size_t at, double *x, size_t n,
                       float *wide, uint16_t *half);
/* For ops->spreads_specials: every input is multiplied, by 0 too, and added. */
bool uqm_job_spreads_specials(const struct uqm_job *job);
/* x = rd(x), rounding to work, n elements; nothing where work is F32. For R1. */
void uqm_job_round(const struct uqm_job *job, float *x, size_t n, uint16_t *half);

#endif
