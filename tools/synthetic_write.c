/*
 * Weights by the gigabyte: two pools of random numbers are made once, noise and 1 + noise, and
 * every run of 2^20 elements of a tensor is a window of its pool at a place that depends on
 * (seed, tensor, run). Writing is then as fast as the disk.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/synthetic.h"

#define SIGMA 0.02

enum { POOL_ELEM = 1 << 20 };

struct pools {
    unsigned elem_bytes;
    uint8_t *noise, *around_one; /* 2 * POOL_ELEM: the second half repeats the first */
    uint64_t seed;               /* of what they hold now */
    bool made;
};

int synthetic_fail(struct synthetic_why *why, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why->text, sizeof why->text, fmt, ap);
    va_end(ap);
    return -1;
}

/* SplitMix64's output function (Steele et al. 2014): a hash of a counter. */
static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static uint64_t mix_text(uint64_t x, const char *s)
{
    for (; *s; s++)
        x = mix(x ^ (uint8_t) *s);
    return x;
}

static uint32_t f32_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

/* |x| < 65504: what the pools hold. Nearest, ties to even. */
static uint16_t f16_bits(float x)
{
    uint32_t u = f32_bits(x), sign = u >> 16 & 0x8000, magnitude = u & 0x7fffffff;
    if (magnitude < UINT32_C(0x38800000)) /* 2^-14: subnormal, a count of 2^-24 */
        return (uint16_t) (sign | (uint32_t) nearbyintf(fabsf(x) * 0x1p24f));
    magnitude += 0xfff + (magnitude >> 13 & 1);
    return (uint16_t) (sign | ((magnitude >> 13) - ((127 - 15) << 10)));
}

static uint16_t bf16_bits(float x)
{
    uint32_t u = f32_bits(x);
    return (uint16_t) ((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

static void store(uint8_t *pool, size_t i, float x, int dtype)
{
    if (dtype == SYNTHETIC_F32) {
        uint32_t u = htole32(f32_bits(x));
        memcpy(pool + 4 * i, &u, 4);
        memcpy(pool + 4 * (i + POOL_ELEM), &u, 4);
    } else {
        uint16_t h = htole16(dtype == SYNTHETIC_F16 ? f16_bits(x) : bf16_bits(x));
        memcpy(pool + 2 * i, &h, 2);
        memcpy(pool + 2 * (i + POOL_ELEM), &h, 2);
    }
}

/* Box and Muller 1958: two normal numbers of two uniform ones. */
static void make_pools(struct pools *p, uint64_t seed, int dtype)
{
    if (p->made && p->seed == seed)
        return;
    for (size_t i = 0; i < POOL_ELEM; i += 2) {
        uint64_t a = mix(mix(seed) ^ i), b = mix(a);
        double u = (double) ((a >> 11) + 1) * 0x1p-53, v = (double) (b >> 11) * 0x1p-53;
        double r = SIGMA * sqrt(-2.0 * log(u)), angle = 6.283185307179586 * v;
        double x[2] = { r * cos(angle), r * sin(angle) };
        for (size_t k = 0; k < 2; k++) {
            store(p->noise, i + k, (float) x[k], dtype);
            store(p->around_one, i + k, (float) (1.0 + x[k]), dtype);
        }
    }
    p->seed = seed;
    p->made = true;
}

static int write_all(int fd, const void *data, size_t len, const char *path,
                     struct synthetic_why *why)
{
    const char *p = data;
    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return synthetic_fail(why, "%s: %s", path, strerror(n < 0 ? errno : EIO));
        p += n;
        len -= (size_t) n;
    }
    return 0;
}

/* Into a buffer of the right size and 8 bytes more: json_dumps() and json_dump_file() may lose a
 * key where memory or disk end in the middle of it. */
static char *dump(size_t *len, const json_t *value, size_t flags)
{
    size_t n = value ? json_dumpb(value, NULL, 0, flags) : 0;
    char *text = n > 0 ? malloc(n + 8) : NULL;
    if (text && json_dumpb(value, text, n, flags) != n) {
        free(text);
        return NULL;
    }
    *len = n;
    return text;
}

int synthetic_write_json(const char *path, const json_t *value, struct synthetic_why *why)
{
    size_t len;
    char *text = dump(&len, value, JSON_INDENT(2));
    if (!text)
        return synthetic_fail(why, "%s: no memory", path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    int ret = fd >= 0 ? write_all(fd, text, len, path, why)
                      : synthetic_fail(why, "%s: %s", path, strerror(errno));
    if (fd >= 0 && close(fd) < 0 && ret == 0)
        ret = synthetic_fail(why, "%s: %s", path, strerror(errno));
    free(text);
    return ret;
}

static int write_tensor(int fd, struct pools *p, const struct synthetic_tensor *t, int dtype,
                        const char *path, struct synthetic_why *why)
{
    make_pools(p, t->seed, dtype);
    const uint8_t *pool = t->around_one ? p->around_one : p->noise;
    uint64_t key = mix_text(mix(t->seed), t->name);
    for (uint64_t done = 0; done < t->n_elem; done += POOL_ELEM) {
        uint64_t left = t->n_elem - done, n = left < POOL_ELEM ? left : POOL_ELEM;
        uint64_t from = mix(key ^ done) % POOL_ELEM;
        if (write_all(fd, pool + from * p->elem_bytes, (size_t) (n * p->elem_bytes), path, why) < 0)
            return -1;
    }
    return 0;
}

/* The header of tensors [from, to), padded to 8 bytes. malloc'ed. */
static char *make_header(size_t *len, const struct synthetic_list *list, size_t from, size_t to,
                         int dtype)
{
    uint64_t at = 0;
    json_t *header = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
    for (size_t i = from; header && i < to; i++) {
        const struct synthetic_tensor *t = &list->v[i];
        json_t *shape = json_array();
        for (unsigned k = 0; k < t->rank; k++)
            json_array_append_new(shape, json_integer((json_int_t) t->shape[k]));
        json_object_set_new(header, t->name,
                            json_pack("{s:s, s:o, s:[I,I]}", "dtype", synthetic_dtype_name(dtype),
                                      "shape", shape, "data_offsets", (json_int_t) at,
                                      (json_int_t) (at + t->n_bytes)));
        at += t->n_bytes;
    }
    size_t n;
    char *text = dump(&n, header, JSON_COMPACT);
    json_decref(header);
    if (!text)
        return NULL;
    *len = (n + 7) / 8 * 8;
    memset(text + n, ' ', *len - n);
    return text;
}

static int write_shard(const char *path, struct pools *pools, const struct synthetic_list *list,
                       size_t from, size_t to, int dtype, struct synthetic_why *why)
{
    size_t len;
    char *header = make_header(&len, list, from, to, dtype);
    if (!header)
        return synthetic_fail(why, "%s: no memory", path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0) {
        free(header);
        return synthetic_fail(why, "%s: %s", path, strerror(errno));
    }
    uint64_t n = htole64(len);
    int ret = write_all(fd, &n, sizeof n, path, why);
    if (ret == 0)
        ret = write_all(fd, header, len, path, why);
    for (size_t i = from; ret == 0 && i < to; i++)
        ret = write_tensor(fd, pools, &list->v[i], dtype, path, why);
    if (close(fd) < 0 && ret == 0)
        ret = synthetic_fail(why, "%s: %s", path, strerror(errno));
    free(header);
    return ret;
}

/* The shard that begins with tensor `from` ends before this one. */
static size_t shard_end(const struct synthetic_list *list, size_t from, uint64_t limit)
{
    uint64_t bytes = list->v[from].n_bytes;
    size_t to = from + 1;
    while (to < list->n && bytes + list->v[to].n_bytes <= limit)
        bytes += list->v[to++].n_bytes;
    return to;
}

static size_t count_shards(const struct synthetic_list *list, uint64_t limit)
{
    size_t n = 0;
    for (size_t from = 0; from < list->n; from = shard_end(list, from, limit))
        n++;
    return n;
}

static int write_index(const char *dir, json_t *map, uint64_t total, struct synthetic_why *why)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", dir);
    json_t *index = json_pack("{s:{s:I}, s:O}", "metadata", "total_size", (json_int_t) total,
                              "weight_map", map);
    int ret = synthetic_write_json(path, index, why);
    json_decref(index);
    return ret;
}

static int write_shards(const char *dir, struct pools *pools, const struct synthetic_list *list,
                        int dtype, uint64_t limit, struct synthetic_why *why)
{
    size_t n_shards = count_shards(list, limit), shard = 0;
    uint64_t total = 0;
    json_t *map = json_object();
    int ret = map ? 0 : synthetic_fail(why, "%s: no memory", dir);

    for (size_t from = 0, to; ret == 0 && from < list->n; from = to) {
        char name[64], path[4096];
        to = shard_end(list, from, limit);
        if (n_shards == 1)
            snprintf(name, sizeof name, "model.safetensors");
        else
            snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", ++shard, n_shards);
        snprintf(path, sizeof path, "%s/%s", dir, name);
        ret = write_shard(path, pools, list, from, to, dtype, why);
        for (size_t i = from; i < to; i++) {
            json_object_set_new(map, list->v[i].name, json_string(name));
            total += list->v[i].n_bytes;
        }
    }
    if (ret == 0 && n_shards > 1)
        ret = write_index(dir, map, total, why);
    json_decref(map);
    return ret;
}

int synthetic_write(const char *dir, const struct synthetic_list *list, int dtype,
                    uint64_t shard_bytes, struct synthetic_why *why)
{
    struct pools pools = { .elem_bytes = synthetic_dtype_bytes(dtype) };
    size_t bytes = 2 * (size_t) POOL_ELEM * pools.elem_bytes;
    int ret;
    pools.noise = malloc(bytes);
    pools.around_one = malloc(bytes);
    if (pools.noise && pools.around_one)
        ret = write_shards(dir, &pools, list, dtype, shard_bytes, why);
    else
        ret = synthetic_fail(why, "%s: no memory", dir);
    free(pools.noise);
    free(pools.around_one);
    return ret;
}
