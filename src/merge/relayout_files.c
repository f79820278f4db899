/* The files beside the weights, in the other layout. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/fs.h"
#include "src/checkpoint/model_file.h"
#include "src/format/json_edit.h"
#include "src/merge/relayout.h"

int uqm_relayout_read(char **text, const char *home, const char *name, struct uqm_err *err)
{
    char *path = uqm_path_join(home, name), *read = NULL;
    size_t len;
    int ret = path ? uqm_find_own_file(home, name, err)
                   : uqm_fail(err, UQM_ERR_NOMEM, "%s/%s: no memory", home, name);
    if (ret > 0)
        ret = uqm_read_model_file(&read, &len, path, UQM_VOCABULARY_MOST_FILE, err);
    if (read) {
        free(*text);
        *text = read;
    }
    free(path);
    return ret;
}

/* generation_config.json: <pad> has its number here too. */
static int make_generation(char **text, const struct uqm_recipe_source *rs, const char *name,
                           struct uqm_err *err)
{
    const struct uqm_relayout *r = rs->relayout;
    char number[16];
    int ret = uqm_relayout_read(text, rs->source.home, name, err);
    if (ret < 0 || !*text)
        return ret;
    size_t len = strlen(*text);
    snprintf(number, sizeof number, "%" PRIu32, r->to_hf ? r->tokens.pad : 0);
    ret = uqm_json_set(text, &len, "pad_token_id", number, name, err);
    return ret == UQM_OK ? 1 : ret;
}

int uqm_relayout_file(char **text, const struct uqm_recipe_source *rs, const char *name,
                      struct uqm_err *err)
{
    const struct uqm_relayout *r = rs->relayout;
    *text = NULL;
    if (strcmp(name, "generation_config.json") == 0)
        return make_generation(text, rs, name, err);
    if (strcmp(name, "processor_config.json") == 0 && !r->to_hf)
        return 0;
    if (strcmp(name, "processor_config.json") == 0)
        *text = uqm_llava_processor(&r->parsed);
    else if (strcmp(name, "preprocessor_config.json") == 0)
        *text = uqm_llava_preprocessor(&r->parsed, r->to_hf);
    else
        return UQM_RELAYOUT_AS_IT_IS;
    return *text ? 1 : uqm_plan_no_memory(rs, err);
}

/* The file as it is being made, else as home has it; NULL: there is none. */
static int take(struct uqm_tokenizer_file **out, struct uqm_tokenizer_files *files,
                const char *name, struct uqm_err *err)
{
    *out = NULL;
    for (size_t i = 0; i < files->n && !*out; i++)
        if (strcmp(files->v[i].name, name) == 0)
            *out = &files->v[i];
    if (*out)
        return UQM_OK;
    char *text = NULL;
    int ret = uqm_relayout_read(&text, files->home, name, err);
    if (ret < 0 || !text)
        return ret;
    *out = &files->v[files->n++];
    **out = (struct uqm_tokenizer_file){ name, text, strlen(text) };
    return UQM_OK;
}

int uqm_relayout_tokenizer(struct uqm_tokenizer_files *files, const struct uqm_recipe_source *rs,
                           struct uqm_err *err)
{
    static const char *const names[] = { "tokenizer_config.json", "special_tokens_map.json" };
    bool hf = rs->relayout->to_hf;
    const struct {
        const char *key, *value;
        bool of_config; /* of the first file alone */
    } sets[] = {
        { "pad_token", hf ? "\"<pad>\"" : "\"<unk>\"", false },
        { "image_token", hf ? "\"<image>\"" : NULL, true },
        { "processor_class", hf ? "\"LlavaProcessor\"" : NULL, true },
    };
    int ret = UQM_OK;
    for (size_t i = 0; i < 2 && ret == UQM_OK; i++) {
        struct uqm_tokenizer_file *f;
        ret = take(&f, files, names[i], err);
        for (size_t k = 0; k < sizeof sets / sizeof *sets && ret == UQM_OK && f; k++)
            if (i == 0 || !sets[k].of_config)
                ret = uqm_json_set(&f->text, &f->len, sets[k].key, sets[k].value, names[i], err);
    }
    return ret;
}
