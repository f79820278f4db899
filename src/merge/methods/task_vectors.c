/*
 * The task-vector family (spec merge.md 3.1): the base, plus the weighted sum of what the models
 * differ from it by, made sparse, with or without an election of signs.
 *
 * Passes, where something is to be found over the whole tensor:
 *     coarse, fine        count the magnitudes that thresholds are looked for among; the second
 *                         only where a sample has not foretold where they lie
 *     recount             between them: the first again, where it looked in the wrong place
 *     cut, one a search   in one segment of the tensor: which of equal magnitudes are kept
 *     sums                before and after, for rescaling
 */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "src/merge/methods/draws.h"
#include "src/merge/methods/task_plan.h"

/* --- task vectors --- */

/* The bits of |x| as f32, of a lane. */
static void keys_of(uint32_t *keys, const struct uqm_arith *a, const void *lane, size_t n)
{
    const double *x = lane;
    const float *xf = lane;
    for (size_t e = 0; e < n; e++)
        keys[e] = uqm_bits_of_f32(a->wide ? (float) x[e] : xf[e]) & 0x7FFFFFFF;
}

/* lane = x - base; keys likewise. UQM_TASK_BASE is loaded. */
static void load_task(struct uqm_task_scratch *s, void *lane, const struct uqm_span *span,
                      size_t input, size_t at, size_t n)
{
    uqm_arith_offset(&s->arith, lane, uqm_lane(&s->arith, UQM_TASK_BASE), span, input, at, n);
    keys_of(s->keys + at, &s->arith, lane, n);
}

/* Elements [at, at + n) of an input, of a direct job: where they are stored, else in a lane. */
static struct uqm_stored operand(struct uqm_task_scratch *s, const struct uqm_job *job,
                                 const struct uqm_span *span, size_t input, size_t at, size_t n,
                                 size_t lane)
{
    const void *x = uqm_job_stored(job, span, input, at);
    if (x)
        return (struct uqm_stored){ x, job->inputs[input].dtype };
    uqm_job_load_f32(uqm_lane(&s->arith, lane), job, span, input, at, n, s->arith.half);
    return (struct uqm_stored){ uqm_lane(&s->arith, lane), UQM_F32 };
}

static struct uqm_stored behind(struct uqm_stored x, size_t n)
{
    return (struct uqm_stored){ (const char *) x.x + n * (uqm_dtype_bits(x.dtype) / 8), x.dtype };
}

/* s->base where the job is direct, else the base's lane. */
static void load_base(struct uqm_task_scratch *s, const struct uqm_job *job,
                      const struct uqm_span *span, size_t at, size_t n)
{
    if (uqm_task_is_direct(job))
        s->base = operand(s, job, span, (size_t) job->base, at, n, UQM_TASK_BASE);
    else
        uqm_arith_load(&s->arith, uqm_lane(&s->arith, UQM_TASK_BASE), span, (size_t) job->base, at,
                       n);
}

/* The keys alone. */
static void load_keys(struct uqm_task_scratch *s, const struct uqm_job *job,
                      const struct uqm_span *span, size_t input, size_t at, size_t n)
{
    if (!uqm_task_is_direct(job)) {
        load_task(s, uqm_lane(&s->arith, UQM_TASK_SUM), span, input, at, n);
        return;
    }
    struct uqm_stored x = operand(s, job, span, input, at, n, UQM_TASK_SUM);
    job->kernels->merge->delta_keys(s->keys + at, x, s->base, n);
}

static size_t chunk_at(const struct uqm_span *span, size_t at)
{
    return span->n_elem - at < UQM_CHUNK ? span->n_elem - at : UQM_CHUNK;
}

static uint8_t *noted(const struct uqm_job *job, const struct uqm_job_state *state, uint64_t block,
                      size_t input)
{
    return (uint8_t *) state->notes + (block * job->n_inputs + input) * uqm_task_keep_bytes(job);
}

/* What the draws keep of every input, for the whole span, which is one block if it is noted. */
static void draw_all(struct uqm_task_scratch *s, const struct uqm_job *job,
                     const struct uqm_job_state *state, const struct uqm_span *span, bool note)
{
    bool ranked = uqm_task_kind_of(job->method->id).sparsifier == UQM_SPARSE_RANKED;
    for (size_t i = 0; i < job->n_inputs; i++) {
        uint8_t *keep = note ? noted(job, state, span->first / job->block_elem, i)
                             : s->keep + i * uqm_task_keep_bytes(job);
        s->kept[i] = keep;
        if (!uqm_sparse_is_active(job, i))
            continue;
        for (size_t at = 0, n; ranked && at < span->n_elem; at += n) {
            n = chunk_at(span, at);
            load_base(s, job, span, at, n);
            load_keys(s, job, span, i, at, n);
        }
        uqm_sparse_draw(keep, job, span, i, s->keys, s->draw);
    }
}

/* The same from the notes: where they are, or, if the span does not begin with a byte of them or
 * reaches into the next block, as a copy. */
static void recall_all(struct uqm_task_scratch *s, const struct uqm_job *job,
                       const struct uqm_job_state *state, const struct uqm_span *span)
{
    uint64_t block = span->first / job->block_elem;
    size_t from = (size_t) (span->first % job->block_elem);
    bool in_place = from % 8 == 0 && from + span->n_elem <= job->block_elem;
    for (size_t i = 0; i < job->n_inputs; i++) {
        uint8_t *keep = s->keep + i * uqm_task_keep_bytes(job);
        s->kept[i] = in_place ? noted(job, state, block, i) + from / 8 : keep;
        for (size_t e = 0; e < span->n_elem && !in_place && uqm_sparse_is_active(job, i); e++) {
            uint64_t at = from + e;
            const uint8_t *bits = noted(job, state, block + at / job->block_elem, i);
            uqm_draw_put(keep, e, uqm_draw_bit(bits, (size_t) (at % job->block_elem)));
        }
    }
}

/* mergekit's work type of random sparsifiers may be narrower than an f64 lane. */
static void round_wide(const struct uqm_job *job, void *lane, size_t n)
{
    double *x = lane;
    if (job->numerics == UQM_NUMERICS_MERGEKIT && job->work == UQM_F64 &&
        uqm_sparse_type(job) == UQM_F32)
        for (size_t e = 0; e < n; e++)
            x[e] = (double) (float) x[e];
}

/* Zero what is not kept of input i's lane, elements [at, at + n) of the span. */
static void drop(struct uqm_task_scratch *s, const struct uqm_job *job,
                 const struct uqm_sparse *sparse, const struct uqm_span *span, size_t i, void *lane,
                 size_t at, size_t n)
{
    double *x = lane;
    float *xf = lane;
    const uint32_t *keys = s->keys + at;
    bool drawn = uqm_task_is_drawn(job);
    round_wide(job, lane, n);
    for (size_t e = 0; e < n; e++) {
        uint64_t index = span->first + at + e;
        bool kept = drawn ? uqm_draw_bit(s->kept[i], at + e)
                          : uqm_key_within(&sparse->keep, keys[e], index) &&
                                !uqm_key_within(&sparse->drop, keys[e], index);
        if (!kept && s->arith.wide)
            x[e] = 0;
        else if (!kept)
            xf[e] = 0;
    }
}

static void rescale(struct uqm_task_scratch *s, const struct uqm_job *job,
                    const struct uqm_sparse *sparse, void *lane, size_t n)
{
    struct uqm_arith *a = &s->arith;
    a->round = uqm_sparse_type(job);
    uqm_arith_scale(a, lane, lane, sparse->ratio, n);
    a->round = job->work;
    if (uqm_sparse_type(job) != job->work)
        uqm_arith_round(a, lane, n);
    round_wide(job, lane, n);
}

/* lane = the sparse task vector of input i. */
static void make_sparse(struct uqm_task_scratch *s, const struct uqm_job *job,
                        const struct uqm_job_state *state, const struct uqm_span *span, size_t i,
                        void *lane, size_t at, size_t n)
{
    struct uqm_sparse known;
    const struct uqm_sparse *sparse = state->result;
    load_task(s, lane, span, i, at, n);
    if (!uqm_sparse_is_active(job, i))
        return;
    if (job->n_passes > 0)
        sparse += i;
    else {
        uqm_task_start_sparse(&known, job, i);
        sparse = &known;
    }
    drop(s, job, sparse, span, i, lane, at, n);
    if (sparse->has_ratio)
        rescale(s, job, sparse, lane, n);
}

/* --- direct --- */

/*
 * Which keys of input i are kept from element `index` on, as bounds, and for how many elements:
 * where the limits cut equal keys the bounds change.
 */
static uint64_t bounds_at(struct uqm_task_input *in, const struct uqm_sparse *sparse,
                          uint64_t index)
{
    const struct uqm_key_limit *keep = &sparse->keep, *drop = &sparse->drop;
    bool keeps_ties = (index < keep->cut) != keep->last;
    bool drops_ties = (index < drop->cut) != drop->last;
    uint64_t until = UINT64_MAX;
    in->least = keep->key > INT32_MAX ? INT32_MAX : (int32_t) keep->key;
    in->most = drop->key > INT32_MAX ? INT32_MAX : (int32_t) drop->key - drops_ties;
    if (!keeps_ties && in->least == INT32_MAX)
        in->most = -1;
    else
        in->least += !keeps_ties;
    if (keep->cut > index && keep->cut < until)
        until = keep->cut;
    if (drop->cut > index && drop->cut < until)
        until = drop->cut;
    return until - index;
}

/* What is the same for all elements of the span; returns how many models there are. */
static size_t start_direct(struct uqm_task_scratch *s, const struct uqm_job *job,
                           const struct uqm_job_state *state)
{
    const struct uqm_sparse *known = state->result;
    size_t n = 0;
    for (size_t i = 0; i < job->n_inputs; i++) {
        struct uqm_task_direct *d = &s->direct[n];
        if ((long) i == job->base)
            continue;
        *d = (struct uqm_task_direct){ .input = i };
        if (job->n_passes > 0)
            d->sparse = known[i];
        else
            uqm_task_start_sparse(&d->sparse, job, i);
        if (uqm_task_is_drawn(job) && uqm_sparse_is_active(job, i))
            d->keep = s->kept[i];
        s->inputs[n++] = (struct uqm_task_input){
            .ratio = d->sparse.has_ratio ? d->sparse.ratio : 1,
            .weight = uqm_job_input_param(job, i, "weight"),
        };
    }
    return n;
}

/* Point model k at elements from `at` of the span on, which are x; how many its bounds hold for, at
 * most n. */
static size_t aim(struct uqm_task_scratch *s, const struct uqm_span *span, size_t k,
                  struct uqm_stored x, size_t at, size_t n)
{
    const struct uqm_task_direct *d = &s->direct[k];
    struct uqm_task_input *in = &s->inputs[k];
    uint64_t m = bounds_at(in, &d->sparse, span->first + at);
    in->x = x;
    assert(!d->keep || at % 8 == 0);
    in->keep = d->keep ? d->keep + at / 8 : NULL;
    return m < n ? (size_t) m : n;
}

/* The models' operands, elements [at, at + n) of the span, in runs that have the same bounds. */
static void mix_runs(struct uqm_task_scratch *s, const struct uqm_job *job,
                     const struct uqm_span *span, struct uqm_task_mix *mix, double *out, size_t at,
                     size_t n)
{
    for (size_t done = 0, m; done < n; done += m) {
        m = n - done;
        for (size_t k = 0; k < mix->n_inputs; k++)
            m = aim(s, span, k, behind(s->direct[k].x, done), at + done, m);
        mix->base = behind(s->base, done);
        job->kernels->merge->task_mix(out + done, mix, m);
    }
}

static void merge_direct(struct uqm_task_scratch *s, const struct uqm_job *job,
                         const struct uqm_job_state *state, void *dst, const struct uqm_span *span)
{
    double divisor = 0, *out = uqm_lane(&s->arith, UQM_TASK_MIX);
    struct uqm_task_mix mix = {
        .consensus = uqm_task_kind_of(job->method->id).consensus,
        .normalize = uqm_job_param(job, "normalize") != 0,
        .lambda = uqm_job_param(job, "lambda"),
        .n_inputs = start_direct(s, job, state),
        .inputs = s->inputs,
    };
    for (size_t k = 0; k < mix.n_inputs; k++)
        divisor += s->inputs[k].weight;
    mix.divisor = fabs(divisor) < 1e-8 ? 1 : divisor;
    for (size_t at = 0, n; at < span->n_elem; at += n) {
        n = chunk_at(span, at);
        load_base(s, job, span, at, n);
        for (size_t k = 0; k < mix.n_inputs; k++)
            s->direct[k].x =
                operand(s, job, span, s->direct[k].input, at, n, UQM_TASK_FIRST_SHARE + k);
        mix_runs(s, job, span, &mix, out, at, n);
        uqm_job_store_f64(dst, job, at, out, n, s->arith.narrow, s->arith.half);
    }
}

/* before and after, of those models that may lose something. The base is loaded. */
static void sum_direct(struct uqm_task_scratch *s, const struct uqm_job *job,
                       const struct uqm_job_state *state, const struct uqm_span *span, size_t at,
                       size_t n, struct uqm_task_sums *sums)
{
    size_t n_models = start_direct(s, job, state);
    for (size_t k = 0; k < n_models; k++) {
        size_t i = s->direct[k].input;
        if (!uqm_sparse_is_active(job, i))
            continue;
        struct uqm_stored x = operand(s, job, span, i, at, n, UQM_TASK_FIRST_SHARE);
        for (size_t done = 0, m; done < n; done += m) {
            m = aim(s, span, k, behind(x, done), at + done, n - done);
            job->kernels->merge->task_sums(sums[i].before, sums[i].after, &s->inputs[k],
                                           behind(s->base, done), m);
        }
    }
}

/* --- passes --- */

/* Of the keys in hand, elements [at, at + n) of the span, those in the windows of this input. */
static void count_foreseen(struct uqm_task_scratch *s, const struct uqm_job *job,
                           const struct uqm_task_work *w, const struct uqm_span *span, size_t input,
                           size_t at, size_t n)
{
    for (size_t k = 0; k < w->n_searches; k++) {
        const struct uqm_key_window *window = &w->windows[k];
        if (w->searches[k].channel != input || window->n_bins == 0)
            continue;
        size_t n_found = job->kernels->merge->keys_within(
            s->found, s->keys + at, window->first << 16, window->n_bins << 16, n);
        uqm_key_window_count(window, uqm_task_foreseen_at(job, w, k, span->first), s->found,
                             n_found);
    }
}

/* Of all inputs with a threshold; or of those alone whose was missed. */
static void count_coarse(struct uqm_task_scratch *s, const struct uqm_job *job,
                         const struct uqm_task_work *w, unsigned pass, const struct uqm_span *span,
                         size_t at, size_t n, uint32_t *tally)
{
    const size_t row = uqm_task_row(job, UQM_TASK_COARSE);
    for (size_t k = 0; k < w->n_searches; k++) {
        size_t i = w->searches[k].channel;
        uint32_t *counts = tally + i * row;
        if ((k > 0 && w->searches[k - 1].channel == i) ||
            (pass == UQM_TASK_RECOUNT && !w->focus[i].missed))
            continue;
        if (uqm_task_is_direct(job) && w->focus[i].n_bins > 0) {
            struct uqm_stored x = operand(s, job, span, i, at, n, UQM_TASK_SUM);
            if (uqm_task_count_focused(job, &w->focus[i], counts, x, s->base, s->found, n))
                continue;
        }
        load_keys(s, job, span, i, at, n);
        uqm_task_count_all(job, counts, s->keys + at, s->found, n);
        count_foreseen(s, job, w, span, i, at, n);
    }
}

static void count_fine(struct uqm_task_scratch *s, const struct uqm_job *job,
                       const struct uqm_task_work *w, const struct uqm_span *span, size_t at,
                       size_t n, uint32_t *tally)
{
    for (size_t k = 0; k < w->n_searches; k++) {
        const struct uqm_key_search *search = &w->searches[k];
        uint32_t *counts = tally + k * UQM_FINE_BINS;
        if (search->is_settled)
            continue;
        load_keys(s, job, span, search->channel, at, n);
        size_t n_found = job->kernels->merge->keys_within(s->found, s->keys + at,
                                                          search->coarse << 16, UQM_FINE_BINS, n);
        for (size_t e = 0; e < n_found; e++)
            counts[s->found[e] & 0xFFFF]++;
    }
}

static void find_ties(struct uqm_task_scratch *s, const struct uqm_job *job,
                      const struct uqm_key_search *search, const struct uqm_span *span, size_t at,
                      size_t n, struct uqm_key_ties *ties)
{
    uint8_t at_least[UQM_CHUNK / 8] = { 0 }, above[UQM_CHUNK / 8] = { 0 };
    const uint32_t key = search->limit.key;
    load_keys(s, job, span, search->channel, at, n);
    job->kernels->merge->keys_at_least(at_least, s->keys + at, key, n);
    if (key < INT32_MAX)
        job->kernels->merge->keys_at_least(above, s->keys + at, key + 1, n);
    for (size_t b = 0; b < (n + 7) / 8; b++)
        ties->bits[at / 64 + b / 8] |= (uint64_t) (at_least[b] & ~above[b]) << b % 8 * 8;
}

static double sum_of_magnitudes(const struct uqm_arith *a, void *lane, size_t n)
{
    double *x = lane;
    float *xf = lane;
    for (size_t e = 0; e < n && a->wide; e++)
        x[e] = fabs(x[e]);
    for (size_t e = 0; e < n && !a->wide; e++)
        xf[e] = fabsf(xf[e]);
    return uqm_arith_sum(a, lane, n);
}

static void add_sums(struct uqm_task_scratch *s, const struct uqm_job *job,
                     const struct uqm_job_state *state, const struct uqm_span *span, size_t at,
                     size_t n, struct uqm_task_sums *sums)
{
    void *lane = uqm_lane(&s->arith, UQM_TASK_SUM);
    for (size_t i = 0; i < job->n_inputs; i++) {
        if (!uqm_sparse_is_active(job, i))
            continue;
        load_task(s, lane, span, i, at, n);
        round_wide(job, lane, n);
        sums[i].before[0] += sum_of_magnitudes(&s->arith, lane, n);
        make_sparse(s, job, state, span, i, lane, at, n);
        sums[i].after[0] += sum_of_magnitudes(&s->arith, lane, n);
    }
}

static void scan(const struct uqm_job *job, const struct uqm_job_state *state, unsigned pass,
                 const struct uqm_span *span, void *partial, void *tally, void *block)
{
    struct uqm_task_scratch s = uqm_task_cut(job, block);
    struct uqm_task_work w = uqm_task_work_of(job, state);
    bool sums = uqm_task_is_sums(job, pass);
    if (sums && uqm_task_is_drawn(job))
        draw_all(&s, job, state, span, state->notes != NULL);
    for (size_t at = 0, n; at < span->n_elem; at += n) {
        n = chunk_at(span, at);
        load_base(&s, job, span, at, n);
        if (sums && uqm_task_is_direct(job))
            sum_direct(&s, job, state, span, at, n, partial);
        else if (sums)
            add_sums(&s, job, state, span, at, n, partial);
        else if (pass <= UQM_TASK_RECOUNT)
            count_coarse(&s, job, &w, pass, span, at, n, tally);
        else if (pass == UQM_TASK_FINE)
            count_fine(&s, job, &w, span, at, n, tally);
        else
            find_ties(&s, job, &w.searches[pass - UQM_TASK_TIES], span, at, n, partial);
    }
}

static void fold(const struct uqm_job *job, struct uqm_job_state *state, unsigned pass,
                 uint64_t block, const void *partial)
{
    struct uqm_task_work w = uqm_task_work_of(job, state);
    const struct uqm_task_sums *sums = partial;
    if (uqm_task_is_sums(job, pass)) {
        for (size_t i = 0; i < job->n_inputs; i++) {
            w.before[i] += uqm_add_parts(sums[i].before);
            w.after[i] += uqm_add_parts(sums[i].after);
        }
    } else if (pass >= UQM_TASK_TIES) {
        uqm_key_search_cut(&w.searches[pass - UQM_TASK_TIES], block * job->block_elem, partial);
    }
}

/* --- the ends of passes --- */

static void begin(const struct uqm_job *job, struct uqm_job_state *state)
{
    struct uqm_sparse *sparse = state->result;
    for (size_t i = 0; i < job->n_inputs; i++)
        uqm_task_start_sparse(&sparse[i], job, i);
    if (job->n_passes > 0)
        uqm_task_list_searches(uqm_task_work_of(job, state).searches, job);
}

static void sample(const struct uqm_job *job, struct uqm_job_state *state,
                   const struct uqm_span *span, void *block)
{
    struct uqm_task_scratch s = uqm_task_cut(job, block);
    struct uqm_task_work w = uqm_task_work_of(job, state);
    size_t room = (size_t) uqm_task_foreseen_bins(job) * UQM_FINE_BINS;
    assert(span->n_elem <= UQM_CHUNK && *w.n_sampled + span->n_elem <= room);
    load_base(&s, job, span, 0, span->n_elem);
    for (size_t k = 0; k < w.n_searches; k++) {
        if (k > 0 && w.searches[k - 1].channel == w.searches[k].channel)
            continue;
        load_keys(&s, job, span, w.searches[k].channel, 0, span->n_elem);
        memcpy(w.foreseen + k * room + *w.n_sampled, s.keys, span->n_elem * sizeof *s.keys);
    }
    *w.n_sampled += span->n_elem;
}

static void take_ratios(const struct uqm_job *job, struct uqm_job_state *state,
                        const struct uqm_task_work *w)
{
    struct uqm_sparse *sparse = state->result;
    struct uqm_arith a = { .wide = job->numerics == UQM_NUMERICS_ACCURATE || job->work == UQM_F64,
                           .round = uqm_sparse_type(job) };
    bool as_f32 = job->numerics == UQM_NUMERICS_MERGEKIT && a.round == UQM_F32;
    for (size_t i = 0; i < job->n_inputs; i++) {
        double before = uqm_arith_rd(&a, w->before[i]), after = uqm_arith_rd(&a, w->after[i]);
        double least = uqm_arith_rd(&a, 1e-7);
        if (as_f32) {
            before = (double) (float) before;
            after = (double) (float) after;
            least = (double) 1e-7F;
        }
        sparse[i].all_finite = uqm_sparse_is_active(job, i) && isfinite(w->before[i]);
        sparse[i].has_ratio = !(before < least || after < least);
        double ratio = sparse[i].has_ratio ? uqm_arith_rd(&a, before / after) : 1;
        sparse[i].ratio = as_f32 ? (double) (float) ratio : ratio;
    }
}

static int end_pass(const struct uqm_job *job, struct uqm_job_state *state, unsigned pass,
                    struct uqm_err *err)
{
    struct uqm_task_work w = uqm_task_work_of(job, state);
    (void) err;
    if (uqm_task_is_sums(job, pass)) {
        take_ratios(job, state, &w);
        return 0;
    }
    if (pass == UQM_TASK_COARSE)
        uqm_task_find_finite(job, state, &w);
    if (pass <= UQM_TASK_FINE)
        uqm_task_search_counts(job, &w, pass);
    uqm_task_take_limits(job, state, &w);
    return 0;
}

/* --- merging --- */

/*
 * mix and divisor of n elements, from the shares e_i in their lanes. With a consensus those count
 * whose sign is the sum's; the divisor is a lane then, else the same for all elements.
 */
#define ELECT(type, name)                                                                          \
    static void elect_##name(struct uqm_task_scratch *s, const struct uqm_job *job,                \
                             const double *w, size_t n)                                            \
    {                                                                                              \
        const struct uqm_arith *a = &s->arith;                                                     \
        const type *sum = uqm_lane(a, UQM_TASK_SUM);                                               \
        type *mix = uqm_lane(a, UQM_TASK_MIX), *divisor = uqm_lane(a, UQM_TASK_DIVISOR);           \
        for (size_t e = 0; e < n; e++)                                                             \
            mix[e] = divisor[e] = 0;                                                               \
        for (size_t i = 0; i < job->n_inputs; i++) {                                               \
            const type *x = uqm_lane(a, UQM_TASK_FIRST_SHARE + i);                                 \
            for (size_t e = 0; e < n && (long) i != job->base; e++)                                \
                if (sum[e] >= 0 ? x[e] > 0 : x[e] < 0) {                                           \
                    mix[e] += x[e];                                                                \
                    divisor[e] += (type) w[i];                                                     \
                }                                                                                  \
        }                                                                                          \
        uqm_arith_round(a, mix, n);                                                                \
        uqm_arith_round(a, divisor, n);                                                            \
        for (size_t e = 0; e < n; e++) {                                                           \
            divisor[e] = divisor[e] == 0 ? 1 : divisor[e];                                         \
            mix[e] = isnan(sum[e]) ? sum[e] : mix[e];                                              \
        }                                                                                          \
    }
ELECT(double, f64)
ELECT(float, f32)

static void sum_shares(struct uqm_task_scratch *s, const struct uqm_job *job, size_t n)
{
    const struct uqm_arith *a = &s->arith;
    void *sum = uqm_lane(a, UQM_TASK_SUM);
    uqm_arith_zero(a, sum, n);
    for (size_t i = 0; i < job->n_inputs; i++)
        if ((long) i != job->base)
            uqm_arith_gather(a, sum, uqm_lane(a, UQM_TASK_FIRST_SHARE + i), n);
    uqm_arith_round(a, sum, n);
}

/* The sum of all weights, as R4 adds them; 1 where it vanishes. */
static double whole_divisor(const struct uqm_arith *a, const struct uqm_job *job, const double *w)
{
    double sum = 0;
    for (size_t i = 0; i < job->n_inputs; i++)
        if ((long) i != job->base)
            sum = uqm_arith_f32(a, sum + w[i]);
    sum = uqm_arith_rd(a, sum);
    return fabs(sum) < uqm_arith_rd(a, 1e-8) ? 1 : sum;
}

static void merge_chunk(struct uqm_task_scratch *s, const struct uqm_job *job,
                        const struct uqm_job_state *state, const struct uqm_span *span, void *dst,
                        size_t at, size_t n)
{
    const struct uqm_arith *a = &s->arith;
    const double *w = s->weights;
    bool consensus = uqm_task_kind_of(job->method->id).consensus;
    bool normalize = uqm_job_param(job, "normalize") != 0;
    double lambda = uqm_job_param(job, "lambda");
    void *mix = uqm_lane(a, consensus ? UQM_TASK_MIX : UQM_TASK_SUM);
    load_base(s, job, span, at, n);
    for (size_t i = 0; i < job->n_inputs; i++) {
        void *lane = uqm_lane(a, UQM_TASK_FIRST_SHARE + i);
        if ((long) i == job->base)
            continue;
        make_sparse(s, job, state, span, i, lane, at, n);
        uqm_arith_scale(a, lane, lane, w[i], n);
    }
    sum_shares(s, job, n);
    if (consensus && a->wide)
        elect_f64(s, job, w, n);
    else if (consensus)
        elect_f32(s, job, w, n);
    if (normalize && consensus)
        uqm_arith_div(a, mix, mix, uqm_lane(a, UQM_TASK_DIVISOR), n);
    else if (normalize)
        uqm_arith_divide(a, mix, mix, whole_divisor(a, job, w), n);
    if (lambda != 1)
        uqm_arith_scale(a, mix, mix, lambda, n);
    uqm_arith_add(a, mix, uqm_lane(a, UQM_TASK_BASE), mix, n);
    uqm_arith_store(a, dst, at, mix, n);
}

static void merge(const struct uqm_job *job, const struct uqm_job_state *state, void *dst,
                  const struct uqm_span *span, void *block)
{
    struct uqm_task_scratch s = uqm_task_cut(job, block);
    for (size_t i = 0; i < job->n_inputs; i++)
        s.weights[i] = (long) i == job->base
                           ? 0
                           : uqm_arith_rd(&s.arith, uqm_job_input_param(job, i, "weight"));
    if (uqm_task_is_drawn(job) && state->notes)
        recall_all(&s, job, state, span);
    else if (uqm_task_is_drawn(job))
        draw_all(&s, job, state, span, false);
    if (uqm_task_is_direct(job)) {
        merge_direct(&s, job, state, dst, span);
        return;
    }
    for (size_t at = 0, n; at < span->n_elem; at += n) {
        n = chunk_at(span, at);
        merge_chunk(&s, job, state, span, dst, at, n);
    }
}

/* Plain task arithmetic: every input is multiplied, by 0 too, and added. */
static bool spreads_specials(const struct uqm_job *job)
{
    const struct uqm_task_kind kind = uqm_task_kind_of(job->method->id);
    return kind.sparsifier == UQM_SPARSE_NONE && !kind.consensus;
}

static bool found_finite(const struct uqm_job *job, const struct uqm_job_state *state)
{
    const struct uqm_sparse *sparse = state->result;
    for (size_t i = 0; i < job->n_inputs; i++)
        if ((long) i != job->base && !sparse[i].all_finite)
            return false;
    return job->n_others > 0;
}

/* --- the ops --- */

static int refuse(const struct uqm_job *job, struct uqm_err *err, const char *what)
{
    struct uqm_printable name;
    return uqm_fail(err, UQM_ERR_FORMAT, "%s: tensor %s: %s: %s", job->where,
                    uqm_printable(&name, job->name, strlen(job->name)), job->method->name, what);
}

static int check_input(const struct uqm_job *job, size_t i, struct uqm_err *err)
{
    enum uqm_sparsifier kind = uqm_task_kind_of(job->method->id).sparsifier;
    double density = uqm_job_input_param(job, i, "density");
    if (!isfinite(uqm_job_input_param(job, i, "weight")))
        return refuse(job, err, "a weight is no finite number");
    if (kind == UQM_SPARSE_NONE)
        return UQM_OK;
    if (isnan(density))
        return refuse(job, err, "a density is no number");
    if (density < 0 && (kind == UQM_SPARSE_RANDOM || kind == UQM_SPARSE_OUTLIERS))
        return refuse(job, err, "a density is negative");
    if (kind == UQM_SPARSE_OUTLIERS && !(uqm_job_input_param(job, i, "gamma") >= 0))
        return refuse(job, err, "gamma is negative");
    if (kind != UQM_SPARSE_RANKED || density <= 0 || density >= 1)
        return UQM_OK;
    double epsilon = uqm_job_input_param(job, i, "epsilon");
    if (!(density - epsilon > 0 && density + epsilon < 1))
        return refuse(job, err, "density - epsilon must be above 0 and density + epsilon below 1");
    return UQM_OK;
}

static int check(const struct uqm_job *job, struct uqm_err *err)
{
    if (job->base < 0)
        return refuse(job, err, "the base model does not have it");
    if (!isfinite(uqm_job_param(job, "lambda")))
        return refuse(job, err, "lambda is no finite number");
    for (size_t i = 0; i < job->n_inputs; i++) {
        int ret = (long) i == job->base ? UQM_OK : check_input(job, i, err);
        if (ret < 0)
            return ret;
    }
    return UQM_OK;
}

static uint64_t rows_unit(const struct uqm_job *job)
{
    struct uqm_rank_rows r = uqm_rank_rows(job);
    return r.m * r.stride;
}

static bool draws_uniform(const struct uqm_job *job, size_t input)
{
    return uqm_sparse_is_active(job, input);
}

static bool draws_ranked(const struct uqm_job *job, size_t input)
{
    return uqm_sparse_is_active(job, input) && uqm_job_input_param(job, input, "density") > 0;
}

#define COMMON                                                                                     \
    .check = check, .n_passes = uqm_task_passes, .result_bytes = uqm_task_result_bytes,            \
    .work_bytes = uqm_task_work_bytes, .partial_bytes = uqm_task_partial_bytes,                    \
    .tally_bytes = uqm_task_tally_bytes, .scratch_bytes = uqm_task_scratch_bytes,                  \
    .note_bytes = uqm_task_note_bytes, .n_segments = uqm_task_segments, .begin = begin,            \
    .n_samples = uqm_task_n_samples, .sample = sample, .end_sample = uqm_task_end_sample,          \
    .is_rare = uqm_task_is_rare, .pass_blocks = uqm_task_pass_blocks,                              \
    .most_blocks = uqm_task_most_blocks, .scan = scan, .fold = fold, .gather = uqm_task_gather,    \
    .late_passes = uqm_task_late_passes, .settle = uqm_task_settle, .end_pass = end_pass,          \
    .merge = merge, .mixes = uqm_task_mixes, .as_mix = uqm_task_as_mix,                            \
    .spreads_specials = spreads_specials, .found_finite = found_finite

const struct uqm_method_ops uqm_task_ops = { COMMON };
const struct uqm_method_ops uqm_random_task_ops = { COMMON, .draws = draws_uniform };
const struct uqm_method_ops uqm_ranked_task_ops = {
    COMMON,
    .draws = draws_ranked,
    .unit_elem = rows_unit,
};
