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

/* A model that the recipe names; each stands once, however often it is named. */
struct uqm_recipe_model {
    const char *path;         /* as the recipe spells it */
    const char *architecture; /* override_architecture, or NULL */
    int line;                 /* where it is named first */
};

/* One input of a slice. */
struct uqm_recipe_input {
    size_t model; /* index into the recipe's models */
    int line;
    bool added;          /* a base that is no input by itself: the last one of `models` */
    uint64_t first, end; /* layers [first, end); of a slice that is not whole */
    struct uqm_settings settings;
};

/* Layers of the output, and what they are made of. */
struct uqm_recipe_slice {
    int line;
    bool whole;      /* `models`: all layers that the models have */
    long base;       /* index into the recipe's models, or -1: base_model, or the slice's own */
    size_t n_inputs; /* no model twice; all ranges of one length */
    struct uqm_recipe_input *inputs; /* in the order of the arithmetic */
    struct uqm_settings settings;
};

/* A part of the network, by name, or all of it. */
struct uqm_recipe_module {
    const char *name; /* NULL: all of the network (a recipe with `models` or `slices`) */
    int line;
    size_t n_slices; /* stacked in order; one when it is whole */
    struct uqm_recipe_slice *slices;
    struct uqm_settings settings; /* of `modules` alone */
};

/* Where the vocabulary of the output comes from (spec 9). */
enum uqm_vocabulary {
    UQM_VOCABULARY_AS_IT_IS, /* no key: the tokenizer's files are copied, no row is moved */
    UQM_VOCABULARY_UNION,
    UQM_VOCABULARY_BASE, /* base_model's, else the first model's */
    UQM_VOCABULARY_MODEL,
};
enum uqm_token_rule {
    UQM_TOKEN_BY_DEFAULT, /* section 9's order: the only one that has it, the base, the mean */
    UQM_TOKEN_OF_MODEL,   /* the row that the model has for this very token */
    UQM_TOKEN_OF_TOKEN,   /* the row that the model has for another token */
    UQM_TOKEN_OF_ID,      /* the row of this number */
    UQM_TOKEN_ZERO,
};
/* `tokens`: what a row is where a model lacks the token; with `force`, in any case. */
struct uqm_recipe_token {
    const char *text; /* the token */
    int line;
    enum uqm_token_rule rule;
    size_t model;      /* index into the recipe's models; of the rules that name one */
    const char *token; /* UQM_TOKEN_OF_TOKEN */
    uint64_t id;       /* UQM_TOKEN_OF_ID */
    bool force;
};
struct uqm_recipe_tokenizer {
    enum uqm_vocabulary vocabulary;
    int line;          /* of the key; 0: none */
    const char *model; /* UQM_VOCABULARY_MODEL: its path as the recipe spells it; it need not be
                          among the models */
    long model_index;  /* ... its place among them, or -1 */
    uint64_t pad_to_multiple_of; /* 0: as it comes */
    size_t n_tokens;
    const struct uqm_recipe_token *tokens; /* all different, in the recipe's order */
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
    const char *title;      /* the document's own `name`, or NULL */
    int line, title_line;   /* where the document begins, and its name */
    const char *text;       /* byte for byte */
    size_t text_len;

    const struct uqm_method_info *method;
    size_t n_models; /* distinct ones, in the order of being named; base_model last when nothing
                        else names it */
    struct uqm_recipe_model *models;
    long base;        /* base_model, index into models, or -1 */
    size_t n_modules; /* at least one */
    struct uqm_recipe_module *modules;
    bool by_module; /* `modules` stands in the recipe: what none of them names needs thought */
    bool has_dtype, has_out_dtype;
    enum uqm_dtype dtype, out_dtype;
    struct uqm_settings settings;
    struct uqm_recipe_tokenizer tokenizer;
    const char *chat_template; /* "auto", a built-in name or Jinja; NULL: as it is */
    int chat_template_line;
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
/* A recipe file's name without folder and ending; malloc'ed. */
char *uqm_recipe_name_of(const char *path);

/* For whom a parameter is asked. */
struct uqm_recipe_place {
    const struct uqm_recipe_module *module;
    const struct uqm_recipe_slice *slice;
    const struct uqm_recipe_input *input; /* NULL: for a parameter per output */
    const char *tensor; /* the name that filters are tried on: the input's own, or the output's */
    double t;           /* the layer's place in its slice, 0..1 */
};
/*
 * The value of a parameter for one tensor (spec 6): the input's, the slice's, the module's, the
 * recipe's, the default. A setting none of whose filters fits, or with nothing in its list, leaves
 * the matter to the next. Bools come as 0 and 1. UQM_ERR_FORMAT: a required one is missing (names
 * parameter, model and tensor), or a ramp of whole numbers gives none.
 */
int uqm_recipe_resolve(double *out, const struct uqm_recipe *recipe,
                       const struct uqm_param_info *param, const struct uqm_recipe_place *place,
                       struct uqm_err *err);

#endif
