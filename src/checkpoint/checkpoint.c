#include "src/checkpoint/checkpoint.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/fs.h"
#include "src/checkpoint/checkpoint_stream.h"
#include "src/checkpoint/load.h"
#include "src/checkpoint/model_file.h"
#include "src/format/json.h"

enum { CONFIG_CAP_BYTES = 16 << 20 };

static int no_memory(const char *path, struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for the index", path);
}

static void destroy_source(struct uqm_source *source)
{
    struct uqm_checkpoint *cp = (struct uqm_checkpoint *) source; /* its first member */
    uqm_checkpoint_close(&cp);
}

static const struct uqm_source_ops checkpoint_ops = {
    .open = uqm_checkpoint_stream_open,
    .min_memory = uqm_checkpoint_stream_min_memory,
    .destroy = destroy_source,
};

/* Last component of the path, "." and ".." resolved. NULL: no memory. */
static char *name_of(const char *path)
{
    char *base = uqm_path_base(path);
    if (!base || (strcmp(base, ".") != 0 && strcmp(base, "..") != 0))
        return base;
    char *real = realpath(path, NULL);
    if (!real)
        return base;
    free(base);
    base = uqm_path_base(real);
    free(real);
    return base;
}

static char *keep(struct uqm_arena *arena, char *s)
{
    char *kept = s ? uqm_arena_strndup(arena, s, strlen(s)) : NULL;
    free(s);
    return kept;
}

static int set_names(struct uqm_checkpoint *cp, const char *path, struct uqm_err *err)
{
    int is_dir = uqm_find_dir(path, err);
    if (is_dir < 0)
        return is_dir;
    cp->is_archive = !is_dir && uqm_archive_is_name(path);
    char *home = is_dir || cp->is_archive ? strdup(path) : uqm_path_dir(path);
    cp->path = uqm_arena_strndup(&cp->arena, path, strlen(path));
    cp->source.name = keep(&cp->arena, name_of(path));
    cp->source.home = keep(&cp->arena, home);
    return cp->path && cp->source.name && cp->source.home ? UQM_OK : no_memory(path, err);
}

/* The folder's or archive's config.json into the arena; NULL: none, or a lone file. */
static int read_config(char **out, struct uqm_checkpoint *cp, const char *folder,
                       struct uqm_err *err)
{
    int ret = uqm_archive_is_name(folder) ? 1 : uqm_find_dir(folder, err);
    if (ret <= 0)
        return ret;
    char *path = uqm_path_join(folder, "config.json"), *text = NULL;
    size_t len;
    if (!path)
        return no_memory(folder, err);
    ret = uqm_find_model_file(path, NULL, err);
    if (ret > 0) {
        ret = uqm_read_model_file(&text, &len, path, CONFIG_CAP_BYTES, err);
        if (ret >= 0 && strlen(text) != len)
            ret = uqm_fail(err, UQM_ERR_FORMAT, "%s: a NUL byte in JSON", path);
        if (ret >= 0 && !(*out = uqm_arena_strndup(&cp->arena, text, len)))
            ret = no_memory(path, err);
    }
    free(text);
    free(path);
    return ret;
}

/* architectures[0], and where LLaVA's own layout keeps the tower (borrowed from *config). */
static int read_architecture(struct uqm_checkpoint *cp, json_t **config, struct uqm_env *env,
                             struct uqm_err *err)
{
    if (!cp->config_text)
        return UQM_OK;
    char *where = uqm_path_join(cp->source.home, "config.json");
    if (!where)
        return no_memory(cp->path, err);
    int ret = uqm_json_check_room(env, cp->config_text, strlen(cp->config_text), where, err);
    if (ret == UQM_OK)
        *config = uqm_json_parse(cp->config_text, strlen(cp->config_text), where, false, err);
    free(where);
    if (!*config)
        return ret < 0 ? ret : UQM_ERR_FORMAT;
    const char *name =
        json_string_value(json_array_get(json_object_get(*config, "architectures"), 0));
    if (name && !(cp->architecture = uqm_arena_strndup(&cp->arena, name, strlen(name))))
        return no_memory(cp->path, err);
    return UQM_OK;
}

static bool has_vision(const struct uqm_loading *ld)
{
    for (size_t i = 0; i < ld->n_entries; i++)
        if (ld->entries[i].tensor.part == UQM_PART_VISION)
            return true;
    return false;
}

static int find_layout(const struct uqm_loading *ld, struct uqm_err *err)
{
    const char **names = malloc((ld->n_entries + 1) * sizeof(const char *));
    if (!names)
        return no_memory(ld->cp->path, err);
    for (size_t i = 0; i < ld->n_entries; i++)
        names[i] = ld->entries[i].tensor.name;
    ld->cp->layout = uqm_layout_of_names(names, ld->n_entries);
    free(names);
    return UQM_OK;
}

/* config.json's mm_vision_tower, as a path from the model's folder (the one an archive lies in),
 * else its last component beside the model. *out is malloc'ed, NULL where there is none. */
static int look_beside(char **out, const struct uqm_checkpoint *cp, const json_t *config,
                       struct uqm_err *err)
{
    const char *keys[] = { "mm_vision_tower", "vision_tower" }, *tower = NULL;
    *out = NULL;
    for (size_t k = 0; k < 2 && !tower; k++)
        tower = json_string_value(json_object_get(config, keys[k]));
    if (!tower || !*tower)
        return UQM_OK;

    char *base = uqm_path_base(tower);
    char *folder = cp->is_archive ? uqm_path_dir(cp->path) : strdup(cp->source.home);
    char *beside = cp->is_archive ? uqm_path_dir(cp->path) : uqm_path_join(cp->source.home, "..");
    char *tries[2] = { folder ? uqm_path_join(folder, tower) : NULL,
                       base && beside ? uqm_path_join(beside, base) : NULL };
    int ret = tries[0] && tries[1] ? UQM_OK : no_memory(cp->path, err);
    for (size_t i = 0; i < 2; i++) {
        int is_dir = ret >= 0 && !*out ? uqm_find_dir(tries[i], err) : 0;
        if (is_dir > 0)
            *out = tries[i];
        else
            free(tries[i]);
        if (is_dir < 0)
            ret = is_dir;
    }
    free(base);
    free(folder);
    free(beside);
    return ret;
}

static void drop_own_vision(struct uqm_loading *ld, const char *tower, bool quiet)
{
    size_t kept = 0;
    for (size_t i = 0; i < ld->n_entries; i++)
        if (ld->entries[i].tensor.part != UQM_PART_VISION)
            ld->entries[kept++] = ld->entries[i];
    if (kept < ld->n_entries && !quiet)
        uqm_log(ld->env, UQM_LOG_INFO, "%s: %zu vision tensors give way to those of %s",
                ld->cp->path, ld->n_entries - kept, tower);
    ld->n_entries = kept;
}

static int load_tower(struct uqm_loading *ld, const char *path, struct uqm_err *err)
{
    struct uqm_checkpoint *cp = ld->cp;
    enum uqm_format format;
    size_t n_before = ld->n_entries;

    ld->vision_only = true;
    int ret = uqm_load_weights(ld, path, &format, err);
    if (ret < 0)
        return ret;
    if (ld->n_entries == n_before)
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: the vision tower of %s has no vision tensors",
                        path, cp->path);
    cp->vision_tower_path = uqm_arena_strndup(&cp->arena, path, strlen(path));
    if (!cp->vision_tower_path)
        return no_memory(path, err);
    return read_config(&cp->vision_config_text, cp, path, err);
}

/* The tower the user names, else the checkpoint's own, else the one beside it. */
static int add_tower(struct uqm_loading *ld, const struct uqm_checkpoint_params *params,
                     const json_t *config, struct uqm_err *err)
{
    struct uqm_checkpoint *cp = ld->cp;
    char *beside = NULL;
    int ret;

    if (params->vision_tower) {
        drop_own_vision(ld, params->vision_tower, params->quiet);
        return load_tower(ld, params->vision_tower, err);
    }
    if (has_vision(ld))
        return UQM_OK;
    if (cp->layout == UQM_LAYOUT_LLAVA) {
        ret = look_beside(&beside, cp, config, err);
        if (ret >= 0 && beside)
            ret = load_tower(ld, beside, err);
        bool found = beside != NULL;
        free(beside);
        if (ret < 0 || found)
            return ret;
    }
    if (!params->need_vision)
        return UQM_OK;
    const char *tower = json_string_value(json_object_get(config, "mm_vision_tower"));
    struct uqm_printable shown;
    return uqm_fail(err, UQM_ERR_FORMAT,
                    "%s: no vision tower: the checkpoint has no vision tensors%s%s%s; name the "
                    "tower's folder with --vision-tower",
                    cp->path, tower ? ", and " : "",
                    tower ? uqm_printable(&shown, tower, strlen(tower)) : "",
                    tower ? ", which its config.json names, is not beside it" : "");
}

static int compare_canonical(const void *a, const void *b)
{
    const struct uqm_entry *x = a, *y = b;
    return strcmp(x->tensor.canonical, y->tensor.canonical);
}

/* Sort by canonical name, each name once, and move everything into the checkpoint. */
static int finish_index(struct uqm_loading *ld, struct uqm_err *err)
{
    struct uqm_checkpoint *cp = ld->cp;
    size_t n = ld->n_entries;

    if (n > 1)
        qsort(ld->entries, n, sizeof *ld->entries, compare_canonical);
    for (size_t i = 1; i < n; i++) {
        const struct uqm_tensor *a = &ld->entries[i - 1].tensor, *b = &ld->entries[i].tensor;
        struct uqm_printable first, second;
        if (strcmp(a->canonical, b->canonical) == 0)
            return uqm_fail(err, UQM_ERR_FORMAT,
                            "%s: tensors %s and %s are two spellings of one name", cp->path,
                            uqm_printable(&first, a->name, strlen(a->name)),
                            uqm_printable(&second, b->name, strlen(b->name)));
    }
    struct uqm_tensor *tensors = uqm_arena_alloc(&cp->arena, n, sizeof *tensors);
    cp->locations = uqm_arena_alloc(&cp->arena, n, sizeof *cp->locations);
    if (!tensors || !cp->locations)
        return no_memory(cp->path, err);
    for (size_t i = 0; i < n; i++) {
        tensors[i] = ld->entries[i].tensor;
        cp->locations[i] = ld->entries[i].at;
    }
    cp->source.tensors = tensors;
    cp->source.n_tensors = n;
    return UQM_OK;
}

static int load(struct uqm_loading *ld, const struct uqm_checkpoint_params *params,
                struct uqm_err *err)
{
    struct uqm_checkpoint *cp = ld->cp;
    json_t *config = NULL;
    int ret = set_names(cp, params->path, err);
    if (ret >= 0)
        ret = uqm_load_weights(ld, params->path, &cp->format, err);
    cp->n_own_files = cp->n_files;
    if (ret >= 0)
        ret = read_config(&cp->config_text, cp, params->path, err);
    if (ret >= 0)
        ret = read_architecture(cp, &config, ld->env, err);
    if (ret >= 0)
        ret = find_layout(ld, err);
    if (ret >= 0)
        ret = add_tower(ld, params, config, err);
    if (ret >= 0)
        ret = finish_index(ld, err);
    json_decref(config);
    return ret;
}

int uqm_checkpoint_open(struct uqm_checkpoint **out, struct uqm_env *env,
                        const struct uqm_checkpoint_params *params, struct uqm_err *err)
{
    struct uqm_checkpoint *cp = calloc(1, sizeof *cp);
    if (!cp)
        return no_memory(params->path, err);
    cp->source.ops = &checkpoint_ops;
    cp->source.env = env;

    struct uqm_loading ld = { .cp = cp, .env = env, .header_cap = params->header_cap };
    int ret = load(&ld, params, err);
    free(ld.entries);
    if (ret < 0)
        uqm_checkpoint_close(&cp);
    else
        *out = cp;
    return ret;
}

void uqm_checkpoint_close(struct uqm_checkpoint **checkpoint)
{
    struct uqm_checkpoint *cp = *checkpoint;
    if (!cp)
        return;
    for (size_t i = 0; i < cp->n_files; i++)
        uqm_file_close(&cp->files[i]);
    for (size_t i = 0; i < cp->n_made; i++)
        uqm_file_close(&cp->made[i]);
    free(cp->files);
    free(cp->made);
    uqm_arena_finish(&cp->arena);
    free(cp);
    *checkpoint = NULL;
}
