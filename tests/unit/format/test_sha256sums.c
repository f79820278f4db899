#include "src/format/sha256sums.h"

#include "src/base/fs.h"
#include "tests/unit/test.h"

#define HEX64 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void lines_are_sorted_by_bytes_and_escaped_as_coreutils_does(void **state)
{
    (void) state;
    struct uqm_sum sums[] = {
        { "sub/x", HEX64 },   { "a b", HEX64 }, { "\xc3\xa9", HEX64 },
        { "c\\d\ne", HEX64 }, { "Z", HEX64 },   { "a.b", HEX64 },
    };
    char *text = uqm_sha256sums_dump(sums, sizeof sums / sizeof *sums);
    assert_string_equal(text,
                        HEX64 "  Z\n" HEX64 "  a b\n" HEX64 "  a.b\n"
                              "\\" HEX64 "  c\\\\d\\ne\n" HEX64 "  sub/x\n" HEX64 "  \xc3\xa9\n");
    free(text);
    text = uqm_sha256sums_dump(sums, 0);
    assert_string_equal(text, "");
    free(text);
}

/* The tool itself, where there is one. */
static void sha256sum_reads_it(void **state)
{
    (void) state;
    char dir[] = "/tmp/uqm-sums-XXXXXX", command[512];
    const char *names[] = { "plain", "with space", "back\\slash", "line\nfeed" };
    struct uqm_sum sums[4];
    struct uqm_err err = { 0 };
    if (system("sha256sum --version >/dev/null 2>&1") != 0)
        test_skip("there is no sha256sum");
    assert_non_null(mkdtemp(dir));
    for (size_t i = 0; i < 4; i++) {
        char path[64];
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        assert_ok(uqm_write_file(path, "", 0, &err), err);
        sums[i] = (struct uqm_sum){ names[i], HEX64 };
    }
    char *text = uqm_sha256sums_dump(sums, 4), path[64];
    snprintf(path, sizeof path, "%s/SHA256SUMS", dir);
    assert_ok(uqm_write_file(path, text, strlen(text), &err), err);
    snprintf(command, sizeof command, "cd %s && sha256sum --quiet --strict -c SHA256SUMS", dir);
    assert_int_equal(system(command), 0);
    free(text);
    assert_ok(uqm_remove_tree(dir, &err), err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_sorted_by_bytes_and_escaped_as_coreutils_does),
        cmocka_unit_test(sha256sum_reads_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
