/*
 * A journal. The first byte says how the rest is taken: as a whole journal; as what follows a good
 * header; or as that with every record's sequence and hash set right, which no input would hit
 * upon.
 */
#include <stdlib.h>

#include "io/journal.h"
#include "src/base/bytes.h"
#include "src/base/hash.h"
#include "tests/fuzz/fuzz.h"

enum { HASHED_BYTES = 56 };

static uint64_t make_header(uint8_t *p)
{
    memset(p, 0, UQM_JOURNAL_HEADER_BYTES);
    memcpy(p, "UQMJRNL\n", 8);
    uqm_put_u32(p + 8, 1);
    const uint64_t seed = uqm_xxh3_64(p, HASHED_BYTES, 0);
    uqm_put_u64(p + HASHED_BYTES, seed);
    return seed;
}

static size_t set_right(uint8_t *p, size_t size, uint64_t seed)
{
    size_t n = 0;
    for (size_t at = UQM_JOURNAL_HEADER_BYTES; size - at >= UQM_JOURNAL_RECORD_BYTES; n++) {
        size_t len = uqm_get_u32(p + at);
        if (len > size - at - UQM_JOURNAL_RECORD_BYTES || len > UQM_JOURNAL_MAX_PAYLOAD)
            break;
        uqm_put_u64(p + at + 8, n);
        uqm_put_u64(p + at + 16 + len, uqm_xxh3_64(p + at, 16 + len, seed));
        at += UQM_JOURNAL_RECORD_BYTES + len;
    }
    return n;
}

static size_t read_all(const uint8_t *p, size_t size)
{
    const struct uqm_job_id job = { { 0 } };
    struct uqm_journal_reader reader;
    struct uqm_record record;
    size_t n = 0, sum = UQM_JOURNAL_HEADER_BYTES;
    static volatile uint8_t seen;
    if (!uqm_journal_reader_init(&reader, p, size, &job))
        return 0;
    for (; uqm_journal_reader_next(&reader, &record); n++) {
        FUZZ_CHECK(record.payload >= p && record.payload + record.n_bytes + 8 <= p + size);
        for (size_t i = 0; i < record.n_bytes; i++)
            seen = seen ^ record.payload[i];
        sum += UQM_JOURNAL_RECORD_BYTES + record.n_bytes;
        FUZZ_CHECK(reader.at == sum && reader.sequence == n + 1);
    }
    FUZZ_CHECK(reader.at == sum && sum <= size);
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] % 3 == 0) {
        read_all(data + 1, size - 1);
        return 0;
    }
    size_t n_bytes = UQM_JOURNAL_HEADER_BYTES + size - 1;
    uint8_t *p = malloc(n_bytes);
    if (!p)
        return 0;
    uint64_t seed = make_header(p);
    memcpy(p + UQM_JOURNAL_HEADER_BYTES, data + 1, size - 1);
    size_t n = data[0] % 3 == 1 ? set_right(p, n_bytes, seed) : 0, found = read_all(p, n_bytes);
    FUZZ_CHECK(data[0] % 3 != 1 || found == n);
    free(p);
    return 0;
}
