/*
 * Prompts to the rows the first layer takes: embeddings of the words, and in every placeholder's
 * place the projected features of a picture.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "src/base/checked.h"
#include "src/model/blocks.h"
#include "src/model/tokenizer.h"

enum { READ_BYTES = 4096 }; /* what a disk reads at least: rows nearer than that come in one */

int uqm_sequence_init(struct uqm_sequence *seq, const struct uqm_network *net,
                      const struct uqm_llm_prompt *prompt, size_t number, struct uqm_err *err)
{
    const struct uqm_model_config *c = &net->config;
    const size_t picture = uqm_network_feature_rows(c);

    *seq = (struct uqm_sequence){ .prompt = prompt, .number = number };
    if (prompt->n_ids == 0)
        return uqm_fail(err, UQM_ERR_ARG, "prompt %zu is empty", number);
    for (size_t i = 0; i < prompt->n_ids; i++) {
        const int32_t id = prompt->ids[i];
        const bool is_picture = id == UQM_IMAGE_PLACEHOLDER;
        if (is_picture && !c->has_vision)
            return uqm_fail(err, UQM_ERR_ARG,
                            "%s: prompt %zu has a picture, but the model has no vision tower",
                            net->source->name, number);
        if (!is_picture && (id < 0 || (uint32_t) id >= c->text.vocab_size))
            return uqm_fail(err, UQM_ERR_ARG,
                            "%s: prompt %zu: token id %" PRId32 " is outside the vocabulary of %u",
                            net->source->name, number, id, c->text.vocab_size);
        if (seq->n_rows >= c->max_length)
            continue; /* cut; the rest is checked all the same */
        seq->n_rows += is_picture ? picture : 1;
        seq->n_pictures += is_picture;
    }
    seq->n_rows = (size_t) uqm_min_u64(seq->n_rows, c->max_length);
    return UQM_OK;
}

uint64_t uqm_network_prompt_rows(const struct uqm_model_config *config,
                                 const struct uqm_llm_prompt *prompt)
{
    uint64_t n_rows = 0;
    for (size_t i = 0; i < prompt->n_ids; i++)
        n_rows += prompt->ids[i] == UQM_IMAGE_PLACEHOLDER ? uqm_network_feature_rows(config) : 1;
    return n_rows;
}

int uqm_row_ref_compare(const void *a, const void *b)
{
    const struct uqm_row_ref *x = a, *y = b;
    return x->id != y->id ? (x->id > y->id) - (x->id < y->id) : (x->at > y->at) - (x->at < y->at);
}

int uqm_schedule_gather(struct uqm_schedule *schedule, const struct uqm_load *matrix,
                        const struct uqm_row_ref *refs, size_t n_refs, struct uqm_err *err)
{
    const struct uqm_tensor *t = &schedule->source->tensors[matrix->tensor];
    const uint64_t row_bytes = matrix->row_elem * (uqm_dtype_bits(t->dtype) / 8);
    const int64_t near = 1 + (int64_t) (READ_BYTES / row_bytes);
    for (size_t i = 0, next; i < n_refs; i = next) {
        for (next = i + 1; next < n_refs; next++)
            if ((int64_t) refs[next].id - refs[next - 1].id > near)
                break;
        const uint64_t first = (uint64_t) refs[i].id;
        int ret = uqm_schedule_rows(schedule, matrix, first,
                                    (uint64_t) refs[next - 1].id + 1 - first, err);
        if (ret < 0)
            return ret;
    }
    return UQM_OK;
}

/* Different words; without memory to tell them apart, the whole vocabulary. */
static uint64_t count_words(const struct uqm_sequence *seqs, size_t n_seqs, uint32_t vocab_size)
{
    bool *seen = calloc(vocab_size, sizeof *seen);
    uint64_t n = 0;
    if (!seen)
        return vocab_size;
    for (size_t s = 0; s < n_seqs; s++)
        for (size_t i = 0; i < seqs[s].prompt->n_ids; i++) {
            const int32_t id = seqs[s].prompt->ids[i];
            if (id == UQM_IMAGE_PLACEHOLDER || seen[id])
                continue;
            seen[id] = true;
            n++;
        }
    free(seen);
    return n;
}

/* Every word that occurs with all that one read may bring along, each read rounded up. */
uint64_t uqm_splice_most_rows(const struct uqm_network *net, const struct uqm_sequence *seqs,
                              size_t n_seqs)
{
    const struct uqm_schedule s = { .source = net->source };
    const uint64_t row_bytes = uqm_schedule_row_bytes(&s, &net->embed);
    const uint64_t n_words = count_words(seqs, n_seqs, net->config.text.vocab_size);
    const uint64_t rows =
        uqm_min_u64(n_words * (1 + READ_BYTES / row_bytes), net->config.text.vocab_size);
    return rows + (n_words * 64 + row_bytes - 1) / row_bytes;
}

struct uqm_splice {
    const struct uqm_sequence *seqs;
    size_t n_seqs, n_rows, n_pictures, picture_rows; /* rows of the batch, and of one picture */
    struct uqm_row_ref *words;                       /* ascending by id */
    size_t n_words;
    size_t first_load, n_loads; /* of embedding rows */
    uint32_t *index;            /* (n_rows): where each row of hidden comes from */
    size_t width;
    /* While the rows come in: */
    struct uqm_run *run;
    struct uqm_row_writer table; /* one row a word that occurs */
    size_t next, n_ids;          /* refs done, rows of the table */
};

/* Where in a sequence each id ends up; stops at the cut. */
typedef void (*row_fn)(struct uqm_splice *splice, int32_t id, size_t row, size_t n_rows, void *ctx);
static void for_each_id(struct uqm_splice *splice, const struct uqm_sequence *seq, row_fn fn,
                        void *ctx)
{
    size_t row = 0;
    for (size_t i = 0; i < seq->prompt->n_ids && row < seq->n_rows; i++) {
        const int32_t id = seq->prompt->ids[i];
        size_t n = id == UQM_IMAGE_PLACEHOLDER ? splice->picture_rows : 1;
        n = (size_t) uqm_min_u64(n, seq->n_rows - row);
        fn(splice, id, seq->row + row, n, ctx);
        row += n;
    }
}

static void note_word(struct uqm_splice *splice, int32_t id, size_t row, size_t n_rows, void *ctx)
{
    (void) n_rows;
    (void) ctx;
    if (id != UQM_IMAGE_PLACEHOLDER)
        splice->words[splice->n_words++] = (struct uqm_row_ref){ .id = id, .at = row };
}

static int create(struct uqm_splice **out, const struct uqm_network *net,
                  const struct uqm_sequence *seqs, size_t n_seqs, struct uqm_err *err)
{
    struct uqm_splice *s = calloc(1, sizeof *s);
    if (!s)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for a batch of prompts");
    s->seqs = seqs;
    s->n_seqs = n_seqs;
    s->picture_rows = uqm_network_feature_rows(&net->config);
    s->width = net->config.text.hidden;

    int ret = UQM_OK;
    size_t room = 0;
    for (size_t i = 0; i < n_seqs; i++) {
        room += seqs[i].prompt->n_ids;
        s->n_rows += seqs[i].n_rows;
    }
    assert(room > 0); /* no prompt is empty */
    s->words = malloc(room * sizeof *s->words);
    s->index = malloc(s->n_rows * sizeof *s->index);
    if (!s->words || !s->index)
        ret = uqm_fail(err, UQM_ERR_NOMEM, "no memory for the words of %zu prompts", n_seqs);
    for (size_t i = 0; ret == UQM_OK && i < n_seqs; i++) {
        s->n_pictures += seqs[i].n_pictures;
        for_each_id(s, &seqs[i], note_word, NULL);
    }
    if (ret < 0) {
        uqm_splice_destroy(&s);
        return ret;
    }
    qsort(s->words, s->n_words, sizeof *s->words, uqm_row_ref_compare);
    *out = s;
    return UQM_OK;
}

int uqm_splice_create(struct uqm_splice **out, struct uqm_schedule *schedule,
                      const struct uqm_network *net, const struct uqm_sequence *seqs, size_t n_seqs,
                      struct uqm_err *err)
{
    struct uqm_splice *s = NULL;
    int ret = create(&s, net, seqs, n_seqs, err);
    if (ret == UQM_OK && s->n_pictures > 0)
        ret = uqm_projector_schedule(schedule, &net->config, err);
    if (ret == UQM_OK) {
        s->first_load = schedule->n;
        ret = uqm_schedule_gather(schedule, &net->embed, s->words, s->n_words, err);
        s->n_loads = schedule->n - s->first_load;
    }
    if (ret < 0) {
        uqm_splice_destroy(&s);
        return ret;
    }
    *out = s;
    return UQM_OK;
}

int uqm_splice_create_part(struct uqm_splice **out, const struct uqm_splice *whole,
                           const struct uqm_network *net, const struct uqm_sequence *seqs,
                           size_t n_seqs, struct uqm_err *err)
{
    int ret = create(out, net, seqs, n_seqs, err);
    if (ret == UQM_OK) {
        (*out)->first_load = whole->first_load;
        (*out)->n_loads = whole->n_loads;
    }
    return ret;
}

void uqm_splice_destroy(struct uqm_splice **splice)
{
    if (!*splice)
        return;
    free((*splice)->words);
    free((*splice)->index);
    free(*splice);
    *splice = NULL;
}

/* hidden's rows from those of x that the index names. */
static int gather(struct uqm_splice *s, const struct uqm_parts *parts, struct uqm_place x,
                  struct uqm_err *err)
{
    struct uqm_device *device = s->run->device;
    const struct uqm_gather args = {
        .y = parts->hidden,
        .x = x,
        .ldy = s->width,
        .ldx = s->width,
        .index = parts->index,
        .n_rows = s->n_rows,
        .width = s->width,
    };
    int ret = device->ops->upload(device, parts->index, s->index, s->n_rows, err);
    return ret < 0 ? ret : device->ops->gather(device, &args, err);
}

static void note_picture(struct uqm_splice *splice, int32_t id, size_t row, size_t n_rows,
                         void *ctx)
{
    uint32_t *first = ctx;
    if (id != UQM_IMAGE_PLACEHOLDER)
        return;
    for (size_t r = 0; r < n_rows; r++)
        splice->index[row + r] = *first + (uint32_t) r;
    *first += (uint32_t) splice->picture_rows;
}

static void forget_index(struct uqm_splice *splice)
{
    for (size_t i = 0; i < splice->n_rows; i++)
        splice->index[i] = UQM_NO_ROW;
}

static int splice_pictures(struct uqm_splice *splice, struct uqm_weights *weights,
                           const struct uqm_parts *parts, uqm_features_fn features, void *ctx,
                           struct uqm_err *err)
{
    struct uqm_run *run = splice->run;
    const size_t n_elem = splice->picture_rows * run->net->config.vision.hidden;
    struct uqm_place dst = parts->region;
    uint32_t first = 0;

    assert(n_elem <= run->stage_elem);
    for (size_t s = 0; s < splice->n_seqs; s++)
        for (size_t k = 0; k < splice->seqs[s].n_pictures; k++) {
            int ret = features(ctx, splice->seqs[s].number, k, run->stage, err);
            if (ret == UQM_OK)
                ret = run->device->ops->upload(run->device, dst, run->stage, n_elem, err);
            if (ret < 0)
                return ret;
            dst = uqm_place_add(dst, n_elem);
        }
    int ret = uqm_projector_run(run, weights, parts->region, parts->normed, parts->region,
                                splice->n_pictures * splice->picture_rows, err);
    if (ret < 0)
        return ret;
    forget_index(splice);
    for (size_t s = 0; s < splice->n_seqs; s++)
        for_each_id(splice, &splice->seqs[s], note_picture, &first);
    return gather(splice, parts, parts->region, err);
}

/* A row of the embedding, through the stage to the table. */
static int take_word(void *ctx, uint64_t id, const void *row, enum uqm_dtype dtype,
                     struct uqm_err *err)
{
    struct uqm_splice *s = ctx;
    if (s->next == s->n_words || (uint64_t) s->words[s->next].id != id)
        return UQM_OK;
    for (; s->next < s->n_words && (uint64_t) s->words[s->next].id == id; s->next++)
        s->index[s->words[s->next].at] = (uint32_t) s->n_ids;
    s->n_ids++;
    return uqm_row_writer_put(&s->table, row, dtype, err);
}

/* There are no more words than rows: the table fits into normed. */
static int splice_words(struct uqm_splice *splice, struct uqm_weights *weights,
                        const struct uqm_parts *parts, struct uqm_err *err)
{
    int ret = UQM_OK;
    forget_index(splice);
    splice->table =
        (struct uqm_row_writer){ .run = splice->run, .to = parts->normed, .width = splice->width };
    splice->next = splice->n_ids = 0;
    if (weights->held) /* past a projector that other prompts of the pass need */
        uqm_weights_seek(weights, splice->first_load);
    for (size_t i = 0; ret == UQM_OK && i < splice->n_loads; i++)
        ret = uqm_weights_rows(weights, take_word, splice, err);
    if (ret == UQM_OK)
        ret = uqm_row_writer_flush(&splice->table, err);
    return ret < 0 ? ret : gather(splice, parts, parts->normed, err);
}

int uqm_splice_run(struct uqm_splice *splice, struct uqm_run *run, struct uqm_weights *weights,
                   const struct uqm_parts *parts, uqm_features_fn features, void *ctx,
                   struct uqm_err *err)
{
    int ret = UQM_OK;
    splice->run = run;
    if (splice->n_pictures > 0)
        ret = splice_pictures(splice, weights, parts, features, ctx, err);
    return ret < 0 ? ret : splice_words(splice, weights, parts, err);
}
