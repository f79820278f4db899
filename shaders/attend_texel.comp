#version 450
#extension GL_EXT_control_flow_attributes : require
#extension GL_GOOGLE_include_directive : require

// attend_prefill.comp without shared memory and barriers: an invocation takes one query of one head
// and meets the keys by fours; neighbours take neighbouring queries, so that they fetch the same
// texels. For devices whose shared memory is no faster than a cache.
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint HEAD_QUADS = 32; // head_dim / 4

layout(binding = 0) writeonly buffer Out { float attended[]; }; // (n_q, ldo)

#define TEXELS
#include "attend.glsl"

vec4 sums[HEAD_QUADS];

// Scores of keys key0 .. key0 + 3, MASKED where the query does not see them.
vec4 score(uint q_quad, uint key0, uint head, uint query)
{
    uint k_quad = k_at / 4u + head / group * HEAD_QUADS, row = ldk / 4u, last = n_kv - 1u;
    uvec4 keys = min(uvec4(key0) + uvec4(0u, 1u, 2u, 3u), uvec4(last)) * row + k_quad;
    vec4 s = vec4(0.0);
    for (uint c = 0u; c < HEAD_QUADS; c++) {
        vec4 x = texelFetch(q_quads, int(q_quad + c));
        [[unroll]] for (uint i = 0u; i < 4u; i++) {
            vec4 y = texelFetch(k_quads, int(keys[i] + c));
            s[i] = fma(x.w, y.w, fma(x.z, y.z, fma(x.y, y.y, fma(x.x, y.x, s[i]))));
        }
    }
    uint seen = n_seen(query);
    [[unroll]] for (uint i = 0u; i < 4u; i++)
        s[i] = key0 + i < seen ? s[i] * scale : MASKED;
    return s;
}

vec4 drop(vec4 p, uint key0, uint head, uint query)
{
    if ((flags & DROPOUT) == 0u)
        return p;
    uvec2 key = uvec2(drop_key_0, drop_key_1);
    uvec4 words = dropout_words(key0 / 4u, position_of(query), head, key);
    return mix(vec4(0.0), p, greaterThanEqual(words, uvec4(drop_threshold)));
}

void add_values(vec4 p, float shrink, uint key0, uint head)
{
    uint v_quad = v_at / 4u + head / group * HEAD_QUADS, row = ldv / 4u, last = n_kv - 1u;
    uvec4 keys = min(uvec4(key0) + uvec4(0u, 1u, 2u, 3u), uvec4(last)) * row + v_quad;
    [[unroll]] for (uint c = 0u; c < HEAD_QUADS; c++) {
        vec4 v = sums[c] * shrink;
        [[unroll]] for (uint i = 0u; i < 4u; i++)
            v = fma(vec4(p[i]), texelFetch(v_quads, int(keys[i] + c)), v);
        sums[c] = v;
    }
}

void main()
{
    uint n_blocks = (n_q + gl_WorkGroupSize.x - 1u) / gl_WorkGroupSize.x;
    uint head = group_number() % n_heads, block = group_number() / n_heads;
    if (block >= n_blocks)
        return;
    // a causal prompt's last blocks are its longest: they go first
    uint first = (n_blocks - 1u - block) * gl_WorkGroupSize.x;
    uint query = min(first + gl_LocalInvocationID.x, n_q - 1u);
    uint n_keys = n_seen(min(first + gl_WorkGroupSize.x, n_q) - 1u);
    uint q_quad = (q_at + query * ldq) / 4u + head * HEAD_QUADS;

    float greatest = MASKED, sum = 0.0;
    [[unroll]] for (uint c = 0u; c < HEAD_QUADS; c++)
        sums[c] = vec4(0.0);
    for (uint key0 = 0u; key0 < n_keys; key0 += 4u) {
        vec4 s = score(q_quad, key0, head, query), p;
        float before = greatest;
        [[unroll]] for (uint i = 0u; i < 4u; i++)
            greatest = greatest > s[i] ? greatest : s[i]; // a NaN in s shows in its weight
        float shrink = exp_f32(before - greatest);
        sum *= shrink;
        [[unroll]] for (uint i = 0u; i < 4u; i++) {
            p[i] = s[i] == MASKED ? 0.0 : exp_f32(s[i] - greatest);
            sum += p[i];
        }
        add_values(drop(p, key0, head, query), shrink, key0, head);
    }
    if (first + gl_LocalInvocationID.x >= n_q)
        return;
    float scale_by = normaliser(sum);
    uint at = out_at + query * ldo + head * head_dim;
    [[unroll]] for (uint c = 0u; c < HEAD_QUADS; c++)
        [[unroll]] for (uint i = 0u; i < 4u; i++)
            attended[at + c * 4u + i] = sums[c][i] * scale_by;
}
