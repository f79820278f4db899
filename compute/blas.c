#include "compute/blas.h"

#include <cblas.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <strings.h>

#include "compute/kernels.h"

/* Exported by builds that hold the kernels of many CPUs (DYNAMIC_ARCH), declared nowhere. */
void gotoblas_dynamic_init(void) __attribute__((weak));
void gotoblas_dynamic_quit(void) __attribute__((weak));

static bool core_has_avx2(void)
{
    static const char *const cores[] = { "Haswell",  "Zen",        "Excavator",
                                         "SkylakeX", "Cooperlake", "SapphireRapids" };
    const char *core = openblas_get_corename();
    for (size_t i = 0; i < sizeof cores / sizeof *cores; i++)
        if (strcasecmp(core, cores[i]) == 0)
            return true;
    return false;
}

/* The core type is read from the environment alone, and only when the choice is made. */
static void choose_core(const char *name)
{
    setenv("OPENBLAS_CORETYPE", name, 0);
    gotoblas_dynamic_quit();
    gotoblas_dynamic_init();
    unsetenv("OPENBLAS_CORETYPE");
}

static void setup(void)
{
    uint32_t flags = uqm_cpu_detect();
    bool can_choose = gotoblas_dynamic_init && gotoblas_dynamic_quit;

    if (can_choose && (flags & UQM_CPU_AVX2) && !getenv("OPENBLAS_CORETYPE") && !core_has_avx2())
        choose_core(flags & UQM_CPU_AVX512 ? "SkylakeX" : "Haswell");
    openblas_set_num_threads(1);
}

void uqm_blas_setup(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, setup);
}
