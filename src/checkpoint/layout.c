#include "src/checkpoint/layout.h"

#include <ctype.h>
#include <limits.h>

const char *uqm_layout_name(enum uqm_layout layout)
{
    switch (layout) {
    case UQM_LAYOUT_LLAVA_HF: return "llava-hf";
    case UQM_LAYOUT_LLAVA: return "llava";
    case UQM_LAYOUT_LLAMA: return "llama";
    case UQM_LAYOUT_OTHER: break;
    }
    return "other";
}

/* The rest of name after prefix, or NULL. */
static const char *after(const char *name, const char *prefix)
{
    size_t n = strlen(prefix);
    return strncmp(name, prefix, n) == 0 ? name + n : NULL;
}

static bool ends_with(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);
    return n >= m && strcmp(name + n - m, suffix) == 0;
}

bool uqm_layout_is_buffer(const char *name)
{
    return ends_with(name, "rotary_emb.inv_freq") || ends_with(name, "embeddings.position_ids");
}

/* Canonical spellings of each part, longest prefixes first; `from` is replaced by `to`. */
struct rule {
    const char *from, *to;
    enum uqm_part part;
    enum uqm_layout layout; /* that names of this spelling speak for */
};

#define VISION   "vision_tower.vision_model."
#define ADAPTER  "multi_modal_projector."
#define LANGUAGE "language_model."

static const struct rule rules[] = {
    { "model.vision_tower.vision_tower.vision_model.", VISION, UQM_PART_VISION, UQM_LAYOUT_LLAVA },
    { "model.vision_tower.vision_tower.", VISION, UQM_PART_VISION, UQM_LAYOUT_LLAVA },
    { "model.vision_tower.vision_model.", VISION, UQM_PART_VISION, UQM_LAYOUT_LLAVA_HF },
    { "model.vision_tower.", VISION, UQM_PART_VISION, UQM_LAYOUT_LLAVA_HF },
    { "vision_tower.vision_model.", VISION, UQM_PART_VISION, UQM_LAYOUT_LLAVA_HF },
    { "vision_tower.", VISION, UQM_PART_VISION, UQM_LAYOUT_LLAVA_HF },
    { "vision_model.", VISION, UQM_PART_VISION, UQM_LAYOUT_OTHER },

    { "model.mm_projector.0.", ADAPTER "linear_1.", UQM_PART_ADAPTER, UQM_LAYOUT_LLAVA },
    { "model.mm_projector.2.", ADAPTER "linear_2.", UQM_PART_ADAPTER, UQM_LAYOUT_LLAVA },
    { "model.mm_projector.", ADAPTER, UQM_PART_ADAPTER, UQM_LAYOUT_LLAVA },
    { "mm_projector.0.", ADAPTER "linear_1.", UQM_PART_ADAPTER, UQM_LAYOUT_LLAVA },
    { "mm_projector.2.", ADAPTER "linear_2.", UQM_PART_ADAPTER, UQM_LAYOUT_LLAVA },
    { "mm_projector.", ADAPTER, UQM_PART_ADAPTER, UQM_LAYOUT_LLAVA },
    { "model.multi_modal_projector.", ADAPTER, UQM_PART_ADAPTER, UQM_LAYOUT_LLAVA_HF },
    { "multi_modal_projector.", ADAPTER, UQM_PART_ADAPTER, UQM_LAYOUT_LLAVA_HF },

    { "model.language_model.", LANGUAGE "model.", UQM_PART_LANGUAGE, UQM_LAYOUT_LLAVA_HF },
    { "language_model.", LANGUAGE, UQM_PART_LANGUAGE, UQM_LAYOUT_LLAVA_HF },
    { "model.embed_tokens.", LANGUAGE "model.embed_tokens.", UQM_PART_LANGUAGE, UQM_LAYOUT_LLAMA },
    { "model.layers.", LANGUAGE "model.layers.", UQM_PART_LANGUAGE, UQM_LAYOUT_LLAMA },
    { "model.norm.", LANGUAGE "model.norm.", UQM_PART_LANGUAGE, UQM_LAYOUT_LLAMA },
    /* written in both families, so it speaks for none */
    { "lm_head.", LANGUAGE "lm_head.", UQM_PART_LANGUAGE, UQM_LAYOUT_OTHER },
};

static const struct rule *rule_of(const char *name)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (after(name, rules[i].from))
            return &rules[i];
    return NULL;
}

enum uqm_layout uqm_layout_of_names(const char *const *names, size_t n)
{
    bool seen[UQM_LAYOUT_OTHER + 1] = { false };
    for (size_t i = 0; i < n; i++) {
        const struct rule *r = rule_of(names[i]);
        if (r && !uqm_layout_is_buffer(names[i]))
            seen[r->layout] = true;
    }
    /* LLaVA's own layout spells the language model as LLaMA does. */
    if (seen[UQM_LAYOUT_LLAVA_HF])
        return UQM_LAYOUT_LLAVA_HF;
    if (seen[UQM_LAYOUT_LLAVA])
        return UQM_LAYOUT_LLAVA;
    return seen[UQM_LAYOUT_LLAMA] ? UQM_LAYOUT_LLAMA : UQM_LAYOUT_OTHER;
}

/* N of the first ".layers.N." (or a leading "layers.N."), -1 without one or when N is no int. */
static int layer_of(const char *name)
{
    for (const char *p = name; (p = strstr(p, "layers.")); p++) {
        if (p != name && p[-1] != '.')
            continue;
        const char *s = p + strlen("layers.");
        long n = 0;
        const char *digits = s;
        for (; isdigit((unsigned char) *s) && n <= INT_MAX; s++)
            n = n * 10 + (*s - '0');
        if (s > digits && *s == '.' && n <= INT_MAX)
            return (int) n;
    }
    return -1;
}

const char *uqm_layout_canonical(struct uqm_arena *arena, const char *name, enum uqm_part *part,
                                 int *layer)
{
    const struct rule *r = uqm_layout_is_buffer(name) ? NULL : rule_of(name);

    *layer = layer_of(name);
    *part = r ? r->part : UQM_PART_OTHER;
    if (!r || strcmp(r->from, r->to) == 0)
        return name;
    return uqm_arena_printf(arena, "%s%s", r->to, after(name, r->from));
}

const char *uqm_layout_spell(struct uqm_arena *arena, const char *canonical, enum uqm_layout layout)
{
    static const struct {
        const char *canonical, *llava;
    } parts[] = {
        { LANGUAGE "model.", "model." },
        { LANGUAGE "lm_head.", "lm_head." },
        { ADAPTER "linear_1.", "model.mm_projector.0." },
        { ADAPTER "linear_2.", "model.mm_projector.2." },
        { VISION, "model.vision_tower.vision_tower.vision_model." },
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts && layout == UQM_LAYOUT_LLAVA; i++) {
        const char *rest = after(canonical, parts[i].canonical);
        if (rest)
            return uqm_arena_printf(arena, "%s%s", parts[i].llava, rest);
    }
    return canonical;
}
