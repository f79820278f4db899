// Sums and maxima over a workgroup; every invocation gets the result. With SUBGROUPS by subgroup
// arithmetic and one shared slot a subgroup, else by a tree in shared memory. The workgroup's size
// is a power of two. The order of additions depends on the subgroups' size alone.
#ifndef REDUCE_GLSL
#define REDUCE_GLSL

shared float reduce_slots[gl_WorkGroupSize.x];

#ifdef SUBGROUPS
#define DEFINE_REDUCTION(name, in_subgroup, combine)                                               \
    float name(float v)                                                                            \
    {                                                                                              \
        v = in_subgroup(v);                                                                        \
        if (gl_NumSubgroups == 1u)                                                                 \
            return v;                                                                              \
        barrier();                                                                                 \
        if (subgroupElect())                                                                       \
            reduce_slots[gl_SubgroupID] = v;                                                       \
        barrier();                                                                                 \
        v = reduce_slots[0];                                                                       \
        for (uint i = 1u; i < gl_NumSubgroups; i++)                                                \
            v = combine(v, reduce_slots[i]);                                                       \
        return v;                                                                                  \
    }
#else
#define DEFINE_REDUCTION(name, in_subgroup, combine)                                               \
    float name(float v)                                                                            \
    {                                                                                              \
        uint me = gl_LocalInvocationID.x;                                                          \
        barrier();                                                                                 \
        reduce_slots[me] = v;                                                                      \
        barrier();                                                                                 \
        for (uint n = gl_WorkGroupSize.x / 2u; n > 0u; n /= 2u) {                                  \
            if (me < n)                                                                            \
                reduce_slots[me] = combine(reduce_slots[me], reduce_slots[me + n]);                \
            barrier();                                                                             \
        }                                                                                          \
        return reduce_slots[0];                                                                    \
    }
#endif

float reduce_plus(float a, float b)
{
    return a + b;
}
// A NaN on either side stays.
float reduce_greater(float a, float b)
{
    return isnan(a) || a > b ? a : b;
}

DEFINE_REDUCTION(workgroup_sum, subgroupAdd, reduce_plus)
DEFINE_REDUCTION(workgroup_max, subgroupMax, reduce_greater)

#endif
