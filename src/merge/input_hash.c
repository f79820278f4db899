#include "src/merge/input_hash.h"

#include <assert.h>
#include <stdlib.h>

#include "io/stream.h"
#include "src/base/checked.h"

enum { PIECE_BYTES = 1 << 20, GAP_BYTES = 64 << 10, MOST_STREAM_BYTES = 64 << 20 };
/* Smaller parts are hashed sooner than other threads are woken. */
enum { FEWEST_PARALLEL_BYTES = 64 << 10 };

struct hashed_file {
    struct uqm_file *file;
    struct uqm_xxh3 *state;
    uint64_t done;    /* bytes [0, done) are in the state */
    uint64_t planned; /* end of what the merge reads of it in order; 0: hash it afterwards */
    bool in_order;
    const struct hashed_file *lender; /* NULL: hashed here */
};

struct uqm_input_hash {
    struct uqm_recipe_source *rs;
    struct uqm_threads *threads;
    size_t n_files;
    struct hashed_file *files;
    struct uqm_input_hash **inner; /* [n_inputs] of inputs that are recipes, else NULL */
    size_t *first;                 /* [n_inputs] where an input's files begin */
    struct uqm_err *failures;      /* [max_parts] of the tile in hand */
    struct uqm_err failure;
    const struct uqm_seen *seen; /* while a tile is hashed */

    size_t next_file; /* while the rest is read */
    uint64_t next_off, n_read, n_left;
};

static struct hashed_file *file_of(const struct uqm_input_hash *h, size_t input, size_t file)
{
    return &h->files[h->first[input] + file];
}

/* --- the plan --- */

/* Whether the merge reads each file's tensors at ascending offsets. */
static void find_order(struct uqm_input_hash *h, const struct uqm_write_plan *plan)
{
    const struct uqm_recipe_source *rs = h->rs;
    for (size_t i = 0; i < h->n_files; i++)
        h->files[i].in_order = true;
    for (size_t i = 0; i < h->n_files && !plan; i++)
        h->files[i].in_order = false;
    for (size_t s = 0; plan && s < plan->n_shards; s++)
        for (size_t k = 0; k < plan->shards[s].n_tensors; k++) {
            const struct uqm_plan_tensor *pt = &rs->plan[plan->shards[s].tensors[k]];
            for (size_t p = 0; p < pt->n_parts; p++) {
                const struct uqm_checkpoint *cp = rs->inputs[pt->parts[p].input].checkpoint;
                const struct uqm_location *at = &cp->locations[pt->parts[p].tensor];
                uint64_t n_bytes = cp->source.tensors[pt->parts[p].tensor].n_bytes;
                if (pt->parts[p].source_of || n_bytes == 0 || at->made ||
                    at->file >= cp->n_own_files)
                    continue;
                struct hashed_file *f = file_of(h, pt->parts[p].input, at->file);
                if (at->off_bytes < f->planned)
                    f->in_order = false;
                f->planned = at->off_bytes + n_bytes;
            }
        }
    for (size_t i = 0; i < h->n_files; i++)
        if (!h->files[i].in_order)
            h->files[i].planned = 0;
}

/* --- on the way --- */

/* What lies between two tensors: headers, padding, tensors that are not merged. */
static int hash_gap(struct hashed_file *f, uint64_t end, struct uqm_err *err)
{
    uint8_t buf[4096], *block = buf;
    size_t cap = sizeof buf;
    int ret = UQM_OK;
    if (end - f->done > cap) {
        block = malloc(GAP_BYTES);
        cap = GAP_BYTES;
        if (!block)
            return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory to hash it", f->file->name);
    }
    while (f->done < end && ret == UQM_OK) {
        size_t n = (size_t) uqm_min_u64(cap, end - f->done);
        ret = uqm_file_read(f->file, block, n, f->done, err);
        if (ret == UQM_OK) {
            uqm_xxh3_update(f->state, block, n);
            f->done += n;
        }
    }
    if (block != buf)
        free(block);
    return ret;
}

static void hash_part(void *ctx, size_t item, int worker)
{
    struct uqm_input_hash *h = ctx;
    const struct uqm_seen *s = &h->seen[item];
    (void) worker;
    if (s->file >= h->rs->inputs[s->input].checkpoint->n_own_files)
        return; /* a tower beside the model is no input of what is written */
    struct hashed_file *f = file_of(h, s->input, s->file);
    if (!f->in_order)
        return;
    uint64_t end = s->off_bytes + s->n_bytes;
    if (end <= f->done) /* an earlier run has hashed it */
        return;
    if (s->off_bytes > f->done && hash_gap(f, s->off_bytes, &h->failures[item]) < 0)
        return;
    size_t n = (size_t) (end - f->done);
    uqm_xxh3_update(f->state, (const char *) s->data + (s->n_bytes - n), n);
    f->done = end;
}

/* The parts of a tile are of different inputs, so of different files: one thread each. */
static void hash_seen(void *ctx, const struct uqm_seen *seen, size_t n_seen)
{
    struct uqm_input_hash *h = ctx;
    if (h->failure.code != UQM_OK)
        return;
    h->seen = seen;
    bool small = n_seen > 0 && seen[0].n_bytes < FEWEST_PARALLEL_BYTES;
    uqm_parallel(small ? NULL : h->threads, n_seen, hash_part, h);
    for (size_t i = 0; i < n_seen && h->failure.code == UQM_OK; i++)
        if (h->failures[i].code != UQM_OK)
            h->failure = h->failures[i];
}

int uqm_input_hash_create(struct uqm_input_hash **out, struct uqm_recipe_source *rs,
                          const struct uqm_write_plan *plan, struct uqm_threads *threads,
                          struct uqm_err *err)
{
    struct uqm_input_hash *h = calloc(1, sizeof *h);
    if (!h)
        return uqm_plan_no_memory(rs, err);
    h->rs = rs;
    h->threads = threads;
    h->first = calloc(rs->n_inputs, sizeof *h->first);
    h->inner = calloc(rs->n_inputs, sizeof(struct uqm_input_hash *));
    h->failures = calloc(rs->max_parts + 1, sizeof *h->failures);
    for (size_t k = 0; k < rs->n_inputs && h->first; k++) {
        h->first[k] = h->n_files;
        h->n_files += rs->inputs[k].checkpoint->n_own_files;
    }
    h->files = calloc(h->n_files + 1, sizeof *h->files);
    bool ok = h->first && h->failures && h->files && h->inner;
    for (size_t k = 0; k < rs->n_inputs && ok; k++)
        for (size_t f = 0; f < rs->inputs[k].checkpoint->n_own_files && ok; f++) {
            struct hashed_file *hf = file_of(h, k, f);
            hf->file = rs->inputs[k].checkpoint->files[f];
            hf->state = uqm_xxh3_create();
            ok = hf->state != NULL;
        }
    if (!ok) {
        uqm_input_hash_destroy(&h);
        return uqm_plan_no_memory(rs, err);
    }
    int ret = UQM_OK;
    for (size_t k = 0; k < rs->n_inputs && ret == UQM_OK; k++)
        if (rs->inputs[k].inner)
            ret = uqm_input_hash_create(&h->inner[k], uqm_recipe_source_of(rs->inputs[k].inner),
                                        NULL, threads, err);
    if (ret < 0) {
        uqm_input_hash_destroy(&h);
        return ret;
    }
    find_order(h, plan);
    if (plan) {
        rs->seen = hash_seen;
        rs->seen_ctx = h;
    }
    *out = h;
    return UQM_OK;
}

void uqm_input_hash_borrow(struct uqm_input_hash *hash, const struct uqm_input_hash *other)
{
    for (size_t k = 0; k < hash->rs->n_inputs; k++)
        if (hash->inner[k])
            uqm_input_hash_borrow(hash->inner[k], other);
    for (size_t k = 0; k < other->rs->n_inputs; k++)
        if (other->inner[k])
            uqm_input_hash_borrow(hash, other->inner[k]);
    for (size_t i = 0; i < hash->n_files; i++)
        for (size_t j = 0; j < other->n_files && !hash->files[i].lender; j++) {
            const struct stat *a = &hash->files[i].file->stat, *b = &other->files[j].file->stat;
            if (a->st_dev != b->st_dev || a->st_ino != b->st_ino)
                continue;
            const struct hashed_file *f = &other->files[j];
            hash->files[i].lender = f->lender ? f->lender : f;
            hash->files[i].in_order = false;
            hash->files[i].done = f->file->size_bytes; /* nothing is left to do */
        }
}

/* --- afterwards --- */

uint64_t uqm_input_hash_left(const struct uqm_input_hash *hash)
{
    uint64_t n = 0;
    for (size_t k = 0; k < hash->rs->n_inputs; k++)
        n += hash->inner[k] ? uqm_input_hash_left(hash->inner[k]) : 0;
    for (size_t i = 0; i < hash->n_files; i++) {
        const struct hashed_file *f = &hash->files[i];
        n += f->file->size_bytes - uqm_max_u64(f->done, f->planned);
    }
    return n;
}

static int next_piece(void *ctx, struct uqm_piece *piece)
{
    struct uqm_input_hash *h = ctx;
    while (h->next_file < h->n_files) {
        struct hashed_file *f = &h->files[h->next_file];
        uint64_t at = uqm_max_u64(h->next_off, f->done);
        if (at < f->file->size_bytes) {
            /* end on a boundary, so that the pieces behind begin on one */
            uint64_t end = (at / PIECE_BYTES + 1) * PIECE_BYTES;
            end = uqm_min_u64(end, f->file->size_bytes);
            *piece = (struct uqm_piece){
                .file = f->file, .off_bytes = at, .n_bytes = (size_t) (end - at), .user = f
            };
            h->next_off = end;
            return 1;
        }
        h->next_file++;
        h->next_off = 0;
    }
    return 0;
}

static int read_rest(struct uqm_input_hash *h, struct uqm_stream *stream, struct uqm_err *err)
{
    struct uqm_env *env = h->rs->source.env;
    struct uqm_view view;
    int ret;
    while ((ret = uqm_stream_next(stream, &view, err)) > 0) {
        struct hashed_file *f = view.user;
        uqm_xxh3_update(f->state, view.data, view.n_bytes);
        f->done += view.n_bytes;
        h->n_read += view.n_bytes;
        uqm_stream_release(stream, &view);
        uqm_report(env, "hashing the inputs", "bytes", h->n_read, h->n_left);
    }
    return ret;
}

int uqm_input_hash_finish(struct uqm_input_hash *hash, struct uqm_err *err)
{
    struct uqm_env *env = hash->rs->source.env;
    struct uqm_stream *stream = NULL;
    if (hash->failure.code != UQM_OK) {
        *err = hash->failure;
        return hash->failure.code;
    }
    for (size_t k = 0; k < hash->rs->n_inputs; k++) {
        int ret = hash->inner[k] ? uqm_input_hash_finish(hash->inner[k], err) : UQM_OK;
        if (ret < 0)
            return ret;
    }
    for (size_t i = 0; i < hash->n_files; i++)
        hash->n_left += hash->files[i].file->size_bytes - hash->files[i].done;
    if (hash->n_left == 0)
        return UQM_OK;
    uint64_t memory = uqm_min_u64(uqm_budget_left(env), MOST_STREAM_BYTES);
    /* done moves as pieces come back; next_piece() runs ahead of it on its own count */
    int ret = uqm_stream_create(&stream, env, PIECE_BYTES, 2, memory, next_piece, hash, err);
    if (ret == UQM_OK)
        ret = read_rest(hash, stream, err);
    uqm_stream_destroy(&stream);
    return ret;
}

/* --- for a later run --- */

int uqm_input_hash_save(const struct uqm_input_hash *hash, uqm_input_hash_save_fn save, void *ctx,
                        struct uqm_err *err)
{
    uint8_t state[UQM_XXH3_STATE_BYTES];
    int ret = UQM_OK;
    for (size_t i = 0; i < hash->n_files && ret == UQM_OK; i++) {
        const struct hashed_file *f = &hash->files[i];
        if (!f->lender && f->done > 0 && uqm_xxh3_save(f->state, state))
            ret = save(ctx, i, f->done, state, err);
    }
    return ret;
}

bool uqm_input_hash_load(struct uqm_input_hash *hash, size_t file, uint64_t n_bytes,
                         const uint8_t state[UQM_XXH3_STATE_BYTES])
{
    if (file >= hash->n_files || n_bytes > hash->files[file].file->size_bytes)
        return false;
    bool loaded = uqm_xxh3_load(hash->files[file].state, state);
    hash->files[file].done = loaded ? n_bytes : 0;
    return loaded;
}

const struct uqm_input_hash *uqm_input_hash_inner(const struct uqm_input_hash *hash, size_t input)
{
    return hash->inner[input];
}

struct uqm_xxh3_hex uqm_input_hash_of(const struct uqm_input_hash *hash, size_t input, size_t file)
{
    const struct hashed_file *f = file_of(hash, input, file);
    if (f->lender)
        f = f->lender;
    assert(f->done == f->file->size_bytes);
    return uqm_xxh3_hex(f->state);
}

void uqm_input_hash_destroy(struct uqm_input_hash **hash)
{
    struct uqm_input_hash *h = *hash;
    if (!h)
        return;
    if (h->rs->seen_ctx == h) {
        h->rs->seen = NULL;
        h->rs->seen_ctx = NULL;
    }
    for (size_t i = 0; h->files && i < h->n_files; i++)
        uqm_xxh3_destroy(&h->files[i].state);
    for (size_t k = 0; h->inner && k < h->rs->n_inputs; k++)
        uqm_input_hash_destroy(&h->inner[k]);
    free(h->inner);
    free(h->files);
    free(h->first);
    free(h->failures);
    free(h);
    *hash = NULL;
}
