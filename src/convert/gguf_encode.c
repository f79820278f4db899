/* Tiles of weights to ggml's types, on all threads; rows of queries and keys go where their
 * interleaved rotation wants them. */
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "compute/quant.h"
#include "src/base/checked.h"
#include "src/convert/gguf_export.h"

enum { RUN = 256, CHUNK = 64 * RUN };

struct job {
    const struct uqm_gguf_export *x;
    const struct uqm_gguf_export_tensor *t;
    const struct uqm_ggml_type *type;
    const struct uqm_tile *tile;
    enum uqm_dtype dtype; /* the tile's */
    uint64_t n_cols, rows_a_head;
    uint8_t *out;
    _Atomic uint64_t bad; /* the first element of a run that the type cannot hold; UINT64_MAX */
};

static void widen(float *dst, const struct job *j, const uint8_t *src, size_t n)
{
    if (j->dtype != UQM_F64) {
        uqm_widen(&j->x->kernels, dst, src, j->dtype, n);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        double d;
        memcpy(&d, src + i * sizeof d, sizeof d);
        dst[i] = (float) d;
    }
}

/* Finite numbers stay so; what is not finite in the checkpoint is taken over. */
static bool narrow(uint8_t *out, const struct job *j, const float *x, size_t n)
{
    enum uqm_dtype to = j->t->type == UQM_GGML_F32    ? UQM_F32
                        : j->t->type == UQM_GGML_BF16 ? UQM_BF16
                                                      : UQM_F16;
    float back[RUN];
    uqm_narrow(&j->x->kernels, out, to, x, n);
    uqm_widen(&j->x->kernels, back, out, to, n);
    for (size_t i = 0; i < n; i++)
        if (back[i] - back[i] != 0 && x[i] - x[i] == 0)
            return false;
    return true;
}

static bool encode_run(uint8_t *out, const struct job *j, const float *x, size_t n)
{
    bool ok = true;
    switch (j->t->type) {
    case UQM_GGML_Q8_0:
        for (size_t i = 0; i < n && ok; i += UQM_Q8_0_ELEM, out += UQM_Q8_0_BYTES)
            ok = uqm_quant_q8_0(out, x + i);
        return ok;
    case UQM_GGML_Q4_K: return uqm_quant_q4_k(out, x);
    case UQM_GGML_Q6_K: return uqm_quant_q6_k(out, x);
    default: return narrow(out, j, x, n);
    }
}

/* Where in the tile the row is that is number `row` of the output's. */
static uint64_t source_row(const struct job *j, uint64_t row)
{
    const uint64_t n = j->rows_a_head, in_head = row % n;
    return row - in_head + in_head % 2 * (n / 2) + in_head / 2;
}

static void encode_chunk(void *ctx, size_t item, int worker)
{
    struct job *j = ctx;
    const uint64_t elem_bytes = uqm_dtype_bits(j->dtype) / 8;
    uint64_t at = item * (uint64_t) CHUNK;
    const uint64_t end = uqm_min_u64(at + CHUNK, j->tile->range.n_elem);
    float x[RUN];
    (void) worker;
    while (at < end) {
        uint64_t row = at / j->n_cols, col = at % j->n_cols;
        size_t n = (size_t) uqm_min_u64(uqm_min_u64(RUN, j->n_cols - col), end - at);
        uint64_t from = j->rows_a_head > 0 ? source_row(j, row) * j->n_cols + col : at;
        uint8_t *out = j->out + at / j->type->n_elem * j->type->n_bytes;
        widen(x, j, (const uint8_t *) j->tile->data + from * elem_bytes, n);
        if (!encode_run(out, j, x, n)) {
            uint64_t place = j->tile->range.first_elem + from, least = atomic_load(&j->bad);
            while (place < least && !atomic_compare_exchange_weak(&j->bad, &least, place))
                ;
        }
        at += n;
    }
}

static int refuse(const struct job *j, const struct uqm_tensor *t, struct uqm_err *err)
{
    struct uqm_printable shown;
    return uqm_fail(err, UQM_ERR_FORMAT,
                    "%s: tensor %s: an element from number %" PRIu64
                    " on is not finite, or too large for %s; --dtype bf16 or f32 takes it",
                    j->x->in, uqm_printable(&shown, t->name, strlen(t->name)), atomic_load(&j->bad),
                    j->type->name);
}

int uqm_gguf_encode(struct uqm_write_form *form, void *out, size_t *n_bytes,
                    const struct uqm_shard_plan *shard, size_t place, const struct uqm_tile *tile,
                    struct uqm_threads *threads, struct uqm_err *err)
{
    const struct uqm_gguf_export *x = (const struct uqm_gguf_export *) form;
    const struct uqm_gguf_export_tensor *t = &x->first[shard - x->shards][place];
    const struct uqm_tensor *source = &x->source->tensors[t->source];
    struct job j = {
        .x = x,
        .t = t,
        .type = uqm_ggml_type(t->type),
        .tile = tile,
        .dtype = source->dtype,
        .n_cols = source->n_elem,
        .out = out,
        .bad = UINT64_MAX,
    };
    if (t->n_heads > 0) {
        j.n_cols = source->n_elem / source->shape[0];
        j.rows_a_head = source->shape[0] / t->n_heads;
    }
    *n_bytes = tile->range.n_elem / j.type->n_elem * j.type->n_bytes;
    uqm_parallel(threads, (tile->range.n_elem + CHUNK - 1) / CHUNK, encode_chunk, &j);
    return atomic_load(&j.bad) == UINT64_MAX ? UQM_OK : refuse(&j, source, err);
}
