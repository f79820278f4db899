/*
 * The output's vocabulary (spec merge.md 9): which tokens it has, and from which rows of the inputs
 * each of its rows comes. Settled from tokenizers alone, before anything is merged. A token belongs
 * to a model if the model's tokenizer knows it under a number that its embedding has a row for.
 */
#ifndef UQM_MERGE_VOCAB_PLAN_H
#define UQM_MERGE_VOCAB_PLAN_H

#include "src/merge/plan.h"
#include "src/model/vocabulary.h"

/* What `tokens` says of a row; zero: nothing. */
struct uqm_vocab_rule {
    bool is_set; /* kind, input and row hold; else section 9's order decides */
    bool is_zero;
    bool force;
    uint32_t input, row;
};

struct uqm_vocab_plan {
    struct uqm_arena arena;
    const char *home;        /* the folder whose tokenizer's files the output's are made from */
    struct uqm_vocab *out;   /* the output's tokens */
    size_t n_home;           /* out->v[0 .. n_home) are the home tokenizer's */
    bool *changed;           /* [n_home] became an added token, with another's switches */
    uint64_t first_stripped; /* tokens of the home tokenizer from this number on are left out;
                                UINT64_MAX: none */
    uint32_t n_real;         /* rows with a number below are tokens' */
    uint32_t n_rows;         /* with those that pad */
    size_t n_inputs;
    int32_t **own;                /* [n_inputs][n_real] the row an input has for the token, or -1 */
    struct uqm_vocab_rule *rules; /* [n_real] */
    size_t n_without;             /* tokens that no input has and no rule gives: zeros */
};

/* *out stays NULL where the recipe does not speak of the tokenizer. After the inputs are open. */
int uqm_vocab_plan_create(struct uqm_vocab_plan **out, struct uqm_recipe_source *rs,
                          struct uqm_err *err);
void uqm_vocab_plan_free(struct uqm_vocab_plan **plan);

#endif
