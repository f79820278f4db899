#include "src/merge/mt_stream.h"

#include <stdlib.h>
#include <string.h>

enum { N = 624, M = 397 };

/* A place in the stream: words [block * N, (block + 1) * N) before tempering. */
struct place {
    uint64_t block;
    uint32_t words[N];
};

/* `mark` is where the reader last jumped to: a second pass over the same tensor begins there. */
struct reader {
    struct place at, mark;
    uint64_t next; /* the draw behind the last one handed out */
};

struct uqm_mt_stream {
    struct place origin;
    size_t n_readers;
    struct reader readers[];
};

static uint32_t twist(uint32_t high, uint32_t low)
{
    uint32_t y = (high & 0x80000000U) | (low & 0x7FFFFFFFU);
    return y >> 1 ^ (low & 1 ? 0x9908B0DFU : 0);
}

static void next_block(struct place *p)
{
    uint32_t *s = p->words;
    for (size_t i = 0; i < N - M; i++)
        s[i] = s[i + M] ^ twist(s[i], s[i + 1]);
    for (size_t i = N - M; i < N - 1; i++)
        s[i] = s[i - (N - M)] ^ twist(s[i], s[i + 1]);
    s[N - 1] = s[M - 1] ^ twist(s[N - 1], s[0]);
    p->block++;
}

static uint32_t temper(uint32_t y)
{
    y ^= y >> 11;
    y ^= (y << 7) & 0x9D2C5680U;
    y ^= (y << 15) & 0xEFC60000U;
    return y ^ y >> 18;
}

int uqm_mt_stream_create(struct uqm_mt_stream **out, uint64_t seed, size_t n_readers,
                         struct uqm_err *err)
{
    struct uqm_mt_stream *s = calloc(1, sizeof *s + n_readers * sizeof s->readers[0]);
    if (!s)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for the random numbers");
    uint32_t *w = s->origin.words;
    w[0] = (uint32_t) seed;
    for (uint32_t i = 1; i < N; i++)
        w[i] = 1812433253U * (w[i - 1] ^ w[i - 1] >> 30) + i;
    next_block(&s->origin); /* the seed's own words are never handed out */
    s->origin.block = 0;
    s->n_readers = n_readers;
    for (size_t i = 0; i < n_readers; i++)
        s->readers[i] = (struct reader){ .at = s->origin, .mark = s->origin };
    *out = s;
    return UQM_OK;
}

void uqm_mt_stream_destroy(struct uqm_mt_stream **stream)
{
    free(*stream);
    *stream = NULL;
}

static void go_to(const struct uqm_mt_stream *s, struct reader *r, uint64_t first)
{
    uint64_t block = first / N;
    if (r->at.block > block)
        r->at = r->mark.block <= block ? r->mark : s->origin;
    while (r->at.block < block)
        next_block(&r->at);
    r->mark = r->at;
}

void uqm_mt_stream_draw(struct uqm_mt_stream *stream, size_t reader, uint64_t first, uint32_t *dst,
                        size_t n)
{
    struct reader *r = &stream->readers[reader];
    if (first != r->next)
        go_to(stream, r, first);
    r->next = first + n;
    size_t at = (size_t) (first % N);
    if (n > 0 && r->at.block < first / N)
        next_block(&r->at); /* the last request ended with the block */
    while (n > 0) {
        size_t some = N - at < n ? N - at : n;
        for (size_t i = 0; i < some; i++)
            dst[i] = temper(r->at.words[at + i]) & 0xFFFFFF;
        dst += some;
        n -= some;
        at = 0;
        if (n > 0)
            next_block(&r->at);
    }
}
