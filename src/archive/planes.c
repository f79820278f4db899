#include "src/archive/planes.h"

#include <endian.h>
#include <string.h>

/* Runs of a fixed length, so that every compiler makes vectors of them; the rest word by word. */
enum { RUN = 64, SAMPLE = 4096 };

static void split16_run(uint8_t *restrict high, uint8_t *restrict low,
                        const uint8_t *restrict words, size_t n)
{
    uint16_t u[RUN];
    memcpy(u, words, n * sizeof *u);
    for (size_t i = 0; i < n; i++) {
        uint16_t v = le16toh(u[i]);
        v = (uint16_t) (v << 1 | v >> 15);
        high[i] = (uint8_t) (v >> 8);
        low[i] = (uint8_t) v;
    }
}

void uqm_planes_split16(uint8_t *const planes[2], const uint8_t *words, size_t n_words)
{
    size_t i = 0;
    for (; i + RUN <= n_words; i += RUN)
        split16_run(planes[0] + i, planes[1] + i, words + 2 * i, RUN);
    split16_run(planes[0] + i, planes[1] + i, words + 2 * i, n_words - i);
}

static void join16_run(uint8_t *restrict words, const uint8_t *restrict high,
                       const uint8_t *restrict low, size_t n)
{
    uint16_t u[RUN];
    for (size_t i = 0; i < n; i++) {
        uint16_t v = (uint16_t) (high[i] << 8 | low[i]);
        u[i] = htole16((uint16_t) (v >> 1 | v << 15));
    }
    memcpy(words, u, n * sizeof *u);
}

void uqm_planes_join16(uint8_t *words, const uint8_t *const planes[2], size_t n_words)
{
    size_t i = 0;
    for (; i + RUN <= n_words; i += RUN)
        join16_run(words + 2 * i, planes[0] + i, planes[1] + i, RUN);
    join16_run(words + 2 * i, planes[0] + i, planes[1] + i, n_words - i);
}

static void split32_run(uint8_t *restrict p0, uint8_t *restrict p1, uint8_t *restrict p2,
                        uint8_t *restrict p3, const uint8_t *restrict words, size_t n)
{
    uint32_t u[RUN];
    memcpy(u, words, n * sizeof *u);
    for (size_t i = 0; i < n; i++) {
        uint32_t v = le32toh(u[i]);
        v = v << 1 | v >> 31;
        p0[i] = (uint8_t) (v >> 24);
        p1[i] = (uint8_t) (v >> 16);
        p2[i] = (uint8_t) (v >> 8);
        p3[i] = (uint8_t) v;
    }
}

void uqm_planes_split32(uint8_t *const p[4], const uint8_t *words, size_t n_words)
{
    size_t i = 0;
    for (; i + RUN <= n_words; i += RUN)
        split32_run(p[0] + i, p[1] + i, p[2] + i, p[3] + i, words + 4 * i, RUN);
    split32_run(p[0] + i, p[1] + i, p[2] + i, p[3] + i, words + 4 * i, n_words - i);
}

static void join32_run(uint8_t *restrict words, const uint8_t *restrict p0,
                       const uint8_t *restrict p1, const uint8_t *restrict p2,
                       const uint8_t *restrict p3, size_t n)
{
    uint32_t u[RUN];
    for (size_t i = 0; i < n; i++) {
        uint32_t v =
            (uint32_t) p0[i] << 24 | (uint32_t) p1[i] << 16 | (uint32_t) p2[i] << 8 | p3[i];
        u[i] = htole32(v >> 1 | v << 31);
    }
    memcpy(words, u, n * sizeof *u);
}

void uqm_planes_join32(uint8_t *words, const uint8_t *const p[4], size_t n_words)
{
    size_t i = 0;
    for (; i + RUN <= n_words; i += RUN)
        join32_run(words + 4 * i, p[0] + i, p[1] + i, p[2] + i, p[3] + i, RUN);
    join32_run(words + 4 * i, p[0] + i, p[1] + i, p[2] + i, p[3] + i, n_words - i);
}

void uqm_planes_xor(uint8_t *out, const uint8_t *a, const uint8_t *b, size_t n_bytes)
{
    size_t i = 0;
    for (; i + 8 * RUN <= n_bytes; i += 8 * RUN) {
        uint64_t x[RUN], y[RUN];
        memcpy(x, a + i, sizeof x);
        memcpy(y, b + i, sizeof y);
        for (int k = 0; k < RUN; k++)
            x[k] ^= y[k];
        memcpy(out + i, x, sizeof x);
    }
    for (; i < n_bytes; i++)
        out[i] = a[i] ^ b[i];
}

/*
 * Of n bytes drawn evenly from 256 values, two are equal once in 256: the sum of squared counts is
 * about n^2 / 256 + n, give or take 0.5 % for n = 4096. A sum 5 % above that is an entropy
 * (Renyi's, of second order, which is a lower bound of Shannon's) 0.07 bits below 8.
 */
bool uqm_planes_look_packable(const uint8_t *bytes, size_t n_bytes)
{
    uint32_t counts[256] = { 0 };
    size_t n = n_bytes < SAMPLE ? n_bytes : SAMPLE;
    uint64_t squares = 0;
    for (size_t i = 0; i < n; i++)
        counts[bytes[n_bytes * i / (n ? n : 1)]]++;
    for (int v = 0; v < 256; v++)
        squares += (uint64_t) counts[v] * counts[v];
    return squares * 256 * 20 > (uint64_t) n * n * 21 + (uint64_t) n * 256 * 20;
}
