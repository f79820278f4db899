/* How GGUF spells the tensors of LLaMA and LLaVA: from the canonical names (checkpoint/layout.h).
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/checkpoint/layout.h"
#include "src/convert/gguf_export.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define LANGUAGE "language_model."
#define VISION   "vision_tower.vision_model."

enum { HEADS_Q = 1, HEADS_KV = 2 }; /* whose rows are permuted */

struct spelling {
    const char *from, *to; /* what is behind the prefix, without .weight or .bias */
    int heads;
};

static const struct spelling language[] = {
    { LANGUAGE "model.embed_tokens", "token_embd", 0 },
    { LANGUAGE "model.norm", "output_norm", 0 },
    { LANGUAGE "lm_head", "output", 0 },
};
static const struct spelling block[] = {
    { "input_layernorm", "attn_norm", 0 },      { "self_attn.q_proj", "attn_q", HEADS_Q },
    { "self_attn.k_proj", "attn_k", HEADS_KV }, { "self_attn.v_proj", "attn_v", 0 },
    { "self_attn.o_proj", "attn_output", 0 },   { "post_attention_layernorm", "ffn_norm", 0 },
    { "mlp.gate_proj", "ffn_gate", 0 },         { "mlp.up_proj", "ffn_up", 0 },
    { "mlp.down_proj", "ffn_down", 0 },
};
static const struct spelling vision[] = {
    { "multi_modal_projector.linear_1", "mm.0", 0 },
    { "multi_modal_projector.linear_2", "mm.2", 0 },
    { VISION "embeddings.patch_embedding", "v.patch_embd", 0 },
    { VISION "embeddings.position_embedding", "v.position_embd", 0 },
    { VISION "pre_layrnorm", "v.pre_ln", 0 },
};
static const struct spelling vision_block[] = {
    { "layer_norm1", "ln1", 0 },
    { "self_attn.q_proj", "attn_q", 0 },
    { "self_attn.k_proj", "attn_k", 0 },
    { "self_attn.v_proj", "attn_v", 0 },
    { "self_attn.out_proj", "attn_out", 0 },
    { "layer_norm2", "ln2", 0 },
    { "mlp.fc1", "ffn_up", 0 },
    { "mlp.fc2", "ffn_down", 0 },
};

static const char *after(const char *s, const char *prefix)
{
    size_t n = strlen(prefix);
    return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

/* The spelling of `name`, whose last component is *ending; NULL: none of these. */
static const struct spelling *find(const struct spelling *table, size_t n, const char *name,
                                   const char **ending)
{
    for (size_t i = 0; i < n; i++) {
        const char *rest = after(name, table[i].from);
        if (rest && (strcmp(rest, ".weight") == 0 || strcmp(rest, ".bias") == 0)) {
            *ending = rest;
            return &table[i];
        }
    }
    return NULL;
}

/* Behind "PREFIXlayers.N."; NULL: not of a layer. */
static const char *in_layer(const char *name, const char *prefix, unsigned long *layer)
{
    const char *s = after(name, prefix);
    char *end;
    if (!s || !isdigit((unsigned char) *s))
        return NULL;
    *layer = strtoul(s, &end, 10);
    return *end == '.' ? end + 1 : NULL;
}

static int refuse(const struct uqm_gguf_export *x, const struct uqm_tensor *t, struct uqm_err *err)
{
    struct uqm_printable shown;
    return uqm_fail(err, UQM_ERR_UNSUPPORTED, "%s: tensor %s: GGUF's llama has no name for it",
                    x->in, uqm_printable(&shown, t->name, strlen(t->name)));
}

static int spell(struct uqm_gguf_export_tensor *out, struct uqm_gguf_export *x,
                 const struct spelling *s, const char *prefix, long layer, const char *ending,
                 struct uqm_err *err)
{
    const struct uqm_text_config *c = &x->config.text;
    out->n_heads = s->heads == HEADS_Q ? c->n_heads : s->heads == HEADS_KV ? c->n_kv_heads : 0;
    out->name = layer >= 0 ? uqm_arena_printf(&x->arena, "%s%ld.%s%s", prefix, layer, s->to, ending)
                           : uqm_arena_printf(&x->arena, "%s%s", s->to, ending);
    return out->name ? 1 : uqm_gguf_no_memory(x, err);
}

static int name_language(struct uqm_gguf_export_tensor *out, struct uqm_gguf_export *x,
                         const struct uqm_tensor *t, struct uqm_err *err)
{
    unsigned long layer = 0;
    const char *ending = NULL, *rest = in_layer(t->canonical, LANGUAGE "model.layers.", &layer);
    const struct spelling *s = rest ? find(block, COUNT(block), rest, &ending)
                                    : find(language, COUNT(language), t->canonical, &ending);
    out->file = UQM_GGUF_LANGUAGE;
    if (!s || (rest && layer >= x->config.text.n_layers))
        return refuse(x, t, err);
    if (x->tied && strcmp(s->to, "output") == 0)
        return 0;
    return spell(out, x, s, "blk.", rest ? (long) layer : -1, ending, err);
}

static int name_vision(struct uqm_gguf_export_tensor *out, struct uqm_gguf_export *x,
                       const struct uqm_tensor *t, struct uqm_err *err)
{
    unsigned long layer = 0;
    const char *ending = NULL, *rest = in_layer(t->canonical, VISION "encoder.layers.", &layer);
    const struct spelling *s = rest ? find(vision_block, COUNT(vision_block), rest, &ending)
                                    : find(vision, COUNT(vision), t->canonical, &ending);
    out->file = UQM_GGUF_MMPROJ;
    if (strcmp(t->canonical, VISION "embeddings.class_embedding") == 0) {
        out->name = "v.class_embd"; /* without an ending */
        return 1;
    }
    if (after(t->canonical, VISION "post_layernorm.") || (s && rest && layer >= x->n_vision_layers))
        return 0;
    return s ? spell(out, x, s, "v.blk.", rest ? (long) layer : -1, ending, err)
             : refuse(x, t, err);
}

int uqm_gguf_name_tensor(struct uqm_gguf_export_tensor *out, struct uqm_gguf_export *x,
                         const struct uqm_tensor *tensor, struct uqm_err *err)
{
    if (uqm_layout_is_buffer(tensor->name))
        return 0;
    switch (tensor->part) {
    case UQM_PART_LANGUAGE: return name_language(out, x, tensor, err);
    case UQM_PART_VISION:
    case UQM_PART_ADAPTER: return x->config.has_vision ? name_vision(out, x, tensor, err) : 0;
    default: return refuse(x, tensor, err);
    }
}

/* --- nothing is missing --- */

static int need(const struct uqm_gguf_export *x, const struct uqm_source *source,
                const char *prefix, const char *name, const char *ending, struct uqm_err *err)
{
    char canonical[256];
    snprintf(canonical, sizeof canonical, "%s%s%s", prefix, name, ending);
    if (uqm_source_find(source, canonical) >= 0)
        return UQM_OK;
    return uqm_fail(err, UQM_ERR_FORMAT, "%s: tensor %s is missing", x->in, canonical);
}

static int need_layers(const struct uqm_gguf_export *x, const struct uqm_source *source,
                       const char *prefix, uint32_t n_layers, const struct spelling *table,
                       size_t n, bool biases, struct uqm_err *err)
{
    int ret = UQM_OK;
    for (uint32_t i = 0; i < n_layers && ret == UQM_OK; i++) {
        char layer[128];
        snprintf(layer, sizeof layer, "%s%" PRIu32 ".", prefix, i);
        for (size_t k = 0; k < n && ret == UQM_OK; k++) {
            ret = need(x, source, layer, table[k].from, ".weight", err);
            if (ret == UQM_OK && biases)
                ret = need(x, source, layer, table[k].from, ".bias", err);
        }
    }
    return ret;
}

static int need_vision(const struct uqm_gguf_export *x, const struct uqm_source *source,
                       struct uqm_err *err)
{
    int ret = need(x, source, VISION "embeddings.class_embedding", "", "", err);
    for (size_t i = 0; i < COUNT(vision) && ret == UQM_OK; i++) {
        const bool has_bias = !strstr(vision[i].from, "embeddings.");
        ret = need(x, source, "", vision[i].from, ".weight", err);
        if (ret == UQM_OK && has_bias)
            ret = need(x, source, "", vision[i].from, ".bias", err);
    }
    if (ret == UQM_OK)
        ret = need_layers(x, source, VISION "encoder.layers.", x->n_vision_layers, vision_block,
                          COUNT(vision_block), true, err);
    return ret;
}

int uqm_gguf_check_complete(const struct uqm_gguf_export *x, const struct uqm_source *source,
                            struct uqm_err *err)
{
    long head = uqm_source_find(source, LANGUAGE "lm_head.weight");
    int ret = need(x, source, "", language[1].from, ".weight", err);
    if (ret == UQM_OK && !x->tied && source->tensors[head].rank == 2 &&
        source->tensors[head].shape[0] != x->n_rows)
        ret = uqm_fail(err, UQM_ERR_FORMAT,
                       "%s: the head has %" PRIu64 " rows, the embedding %" PRIu32, x->in,
                       source->tensors[head].shape[0], x->n_rows);
    if (ret == UQM_OK)
        ret = need_layers(x, source, LANGUAGE "model.layers.", x->config.text.n_layers, block,
                          COUNT(block), false, err);
    if (ret == UQM_OK && x->config.has_vision)
        ret = need_vision(x, source, err);
    return ret;
}
