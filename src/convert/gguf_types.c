/* Which type each tensor has in a file of a type, and which shape. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "src/convert/gguf_export.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const struct {
    enum uqm_gguf_kind kind;
    const char *name, *other; /* what --dtype calls it elsewhere */
    uint32_t type;            /* of its matrices */
} kinds[] = {
    { UQM_GGUF_ALL_F32, "F32", "float32", UQM_GGML_F32 },
    { UQM_GGUF_ALL_F16, "F16", "float16", UQM_GGML_F16 },
    { UQM_GGUF_ALL_BF16, "BF16", "bfloat16", UQM_GGML_BF16 },
    { UQM_GGUF_ALL_Q8_0, "Q8_0", "q8_0", UQM_GGML_Q8_0 },
    { UQM_GGUF_Q4_K_M, "Q4_K_M", "q4_k_m", UQM_GGML_Q4_K },
};

const char *uqm_gguf_kind_name(enum uqm_gguf_kind kind)
{
    for (size_t i = 0; i < COUNT(kinds); i++)
        if (kinds[i].kind == kind)
            return kinds[i].name;
    return NULL;
}

bool uqm_gguf_kind_parse(enum uqm_gguf_kind *out, const char *name)
{
    for (size_t i = 0; i < COUNT(kinds); i++)
        if (strcasecmp(name, kinds[i].name) == 0 || strcmp(name, kinds[i].other) == 0) {
            *out = kinds[i].kind;
            return true;
        }
    return false;
}

enum uqm_gguf_kind uqm_gguf_kind_of(const struct uqm_gguf_export *x, enum uqm_gguf_file file)
{
    bool blocks = x->kind == UQM_GGUF_ALL_Q8_0 || x->kind == UQM_GGUF_Q4_K_M;
    return file == UQM_GGUF_MMPROJ && blocks ? UQM_GGUF_ALL_F16 : x->kind;
}

static bool ends_with(const char *s, const char *ending)
{
    size_t n = strlen(s), m = strlen(ending);
    return n >= m && strcmp(s + n - m, ending) == 0;
}

/* The first and the last eighth of the layers, and every third between them: those that llama.cpp
 * gives more bits in a file of the type Q4_K_M. */
static bool more_bits(unsigned long layer, unsigned long n_layers)
{
    unsigned long eighth = n_layers / 8;
    return layer < eighth || layer >= 7 * n_layers / 8 || (layer - eighth) % 3 == 2;
}

static uint32_t type_of_q4_k_m(const struct uqm_gguf_export *x, const char *name)
{
    if (strcmp(name, "output.weight") == 0 || (x->tied && strcmp(name, "token_embd.weight") == 0))
        return UQM_GGML_Q6_K;
    if (!ends_with(name, ".attn_v.weight") && !ends_with(name, ".ffn_down.weight"))
        return UQM_GGML_Q4_K;
    unsigned long layer = strtoul(name + strlen("blk."), NULL, 10);
    return more_bits(layer, x->config.text.n_layers) ? UQM_GGML_Q6_K : UQM_GGML_Q4_K;
}

/* Rows that are no whole number of blocks: smaller blocks, else none. */
static uint32_t fitting(uint32_t type, uint64_t n_cols)
{
    if ((type == UQM_GGML_Q4_K || type == UQM_GGML_Q6_K) && n_cols % 256 != 0)
        type = UQM_GGML_Q8_0;
    return type == UQM_GGML_Q8_0 && n_cols % 32 != 0 ? UQM_GGML_F16 : type;
}

/* As the file's type has it, before its rows are looked at. */
static uint32_t wanted_type(const struct uqm_gguf_export *x, const struct uqm_gguf_export_tensor *t)
{
    enum uqm_gguf_kind kind = uqm_gguf_kind_of(x, t->file);
    uint32_t type = UQM_GGML_F32;
    if (t->n_dims < 2 || strcmp(t->name, "v.position_embd.weight") == 0 || kind == UQM_GGUF_ALL_F32)
        return UQM_GGML_F32;
    if (strcmp(t->name, "v.patch_embd.weight") == 0)
        return UQM_GGML_F16; /* convolutions are not computed in BF16 */
    if (kind == UQM_GGUF_Q4_K_M)
        return type_of_q4_k_m(x, t->name);
    for (size_t i = 0; i < COUNT(kinds); i++)
        if (kinds[i].kind == kind)
            type = kinds[i].type;
    return type;
}

static int refuse(const struct uqm_gguf_export *x, const struct uqm_tensor *t, const char *why,
                  struct uqm_err *err)
{
    struct uqm_printable shown;
    return uqm_fail(err, UQM_ERR_UNSUPPORTED, "%s: tensor %s: %s", x->in,
                    uqm_printable(&shown, t->name, strlen(t->name)), why);
}

int uqm_gguf_type_tensor(struct uqm_gguf_export_tensor *out, const struct uqm_gguf_export *x,
                         const struct uqm_tensor *tensor, struct uqm_err *err)
{
    if (!uqm_dtype_is_arithmetic(tensor->dtype))
        return refuse(x, tensor, "GGUF takes weights of F16, BF16, F32 or F64", err);
    if (tensor->rank == 0 || tensor->rank > UQM_GGUF_MAX_DIMS || tensor->n_elem == 0)
        return refuse(x, tensor, "no elements, or more than 4 dimensions", err);
    out->n_dims = tensor->rank;
    for (unsigned d = 0; d < tensor->rank; d++)
        out->dims[d] = tensor->shape[tensor->rank - 1 - d];
    if (out->n_heads > 0 && tensor->shape[0] % (2 * (uint64_t) out->n_heads) != 0)
        return refuse(x, tensor, "its rows are no even number a head", err);
    const uint32_t wanted = wanted_type(x, out);
    out->type = fitting(wanted, out->dims[0]);
    out->fallen_back = out->type != wanted;
    return UQM_OK;
}
