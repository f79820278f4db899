#version 450
#extension GL_GOOGLE_include_directive : require
#ifdef SUBGROUPS
#extension GL_KHR_shader_subgroup_arithmetic : require
#endif

// One query of one head against one part of the keys: the part's maximum, its sum of weights and
// its weighted values, for attend_merge.comp to put together. Formula: attend_prefill.comp. For few
// queries and many keys, as in decoding. An invocation takes keys, then columns.
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const bool HALF_KV = true;
layout(constant_id = 2) const uint SPLIT_KEYS = 256; // the most keys of a part
layout(constant_id = 3) const uint MAX_DIM = 256;    // the most columns of a head

layout(binding = 0) writeonly buffer Parts { float parts[]; }; // (n_q, n_heads, n_splits, 2 + d)

#include "attend.glsl"
#include "reduce.glsl"

shared float p[SPLIT_KEYS];
shared float one_query[MAX_DIM];

void main()
{
    uint me = gl_LocalInvocationID.x, step = gl_WorkGroupSize.x;
    uint split = group_number() % n_splits, head = group_number() / n_splits % n_heads;
    uint query = group_number() / n_splits / n_heads;
    if (query >= n_q)
        return;
    uint key0 = split * split_keys, n_keys = n_seen(query);
    uint count = n_keys > key0 ? min(n_keys - key0, split_keys) : 0u;
    uint kv_at = head / group * head_dim, to = out_at + group_number() * (2u + head_dim);

    for (uint c = me; c < head_dim; c += step)
        one_query[c] = q[q_at + query * ldq + head * head_dim + c];
    barrier();

    float greatest = MASKED;
    for (uint j = me; j < count; j += step) {
        uint row = (key0 + j) * ldk + kv_at;
        float s = 0.0;
        for (uint c = 0u; c < head_dim; c++)
            s = fma(one_query[c], load_k(row + c), s);
        p[j] = s * scale;
        greatest = greatest > p[j] ? greatest : p[j];
    }
    greatest = workgroup_max(greatest);
    float sum = 0.0;
    for (uint j = me; j < count; j += step) {
        float e = exp_f32(p[j] - greatest);
        sum += e;
        p[j] = is_kept(head, query, key0 + j) ? e : 0.0;
    }
    sum = workgroup_sum(sum);
    barrier();

    for (uint c = me; c < head_dim; c += step) {
        float v = 0.0;
        for (uint j = 0u; j < count; j++)
            v = fma(p[j], load_v((key0 + j) * ldv + kv_at + c), v);
        parts[to + 2u + c] = v;
    }
    if (me == 0u) {
        parts[to] = greatest;
        parts[to + 1u] = sum;
    }
}
