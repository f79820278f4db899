/*
 * mergekit recipes (spec merge.md 5 and 6): YAML text in, a checked tree out. Pure: no file but
 * the text is touched.
 */
#ifndef UQM_FORMAT_RECIPE_H
#define UQM_FORMAT_RECIPE_H

#include "src/base/arena.h"
#include "src/base/dtype.h"
#include "src/base/err.h"

struct uqm_recipe;

/* One warning: unknown key or parameter, with its line and the nearest right name. Nonzero stops the
 * parse (--strict) with the code returned. */
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

#endif
