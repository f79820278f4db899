#version 450
#extension GL_EXT_control_flow_attributes : require
#extension GL_GOOGLE_include_directive : require

// out[t, h d ..] = sum_j P[t, j] v[j, kv(h) d ..],  P = softmax(scale q k^T), causal or full;
// kv(h) = h / group. Dropout: the denominator has all weights, the numerator those kept.
//
// Online softmax (Milakov and Gimelshein 2018): a workgroup takes BQ queries of one head and meets
// the keys in blocks of BK, with a running maximum m and sum l; the sums so far shrink by
// exp(m_old - m_new). Blocks begin at multiples of BK and queries of a block do not mix, so a row's
// result depends on its own query, keys and values. Columns of k and v pass in chunks of DC.
//
// BQ * BK, BQ * DC divide by the workgroup's size; shared memory: BQ (head_dim + BK + 4) + BK (DC +
// 1) floats.
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint HEAD_DIM = 128; // of the pipeline; multiples of DC, >= head_dim
layout(constant_id = 2) const uint BQ = 16;
layout(constant_id = 3) const uint BK = 32;
layout(constant_id = 4) const uint DC = 32;
layout(constant_id = 5) const bool HALF_KV = false;
layout(constant_id = 6) const uint SCORES = 4;  // BQ BK / workgroup
layout(constant_id = 7) const uint SUMS = 16;   // BQ HEAD_DIM / workgroup
layout(constant_id = 8) const uint CHUNK_SUMS = 4; // BQ DC / workgroup

layout(binding = 0) writeonly buffer Out { float attended[]; }; // (n_q, ldo)

#include "attend.glsl"

shared float q_tile[BQ * HEAD_DIM];
shared float kv_tile[BK * (DC + 1u)];
shared float p_tile[BQ * (BK + 1u)];
shared float row_max[BQ], row_sum[BQ], row_shrink[BQ];

uint me, head, first_query;

void load_queries()
{
    for (uint i = me; i < BQ * HEAD_DIM; i += gl_WorkGroupSize.x) {
        uint row = first_query + i / HEAD_DIM, col = i % HEAD_DIM;
        bool inside = row < n_q && col < head_dim;
        q_tile[i] = inside ? q[q_at + row * ldq + head * head_dim + col] : 0.0;
    }
    for (uint i = me; i < BQ; i += gl_WorkGroupSize.x) {
        row_max[i] = MASKED;
        row_sum[i] = 0.0;
    }
}

// Columns [c0, c0 + DC) of keys or values [key0, key0 + BK), zeros outside.
void load_tile(bool values, uint key0, uint c0)
{
    barrier();
    for (uint i = me; i < BK * DC; i += gl_WorkGroupSize.x) {
        uint key = key0 + i / DC, col = c0 + i % DC;
        float v = 0.0;
        if (key < n_kv && col < head_dim) {
            uint at = head / group * head_dim + col;
            v = values ? load_v(key * ldv + at) : load_k(key * ldk + at);
        }
        kv_tile[i / DC * (DC + 1u) + i % DC] = v;
    }
    barrier();
}

// p_tile = scale q k^T, MASKED where a query does not see the key.
void score_block(uint key0)
{
    float s[SCORES];
    [[unroll]] for (uint i = 0u; i < SCORES; i++)
        s[i] = 0.0;
    for (uint c0 = 0u; c0 < HEAD_DIM; c0 += DC) {
        load_tile(false, key0, c0);
        [[unroll]] for (uint i = 0u; i < SCORES; i++) {
            uint e = i * gl_WorkGroupSize.x + me;
            uint row_at = e / BK * HEAD_DIM + c0, key_at = e % BK * (DC + 1u);
            float v = s[i];
            for (uint c = 0u; c < DC; c++)
                v = fma(q_tile[row_at + c], kv_tile[key_at + c], v);
            s[i] = v;
        }
    }
    [[unroll]] for (uint i = 0u; i < SCORES; i++) {
        uint e = i * gl_WorkGroupSize.x + me, row = e / BK, key = e % BK;
        bool seen = first_query + row < n_q && key0 + key < n_seen(first_query + row);
        p_tile[row * (BK + 1u) + key] = seen ? s[i] * scale : MASKED;
    }
    barrier();
}

// p_tile = exp(score - new maximum), dropped ones 0; the row's sum before dropout.
void weigh_block(uint key0)
{
    for (uint row = me; row < BQ; row += gl_WorkGroupSize.x) {
        float m = row_max[row];
        for (uint key = 0u; key < BK; key++) {
            float s = p_tile[row * (BK + 1u) + key];
            m = m > s ? m : s; // a NaN in s stays
        }
        row_shrink[row] = exp_f32(row_max[row] - m);
        row_max[row] = m;
    }
    barrier();
    [[unroll]] for (uint i = 0u; i < SCORES; i++) {
        uint e = i * gl_WorkGroupSize.x + me, row = e / BK, key = e % BK;
        float s = p_tile[row * (BK + 1u) + key];
        p_tile[row * (BK + 1u) + key] = s == MASKED ? 0.0 : exp_f32(s - row_max[row]);
    }
    barrier();
    for (uint row = me; row < BQ; row += gl_WorkGroupSize.x) {
        float sum = row_sum[row] * row_shrink[row];
        for (uint key = 0u; key < BK; key++)
            sum += p_tile[row * (BK + 1u) + key];
        row_sum[row] = sum;
    }
    if ((flags & DROPOUT) == 0u)
        return;
    barrier();
    [[unroll]] for (uint i = 0u; i < SCORES; i++) {
        uint e = i * gl_WorkGroupSize.x + me, row = e / BK, key = e % BK;
        if (!is_kept(head, first_query + row, key0 + key))
            p_tile[row * (BK + 1u) + key] = 0.0;
    }
}

float sums[SUMS];

void add_values(uint key0)
{
    for (uint c0 = 0u; c0 < HEAD_DIM; c0 += DC) {
        load_tile(true, key0, c0);
        [[unroll]] for (uint i = 0u; i < CHUNK_SUMS; i++) {
            uint e = i * gl_WorkGroupSize.x + me, row = e / DC, col = e % DC;
            uint at = c0 / DC * CHUNK_SUMS + i;
            float v = sums[at] * row_shrink[row];
            for (uint key = 0u; key < BK; key++)
                v = fma(p_tile[row * (BK + 1u) + key], kv_tile[key * (DC + 1u) + col], v);
            sums[at] = v;
        }
    }
}

void main()
{
    uint n_blocks = (n_q + BQ - 1u) / BQ;
    me = gl_LocalInvocationID.x;
    head = group_number() % n_heads;
    // a causal prompt's last blocks are its longest: they go first
    uint block = group_number() / n_heads;
    if (block >= n_blocks)
        return;
    first_query = (n_blocks - 1u - block) * BQ;

    load_queries();
    [[unroll]] for (uint i = 0u; i < SUMS; i++)
        sums[i] = 0.0;
    uint n_keys = n_seen(min(first_query + BQ, n_q) - 1u);
    for (uint key0 = 0u; key0 < n_keys; key0 += BK) {
        score_block(key0);
        weigh_block(key0);
        add_values(key0);
    }
    barrier();
    for (uint at = 0u; at < SUMS; at++) {
        uint e = at % CHUNK_SUMS * gl_WorkGroupSize.x + me;
        uint row = e / DC, col = at / CHUNK_SUMS * DC + e % DC;
        if (first_query + row < n_q && col < head_dim)
            attended[out_at + (first_query + row) * ldo + head * head_dim + col] =
                sums[at] * normaliser(row_sum[row]);
    }
}
