#include "src/base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/hash.h"

void uqm_philox4x32(uint32_t out[4], const uint32_t counter[4], struct uqm_rng_key key)
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key.k[0], k1 = key.k[1];

    for (int round = 0; round < 10; round++) {
        uint64_t p0 = UINT64_C(0xD2511F53) * c0, p1 = UINT64_C(0xCD9E8D57) * c2;
        uint32_t n0 = (uint32_t) (p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t) (p0 >> 32) ^ c3 ^ k1;
        c0 = n0;
        c1 = (uint32_t) p1;
        c2 = n2;
        c3 = (uint32_t) p0;
        k0 += 0x9E3779B9;
        k1 += 0xBB67AE85;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* Long names are hashed first, so that the key's input has a fixed size. */
struct uqm_rng_key uqm_rng_stream(uint64_t seed, enum uqm_rng_purpose purpose, const char *dataset,
                                  const char *sample, uint32_t j, uint32_t layer)
{
    const uint64_t names[2] = { uqm_xxh3_64(dataset, strlen(dataset), 0),
                                uqm_xxh3_64(sample, strlen(sample), 0) };
    unsigned char id[28];
    const uint32_t words[3] = { (uint32_t) purpose, j, layer };

    for (size_t w = 0; w < 3; w++)
        for (size_t b = 0; b < 4; b++)
            id[4 * w + b] = (unsigned char) (words[w] >> 8 * b);
    for (size_t w = 0; w < 2; w++)
        for (size_t b = 0; b < 8; b++)
            id[12 + 8 * w + b] = (unsigned char) (names[w] >> 8 * b);

    uint64_t h = uqm_xxh3_64(id, sizeof id, seed);
    return (struct uqm_rng_key){ { (uint32_t) h, (uint32_t) (h >> 32) } };
}

void uqm_rng_init(struct uqm_rng *rng, struct uqm_rng_key key)
{
    *rng = (struct uqm_rng){ .key = key };
}

uint32_t uqm_rng_u32(struct uqm_rng *rng)
{
    if (rng->n_drawn % 4 == 0) {
        uint64_t c = rng->n_drawn / 4;
        const uint32_t counter[4] = { (uint32_t) c, (uint32_t) (c >> 32), 0, 0 };
        uqm_philox4x32(rng->block, counter, rng->key);
    }
    return rng->block[rng->n_drawn++ % 4];
}

uint32_t uqm_rng_below(struct uqm_rng *rng, uint32_t n)
{
    const uint32_t cut = (uint32_t) -n % n; /* 2^32 mod n: words below it would be unfair */
    uint32_t v;
    do
        v = uqm_rng_u32(rng);
    while (v < cut);
    return v % n;
}

double uqm_rng_unit(struct uqm_rng *rng)
{
    return (double) (uqm_rng_u32(rng) >> 8) * 0x1p-24;
}

double uqm_rng_exponential(struct uqm_rng *rng)
{
    return -log(((double) uqm_rng_u32(rng) + 1.0) * 0x1p-32);
}
