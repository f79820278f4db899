#include "src/checkpoint/inspect.h"

#include <stdlib.h>

#include "src/base/fs.h"

static int no_memory(const struct uqm_checkpoint *cp, struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for the result", cp->path);
}

json_t *uqm_inspect_text(const char *s)
{
    struct uqm_printable shown;
    if (!s)
        return json_null();
    json_t *v = json_string(s);
    return v ? v : json_string(uqm_printable(&shown, s, strlen(s)));
}

json_t *uqm_inspect_u64(uint64_t v)
{
    return v <= INT64_MAX ? json_integer((json_int_t) v) : json_real((double) v);
}

/* The base name of a file of the model's own, the path of a tower's. */
static json_t *json_of_file(const struct uqm_checkpoint *cp, size_t file)
{
    char *base = file < cp->n_own_files ? uqm_path_base(cp->files[file]->name) : NULL;
    json_t *v = uqm_inspect_text(base ? base : cp->files[file]->name);
    free(base);
    return v;
}

static json_t *json_of_tensor(const struct uqm_checkpoint *cp, size_t i)
{
    const struct uqm_tensor *t = &cp->source.tensors[i];
    json_t *shape = json_array();
    for (unsigned d = 0; shape && d < t->rank; d++)
        json_array_append_new(shape, uqm_inspect_u64(t->shape[d]));
    return json_pack("{s:o,s:s,s:o,s:o,s:o,s:o}", "name", uqm_inspect_text(t->name), "dtype",
                     uqm_dtype_name(t->dtype), "shape", shape, "file",
                     json_of_file(cp, cp->locations[i].file), "offset",
                     uqm_inspect_u64(cp->locations[i].off_bytes), "bytes",
                     uqm_inspect_u64(t->n_bytes));
}

static int add_part(json_t *parts, struct uqm_checkpoint *cp, enum uqm_part part,
                    struct uqm_err *err)
{
    uint64_t n_tensors = 0, n_elem = 0, n_bytes = 0;
    struct uqm_xxh3_hex digest;

    for (size_t i = 0; i < cp->source.n_tensors; i++) {
        const struct uqm_tensor *t = &cp->source.tensors[i];
        if (t->part != part)
            continue;
        n_tensors++;
        n_elem += t->n_elem;
        n_bytes += t->n_bytes;
    }
    if (n_tensors > 0) {
        int ret = uqm_checkpoint_part_digest(&digest, cp, part, err);
        if (ret < 0)
            return ret;
    }
    json_t *v = json_pack("{s:o,s:o,s:o,s:o}", "tensors", uqm_inspect_u64(n_tensors), "parameters",
                          uqm_inspect_u64(n_elem), "bytes", uqm_inspect_u64(n_bytes), "digest",
                          n_tensors > 0 ? json_string(digest.text) : json_null());
    return json_object_set_new(parts, uqm_part_name(part), v) == 0 ? UQM_OK : no_memory(cp, err);
}

/* Everything that is read from the headers. */
static json_t *describe(const struct uqm_checkpoint *cp, json_t *parts)
{
    static const char *const formats[] = { "safetensors", "pytorch" };
    uint64_t n_elem = 0, n_bytes = 0;
    json_t *files = json_array(), *tensors = json_array();

    for (size_t f = 0; files && f < cp->n_files; f++)
        json_array_append_new(files, json_pack("{s:o,s:o}", "name", json_of_file(cp, f), "bytes",
                                               uqm_inspect_u64(cp->files[f]->size_bytes)));
    for (size_t i = 0; tensors && i < cp->source.n_tensors; i++) {
        n_elem += cp->source.tensors[i].n_elem;
        n_bytes += cp->source.tensors[i].n_bytes;
        json_array_append_new(tensors, json_of_tensor(cp, i));
    }
    json_t *v = json_pack(
        "{s:o,s:s,s:s,s:o,s:o,s:o,s:O,s:o,s:o}", "path", uqm_inspect_text(cp->path), "format",
        cp->is_archive ? "uqz" : formats[cp->format], "layout", uqm_layout_name(cp->layout),
        "architecture", uqm_inspect_text(cp->architecture), "parameters", uqm_inspect_u64(n_elem),
        "bytes", uqm_inspect_u64(n_bytes), "parts", parts, "files", files, "tensors", tensors);
    /* an element that could not be made is missing from its list, not an error of its own */
    if (v && (json_array_size(files) != cp->n_files ||
              json_array_size(tensors) != cp->source.n_tensors)) {
        json_decref(v);
        return NULL;
    }
    return v;
}

static int inspect(char **json, struct uqm_checkpoint *cp, struct uqm_err *err)
{
    json_t *parts = json_object();
    int ret = parts ? UQM_OK : no_memory(cp, err);
    for (int p = 0; ret >= 0 && p < UQM_N_PARTS; p++)
        ret = add_part(parts, cp, (enum uqm_part) p, err);
    if (ret >= 0) {
        json_t *result = describe(cp, parts);
        *json = result ? uqm_json_dump(result) : NULL;
        json_decref(result);
        ret = *json ? UQM_OK : no_memory(cp, err);
    }
    json_decref(parts);
    return ret;
}

UQM_API int uqm_inspect(char **json, const struct uqm_inspect_params *params, struct uqm_err *err)
{
    struct uqm_env env;
    struct uqm_checkpoint *cp = NULL;
    *json = NULL;
    int ret = uqm_env_init(&env, &params->common, err);
    if (ret < 0)
        return ret;
    const size_t n = strlen(params->path);
    if (n > 5 && strcmp(params->path + n - 5, ".gguf") == 0 && !uqm_is_dir(params->path))
        return uqm_inspect_gguf(json, &env, params->path, err);
    struct uqm_checkpoint_params open = { .path = params->path };
    ret = uqm_checkpoint_open(&cp, &env, &open, err);
    if (ret >= 0)
        ret = inspect(json, cp, err);
    uqm_checkpoint_close(&cp);
    return ret;
}
