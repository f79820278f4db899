#include "src/merge/fingerprint.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/fs.h"
#include "src/checkpoint/checkpoint.h"
#include "src/checkpoint/model_file.h"
#include "src/merge/plan.h"

enum { FIRST_BYTES = 64 << 10, PLACE_BYTES = 4 << 10, N_PLACES = 64, MAX_SMALL_BYTES = 64 << 20 };

/* With its terminator, so that two texts do not run into one. */
static void add_text(struct uqm_xxh3 *h, const char *text)
{
    uqm_xxh3_update(h, text ? text : "", text ? strlen(text) + 1 : 1);
}

static int add_place(struct uqm_xxh3 *h, struct uqm_file *file, uint64_t at, size_t most,
                     struct uqm_err *err)
{
    static _Thread_local uint8_t bytes[FIRST_BYTES];
    const uint64_t left = file->size_bytes - at;
    const size_t n = left < most ? (size_t) left : most;
    int ret = uqm_file_read(file, bytes, n, at, err);
    if (ret == UQM_OK)
        uqm_xxh3_update(h, bytes, n);
    return ret;
}

static int add_weights(struct uqm_xxh3 *h, struct uqm_file *file, struct uqm_err *err)
{
    const uint64_t size = file->size_bytes, step = size / N_PLACES;
    uqm_xxh3_update(h, &size, sizeof size);
    int ret = size ? add_place(h, file, 0, FIRST_BYTES, err) : UQM_OK;
    for (uint64_t i = 1; step > 0 && i < N_PLACES && ret == UQM_OK; i++)
        ret = add_place(h, file, i * step, PLACE_BYTES, err);
    if (size > PLACE_BYTES && ret == UQM_OK)
        ret = add_place(h, file, size - PLACE_BYTES, PLACE_BYTES, err);
    return ret;
}

static bool has_ending(const char *name, const char *ending)
{
    const size_t n = strlen(name), m = strlen(ending);
    return n > m && strcmp(name + n - m, ending) == 0;
}

/* Configs, tokenizer, chat template; neither an index nor the records of what wrote the folder. */
static bool is_small(const char *name)
{
    static const char *const endings[] = { ".json", ".model", ".txt", ".jinja" };
    bool is = false;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        is |= has_ending(name, endings[i]);
    return is && !has_ending(name, ".index.json") && strncmp(name, "uqmerge.", 8) != 0;
}

static int add_small(struct uqm_xxh3 *h, const char *home, const char *name, struct uqm_err *err)
{
    char *path = uqm_path_join(home, name), *text = NULL;
    size_t len = 0;
    if (!path)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", home);
    int ret = uqm_find_model_file(path, NULL, err);
    if (ret > 0) {
        ret = uqm_read_model_file(&text, &len, path, MAX_SMALL_BYTES, err);
        add_text(h, name);
        uqm_xxh3_update(h, text, ret == UQM_OK ? len : 0);
    }
    free(text);
    free(path);
    return ret < 0 ? ret : UQM_OK;
}

static int add_checkpoint(struct uqm_xxh3 *h, const struct uqm_checkpoint *cp, struct uqm_err *err)
{
    struct uqm_model_files files = { 0 };
    int ret = UQM_OK;
    add_text(h, cp->config_text);
    add_text(h, cp->vision_config_text);
    if (cp->is_archive || uqm_is_dir(cp->path))
        ret = uqm_model_files_list(&files, cp->path, err);
    for (size_t i = 0; i < files.n && ret == UQM_OK; i++)
        if (is_small(files.names[i]))
            ret = add_small(h, cp->path, files.names[i], err);
    uqm_model_files_free(&files);
    for (size_t f = 0; f < cp->n_files && ret == UQM_OK; f++)
        ret = add_weights(h, cp->files[f], err);
    return ret;
}

static int add_source(struct uqm_xxh3 *h, struct uqm_source *source, struct uqm_err *err)
{
    const struct uqm_recipe_source *rs = uqm_recipe_source_of(source);
    if (!rs)
        return add_checkpoint(h, (const struct uqm_checkpoint *) source, err);
    int ret = UQM_OK;
    uqm_xxh3_update(h, rs->recipe->text, rs->recipe->text_len);
    for (size_t k = 0; k < rs->n_inputs && ret == UQM_OK; k++)
        ret = rs->inputs[k].inner ? add_source(h, rs->inputs[k].inner, err)
                                  : add_checkpoint(h, rs->inputs[k].checkpoint, err);
    return ret;
}

int uqm_model_fingerprint(struct uqm_xxh3_hex *out, struct uqm_env *env, const char *model,
                          const struct uqm_open_params *params, struct uqm_err *err)
{
    struct uqm_xxh3 *h = uqm_xxh3_create();
    struct uqm_source *source = NULL;
    int ret = h ? uqm_model_open(&source, env, model, params, err)
                : uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for a digest", model);
    if (ret == UQM_OK)
        ret = add_source(h, source, err);
    if (ret == UQM_OK)
        *out = uqm_xxh3_hex(h);
    uqm_source_destroy(&source);
    uqm_xxh3_destroy(&h);
    return ret;
}
