#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compute/kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* The registers that the system saves on a switch: without it the CPU's word is worth nothing. */
static uint64_t enabled_state(void)
{
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t) hi << 32 | lo;
}

static uint32_t detect(void)
{
    const unsigned leaf1 = bit_FMA | bit_F16C | bit_AVX | bit_OSXSAVE;
    const unsigned avx512 = bit_AVX512F | bit_AVX512BW | bit_AVX512VL | bit_AVX512DQ;
    const uint64_t ymm = 0x6, zmm = 0xE6;
    unsigned a, b, c, d;

    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & leaf1) != leaf1)
        return 0;
    uint64_t state = enabled_state();
    if ((state & ymm) != ymm || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX2))
        return 0;
    if ((state & zmm) != zmm || (b & avx512) != avx512)
        return UQM_CPU_AVX2;
    return UQM_CPU_AVX2 | UQM_CPU_AVX512;
}
#else
static uint32_t detect(void)
{
    return 0;
}
#endif

static uint32_t detected;

static void detect_once(void)
{
    detected = detect();
}

/* Asked once: on a virtual machine each question is the host's to answer. */
uint32_t uqm_cpu_detect(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, detect_once);
    return detected;
}

uint32_t uqm_cpu_flags(void)
{
    uint32_t flags = uqm_cpu_detect();
    const char *lower = getenv("UQMERGE_CPU");

    if (lower && strcmp(lower, "ref") == 0)
        return 0;
    if (lower && strcmp(lower, "avx2") == 0)
        return flags & UQM_CPU_AVX2;
    return flags;
}

void uqm_cpu_name(char *name, size_t size)
{
    char line[512];
    FILE *f = fopen("/proc/cpuinfo", "re");
    snprintf(name, size, "CPU");
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon)
            continue;
        colon += 1 + strspn(colon + 1, " ");
        colon[strcspn(colon, "\n")] = 0;
        snprintf(name, size, "%s", colon);
        break;
    }
    if (f)
        fclose(f);
}
