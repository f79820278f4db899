#include "src/format/method.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/test.h"

/* Scope and type as letters, then the default; ! for a value that the recipe must give. */
static const struct {
    const char *name, *params;
    enum uqm_base_rule base;
    size_t least, most;
} want[] = {
    { "linear", "weight If! normalize Sb1 ", UQM_BASE_ORDINARY, 1, SIZE_MAX },
    { "slerp", "t Sf! ", UQM_BASE_REQUIRED, 1, 1 },
    { "nuslerp", "weight Nf! nuslerp_flatten Sb1 nuslerp_row_wise Sb0 ", UQM_BASE_OPTIONAL, 2, 2 },
    { "multislerp", "weight Nf! normalize_weights Sb1 eps Sf1e-08 ", UQM_BASE_OPTIONAL, 1,
      SIZE_MAX },
    { "karcher", "max_iter Si10 tol Sf1e-05 ", UQM_BASE_ORDINARY, 1, SIZE_MAX },
#define FAMILY(normalize, rescale)                                                                 \
    "weight Nf! density Nf1 lambda Sf1 int8_mask Sb0 normalize Sb" normalize " rescale Sb" rescale \
    " "
    { "task_arithmetic", FAMILY("0", "0"), UQM_BASE_REQUIRED, 0, SIZE_MAX },
    { "ties", FAMILY("1", "0"), UQM_BASE_REQUIRED, 0, SIZE_MAX },
    { "dare_ties", FAMILY("0", "1"), UQM_BASE_REQUIRED, 0, SIZE_MAX },
    { "dare_linear", FAMILY("0", "1"), UQM_BASE_REQUIRED, 0, SIZE_MAX },
    { "breadcrumbs", FAMILY("0", "0") "gamma Nf0.01 ", UQM_BASE_REQUIRED, 0, SIZE_MAX },
    { "breadcrumbs_ties", FAMILY("0", "0") "gamma Nf0.01 ", UQM_BASE_REQUIRED, 0, SIZE_MAX },
    { "della", FAMILY("1", "1") "epsilon Nf0.15 ", UQM_BASE_REQUIRED, 0, SIZE_MAX },
    { "della_linear", FAMILY("0", "1") "epsilon Nf0.15 ", UQM_BASE_REQUIRED, 0, SIZE_MAX },
    { "model_stock", "filter_wise Sb0 ", UQM_BASE_REQUIRED, 2, SIZE_MAX },
    { "sce", "int8_mask Sb0 select_topk Sf1 ", UQM_BASE_REQUIRED, 0, SIZE_MAX },
    { "nearswap", "t Sf! ", UQM_BASE_REQUIRED, 1, 1 },
    { "arcee_fusion", "", UQM_BASE_REQUIRED, 1, 1 },
    { "ram", "epsilon Sf1e-05 ", UQM_BASE_REQUIRED, 0, SIZE_MAX },
    { "ramplus_tl", "r Sf0.1 alpha Sf0.2 epsilon Sf1e-05 ", UQM_BASE_REQUIRED, 0, SIZE_MAX },
    { "passthrough", "scale If1 ", UQM_BASE_ORDINARY, 1, 1 },
};

static void print_params(char out[512], const struct uqm_method_info *m)
{
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; i < m->n_params; i++) {
        const struct uqm_param_info *p = &m->params[i];
        n += (size_t) snprintf(out + n, 512 - n, "%s %c%c", p->name, "SIN"[p->scope],
                               "fbi"[p->type]);
        n += p->required ? (size_t) snprintf(out + n, 512 - n, "! ")
                         : (size_t) snprintf(out + n, 512 - n, "%g ", p->def);
    }
}

static void every_method_has_its_inputs_and_parameters(void **state)
{
    (void) state;
    assert_int_equal(sizeof want / sizeof *want, UQM_N_METHODS);
    for (size_t i = 0; i < UQM_N_METHODS; i++) {
        const struct uqm_method_info *m = uqm_method_find(want[i].name);
        char params[512];
        assert_non_null(m);
        print_params(params, m);
        assert_string_equal(params, want[i].params);
        assert_int_equal(m->base, want[i].base);
        assert_int_equal(m->least, want[i].least);
        assert_int_equal(m->most, want[i].most);
        assert_true(m->n_params <= UQM_MOST_PARAMS);
        assert_true(m->pretty[0] != '\0');
        assert_true(!m->link || strncmp(m->link, "http", 4) != 0);
    }
}

static void ids_names_and_places_agree(void **state)
{
    (void) state;
    for (int i = 0; i < UQM_N_METHODS; i++) {
        const struct uqm_method_info *m = uqm_method_of((enum uqm_method_id) i);
        assert_int_equal(m->id, i);
        assert_string_equal(m->name, uqm_method_names[i]);
        assert_ptr_equal(uqm_method_find(m->name), m);
        for (size_t k = 0; k < m->n_params; k++) {
            assert_int_equal(uqm_method_param_index(m, m->params[k].name), k);
            assert_ptr_equal(uqm_method_param(m, m->params[k].name), &m->params[k]);
        }
        assert_int_equal(uqm_method_param_index(m, "no such thing"), -1);
        assert_null(uqm_method_param(m, "no such thing"));
    }
    assert_null(uqm_method_find("Linear"));
    assert_null(uqm_method_find(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_method_has_its_inputs_and_parameters),
        cmocka_unit_test(ids_names_and_places_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
