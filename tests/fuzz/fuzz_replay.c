/*
 * Drives a fuzz target without libFuzzer: every file of a corpus, then inputs made from them by a
 * seeded mutator, so that any compiler's build runs the same ones.
 *
 *     fuzz_X CORPUS [N_MUTATED | SECONDSs [SEED]]
 *
 * With a time instead of a number the seed is the clock's, and is printed.
 *
 * An input that makes the target abort is left in fuzz-X.crash of the working folder.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

enum { MAX_FILES = 512, MAX_BYTES = 1 << 20 };

struct input {
    uint8_t *bytes;
    size_t n;
};

static struct input corpus[MAX_FILES];
static size_t n_corpus;
static const uint8_t *current;
static size_t n_current;
static char crash_path[4096];
static uint64_t random_state;

static void keep_input(int sig)
{
    const int fd = open(crash_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd >= 0 && write(fd, current, n_current) >= 0)
        close(fd);
    signal(sig, SIG_DFL);
    raise(sig);
}

static void run(const uint8_t *bytes, size_t n)
{
    current = bytes;
    n_current = n;
    LLVMFuzzerTestOneInput(bytes, n);
}

/* splitmix64 */
static uint64_t draw(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static size_t below(size_t n)
{
    return n ? (size_t) (draw() % n) : 0;
}

static void read_file(const char *folder, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    uint8_t *bytes = malloc(MAX_BYTES);
    if (!f || !bytes) {
        fprintf(stderr, "%s: cannot be read\n", path);
        exit(2);
    }
    const size_t n = fread(bytes, 1, MAX_BYTES, f);
    fclose(f);
    corpus[n_corpus++] = (struct input){ realloc(bytes, n ? n : 1), n };
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int no_dots(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void read_corpus(const char *folder)
{
    struct dirent **names;
    const int n = scandir(folder, &names, no_dots, by_name);
    for (int i = 0; i < n; i++) {
        if (n_corpus < MAX_FILES)
            read_file(folder, names[i]->d_name);
        free(names[i]);
    }
    if (n >= 0)
        free(names);
}

/* Numbers that parsers trip over. */
static void put_number(uint8_t *at, size_t room)
{
    static const uint64_t numbers[] = {
        0,
        1,
        7,
        8,
        0x7f,
        0x80,
        0xff,
        0x7fff,
        0xffff,
        0x7fffffff,
        0x80000000,
        0xffffffff,
        UINT64_C(0x7fffffffffffffff),
        UINT64_C(0x8000000000000000),
        UINT64_MAX,
    };
    uint64_t v = numbers[below(sizeof numbers / sizeof *numbers)];
    if (below(4) == 0)
        v += draw() % 17;
    size_t width = (size_t) 1 << below(4);
    for (size_t i = 0; i < width && i < room; i++)
        at[i] = (uint8_t) (v >> (8 * i));
}

static size_t mutate_once(uint8_t *bytes, size_t n)
{
    const size_t at = below(n);
    switch (below(8)) {
    case 0: /* a bit */
        if (n)
            bytes[at] ^= (uint8_t) (1u << below(8));
        return n;
    case 1: /* a byte */
        if (n)
            bytes[at] = (uint8_t) draw();
        return n;
    case 2: /* a number */
        if (n)
            put_number(bytes + at, n - at);
        return n;
    case 3: /* cut the end */ return below(n + 1);
    case 4: { /* take out */
        const size_t len = 1 + below(n - at < 16 ? n - at : 16);
        if (!n || at + len > n)
            return n;
        memmove(bytes + at, bytes + at + len, n - at - len);
        return n - len;
    }
    case 5: { /* repeat */
        const size_t len = 1 + below(64);
        if (at + len > n || n + len > MAX_BYTES)
            return n;
        memmove(bytes + at + len, bytes + at, n - at);
        return n + len;
    }
    case 6: { /* a piece of another file */
        const struct input *other = &corpus[below(n_corpus)];
        const size_t from = below(other->n), len = below(other->n - from + 1);
        if (at + len > MAX_BYTES)
            return n;
        memcpy(bytes + at, other->bytes + from, len);
        return at + len > n ? at + len : n;
    }
    default: { /* swap two */
        const size_t b = below(n);
        if (n) {
            const uint8_t t = bytes[at];
            bytes[at] = bytes[b];
            bytes[b] = t;
        }
        return n;
    }
    }
}

/* Until there are `count` of them, or it is `end`, in seconds. Returns how many. */
static unsigned long run_mutated(unsigned long count, time_t end)
{
    static uint8_t work[MAX_BYTES];
    unsigned long i;
    for (i = 0; i < count && (end == 0 || time(NULL) < end); i++) {
        const struct input *from = &corpus[below(n_corpus)];
        size_t n = from->n;
        memcpy(work, from->bytes, n);
        for (size_t k = 1 + below(5); k > 0; k--)
            n = mutate_once(work, n);
        uint8_t *exact = malloc(n ? n : 1); /* of its very size: a sanitizer sees one byte more */
        if (!exact)
            exit(2);
        memcpy(exact, work, n);
        run(exact, n);
        free(exact);
    }
    return i;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: %s CORPUS [N_MUTATED | SECONDSs [SEED]]\n", argv[0]);
        return 2;
    }
    const char *base = strrchr(argv[0], '/');
    snprintf(crash_path, sizeof crash_path, "%s.crash", base ? base + 1 : argv[0]);
    signal(SIGABRT, keep_input);
    signal(SIGSEGV, keep_input);

    read_corpus(argv[1]);
    if (n_corpus == 0) {
        fprintf(stderr, "%s: no corpus\n", argv[1]);
        return 2;
    }
    run(NULL, 0);
    for (size_t i = 0; i < n_corpus; i++)
        run(corpus[i].bytes, corpus[i].n);
    char *unit = NULL;
    const time_t now = time(NULL);
    unsigned long n = argc > 2 ? strtoul(argv[2], &unit, 10) : 0;
    const bool timed = unit && *unit == 's';
    random_state = argc > 3 ? strtoul(argv[3], NULL, 10) : timed ? (uint64_t) now : 1;
    if (timed)
        printf("seed %llu\n", (unsigned long long) random_state);
    fflush(stdout);
    n = timed ? run_mutated(ULONG_MAX, now + (time_t) n) : run_mutated(n, 0);
    printf("%zu files, %lu made from them: no finding\n", n_corpus, n);
    for (size_t i = 0; i < n_corpus; i++)
        free(corpus[i].bytes);
    return 0;
}
