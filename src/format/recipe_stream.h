/*
 * A file of recipes: one or more YAML documents (spec merge.md 12). Those with a `name` are models
 * that the others may take as inputs, under that name; the one without is what the file is for.
 * Where all have names it is the one that no other takes. Pure but for reading the file.
 */
#ifndef UQM_FORMAT_RECIPE_STREAM_H
#define UQM_FORMAT_RECIPE_STREAM_H

#include "src/format/recipe.h"

enum { UQM_RECIPE_STREAM_MOST = 256 }; /* documents */

struct uqm_recipe_stream {
    size_t n;
    struct uqm_recipe **v; /* in the file's order; each one's text is the whole file's */
    size_t output;         /* index into v */
};

/* Parse and check: names all different, one output, no recipe made of itself. Messages are
 * "where:LINE: WHAT", lines counted from the file's start. */
int uqm_recipe_stream_parse(struct uqm_recipe_stream **out, const char *text, size_t len,
                            const char *where, uqm_recipe_warn_fn warn, void *warn_ctx,
                            struct uqm_err *err);
int uqm_recipe_stream_load(struct uqm_recipe_stream **out, const char *path,
                           uqm_recipe_warn_fn warn, void *warn_ctx, struct uqm_err *err);
void uqm_recipe_stream_free(struct uqm_recipe_stream **stream);

/* The recipe of that name, or NULL. stream may be NULL. */
const struct uqm_recipe *uqm_recipe_stream_find(const struct uqm_recipe_stream *stream,
                                                const char *name);

#endif
