#include "src/model/network.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "src/base/checked.h"
#include "src/checkpoint/layout.h"
#include "src/model/blocks.h"

/* ---- create: every tensor there, in its shape, and no other ---- */

static int find_matrix(struct uqm_load *out, const struct uqm_network *net, const char *name,
                       struct uqm_err *err)
{
    const struct uqm_text_config *c = &net->config.text;
    struct uqm_schedule s = { .source = net->source };
    int ret = uqm_schedule_matrix(&s, c->vocab_size, c->hidden, err, "%s", name);
    if (ret == UQM_OK)
        *out = s.loads[0];
    uqm_schedule_finish(&s);
    return ret;
}

/* A model without a head of its own uses the embedding's rows, and one that has a head uses that,
 * whatever its config says: so does transformers 5, and a merge writes both where it finds both. */
static int find_ends(struct uqm_network *net, struct uqm_err *err)
{
    static const char head[] = "language_model.lm_head.weight";
    int ret = find_matrix(&net->embed, net, "language_model.model.embed_tokens.weight", err);
    if (ret < 0)
        return ret;
    net->head = net->embed;
    if (uqm_source_find(net->source, head) < 0)
        return UQM_OK;
    return find_matrix(&net->head, net, head, err);
}

int uqm_network_schedule_text(struct uqm_schedule *schedule, const struct uqm_network *net,
                              struct uqm_err *err)
{
    const struct uqm_text_config *c = &net->config.text;
    int ret = UQM_OK;
    if (net->config.has_vision)
        ret = uqm_projector_schedule(schedule, &net->config, err);
    if (ret == UQM_OK)
        ret = uqm_schedule_rows(schedule, &net->embed, 0, net->embed.n_rows, err);
    for (uint32_t i = 0; ret == UQM_OK && i < c->n_layers; i++)
        ret = uqm_llama_schedule_layer(schedule, c, i, 1, err);
    if (ret == UQM_OK)
        ret = uqm_schedule_vector(schedule, c->hidden, err, "language_model.model.norm.weight");
    if (ret == UQM_OK)
        ret = uqm_schedule_rows(schedule, &net->head, 0, net->head.n_rows, err);
    return ret;
}

/* A bias, a query norm, an adapter's matrix: a tensor we would leave out makes another network. */
static int check_all_used(const struct uqm_schedule *text, bool has_vision, struct uqm_err *err)
{
    const struct uqm_source *source = text->source;
    bool *used = calloc(source->n_tensors + 1, sizeof *used);
    if (!used)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for %zu tensors", source->name,
                        source->n_tensors);
    for (size_t i = 0; i < text->n; i++)
        used[text->loads[i].tensor] = true;

    int ret = UQM_OK;
    for (size_t i = 0; ret == UQM_OK && i < source->n_tensors; i++) {
        const struct uqm_tensor *t = &source->tensors[i];
        struct uqm_printable name;
        const bool ours =
            t->part == UQM_PART_LANGUAGE || (t->part == UQM_PART_ADAPTER && has_vision);
        if (used[i] || !ours || uqm_layout_is_buffer(t->name) ||
            strcmp(t->canonical, "language_model.lm_head.weight") == 0)
            continue;
        ret = uqm_fail(err, UQM_ERR_UNSUPPORTED,
                       "%s: tensor %s has no place in the network that config.json describes",
                       source->name, uqm_printable(&name, t->name, strlen(t->name)));
    }
    free(used);
    return ret;
}

static int check_source(struct uqm_network *net, struct uqm_err *err)
{
    struct uqm_schedule text = { .source = net->source }, vision = { .source = net->source };
    int ret = find_ends(net, err);
    if (ret == UQM_OK)
        ret = uqm_network_schedule_text(&text, net, err);
    if (ret == UQM_OK && net->config.has_vision)
        ret = uqm_clip_schedule(&vision, &net->config.vision, err);
    if (ret == UQM_OK)
        ret = check_all_used(&text, net->config.has_vision, err);
    uqm_schedule_finish(&text);
    uqm_schedule_finish(&vision);
    return ret;
}

int uqm_network_create(struct uqm_network **out, struct uqm_machine *machine,
                       struct uqm_source *source, const struct uqm_model_config *config,
                       uint64_t memory_bytes, struct uqm_err *err)
{
    struct uqm_network *net = calloc(1, sizeof *net);
    if (!net)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", source->name);
    net->env = machine->env;
    net->machine = machine;
    net->source = source;
    net->config = *config;
    net->memory_bytes = memory_bytes;
    uqm_kernels_init(&net->kernels, uqm_cpu_flags());

    int ret = check_source(net, err);
    if (ret < 0) {
        uqm_network_destroy(&net);
        return ret;
    }
    *out = net;
    return UQM_OK;
}

void uqm_network_destroy(struct uqm_network **network)
{
    free(*network);
    *network = NULL;
}

const struct uqm_model_config *uqm_network_config(const struct uqm_network *network)
{
    return &network->config;
}
