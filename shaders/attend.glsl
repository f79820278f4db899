// What the attention shaders share: one prompt's bindings and push constants.
#ifndef ATTEND_GLSL
#define ATTEND_GLSL

#include "grid.glsl"
#include "lane_math.glsl"
#include "numbers.glsl"
#include "philox.glsl"

#ifdef TEXELS // quads: head_dim, the strides and the places divide by 4
layout(binding = 1) uniform samplerBuffer q_quads;
layout(binding = 2) uniform samplerBuffer k_quads;
layout(binding = 3) uniform samplerBuffer v_quads;
#else
layout(binding = 1) readonly buffer Q { float q[]; };       // (n_q, ldq), heads of head_dim
layout(binding = 2) readonly buffer K { uint k_words[]; };  // (n_kv, ldk): F32; F16 where HALF_KV
layout(binding = 3) readonly buffer V { uint v_words[]; };
#endif

const uint CAUSAL = 1u, DROPOUT = 2u;

layout(push_constant) uniform Push {
    uint n_q, n_kv;
    uint first_position;      // query i stands at first_position + i
    uint n_heads, group;      // heads that share one of k and v
    uint head_dim;
    uint ldq, ldk, ldv, ldo;  // elements from row to row
    uint q_at, k_at, v_at, out_at; // words
    float scale;
    uint flags;
    uint drop_threshold;
    float keep_scale;
    uint drop_key_0, drop_key_1;
    uint n_splits, split_keys; // decoding: the keys' parts, and how many keys a part has
};

#ifndef TEXELS
float half_at(uint word, uint i)
{
    return f32_of_f16_bits((i & 1u) == 0u ? word & 0xFFFFu : word >> 16);
}
// Element i of the slice, counted from k_at or v_at.
float load_k(uint i)
{
    return HALF_KV ? half_at(k_words[k_at + i / 2u], i) : uintBitsToFloat(k_words[k_at + i]);
}
float load_v(uint i)
{
    return HALF_KV ? half_at(v_words[v_at + i / 2u], i) : uintBitsToFloat(v_words[v_at + i]);
}

#endif

uint position_of(uint query)
{
    return first_position + query;
}
// How many keys a query sees.
uint n_seen(uint query)
{
    return (flags & CAUSAL) != 0u ? position_of(query) + 1u : n_kv;
}

bool is_kept(uint head, uint query, uint key)
{
    if ((flags & DROPOUT) == 0u)
        return true;
    uvec2 drop_key = uvec2(drop_key_0, drop_key_1);
    return dropout_words(key / 4u, position_of(query), head, drop_key)[key % 4u] >= drop_threshold;
}
// Of the sum of kept weights: 1 / (sum of all), and 1 / (1 - p).
float normaliser(float sum)
{
    return (flags & DROPOUT) != 0u ? keep_scale / sum : 1.0 / sum;
}

const float MASKED = -1e30;

#endif
