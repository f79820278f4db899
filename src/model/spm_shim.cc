#include "src/model/spm_shim.h"

#include <sentencepiece_processor.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <new>
#include <vector>

struct uqm_spm {
    sentencepiece::SentencePieceProcessor processor;
};

namespace
{

int fail(uqm_spm_reason *reason, int code, const char *what)
{
    std::snprintf(reason->text, sizeof reason->text, "%s", what);
    for (char *p = reason->text; *p; p++)
        if (*p == '\n')
            *p = ' ';
    return code;
}

/* Run `body`, which returns a status code, and turn what it throws into one. */
template <typename Body> int guarded(uqm_spm_reason *reason, Body body) noexcept
{
    try {
        return body();
    } catch (const std::bad_alloc &) {
        return fail(reason, UQM_ERR_NOMEM, "no memory");
    } catch (const std::exception &e) {
        return fail(reason, UQM_ERR_FORMAT, e.what());
    } catch (...) {
        return fail(reason, UQM_ERR_FORMAT, "sentencepiece threw something unknown");
    }
}

} // namespace

int uqm_spm_create(uqm_spm **out, const void *model, size_t len, uqm_spm_reason *reason)
{
    return guarded(reason, [&] {
        auto spm = std::make_unique<uqm_spm>();
        const auto status = spm->processor.LoadFromSerializedProto(
            absl::string_view(static_cast<const char *>(model), len));
        if (!status.ok())
            return fail(reason, UQM_ERR_FORMAT, status.error_message());
        *out = spm.release();
        return static_cast<int>(UQM_OK);
    });
}

void uqm_spm_destroy(uqm_spm *spm)
{
    delete spm;
}

int uqm_spm_encode(int32_t **ids, size_t *n_ids, const uqm_spm *spm, const char *text, size_t len,
                   uqm_spm_reason *reason)
{
    return guarded(reason, [&] {
        std::vector<int> found;
        const auto status = spm->processor.Encode(absl::string_view(text, len), &found);
        if (!status.ok())
            return fail(reason, UQM_ERR_FORMAT, status.error_message());

        int32_t *copy = nullptr;
        if (!found.empty()) {
            copy = static_cast<int32_t *>(std::malloc(found.size() * sizeof *copy));
            if (!copy)
                return fail(reason, UQM_ERR_NOMEM, "no memory");
            for (size_t i = 0; i < found.size(); i++)
                copy[i] = found[i];
        }
        *ids = copy;
        *n_ids = found.size();
        return static_cast<int>(UQM_OK);
    });
}
