/* A torch file's zip directory. Accepted records lie inside the file and do not overlap. */
#include "src/format/torch_zip.h"
#include "tests/fuzz/fuzz.h"

struct bytes {
    const uint8_t *data;
    size_t n;
};

static int read_bytes(void *ctx, void *buf, size_t len, uint64_t off_bytes, struct uqm_err *err)
{
    const struct bytes *b = ctx;
    (void) err;
    FUZZ_CHECK(off_bytes <= b->n && len <= b->n - off_bytes);
    if (len)
        memcpy(buf, b->data + off_bytes, len);
    return UQM_OK;
}

static int by_begin(const void *a, const void *b)
{
    const struct uqm_zip_record *x = a, *y = b;
    return (x->begin > y->begin) - (x->begin < y->begin);
}

static void check_records(struct uqm_torch_zip *zip, const struct uqm_zip_input *input)
{
    for (size_t i = 0; i < zip->n_records; i++) {
        const struct uqm_zip_record *r = &zip->records[i];
        FUZZ_CHECK(uqm_torch_zip_find(zip, r->name) == r);
        FUZZ_CHECK(r->begin <= input->size_bytes && r->n_bytes <= input->size_bytes - r->begin);
        struct uqm_err err = { 0 };
        uint8_t *bytes = NULL;
        const int ret = uqm_torch_zip_read(&bytes, r, input, 1 << 16, &err);
        if (ret < 0)
            fuzz_check_refusal(ret, &err);
        free(bytes);
    }
    qsort(zip->records, zip->n_records, sizeof *zip->records, by_begin);
    for (size_t i = 1; i < zip->n_records; i++)
        FUZZ_CHECK(zip->records[i - 1].begin + zip->records[i - 1].n_bytes <=
                   zip->records[i].begin);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes b = { data, size };
    const struct uqm_zip_input input = { .read = read_bytes, .ctx = &b, .size_bytes = size };
    struct uqm_torch_zip zip = { 0 };
    struct uqm_err err = { 0 };
    const int ret = uqm_torch_zip_open(&zip, &input, &err);
    if (ret < 0) {
        fuzz_check_refusal(ret, &err);
        return 0;
    }
    check_records(&zip, &input);
    uqm_torch_zip_finish(&zip);
    return 0;
}
