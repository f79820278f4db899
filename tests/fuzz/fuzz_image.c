/* Pictures of three formats, told by their first bytes. */
#include "src/model/image.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { MAX_PIXELS = 1 << 16 };
    struct uqm_image image = { 0 };
    struct uqm_err err = { 0 };
    const int ret = uqm_image_decode(&image, data, size, "picture", MAX_PIXELS, &err);
    if (ret < 0) {
        fuzz_check_refusal(ret, &err);
        return 0;
    }
    const size_t n = (size_t) image.width * image.height;
    FUZZ_CHECK(n > 0 && n <= MAX_PIXELS);
    unsigned sum = 0;
    for (size_t i = 0; i < 3 * n; i++)
        sum += image.rgb[i];
    FUZZ_CHECK(sum <= 255 * 3 * n);
    uqm_image_finish(&image);
    return 0;
}
