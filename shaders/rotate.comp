#version 450
#extension GL_GOOGLE_include_directive : require

// Rotary position embedding, half-split pairs of each head, h = head_dim / 2:
//     (x_i, x_{i+h}) -> (x_i c_i - x_{i+h} s_i, x_{i+h} c_i + x_i s_i)
// with c, s the rows of the tables at the row's position. In place; an invocation takes a pair.
layout(local_size_x_id = 0) in;

layout(binding = 0) writeonly buffer Y { float y[]; };             // (n_rows, n_heads * head_dim)
layout(binding = 1) readonly buffer X { float x[]; };              // the same slice
layout(binding = 2) readonly buffer Cos { float cos_table[]; };    // (n_positions, h)
layout(binding = 3) readonly buffer Positions { uint positions[]; }; // (n_rows)
#ifdef TWO_TABLES
layout(binding = 4) readonly buffer Sin { float sin_table[]; };    // (n_positions, h)
#define SIN(i) sin_table[i]
#else // both tables in one slice: a device may have no more than four storage buffers
#define SIN(i) cos_table[i]
#endif

layout(push_constant) uniform Push {
    uint n_pairs;        // n_rows * n_heads * h
    uint n_heads, h;
    uint x_at, cos_at, sin_at, positions_at;
};

#include "grid.glsl"

void main()
{
    uint pair = group_number() * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
    if (pair >= n_pairs)
        return;
    uint i = pair % h, head = pair / h; // heads of all rows
    uint table = positions[positions_at + head / n_heads] * h + i;
    uint at = x_at + head * 2u * h + i;

    precise float c = cos_table[cos_at + table], s = SIN(sin_at + table);
    precise float a = x[at], b = x[at + h];
    precise float first = a * c - b * s, second = b * c + a * s;
    y[at] = first;
    y[at + h] = second;
}
