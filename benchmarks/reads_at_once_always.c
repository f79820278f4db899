/* Linked into uqmerge-reads-at-once: from the start. */
#include "benchmarks/reads_at_once.h"

__attribute__((constructor)) static void begin(void)
{
    bench_reads_at_once(true);
}
