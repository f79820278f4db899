/*
 * mergekit recipes (spec merge.md 5 and 6): YAML text in, a checked tree out. Pure: no file but
 * the text is touched.
 */
#ifndef UQM_FORMAT_RECIPE_H
#define UQM_FORMAT_RECIPE_H

#include "src/base/arena.h"
#include "src/base/dtype.h"
#include "src/base/err.h"
#include "src/format/method.h"

struct uqm_scalar_value {
    double number; /* bools as 0 and 1 */
    int line;
};

/* One alternative of a setting: values[0], or a ramp over the layers when n > 1. */
struct uqm_setting_entry {
    const char *filter; /* NULL: any tensor */
    size_t n;
    const struct uqm_scalar_value *values;
};

struct uqm_setting {
    const struct uqm_param_info *param;
    int line;
    size_t n_entries; /* tried in order */
    const struct uqm_setting_entry *entries;
};

struct uqm_settings {
    size_t n;
    const struct uqm_setting *v;
};

struct uqm_recipe_model {
    const char *path;         /* as the recipe spells it */
    const char *architecture; /* override_architecture, or NULL */
    int line;
    struct uqm_settings settings;
};

/* What to do where vision towers differ; ours: `uqmerge: {vision: merge|copy}`. */
enum uqm_vision_policy {
    UQM_VISION_MUST_AGREE,
    UQM_VISION_MERGE, /* treat them like the rest */
    UQM_VISION_COPY,  /* the base's, or the first model's */
};

struct uqm_recipe {
    struct uqm_arena arena; /* owns what follows */
    const char *where;      /* the file, as the user named it */
    const char *name;       /* its name without folder and ending */
    const char *text;       /* byte for byte */
    size_t text_len;

    const struct uqm_method_info *method;
    size_t n_models; /* inputs in the order of the arithmetic: the recipe's, a base that is not
                        among them last */
    struct uqm_recipe_model *models;
    long base; /* index into models, or -1 */
    bool has_dtype, has_out_dtype;
    enum uqm_dtype dtype, out_dtype;
    struct uqm_settings settings;
    enum uqm_vision_policy vision;
};

/* One warning: unknown key or parameter, with its line and the nearest right name. Nonzero stops
 * the parse (--strict) with the code returned. */
typedef int (*uqm_recipe_warn_fn)(void *ctx, const char *line);

/*
 * text: len bytes of YAML; where: the file's name, for errors ("where:LINE: WHAT") and the recipe's
 * name. The text is kept (the output folder gets it byte for byte).
 */
int uqm_recipe_parse(struct uqm_recipe **out, const char *text, size_t len, const char *where,
                     uqm_recipe_warn_fn warn, void *warn_ctx, struct uqm_err *err);
int uqm_recipe_load(struct uqm_recipe **out, const char *path, uqm_recipe_warn_fn warn,
                    void *warn_ctx, struct uqm_err *err);
void uqm_recipe_free(struct uqm_recipe **recipe);

/*
 * The value of a parameter for one tensor (spec 6). model: index for parameters that are per input,
 * -1 for those per output. tensor: the name that filters are tried on. t: the layer's position,
 * 0..1. Missing: UQM_ERR_FORMAT names the parameter and the model.
 */
int uqm_recipe_resolve(double *out, const struct uqm_recipe *recipe, const char *param, long model,
                       const char *tensor, double t, struct uqm_err *err);

#endif
