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

static bool is_one_of(const char *name, const char *const *list)
{
    for (; *list; list++)
        if (strcasecmp(name, *list) == 0)
            return true;
    return false;
}

/* The core type to ask for instead of OpenBLAS's own choice, or NULL. */
static const char *better_core(const char *chosen)
{
    static const char *const with_avx512[] = { "SkylakeX", "Cooperlake", "SapphireRapids", NULL };
    static const char *const with_avx[] = { "Sandybridge", NULL };
    uint32_t flags = uqm_cpu_detect();

    if (flags & UQM_CPU_AVX512)
        return is_one_of(chosen, with_avx512) ? NULL : "SkylakeX";
    if (flags & UQM_CPU_AVX2)
        return is_one_of(chosen, with_avx) ? NULL : "Sandybridge";
    return NULL;
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
    bool can_choose = gotoblas_dynamic_init && gotoblas_dynamic_quit;
    const char *core = better_core(openblas_get_corename());

    if (core && can_choose && !getenv("OPENBLAS_CORETYPE"))
        choose_core(core);
    openblas_set_num_threads(1);
}

void uqm_blas_setup(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, setup);
}

const char *uqm_blas_core(void)
{
    return openblas_get_corename();
}
