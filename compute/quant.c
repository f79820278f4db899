#include "compute/quant.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "src/base/bytes.h"
#include "src/base/dtype.h"

/* To the nearest integer, halves to even; |x| < 2^22. */
static inline float nearest(float x)
{
    const float magic = 12582912.0f; /* 1.5 * 2^23 */
    return (x + magic) - magic;
}

static inline float clamp(float x, float low, float high)
{
    x = x < low ? low : x;
    return x > high ? high : x;
}

/* Four lanes, which every compiler turns into one instruction, and the sums of which are the same
 * everywhere. */
typedef float lanes __attribute__((vector_size(16)));
typedef int32_t bits __attribute__((vector_size(16)));

enum { LANES = 4 };

static inline lanes load(const float *x)
{
    lanes v;
    memcpy(&v, x, sizeof v);
    return v;
}

static inline lanes either(bits mask, lanes a, lanes b)
{
    return (lanes) ((mask & (bits) a) | (~mask & (bits) b));
}

static inline lanes nearest_within(lanes x, float low, float high)
{
    const lanes magic = { 12582912.0f, 12582912.0f, 12582912.0f, 12582912.0f };
    const lanes l = { low, low, low, low }, h = { high, high, high, high };
    x = either(x < l, l, x);
    x = either(x > h, h, x);
    return (x + magic) - magic;
}

static inline float total(lanes v)
{
    return (v[0] + v[2]) + (v[1] + v[3]);
}

static float largest(const float *x, int n)
{
    float most = 0;
    for (int i = 0; i < n; i++) {
        if (!isfinite(x[i]))
            return INFINITY;
        most = fmaxf(most, fabsf(x[i]));
    }
    return most;
}

/* The F16 that d is stored as; false: it has none. */
static bool put_f16(uint8_t *p, float *stored, float d)
{
    uint16_t h = uqm_f16_of_f32(d);
    *stored = uqm_f32_of_f16(h);
    p[0] = (uint8_t) h;
    p[1] = (uint8_t) (h >> 8);
    return isfinite(*stored);
}

/* The same of a scale that others are multiples of: not 0, unless it is. */
static bool put_scale(uint8_t *p, float *stored, float d)
{
    const float least = 0x1p-24f;
    return put_f16(p, stored, d != 0 && fabsf(d) < least ? copysignf(least, d) : d);
}

bool uqm_quant_q8_0(uint8_t block[UQM_Q8_0_BYTES], const float x[UQM_Q8_0_ELEM])
{
    float stored, d = largest(x, UQM_Q8_0_ELEM) / 127.0f;
    float inverse = d > 0 ? 1.0f / d : 0.0f;
    if (!put_f16(block, &stored, d))
        return false;
    if (!isfinite(inverse)) /* d is far below the least F16 */
        inverse = 0;
    for (int i = 0; i < UQM_Q8_0_ELEM; i++)
        block[2 + i] = (uint8_t) (int8_t) roundf(x[i] * inverse);
    return true;
}

/* --- Q4_K --- */

enum { SUB4 = 32, N_SUB4 = 8, N_TRIALS4 = 20 };

struct affine {
    float scale, min; /* x = scale q - min, both >= 0 */
};

/* The squared error of a sub-block, q being the best for this scale and minimum. */
static float error4(const float *x, struct affine a)
{
    const float inverse = a.scale > 0 ? 1.0f / a.scale : 0.0f;
    lanes sum = { 0 };
    for (int i = 0; i < SUB4; i += LANES) {
        lanes v = load(x + i), q = nearest_within((v + a.min) * inverse, 0, 15);
        lanes d = a.scale * q - a.min - v;
        sum += d * d;
    }
    return total(sum);
}

/* Least squares for q = nearest((x - low) * inverse): minimise sum (scale q - min - x)^2 over both,
 * min >= 0. sx: the sum of x. *gain: by how much that is less than sum x^2. */
static struct affine fit4(double *gain, const float *x, float sx, float low, float inverse)
{
    lanes s1 = { 0 }, s2 = { 0 }, s3 = { 0 };
    for (int i = 0; i < SUB4; i += LANES) {
        lanes v = load(x + i), q = nearest_within((v - low) * inverse, 0, 15);
        s1 += q;
        s2 += q * q;
        s3 += v * q;
    }
    const double sq = (double) total(s1), sqq = (double) total(s2), sxq = (double) total(s3);
    const double n = SUB4, det = n * sqq - sq * sq;
    double scale = 0, min = -1;
    if (det > 0) {
        scale = (n * sxq - sq * (double) sx) / det;
        min = (sq * sxq - sqq * (double) sx) / det;
    }
    if (min < 0) { /* or one number q for all */
        min = 0;
        scale = sqq > 0 ? sxq / sqq : 0;
    }
    scale = scale > 0 ? scale : 0;
    *gain = 2 * (scale * sxq - min * (double) sx + scale * min * sq) - scale * scale * sqq -
            n * min * min;
    return (struct affine){ (float) scale, (float) min };
}

static struct affine search4(const float *x)
{
    float low = 0, high = x[0], sx = 0;
    for (int i = 0; i < SUB4; i++) {
        low = fminf(low, x[i]);
        high = fmaxf(high, x[i]);
        sx += x[i];
    }
    const float range = high - low;
    struct affine best = { 0, -low };
    if (!(range > 0) || !isfinite(16 / range))
        return best;
    best.scale = range / 15;
    double most = -HUGE_VAL;
    for (int k = 0; k < N_TRIALS4; k++) {
        double gain;
        struct affine a = fit4(&gain, x, sx, low, (13.6f + 0.1f * (float) k) / range);
        if (gain > most) {
            most = gain;
            best = a;
        }
    }
    return best;
}

/* One of two 6-bit numbers is moved by one step where that makes the error less. */
static void settle4(uint8_t *sc, uint8_t *m, const float *x, struct affine want, float d,
                    float dmin)
{
    static const int8_t steps[][2] = { { -1, 0 }, { 1, 0 }, { 0, -1 }, { 0, 1 } };
    const float s0 = d > 0 ? nearest(clamp(want.scale / d, 0, 63)) : 0;
    const float m0 = dmin > 0 ? nearest(clamp(want.min / dmin, 0, 63)) : 0;
    float least = error4(x, (struct affine){ d * s0, dmin * m0 });
    *sc = (uint8_t) s0;
    *m = (uint8_t) m0;
    for (size_t k = 0; k < sizeof steps / sizeof *steps; k++) {
        float s = s0 + steps[k][0], t = m0 + steps[k][1];
        if (s < 0 || s > 63 || t < 0 || t > 63)
            continue;
        float e = error4(x, (struct affine){ d * s, dmin * t });
        if (e < least) {
            least = e;
            *sc = (uint8_t) s;
            *m = (uint8_t) t;
        }
    }
}

static void put_scales(uint8_t s[12], const uint8_t sc[N_SUB4], const uint8_t m[N_SUB4])
{
    for (int j = 0; j < 4; j++) {
        s[j] = (uint8_t) (sc[j] | (sc[j + 4] >> 4) << 6);
        s[j + 4] = (uint8_t) (m[j] | (m[j + 4] >> 4) << 6);
        s[j + 8] = (uint8_t) ((sc[j + 4] & 15) | (m[j + 4] & 15) << 4);
    }
}

static void put_nibbles(uint8_t *out, const float *x, const struct affine a[N_SUB4])
{
    uint8_t q[UQM_QK_ELEM];
    for (int i = 0; i < UQM_QK_ELEM; i++) {
        struct affine of = a[i / SUB4];
        float inverse = of.scale > 0 ? 1.0f / of.scale : 0.0f;
        q[i] = (uint8_t) nearest(clamp((x[i] + of.min) * inverse, 0, 15));
    }
    for (int j = 0; j < UQM_QK_ELEM / 64; j++)
        for (int i = 0; i < 32; i++)
            out[32 * j + i] = (uint8_t) (q[64 * j + i] | q[64 * j + 32 + i] << 4);
}

bool uqm_quant_q4_k(uint8_t block[UQM_Q4_K_BYTES], const float x[UQM_QK_ELEM])
{
    struct affine want[N_SUB4], have[N_SUB4];
    float most_scale = 0, most_min = 0, d, dmin;
    if (isinf(largest(x, UQM_QK_ELEM)))
        return false;
    for (int j = 0; j < N_SUB4; j++) {
        want[j] = search4(x + SUB4 * j);
        most_scale = fmaxf(most_scale, want[j].scale);
        most_min = fmaxf(most_min, want[j].min);
    }
    if (!put_scale(block, &d, most_scale / 63) || !put_scale(block + 2, &dmin, most_min / 63))
        return false;
    uint8_t sc[N_SUB4] = { 0 }, m[N_SUB4] = { 0 };
    for (int j = 0; j < N_SUB4; j++) {
        settle4(&sc[j], &m[j], x + SUB4 * j, want[j], d, dmin);
        have[j] = (struct affine){ d * sc[j], dmin * m[j] };
    }
    put_scales(block + 4, sc, m);
    put_nibbles(block + 16, x, have);
    return true;
}

/* --- Q6_K --- */

enum { SUB6 = 16, N_SUB6 = 16, N_TRIALS6 = 19 };

/* The squared error of a sub-block, q being the best for this scale. */
static float error6(const float *x, float scale)
{
    const float inverse = scale != 0 ? 1.0f / scale : 0.0f;
    lanes sum = { 0 };
    for (int i = 0; i < SUB6; i += LANES) {
        lanes v = load(x + i), d = scale * nearest_within(v * inverse, -32, 31) - v;
        sum += d * d;
    }
    return total(sum);
}

/* Least squares for q = nearest(x * inverse). *gain as in fit4(). */
static float fit6(float *gain, const float *x, float inverse)
{
    lanes s2 = { 0 }, s3 = { 0 };
    for (int i = 0; i < SUB6; i += LANES) {
        lanes v = load(x + i), q = nearest_within(v * inverse, -32, 31);
        s2 += q * q;
        s3 += v * q;
    }
    const float sqq = total(s2), sxq = total(s3), scale = sqq > 0 ? sxq / sqq : 0;
    *gain = scale * sxq;
    return scale;
}

/* Of either sign: what is largest goes to -32, where there is one step more. */
static float search6(const float *x)
{
    float top = 0;
    for (int i = 0; i < SUB6; i++)
        top = fabsf(x[i]) > fabsf(top) ? x[i] : top;
    if (top == 0 || !isfinite(32 / top))
        return 0;
    float best = top / -32, most = -INFINITY;
    for (int k = 0; k < N_TRIALS6; k++) {
        float gain, scale = fit6(&gain, x, (-32 + 0.1f * (float) (k - N_TRIALS6 / 2)) / top);
        if (gain > most) {
            most = gain;
            best = scale;
        }
    }
    return best;
}

static int8_t settle6(const float *x, float want, float d)
{
    const float s0 = d != 0 ? nearest(clamp(want / d, -128, 127)) : 0;
    float least = INFINITY, best = 0;
    for (float s = s0 - 1; s <= s0 + 1; s++) {
        float e = s < -128 || s > 127 ? INFINITY : error6(x, d * s);
        if (e < least) {
            least = e;
            best = s;
        }
    }
    return (int8_t) best;
}

static void put_sixes(uint8_t *ql, uint8_t *qh, const uint8_t *q)
{
    for (int half = 0; half < 2; half++, q += 128, ql += 64, qh += 32)
        for (int i = 0; i < 32; i++) {
            ql[i] = (uint8_t) ((q[i] & 15) | (q[i + 64] & 15) << 4);
            ql[i + 32] = (uint8_t) ((q[i + 32] & 15) | (q[i + 96] & 15) << 4);
            qh[i] = (uint8_t) (q[i] >> 4 | (q[i + 32] >> 4) << 2 | (q[i + 64] >> 4) << 4 |
                               (q[i + 96] >> 4) << 6);
        }
}

bool uqm_quant_q6_k(uint8_t block[UQM_Q6_K_BYTES], const float x[UQM_QK_ELEM])
{
    float want[N_SUB6], top = 0, d;
    uint8_t q[UQM_QK_ELEM];
    if (isinf(largest(x, UQM_QK_ELEM)))
        return false;
    for (int j = 0; j < N_SUB6; j++) {
        want[j] = search6(x + SUB6 * j);
        top = fabsf(want[j]) > fabsf(top) ? want[j] : top;
    }
    if (!put_scale(block + 208, &d, top / -128))
        return false;
    for (int j = 0; j < N_SUB6; j++) {
        int8_t sc = settle6(x + SUB6 * j, want[j], d);
        float scale = d * sc, inverse = scale != 0 ? 1.0f / scale : 0.0f;
        block[192 + j] = (uint8_t) sc;
        for (int i = SUB6 * j; i < SUB6 * (j + 1); i++)
            q[i] = (uint8_t) (32 + (int) nearest(clamp(x[i] * inverse, -32, 31)));
    }
    put_sixes(block, block + 128, q);
    return true;
}
