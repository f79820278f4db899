#include "benchmarks/io_copy.h"

#include "io/sink.h"
#include "io/stream.h"

struct plan {
    const struct io_copy *copy;
    struct uqm_file *files[IO_COPY_MOST_INPUTS];
    size_t next; /* whose block at `off` is asked for */
    uint64_t off;
};

static size_t bytes_at(const struct io_copy *c, uint64_t off)
{
    return c->n_bytes - off < c->block_bytes ? (size_t) (c->n_bytes - off) : c->block_bytes;
}

static int next_piece(void *ctx, struct uqm_piece *piece)
{
    struct plan *p = ctx;
    if (p->off >= p->copy->n_bytes)
        return 0;
    *piece = (struct uqm_piece){ .file = p->files[p->next],
                                 .off_bytes = p->off,
                                 .n_bytes = bytes_at(p->copy, p->off) };
    if (++p->next == p->copy->n_inputs) {
        p->next = 0;
        p->off += p->copy->block_bytes;
    }
    return 1;
}

/* One block of every input; the first one's bytes are written. */
static int copy_block(const struct io_copy *c, struct uqm_stream *stream, struct uqm_sink *sink,
                      uint64_t off, struct uqm_err *err)
{
    struct uqm_view view = { .data = c->block, .n_bytes = bytes_at(c, off) };
    int ret = UQM_OK;
    if (!stream)
        return uqm_sink_write(sink, view.data, view.n_bytes, err);
    for (size_t i = 0; i < c->n_inputs && ret == UQM_OK; i++) {
        ret = uqm_stream_next(stream, &view, err);
        if (ret < 0)
            return ret;
        ret = i == 0 && sink ? uqm_sink_write(sink, view.data, view.n_bytes, err) : UQM_OK;
        uqm_stream_release(stream, &view);
    }
    return ret;
}

int io_copy_run(const struct io_copy *c, struct uqm_env *env, struct uqm_err *err)
{
    struct plan plan = { .copy = c };
    struct uqm_stream *stream = NULL;
    struct uqm_sink *sink = NULL;
    struct uqm_file_digest digest = { .n_leaves = 0 };
    int ret = UQM_OK;
    for (size_t i = 0; i < c->n_inputs && ret == UQM_OK; i++)
        ret = uqm_file_open(&plan.files[i], env, c->in[i], err);
    if (ret == UQM_OK && c->n_inputs > 0)
        ret = uqm_stream_create(&stream, env, c->block_bytes, 1, c->stream_bytes, next_piece, &plan,
                                err);
    if (ret == UQM_OK && c->out)
        ret = uqm_sink_create(&sink, env, c->out, c->n_bytes, c->sink_bytes, err);
    for (uint64_t off = 0; off < c->n_bytes && ret == UQM_OK; off += c->block_bytes)
        ret = copy_block(c, stream, sink, off, err);
    if (ret == UQM_OK && sink)
        ret = uqm_sink_finish(sink, &digest, err);
    uqm_file_digest_finish(&digest);
    uqm_sink_destroy(&sink);
    uqm_stream_destroy(&stream);
    for (size_t i = 0; i < c->n_inputs; i++)
        uqm_file_close(&plan.files[i]);
    return ret;
}
