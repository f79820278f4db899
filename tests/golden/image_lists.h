/* Questions with several pictures against what transformers makes of them (make_image_lists.py). */
#ifndef UQM_TESTS_IMAGE_LISTS_H
#define UQM_TESTS_IMAGE_LISTS_H

#include <errno.h>
#include <math.h>

#include "src/uqmerge.h"
#include "tests/golden/golden.h"
#include "tests/unit/uq/workdir.h"

/* The lines of a file of JSON lines, in an array; the caller's json_decref. */
static inline json_t *json_lines(const char *path)
{
    json_t *lines = json_array(), *line;
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while ((line = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL)) != NULL)
        json_array_append_new(lines, line);
    fclose(f);
    return lines;
}

static inline void check_image_lists(const char *device, double tolerance)
{
    struct uqm_err err = { 0 };
    char source[1024], *text, *records;
    size_t len, i;
    snprintf(source, sizeof source, "%s/golden/image_lists.jsonl", getenv("UQM_TESTS"));
    assert_ok(uqm_read_file(&records, &len, source, 1 << 20, &err), err);
    const char *set = put_file("lists/image_lists.jsonl", records);
    if (symlink(zoo_path("data/images"), in_workdir("lists/images")) != 0)
        assert_int_equal(errno, EEXIST);
    free(records);

    const char *model = zoo_path("models/dense"), *trace = in_workdir("lists/trace.jsonl");
    const struct uqm_uq_params p = { .common = { .memory = UINT64_C(256) << 20, .device = device },
                                     .questions = { .models = { &model, 1 }, .data = { &set, 1 } },
                                     .perturb = UQM_PERTURB_NONE,
                                     .repeats = 1,
                                     .trace_path = trace };
    assert_ok(uqm_uq(&text, &p, &err), err);
    free(text);
    json_t *expected = json_lines(set), *found = json_lines(trace), *record;
    assert_int_equal(json_array_size(found), json_array_size(expected));
    json_array_foreach (expected, i, record) {
        const json_t *line = json_array_get(found, i);
        assert_string_equal(golden_string(line, "id"), golden_string(record, "id"));
        for (size_t k = 0; k < 6; k++) {
            const double a = json_number_value(json_array_get(json_object_get(line, "p"), k));
            const double b = json_number_value(json_array_get(json_object_get(record, "p"), k));
            if (!(fabs(a - b) < tolerance))
                fail_msg("%s: option %zu: %.9f, expected %.9f", golden_string(record, "id"), k, a,
                         b);
        }
    }
    json_decref(expected);
    json_decref(found);
}

#endif
