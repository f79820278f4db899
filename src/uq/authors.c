#include "src/uq/authors.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

#include "src/merge/mt_stream.h"
#include "src/uq/perturb.h"

enum { SEED = 42 };

/* The stream's draws are the words' low 24 bits: all that is looked at here. */
static uint32_t draw(struct uqm_mt_stream *stream, uint64_t *n_drawn)
{
    uint32_t word;
    uqm_mt_stream_draw(stream, 0, (*n_drawn)++, &word, 1);
    return word;
}

int uqm_authors_permutation(size_t *perm, size_t n, struct uqm_err *err)
{
    struct uqm_mt_stream *stream = NULL;
    uint64_t n_drawn = 0;
    assert(n <= (size_t) 1 << 24);
    int ret = uqm_mt_stream_create(&stream, SEED, 1, err);
    if (ret < 0)
        return ret;
    for (size_t i = 0; i < n; i++)
        perm[i] = i;
    for (size_t i = n; i-- > 1;) {
        uint32_t mask = 1, j;
        while (mask < i)
            mask = mask << 1 | 1;
        do
            j = draw(stream, &n_drawn) & mask;
        while (j > i);
        const size_t swap = perm[i];
        perm[i] = perm[j];
        perm[j] = swap;
    }
    uqm_mt_stream_destroy(&stream);
    return UQM_OK;
}

int uqm_authors_texts_init(struct uqm_authors_texts *texts, struct uqm_err *err)
{
    *texts = (struct uqm_authors_texts){ 0 };
    return uqm_mt_stream_create(&texts->stream, SEED, 1, err);
}

void uqm_authors_texts_finish(struct uqm_authors_texts *texts)
{
    uqm_mt_stream_destroy(&texts->stream);
}

void uqm_authors_texts_begin(struct uqm_authors_texts *texts, const char *set)
{
    static const char *const seeded[] = { "mmbench", "oodcv", "scienceqa" };
    for (size_t i = 0; i < sizeof seeded / sizeof *seeded; i++)
        if (strncasecmp(set, seeded[i], strlen(seeded[i])) == 0)
            texts->n_drawn = 0;
}

uint8_t uqm_authors_texts_draw(struct uqm_authors_texts *texts)
{
    uint32_t index;
    do
        index = draw(texts->stream, &texts->n_drawn) & 15;
    while (index >= UQM_N_PERTURB_PROMPTS);
    return (uint8_t) index;
}
