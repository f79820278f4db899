/* From the YAML tree to the recipe; between recipe.c and its two readers only. */
#ifndef UQM_FORMAT_RECIPE_PARSE_H
#define UQM_FORMAT_RECIPE_PARSE_H

#include "src/format/recipe.h"
#include "src/format/yaml.h"

struct uqm_recipe_parse {
    struct uqm_recipe *recipe;
    uqm_recipe_warn_fn warn;
    void *warn_ctx;
    size_t n_values; /* read so far: aliases can make much of little */
    struct uqm_err *err;
};

/* "where:LINE: WHAT" */
int uqm_recipe_fail(struct uqm_recipe_parse *p, int line, enum uqm_status code, const char *fmt,
                    ...) __attribute__((format(printf, 4, 5)));
int uqm_recipe_warn(struct uqm_recipe_parse *p, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int uqm_recipe_no_memory(struct uqm_recipe_parse *p);

/* A string in the recipe's arena; `what` names the key in the error. */
int uqm_recipe_string(const char **out, struct uqm_recipe_parse *p,
                      const struct uqm_yaml_node *node, const char *what);
/* Warn about each key of the mapping that is not among the names. */
int uqm_recipe_check_keys(struct uqm_recipe_parse *p, const struct uqm_yaml_node *mapping,
                          const char *const *names, size_t n_names);

/* recipe_parse.c: the whole document. */
int uqm_recipe_read(struct uqm_recipe_parse *p, const struct uqm_yaml_node *root);
/* recipe_settings.c: a `parameters` mapping (NULL: none), of a model or of the recipe. */
int uqm_recipe_read_settings(struct uqm_settings *out, struct uqm_recipe_parse *p,
                             const struct uqm_yaml_node *node, bool of_model);

#endif
