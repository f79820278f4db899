/*
 * What the benchmarks share: a clock, the median of a few rounds, and one JSON line a case.
 * Compare old and new interleaved, in one process: times of one machine an hour apart differ by
 * more than most changes.
 */
#ifndef UQM_BENCH_H
#define UQM_BENCH_H

#include <float.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline double bench_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double) ts.tv_sec + 1e-9 * (double) ts.tv_nsec;
}

/* Of all threads of this process. */
static inline double bench_cpu(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double) ts.tv_sec + 1e-9 * (double) ts.tv_nsec;
}

/* The seconds of each round of one contestant. */
enum { BENCH_MAX_ROUNDS = 100 };
struct bench_times {
    double s[BENCH_MAX_ROUNDS];
    int n;
};

static inline void bench_add(struct bench_times *t, double seconds)
{
    if (t->n < BENCH_MAX_ROUNDS)
        t->s[t->n++] = seconds;
}

static inline int bench_compare_doubles(const void *a, const void *b)
{
    double x = *(const double *) a, y = *(const double *) b;
    return (x > y) - (x < y);
}

static inline double bench_median(const struct bench_times *t)
{
    struct bench_times sorted = *t;
    if (sorted.n == 0)
        return 0.0;
    qsort(sorted.s, (size_t) sorted.n, sizeof *sorted.s, bench_compare_doubles);
    int mid = sorted.n / 2;
    return sorted.n % 2 ? sorted.s[mid] : (sorted.s[mid - 1] + sorted.s[mid]) / 2.0;
}

static inline double bench_min(const struct bench_times *t)
{
    double min = t->n ? t->s[0] : 0.0;
    for (int i = 1; i < t->n; i++)
        min = t->s[i] < min ? t->s[i] : min;
    return min;
}

/* {"bench":"io","case":"read", ... }: begin, any number of fields, end. */
static inline void bench_begin(const char *bench, const char *name)
{
    printf("{\"bench\":\"%s\",\"case\":\"%s\"", bench, name);
}
static inline void bench_text(const char *key, const char *value)
{
    printf(",\"%s\":\"%s\"", key, value);
}
static inline void bench_flag(const char *key, bool value)
{
    printf(",\"%s\":%s", key, value ? "true" : "false");
}
static inline void bench_number(const char *key, double value)
{
    printf(",\"%s\":%.6g", key, value);
}
static inline void bench_end(void)
{
    puts("}");
    fflush(stdout);
}

/* The value of `--name N` among the arguments, which is at least `least`, or the default. Exits on
 * anything else there. */
static inline double bench_option_from(double least, int argc, char **argv, const char *name,
                                       double or_else)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0) {
            char *end;
            double value = strtod(argv[i + 1], &end);
            if (end == argv[i + 1] || *end || !(value >= least)) {
                fprintf(stderr, "%s %s: give a number%s\n", name, argv[i + 1],
                        least > 0.0 ? " above 0" : ", 0 or more");
                exit(2);
            }
            return value;
        }
    return or_else;
}

/* The same of what must be above 0. */
static inline double bench_option(int argc, char **argv, const char *name, double or_else)
{
    return bench_option_from(DBL_MIN, argc, argv, name, or_else);
}

static inline const char *bench_option_text(int argc, char **argv, const char *name,
                                            const char *or_else)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    return or_else;
}

#endif
