/* Question sets, through a file in memory: records, or a line that says which one is wrong. */
#include <sys/mman.h>
#include <unistd.h>

#include "src/uq/dataset.h"
#include "tests/fuzz/fuzz.h"

static void check_records(const struct uqm_dataset *set)
{
    for (size_t i = 0; i < set->n_records; i++) {
        const struct uqm_record *r = &set->records[i];
        fuzz_touch(r->id);
        fuzz_touch(r->question);
        FUZZ_CHECK(r->n_choices <= UQM_MAX_CHOICES);
        FUZZ_CHECK(r->answer >= -1 && (r->answer < 0 || (size_t) r->answer < r->n_choices));
        for (size_t k = 0; k < r->n_choices; k++)
            fuzz_touch(r->choices[k]);
        FUZZ_CHECK(r->image || !r->n_more_images);
        FUZZ_CHECK(uqm_record_n_images(r) <= UQM_MAX_IMAGES);
        for (size_t k = 0; k < uqm_record_n_images(r); k++)
            FUZZ_CHECK(uqm_record_image(r, k)[0]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct uqm_env env;
    struct uqm_common common = { .memory = 64 << 20, .n_threads = 1 };
    struct uqm_err err = { 0 };
    char path[64];
    if (!env.budget.limit_bytes && uqm_env_init(&env, &common, &err) < 0)
        abort();
    const int fd = memfd_create("set", MFD_CLOEXEC);
    if (fd < 0 || (size && write(fd, data, size) != (ssize_t) size))
        abort();
    snprintf(path, sizeof path, "set=/proc/self/fd/%d", fd);

    struct uqm_dataset set = { 0 };
    const int ret = uqm_dataset_load(&set, &env, path, &err);
    if (ret < 0)
        fuzz_check_refusal(ret, &err);
    else
        check_records(&set);
    uqm_dataset_finish(&set);
    close(fd);
    return 0;
}
