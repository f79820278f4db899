#include "benchmarks/merge_models.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "compute/kernels.h"
#include "src/base/rng.h"
#include "src/format/safetensors.h"

enum { COLUMNS = 4096, BLOCK_ELEM = 1 << 16 };

/* Nearly normal, of deviation 1: the sum of four uniform halves. */
static float normal(struct uqm_rng *rng)
{
    const float scale = 1.0F / (65536.0F * 0.57735027F);
    uint32_t a = uqm_rng_u32(rng), b = uqm_rng_u32(rng);
    uint32_t sum = (a & 0xFFFF) + (a >> 16) + (b & 0xFFFF) + (b >> 16);
    return ((float) sum - 131070.0F) * scale;
}

struct writer {
    FILE *file;
    struct uqm_kernels kernels;
    struct uqm_rng base, noise;
    float wide[BLOCK_ELEM];
    uint16_t narrow[BLOCK_ELEM];
};

static bool write_block(struct writer *w, const struct merge_models *m, int model, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        w->wide[i] = 0.02F * normal(&w->base);
        w->wide[i] += model > 0 ? 3e-4F * normal(&w->noise) : 0;
    }
    if (m->dtype == UQM_F32)
        return fwrite(w->wide, sizeof(float), n, w->file) == n;
    uqm_narrow(&w->kernels, w->narrow, m->dtype, w->wide, n);
    return fwrite(w->narrow, sizeof(uint16_t), n, w->file) == n;
}

static int list_tensors(struct uqm_st_header *out, const struct merge_models *m,
                        struct uqm_err *err)
{
    struct uqm_st_pair metadata = { "format", "pt" };
    struct uqm_st_tensor *t = calloc(m->n_tensors, sizeof *t);
    char(*names)[32] = calloc(m->n_tensors, sizeof *names);
    uint64_t shape[2] = { m->tensor_bytes * 8 / uqm_dtype_bits(m->dtype) / COLUMNS, COLUMNS };
    int ret = t && names ? UQM_OK : uqm_fail(err, UQM_ERR_NOMEM, "no memory for the models");
    for (size_t i = 0; i < m->n_tensors && ret == UQM_OK; i++) {
        snprintf(names[i], sizeof names[i], "layers.%zu.w", i);
        t[i] = (struct uqm_st_tensor){ .name = names[i],
                                       .name_len = strlen(names[i]),
                                       .dtype = m->dtype,
                                       .rank = 2,
                                       .shape = shape };
    }
    if (ret == UQM_OK)
        ret = uqm_st_header_init(out, t, m->n_tensors, &metadata, 1, 0, err);
    free(t);
    free(names);
    return ret;
}

void merge_models_path(char *path, size_t cap, const struct merge_models *m, int model)
{
    if (model == 0)
        snprintf(path, cap, "%s/base/model.safetensors", m->dir);
    else
        snprintf(path, cap, "%s/model-%d/model.safetensors", m->dir, model);
}

static int write_model(struct merge_models *m, struct writer *w, const struct uqm_st_header *h,
                       int model, struct uqm_err *err)
{
    char path[1024];
    merge_models_path(path, sizeof path, m, model);
    char *slash = strrchr(path, '/');
    *slash = 0;
    if (mkdir(path, 0755) != 0)
        return uqm_fail_errno(err, "%s", path);
    *slash = '/';
    w->file = fopen(path, "wbe");
    bool ok = w->file && fwrite(h->bytes, 1, h->n_bytes, w->file) == h->n_bytes;
    uqm_rng_init(&w->base, uqm_rng_stream(1, UQM_RNG_SAMPLE, "bench", "base", 0, 0));
    uqm_rng_init(&w->noise,
                 uqm_rng_stream(1, UQM_RNG_SAMPLE, "bench", "model", (uint32_t) model, 0));
    for (uint64_t at = 0, n; at < m->n_elem && ok; at += n) {
        n = m->n_elem - at < BLOCK_ELEM ? m->n_elem - at : BLOCK_ELEM;
        ok = write_block(w, m, model, (size_t) n);
    }
    if (w->file && fclose(w->file) != 0)
        ok = false;
    return ok ? UQM_OK : uqm_fail_errno(err, "%s", path);
}

int merge_models_make(struct merge_models *m, struct uqm_err *err)
{
    struct uqm_st_header h = { 0 };
    struct writer *w = calloc(1, sizeof *w);
    int ret = w ? UQM_OK : uqm_fail(err, UQM_ERR_NOMEM, "no memory for the models");
    if (ret == UQM_OK)
        ret = list_tensors(&h, m, err);
    if (ret == UQM_OK) {
        m->file_bytes = h.n_bytes + h.data_bytes;
        m->n_elem = h.data_bytes * 8 / uqm_dtype_bits(m->dtype);
        uqm_kernels_init(&w->kernels, uqm_cpu_flags());
    }
    for (int i = 0; i <= m->n_models && ret == UQM_OK; i++)
        ret = write_model(m, w, &h, i, err);
    uqm_st_header_finish(&h);
    free(w);
    return ret;
}
