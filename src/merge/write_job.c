/* What a merge's bytes depend on: the id of its journal. */
#include <stdlib.h>
#include <string.h>

#include "src/merge/vocab_plan.h"
#include "src/merge/writer.h"

/* What the headers say. */
static void add_tensors(struct uqm_job *job, const struct uqm_checkpoint *cp)
{
    uqm_job_add_u64(job, cp->source.n_tensors);
    for (size_t i = 0; i < cp->source.n_tensors; i++) {
        const struct uqm_tensor *t = &cp->source.tensors[i];
        uqm_job_add_text(job, t->name);
        uqm_job_add_u64(job, (uint64_t) t->dtype);
        uqm_job_add_u64(job, t->rank);
        for (unsigned d = 0; d < t->rank; d++)
            uqm_job_add_u64(job, t->shape[d]);
        if (cp->locations && cp->n_files > 0) {
            uqm_job_add_u64(job, cp->locations[i].file);
            uqm_job_add_u64(job, cp->locations[i].off_bytes);
        }
    }
}

static void add_checkpoint(struct uqm_job *job, const struct uqm_checkpoint *cp)
{
    char *real = realpath(cp->path, NULL);
    uqm_job_add_text(job, real ? real : cp->path);
    free(real);
    uqm_job_add_text(job, cp->config_text);
    uqm_job_add_u64(job, cp->n_files);
    for (size_t f = 0; f < cp->n_files; f++) {
        uqm_job_add_text(job, cp->files[f]->name);
        uqm_job_add_file(job, cp->files[f]);
    }
    add_tensors(job, cp);
}

/* Which rows go where follows from the inputs' tokenizers, which no header tells of. */
static void add_vocabulary(struct uqm_job *job, const struct uqm_vocab_plan *v)
{
    uqm_job_add_u64(job, v ? v->n_rows : UINT64_MAX);
    if (!v)
        return;
    uqm_job_add_u64(job, v->n_real);
    for (size_t k = 0; k < v->n_inputs; k++)
        uqm_job_add(job, v->own[k], v->n_real * sizeof *v->own[k]);
    for (uint32_t i = 0; i < v->n_real; i++) {
        const struct uqm_vocab_rule *r = &v->rules[i];
        uqm_job_add_u64(job, (unsigned) r->is_set | (unsigned) r->is_zero << 1 |
                                 (unsigned) r->force << 2);
        uqm_job_add_u64(job, (uint64_t) r->input << 32 | r->row);
    }
}

/* Which tensors are made of which: digests of vision towers had a say in it. */
static void add_plan(struct uqm_job *job, const struct uqm_recipe_source *rs)
{
    uqm_job_add_u64(job, rs->source.n_tensors);
    for (size_t i = 0; i < rs->source.n_tensors; i++) {
        const struct uqm_plan_tensor *pt = &rs->plan[i];
        uqm_job_add_text(job, rs->source.tensors[i].name);
        uqm_job_add_u64(job, (uint64_t) pt->fate);
        uqm_job_add_u64(job, (uint64_t) pt->work);
        uqm_job_add_u64(job, pt->n_parts);
        for (size_t p = 0; p < pt->n_parts; p++) {
            uqm_job_add_u64(job, pt->parts[p].input);
            uqm_job_add_u64(job, pt->parts[p].source_of ? pt->parts[p].source_tensor
                                                        : pt->parts[p].tensor);
        }
    }
}

static void add_source(struct uqm_job *job, const struct uqm_recipe_source *rs)
{
    uqm_job_add(job, rs->recipe->text, rs->recipe->text_len);
    uqm_job_add_text(job, rs->recipe->name);
    uqm_job_add_u64(job, (uint64_t) rs->numerics);
    uqm_job_add_u64(job, rs->source.env->seed);
    uqm_job_add_u64(job, rs->n_inputs);
    for (size_t k = 0; k < rs->n_inputs; k++)
        if (rs->inputs[k].inner)
            add_source(job, uqm_recipe_source_of(rs->inputs[k].inner));
        else
            add_checkpoint(job, rs->inputs[k].checkpoint);
    add_vocabulary(job, rs->vocab);
    add_plan(job, rs);
}

int uqm_writer_job(struct uqm_job_id *out, const struct uqm_writer *w, struct uqm_err *err)
{
    struct uqm_job *job = uqm_job_create("merge", UQM_VERSION);
    if (!job)
        return uqm_writer_no_memory(w, err);
    uqm_job_add_u64(job, (uint64_t) w->params->report); /* what its sums are of */
    uqm_job_add_u64(job, w->plan.n_shards);
    for (size_t s = 0; s < w->plan.n_shards; s++) {
        const struct uqm_shard_plan *shard = &w->plan.shards[s];
        uqm_job_add_text(job, shard->name);
        uqm_job_add(job, shard->header.bytes, shard->header.n_bytes);
        uqm_job_add_u64(job, shard->n_bytes);
    }
    uqm_job_add_u64(job, (uint64_t) w->params->report); /* the journal holds its sums */
    add_source(job, w->rs);
    *out = uqm_job_id(job);
    uqm_job_destroy(&job);
    return UQM_OK;
}
