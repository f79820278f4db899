/* The tiers that this machine runs, the reference first. */
#ifndef UQM_TESTS_KERNELS_TIERS_HERE_H
#define UQM_TESTS_KERNELS_TIERS_HERE_H

#include "compute/kernels.h"
#include "tests/kernels/buffers.h"

enum { MAX_TIERS = 3 };

struct tiers {
    struct uqm_kernels v[MAX_TIERS];
    size_t n;
};

static inline struct tiers tiers_here(void)
{
    static const struct {
        const char *name;
        uint32_t flags;
    } all[] = { { "ref", 0 },
                { "avx2", UQM_CPU_AVX2 },
                { "avx512", UQM_CPU_AVX2 | UQM_CPU_AVX512 } };
    struct tiers t = { .n = 0 };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if ((uqm_cpu_detect() & all[i].flags) == all[i].flags)
            uqm_kernels_init(&t.v[t.n++], all[i].flags);
        else
            print_message("# this CPU does not run %s: that tier is skipped\n", all[i].name);
    }
    return t;
}

/* Lengths about every loop's edges, and shifts that no vector is aligned at. */
static const size_t lengths[] = { 0, 1, 2, 7, 15, 16, 17, 31, 63, 64, 65, 129, 200, 4097 };
static const size_t shifts[] = { 0, 4, 1, 58 };
enum { N_LENGTHS = sizeof lengths / sizeof *lengths, N_SHIFTS = sizeof shifts / sizeof *shifts };

/* Every 11th element is one that arithmetic trips over. */
static inline float awkward_f32(struct random *r, size_t i)
{
    static const uint32_t bits[] = { 0x00000000, 0x80000000, 0x00000001, 0x807FFFFF,
                                     0x7F7FFFFF, 0xFF7FFFFF, 0x7F800000, 0xFF800000,
                                     0x7FC12345, 0xFFC54321, 0x33000000, 0x387FC000,
                                     0x477FF000, 0x42B17218, 0xC2D00000, 0x3F800000 };
    if (i % 11 == 5)
        return uqm_f32_of_bits(bits[random_u32(r) % (sizeof bits / sizeof *bits)]);
    return random_f32(r, 3);
}

static inline void fill_awkward(struct random *r, void *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float v = awkward_f32(r, i);
        memcpy((unsigned char *) p + i * sizeof v, &v, sizeof v);
    }
}

static inline float f32_at(const void *p, size_t i)
{
    float v;
    memcpy(&v, (const unsigned char *) p + i * sizeof v, sizeof v);
    return v;
}

#endif
