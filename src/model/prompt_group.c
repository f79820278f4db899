/* Which prompts are answered together, and which of them are read together. */
#include <stdio.h>

#include "src/base/checked.h"
#include "src/model/generate.h"

size_t uqm_prompt_positions(const struct uqm_generator *g, size_t prompt)
{
    return g->seqs[prompt].n_rows + g->n_new[prompt] - (g->n_new[prompt] > 0);
}

static uint64_t prefill_words(const struct uqm_generator *g, const struct uqm_llama_plan *plan)
{
    const uint64_t logits = (uint64_t) plan->n_seqs * g->net.config.text.vocab_size;
    return uqm_llama_plan_words(plan) + uqm_part_words(logits);
}

/* The batch with one prompt more. */
static struct uqm_prompt_batch grown(const struct uqm_generator *g,
                                     const struct uqm_prompt_batch *b, bool tight)
{
    const struct uqm_sequence *s = &g->seqs[b->first + b->plan.n_seqs];
    struct uqm_prompt_batch more = *b;
    more.n_rows += s->n_rows;
    more.n_pictures += s->n_pictures;
    uqm_llama_plan(&more.plan, &g->net.config, more.n_rows, b->plan.n_seqs + 1,
                   more.n_pictures * uqm_network_feature_rows(&g->net.config), tight);
    return more;
}

void uqm_prompt_batch_add(struct uqm_prompt_batch *b, const struct uqm_generator *g, size_t prompt,
                          bool tight)
{
    if (b->plan.n_seqs > 0) {
        const struct uqm_prompt_batch more = grown(g, b, tight);
        if (prefill_words(g, &more.plan) <= g->enough) {
            *b = more;
            return;
        }
    }
    *b = (struct uqm_prompt_batch){ .first = prompt };
    *b = grown(g, b, tight);
}

static bool fits(const struct uqm_generator *g, const struct uqm_prompt_group *group)
{
    const struct uqm_text_config *c = &g->net.config.text;
    const uint64_t layer = uqm_kv_layer_words(c, group->n_positions);
    return layer <= g->largest && group->arena <= g->largest && layer <= g->room / c->n_layers &&
           c->n_layers * layer + group->arena <= g->room;
}

static struct uqm_prompt_group alone(const struct uqm_generator *g, size_t first, bool tight)
{
    struct uqm_prompt_batch b = { 0 };
    uqm_prompt_batch_add(&b, g, first, tight);
    return (struct uqm_prompt_group){
        .first = first,
        .n = 1,
        .n_positions = uqm_prompt_positions(g, first),
        .arena = uqm_max_u64(prefill_words(g, &b.plan), uqm_decoder_words(&g->net.config.text, 1)),
        .tight = tight,
    };
}

struct uqm_prompt_group uqm_prompt_group_choose(const struct uqm_generator *g, size_t first)
{
    struct uqm_prompt_batch b = { 0 };
    struct uqm_prompt_group group = { .first = first };
    for (size_t i = first; i < g->job->n_prompts; i++) {
        struct uqm_prompt_group more = group;
        uqm_prompt_batch_add(&b, g, i, false);
        more.n++;
        more.n_positions += uqm_prompt_positions(g, i);
        more.arena = uqm_max_u64(more.arena, prefill_words(g, &b.plan));
        more.arena = uqm_max_u64(more.arena, uqm_decoder_words(&g->net.config.text, more.n));
        if (!fits(g, &more))
            break;
        group = more;
    }
    if (group.n > 0)
        return group;
    group = alone(g, first, true);
    if (!fits(g, &group))
        group.n = 0;
    return group;
}

int uqm_prompt_group_no_room(const struct uqm_generator *g, size_t first, struct uqm_err *err)
{
    const struct uqm_prompt_group group = alone(g, first, true);
    const uint64_t caches = uqm_kv_cache_words(&g->net.config.text, group.n_positions);
    char what[96];
    snprintf(what, sizeof what, "a prompt of %zu tokens and %u new ones", g->seqs[first].n_rows,
             (unsigned) g->n_new[first]);
    return uqm_run_no_room(&g->run, (group.arena + caches) * sizeof(float), what, err);
}
