#include "src/checkpoint/distance.h"

#include <math.h>

enum { CHUNK = 256 };

#define WIDEN(name, type, expression)                                                              \
    static void name(double *out, const unsigned char *in, size_t n)                               \
    {                                                                                              \
        for (size_t i = 0; i < n; i++) {                                                           \
            type x;                                                                                \
            memcpy(&x, in + i * sizeof x, sizeof x);                                               \
            out[i] = (expression);                                                                 \
        }                                                                                          \
    }

WIDEN(widen_f64, double, x)
WIDEN(widen_f32, float, (double) x)
WIDEN(widen_f16, uint16_t, (double) uqm_f32_of_f16(x))
WIDEN(widen_bf16, uint16_t, (double) uqm_f32_of_bf16(x))
WIDEN(widen_i64, int64_t, (double) x)
WIDEN(widen_u64, uint64_t, (double) x)
WIDEN(widen_i32, int32_t, (double) x)
WIDEN(widen_u32, uint32_t, (double) x)
WIDEN(widen_i16, int16_t, (double) x)
WIDEN(widen_u16, uint16_t, (double) x)
WIDEN(widen_i8, int8_t, (double) x)
WIDEN(widen_u8, uint8_t, (double) x)

typedef void (*widen_fn)(double *out, const unsigned char *in, size_t n);

/* NULL for types that have no value of their own here: 8 bits and less of float, complex. */
static widen_fn widen_of(enum uqm_dtype dtype)
{
    switch (dtype) {
    case UQM_F64: return widen_f64;
    case UQM_F32: return widen_f32;
    case UQM_F16: return widen_f16;
    case UQM_BF16: return widen_bf16;
    case UQM_I64: return widen_i64;
    case UQM_U64: return widen_u64;
    case UQM_I32: return widen_i32;
    case UQM_U32: return widen_u32;
    case UQM_I16: return widen_i16;
    case UQM_U16: return widen_u16;
    case UQM_I8: return widen_i8;
    case UQM_U8:
    case UQM_BOOL: return widen_u8;
    default: return NULL;
    }
}

void uqm_distance_init(struct uqm_distance *d, enum uqm_dtype type_a, enum uqm_dtype type_b)
{
    *d = (struct uqm_distance){
        .type_a = type_a,
        .type_b = type_b,
        .same_bytes = type_a == type_b,
        .known = widen_of(type_a) && widen_of(type_b),
    };
}

static void add_chunk(struct uqm_distance *d, const double *a, const double *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double delta = fabs(a[i] - b[i]);
        if (a[i] == b[i])
            delta = 0; /* infinities of one sign are no distance apart */
        d->sum_d2 += delta * delta;
        d->sum_a2 += a[i] * a[i];
        d->sum_b2 += b[i] * b[i];
        d->sum_ab += a[i] * b[i];
        d->max_abs = delta > d->max_abs ? delta : d->max_abs;
        d->saw_nan |= isnan(delta);
    }
}

void uqm_distance_add(struct uqm_distance *d, const void *a, const void *b, size_t n_elem)
{
    const unsigned char *pa = a, *pb = b;
    double wide_a[CHUNK], wide_b[CHUNK];

    if (d->same_bytes && n_elem > 0)
        d->same_bytes = memcmp(a, b, n_elem * uqm_dtype_bits(d->type_a) / 8) == 0;
    for (size_t i = 0; d->known && i < n_elem; i += CHUNK) {
        size_t n = n_elem - i < CHUNK ? n_elem - i : CHUNK;
        widen_of(d->type_a)(wide_a, pa + i * uqm_dtype_bits(d->type_a) / 8, n);
        widen_of(d->type_b)(wide_b, pb + i * uqm_dtype_bits(d->type_b) / 8, n);
        add_chunk(d, wide_a, wide_b, n);
    }
}

double uqm_distance_rel_l2(const struct uqm_distance *d)
{
    if (d->sum_d2 == 0)
        return 0;
    return sqrt(d->sum_d2) / sqrt(d->sum_a2);
}

double uqm_distance_max_abs(const struct uqm_distance *d)
{
    return d->saw_nan ? (double) NAN : d->max_abs;
}

double uqm_distance_cosine(const struct uqm_distance *d)
{
    return d->sum_ab / (sqrt(d->sum_a2) * sqrt(d->sum_b2));
}
