/* Tables with pictures in them: rows, or a line that says what is wrong. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "src/uq/dataset_tsv.h"
#include "tests/fuzz/fuzz.h"

struct seen {
    const char *path;
    size_t size, n_rows, line;
};

static int take_row(void *ctx, const json_t *row, size_t line, uint64_t at, size_t n_bytes)
{
    struct seen *seen = ctx;
    struct uqm_err err = { 0 };
    uint8_t *data;
    size_t len;
    FUZZ_CHECK(json_is_object(row) && line > seen->line);
    FUZZ_CHECK(at <= seen->size && n_bytes <= seen->size - at);
    seen->line = line;
    seen->n_rows++;
    if (n_bytes == 0)
        return UQM_OK;
    const int ret = uqm_tsv_picture(&data, &len, seen->path, at, n_bytes, &err);
    if (ret < 0) {
        fuzz_check_refusal(ret, &err);
        return UQM_OK;
    }
    FUZZ_CHECK(len <= n_bytes);
    free(data);
    return UQM_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct uqm_err err = { 0 };
    struct uqm_xxh3_hex digest;
    char path[64];
    const int fd = memfd_create("table", MFD_CLOEXEC);
    if (fd < 0 || (size && write(fd, data, size) != (ssize_t) size))
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct seen seen = { .path = path, .size = size };
    const int ret = uqm_tsv_read(path, 1 << 16, take_row, &seen, &digest, &err);
    if (ret < 0)
        fuzz_check_refusal(ret, &err);
    close(fd);
    return 0;
}
