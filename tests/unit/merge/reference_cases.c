#include "tests/unit/merge/reference_cases.h"

#include "tests/unit/test.h"

size_t ref_cases_load(struct ref_named_case *cases)
{
    FILE *f = fopen(data_path("golden/merge/arrays/cases.txt"), "r");
    char line[512];
    size_t n = 0;
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        char base[8];
        int read = 0;
        if (line[0] == '#')
            continue;
        assert_true(n < REF_MAX_CASES);
        struct ref_named_case *c = &cases[n++];
        *c = (struct ref_named_case){ 0 };
        if (sscanf(line, "%63s %31s %zu %7s %n", c->name, c->method, &c->n_models, base, &read) < 4)
            fail_msg("cases.txt: %s", line);
        c->with_base = strcmp(base, "base") == 0;
        snprintf(c->settings, sizeof c->settings, "%s", line + read);
        c->settings[strcspn(c->settings, "\n")] = '\0';
    }
    fclose(f);
    return n;
}

/* value[i] of "a,b,c"; the last one again where there are fewer. */
static double value_of(const char *values, size_t i)
{
    char *end;
    double v = strtod(values, &end);
    while (i-- > 0 && *end == ',')
        v = strtod(end + 1, &end);
    return v;
}

static void set_input(struct ref_input *in, const char *key, double v)
{
    if (strcmp(key, "weight") == 0)
        in->weight = v;
    else if (strcmp(key, "density") == 0)
        in->density = v;
    else if (strcmp(key, "gamma") == 0)
        in->gamma = v;
    else if (strcmp(key, "epsilon") == 0)
        in->epsilon = v;
    else if (strcmp(key, "scale") == 0) {
        in->has_scale = true;
        in->scale = v;
    }
}

static void set_output(struct ref_case *c, const char *key, double v)
{
    const struct {
        const char *key;
        double *number;
        bool *flag;
    } known[] = {
        { "normalize", NULL, &c->normalize },
        { "rescale", NULL, &c->rescale },
        { "normalize_weights", NULL, &c->normalize_weights },
        { "nuslerp_flatten", NULL, &c->flatten },
        { "nuslerp_row_wise", NULL, &c->row_wise },
        { "filter_wise", NULL, &c->filter_wise },
        { "lambda", &c->lambda, NULL },
        { "t", &c->t, NULL },
        { "tol", &c->tol, NULL },
        { "select_topk", &c->select_topk, NULL },
        { "epsilon", &c->ram_epsilon, NULL },
        { "r", &c->r, NULL },
        { "alpha", &c->alpha, NULL },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i].key, key) != 0)
            continue;
        if (known[i].flag)
            *known[i].flag = v != 0;
        else
            *known[i].number = v;
    }
    if (strcmp(key, "max_iter") == 0)
        c->max_iter = (int) v;
}

void ref_case_make(struct ref_case *c, const struct ref_named_case *named, enum uqm_dtype dtype,
                   double *const *x)
{
    char settings[sizeof named->settings], *next = settings;
    ref_init(c, named->method, dtype);
    for (size_t i = 0; i < named->n_models; i++)
        c->in[i].x = x[i + 1];
    c->n_inputs = named->n_models;
    if (named->with_base) {
        c->base = (long) c->n_inputs;
        c->in[c->n_inputs++].x = x[0];
    }
    memcpy(settings, named->settings, sizeof settings);
    for (char *word; (word = strsep(&next, " "));) {
        char *values = strchr(word, '=');
        if (!values)
            continue;
        *values++ = '\0';
        for (size_t i = 0; i < named->n_models; i++)
            set_input(&c->in[i], word, value_of(values, i));
        set_output(c, word, value_of(values, 0));
    }
}
