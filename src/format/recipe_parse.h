/* From the YAML tree to the recipe; between recipe.c and its readers only. */
#ifndef UQM_FORMAT_RECIPE_PARSE_H
#define UQM_FORMAT_RECIPE_PARSE_H

#include "src/format/recipe.h"
#include "src/format/yaml.h"

struct uqm_recipe_parse {
    struct uqm_recipe *recipe;
    uqm_recipe_warn_fn warn;
    void *warn_ctx;
    size_t n_values, n_inputs, n_slices; /* read so far: aliases can make much of little */
    size_t models_cap;
    struct uqm_err *err;
};
enum { UQM_RECIPE_MAX_MODELS = 1024, UQM_RECIPE_MAX_INPUTS = 1 << 16, UQM_RECIPE_MAX_MODULES = 64 };

/* "where:LINE: WHAT" */
int uqm_recipe_fail(struct uqm_recipe_parse *p, int line, enum uqm_status code, const char *fmt,
                    ...) __attribute__((format(printf, 4, 5)));
int uqm_recipe_warn(struct uqm_recipe_parse *p, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int uqm_recipe_no_memory(struct uqm_recipe_parse *p);

/* A string in the recipe's arena; `what` names the key in the error. */
int uqm_recipe_string(const char **out, struct uqm_recipe_parse *p,
                      const struct uqm_yaml_node *node, const char *what);
/* The same for what messages and lists show in one line (names, filters): control characters are
 * refused. Paths are folders' names, which may hold any; messages escape them. */
int uqm_recipe_word(const char **out, struct uqm_recipe_parse *p, const struct uqm_yaml_node *node,
                    const char *what);
/* Warn about each key of the mapping that is not among the names. */
int uqm_recipe_check_keys(struct uqm_recipe_parse *p, const struct uqm_yaml_node *mapping,
                          const char *const *names, size_t n_names);

/* A key's value: NULL when it is absent or null. UQM_ERR_FORMAT: it is no scalar. */
int uqm_recipe_scalar(const struct uqm_yaml_node **out, struct uqm_recipe_parse *p,
                      const struct uqm_yaml_node *mapping, const char *key);

/* recipe_parse.c: the whole document. */
int uqm_recipe_read(struct uqm_recipe_parse *p, const struct uqm_yaml_node *root);

/* recipe_model.c: a model by string or mapping; `what` names the key in errors. */
int uqm_recipe_read_model(struct uqm_recipe_model *out, struct uqm_recipe_parse *p,
                          const struct uqm_yaml_node *node, const char *what);
/* Its place among the recipe's models, where it is put if it is new. */
int uqm_recipe_intern_model(size_t *out, struct uqm_recipe_parse *p,
                            const struct uqm_recipe_model *model);
/* Its place, or -1. */
long uqm_recipe_find_model(const struct uqm_recipe *recipe, const char *path);

/* recipe_inputs.c: models, slices or modules, and base_model. */
int uqm_recipe_read_inputs(struct uqm_recipe_parse *p, const struct uqm_yaml_node *root);

/* recipe_tokenizer.c: tokenizer_source, tokenizer, chat_template; after the models. */
int uqm_recipe_read_tokenizer(struct uqm_recipe_parse *p, const struct uqm_yaml_node *root);

/* recipe_settings.c: a `parameters` mapping (NULL: none), of an input or of more. */
int uqm_recipe_read_settings(struct uqm_settings *out, struct uqm_recipe_parse *p,
                             const struct uqm_yaml_node *node, bool of_input);

#endif
