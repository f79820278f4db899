#include "src/uq/feature_cache.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/scratch.h"
#include "src/base/checked.h"
#include "src/model/preprocess.h"
#include "src/uq/augmix.h"
#include "src/uq/dataset_tsv.h"

/* One tower's features of all slots. */
struct tower {
    struct tower *next;
    char *key;
    struct uqm_scratch scratch;
    size_t slot_bytes;
};

/* A slot is a picture to look at: a record's pictures pass by pass, or once where no pass differs.
 */
struct slot {
    size_t record, set; /* record: numbered over all sets */
    uint32_t k, j;      /* the record's k-th picture, pass j */
};

struct uqm_features {
    const struct uqm_survey *survey;
    char *dir;
    struct slot *slots;
    size_t n_slots;
    size_t *first_slot; /* [n_records]; of one without a picture: the next one's */
    bool *bad;          /* [n_records] */
    bool warned, one_model;
    struct tower *towers;
    const struct tower *current;
};

/* While the tower looks at pictures. */
struct job {
    struct uqm_features *features;
    struct tower *tower;
    const struct uqm_preprocess_config *config;
    /* Small pictures are decoded side by side, a large one alone: all of them within one share of
     * the memory, and which pictures are taken depends on the share, not on the threads. */
    uint64_t small_pixels, max_pixels;
    pthread_rwlock_t lock;
    pthread_mutex_t bad_lock;
    char **reasons; /* [n_records], of the bad ones */
};

/* Bytes a pixel while a picture is decoded and perturbed: AugMix needs 15, the result included; the
 * rest is the file and the decoder's. */
enum { BYTES_A_PIXEL = 24, MAX_PICTURE_PIXELS = 1 << 28 };

static int make_slots(struct uqm_features *f)
{
    const struct uqm_survey *s = f->survey;
    const uint32_t passes = s->perturb & UQM_PERTURB_IMAGE ? s->n_passes : 1;
    const size_t n = uqm_survey_n_records(s);
    size_t n_pictures = 0;

    for (size_t k = 0; k < s->n_sets; k++)
        for (size_t i = 0; i < s->sets[k].n_records; i++)
            n_pictures += uqm_record_n_images(&s->sets[k].records[i]);
    f->first_slot = malloc((n + 1) * sizeof *f->first_slot);
    f->bad = calloc(n + 1, sizeof *f->bad);
    f->slots = malloc((n_pictures * passes + 1) * sizeof *f->slots);
    if (!f->first_slot || !f->bad || !f->slots)
        return UQM_ERR_NOMEM;
    for (size_t k = 0; k < s->n_sets; k++)
        for (size_t i = 0; i < s->sets[k].n_records; i++) {
            size_t record = s->first_record[k] + i;
            const uint32_t n_images = (uint32_t) uqm_record_n_images(&s->sets[k].records[i]);
            f->first_slot[record] = f->n_slots;
            for (uint32_t at = 0; at < passes * n_images; at++)
                f->slots[f->n_slots++] = (struct slot){
                    .record = record, .set = k, .k = at % n_images, .j = at / n_images
                };
        }
    return UQM_OK;
}

int uqm_features_create(struct uqm_features **out, const struct uqm_survey *survey, const char *dir,
                        struct uqm_err *err)
{
    struct uqm_features *f = calloc(1, sizeof *f);
    if (f) {
        f->survey = survey;
        f->dir = dir ? strdup(dir) : NULL;
    }
    if (!f || (dir && !f->dir) || make_slots(f) < 0) {
        uqm_features_destroy(&f);
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for a list of %zu pictures",
                        uqm_survey_n_records(survey));
    }
    *out = f;
    return UQM_OK;
}

void uqm_features_of_one_model(struct uqm_features *features)
{
    features->one_model = true;
}

static void tower_free(struct tower *t)
{
    if (!t)
        return;
    uqm_scratch_finish(&t->scratch);
    free(t->key);
    free(t);
}

void uqm_features_destroy(struct uqm_features **features)
{
    struct uqm_features *f = *features;
    *features = NULL;
    if (!f)
        return;
    while (f->towers) {
        struct tower *next = f->towers->next;
        tower_free(f->towers);
        f->towers = next;
    }
    free(f->slots);
    free(f->first_slot);
    free(f->bad);
    free(f->dir);
    free(f);
}

bool uqm_features_is_bad(const struct uqm_features *features, size_t record)
{
    return features->bad[record];
}

int uqm_features_read(const struct uqm_features *features, float *dst, size_t record, size_t k,
                      uint32_t j, struct uqm_err *err)
{
    const struct tower *t = features->current;
    const bool per_pass = features->survey->perturb & UQM_PERTURB_IMAGE;
    size_t slot = features->first_slot[record];
    while (features->slots[slot].k != k || (per_pass && features->slots[slot].j != j))
        slot++;
    assert(slot < features->n_slots && features->slots[slot].record == record);
    return uqm_scratch_read(&t->scratch, dst, t->slot_bytes, slot * t->slot_bytes, err);
}

static int load_picture(struct uqm_image *image, const struct uqm_record *record, size_t k,
                        uint64_t max_pixels, struct uqm_err *err)
{
    uint8_t *data;
    size_t len;
    if (record->image_bytes == 0)
        return uqm_image_load(image, uqm_record_image(record, k), max_pixels, err);
    int ret =
        uqm_tsv_picture(&data, &len, record->image, record->image_at, record->image_bytes, err);
    if (ret < 0)
        return ret;
    ret = uqm_image_decode(image, data, len, record->image, max_pixels, err);
    free(data);
    return ret;
}

int uqm_features_pixels(float *pixels, const struct uqm_survey *survey, size_t set,
                        const struct uqm_record *record, size_t k, uint32_t j,
                        const struct uqm_preprocess_config *config, uint64_t max_pixels,
                        struct uqm_err *err)
{
    struct uqm_image image = { 0 };
    int ret = load_picture(&image, record, k, max_pixels, err);
    if (ret == UQM_OK && survey->perturb & UQM_PERTURB_IMAGE) {
        struct uqm_rng rng;
        uqm_rng_init(&rng, uqm_rng_stream(survey->env->seed, UQM_RNG_IMAGE, survey->sets[set].name,
                                          record->id, j, (uint32_t) k));
        struct uqm_image mixed = { 0 };
        ret = uqm_augmix(&mixed, &image, &rng, err);
        uqm_image_finish(&image);
        image = mixed;
    }
    if (ret == UQM_OK)
        ret = uqm_preprocess(pixels, &image, config, err);
    uqm_image_finish(&image);
    return ret;
}

static int note_bad(struct job *job, const struct slot *slot, const struct uqm_err *why,
                    struct uqm_err *err)
{
    struct uqm_features *f = job->features;
    const struct uqm_survey *s = f->survey;
    const size_t record = slot->record, in_set = record - s->first_record[slot->set];
    if (s->env->strict) {
        const struct uqm_dataset *set = &s->sets[slot->set];
        struct uqm_record_where where;
        uqm_record_where(&where, set, &set->records[in_set]);
        int ret = uqm_fail(err, why->code, "%.200s: %.300s", where.text, why->msg);
        err->sys_errno = why->sys_errno;
        return ret;
    }
    pthread_mutex_lock(&job->bad_lock);
    f->bad[record] = true;
    if (!job->reasons[record])
        job->reasons[record] = strdup(why->msg);
    pthread_mutex_unlock(&job->bad_lock);
    return UQM_OK;
}

/* The vision job's callback; from several threads at once. */
static int fill_pixels(void *ctx, size_t image, float *dst, struct uqm_err *err)
{
    struct job *job = ctx;
    struct uqm_features *f = job->features;
    const struct slot *slot = &f->slots[image];
    const size_t in_set = slot->record - f->survey->first_record[slot->set];
    const struct uqm_record *record = &f->survey->sets[slot->set].records[in_set];
    struct uqm_err why = { 0 };

    pthread_rwlock_rdlock(&job->lock);
    int ret = uqm_features_pixels(dst, f->survey, slot->set, record, slot->k, slot->j, job->config,
                                  job->small_pixels, &why);
    pthread_rwlock_unlock(&job->lock);
    if (ret < 0 && job->small_pixels < job->max_pixels) {
        pthread_rwlock_wrlock(&job->lock);
        ret = uqm_features_pixels(dst, f->survey, slot->set, record, slot->k, slot->j, job->config,
                                  job->max_pixels, &why);
        pthread_rwlock_unlock(&job->lock);
    }
    if (ret == UQM_OK)
        return UQM_OK;
    /* Which pictures can be asked must not depend on the memory: too little of it is an error. */
    if (why.sys_errno == EFBIG && job->max_pixels < MAX_PICTURE_PIXELS)
        return uqm_fail(err, UQM_ERR_NOMEM, "--memory: %.400s; give more memory", why.msg);
    if (ret == UQM_ERR_NOMEM || ret == UQM_ERR_ARG) {
        *err = why;
        return ret;
    }
    memset(dst, 0, 3 * (size_t) job->config->image_size * job->config->image_size * sizeof *dst);
    return note_bad(job, slot, &why, err);
}

static int store_features(void *ctx, size_t image, const float *features, struct uqm_err *err)
{
    struct job *job = ctx;
    const struct tower *t = job->tower;
    return uqm_scratch_write(&t->scratch, features, t->slot_bytes, (uint64_t) image * t->slot_bytes,
                             err);
}

/* Said once a survey, in the order of the records, not of the threads. */
static void warn_of_bad(const struct job *job)
{
    struct uqm_features *f = job->features;
    const struct uqm_survey *s = f->survey;
    for (size_t k = 0; k < s->n_sets && !f->warned; k++)
        for (size_t i = 0; i < s->sets[k].n_records; i++) {
            const char *reason = job->reasons[s->first_record[k] + i];
            struct uqm_record_where where;
            if (reason)
                uqm_log(s->env, UQM_LOG_WARN, "%s: skipped: %s",
                        uqm_record_where(&where, &s->sets[k], &s->sets[k].records[i]), reason);
        }
    f->warned = true;
}

/* Everything besides the weights that the features depend on. */
static char *tower_key(const struct uqm_model_config *c, const struct uqm_xxh3_hex *digest)
{
    const struct uqm_preprocess_config *p = &c->preprocess;
    char *key = NULL;
    if (asprintf(&key, "%s %u %u %d %d %a %u %d %a %a %a %a %a %a %a", digest->text,
                 c->vision.n_layers, c->vision.n_heads, c->vision.feature_layer,
                 c->vision.keep_class_token, (double) c->vision.layer_norm_eps, p->image_size,
                 p->pad_to_square, p->mean[0], p->mean[1], p->mean[2], p->std[0], p->std[1],
                 p->std[2], p->rescale) < 0)
        return NULL;
    return key;
}

static int look(struct job *job, struct uqm_candidate *c, struct uqm_machine *machine,
                uint64_t network_bytes, struct uqm_err *err)
{
    struct uqm_network *network = NULL;
    int ret = uqm_network_create(&network, machine, c->source, &c->config, network_bytes, err);
    if (ret < 0)
        return ret;
    const struct uqm_vision_job vision = {
        .n_images = job->features->n_slots,
        .pixels = fill_pixels,
        .store = store_features,
        .ctx = job,
        .stage = "looking at pictures",
    };
    ret = uqm_network_vision(network, &vision, err);
    uqm_network_destroy(&network);
    return ret;
}

/* A quarter of the memory for pictures on their way, within [32 MiB, 2 GiB]; the tower has the
 * rest. */
static uint64_t picture_share(uint64_t memory_bytes)
{
    uint64_t share = memory_bytes / 4;
    share = uqm_max_u64(share, UINT64_C(32) << 20);
    return uqm_min_u64(share, uqm_min_u64(UINT64_C(2) << 30, memory_bytes / 2));
}

static int compute(struct uqm_features *f, struct tower *tower, struct uqm_candidate *c,
                   struct uqm_machine *machine, uint64_t memory_bytes, struct uqm_err *err)
{
    const size_t n_records = uqm_survey_n_records(f->survey);
    const uint64_t share = picture_share(memory_bytes);
    const uint64_t pixels = uqm_min_u64(share / BYTES_A_PIXEL, MAX_PICTURE_PIXELS);
    struct job job = {
        .features = f,
        .tower = tower,
        .config = &c->config.preprocess,
        .max_pixels = pixels,
        .small_pixels = pixels / (uint64_t) f->survey->env->n_threads,
        .lock = PTHREAD_RWLOCK_INITIALIZER,
        .bad_lock = PTHREAD_MUTEX_INITIALIZER,
        .reasons = calloc(n_records + 1, sizeof *job.reasons),
    };
    tower->slot_bytes =
        uqm_network_feature_rows(&c->config) * c->config.vision.hidden * sizeof(float);
    int ret = job.reasons ? uqm_scratch_init(&tower->scratch, f->dir,
                                             (uint64_t) f->n_slots * tower->slot_bytes, err)
                          : uqm_fail(err, UQM_ERR_NOMEM, "no memory for %zu records", n_records);
    if (ret == UQM_OK)
        ret = look(&job, c, machine, memory_bytes - share, err);
    if (ret == UQM_OK)
        warn_of_bad(&job);
    for (size_t i = 0; job.reasons && i < n_records; i++)
        free(job.reasons[i]);
    free(job.reasons);
    pthread_rwlock_destroy(&job.lock);
    pthread_mutex_destroy(&job.bad_lock);
    return ret;
}

int uqm_features_prepare(struct uqm_features *features, struct uqm_candidate *candidate,
                         struct uqm_machine *machine, uint64_t memory_bytes, struct uqm_err *err)
{
    struct uqm_xxh3_hex digest = { 0 };
    int ret = UQM_OK;
    if (features->n_slots == 0)
        return UQM_OK;
    if (!features->one_model)
        ret = uqm_source_vision_digest(&digest, candidate->source, candidate->digests, err);
    if (ret < 0)
        return ret;
    char *key = tower_key(&candidate->config, &digest);
    struct tower *tower = key ? calloc(1, sizeof *tower) : NULL;
    if (!tower) {
        free(key);
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for a vision tower's key");
    }
    tower->key = key;
    tower->scratch.fd = -1;
    for (const struct tower *t = features->towers; t; t = t->next)
        if (!strcmp(t->key, key)) {
            tower_free(tower);
            features->current = t;
            return UQM_OK;
        }

    ret = compute(features, tower, candidate, machine, memory_bytes, err);
    if (ret < 0) {
        tower_free(tower);
        return ret;
    }
    tower->next = features->towers;
    features->towers = tower;
    features->current = tower;
    return UQM_OK;
}
