// Philox4x32-10 (Salmon et al. 2011), as src/base/rng.c has it, and the dropout mask of
// compute/kernels.h: integers only, so that masks are the same to the bit on every device.
#ifndef PHILOX_GLSL
#define PHILOX_GLSL

uvec4 philox4x32(uvec4 c, uvec2 key)
{
    for (uint round = 0u; round < 10u; round++) {
        uint hi0, lo0, hi2, lo2;
        umulExtended(0xD2511F53u, c.x, hi0, lo0);
        umulExtended(0xCD9E8D57u, c.z, hi2, lo2);
        c = uvec4(hi2 ^ c.y ^ key.x, lo2, hi0 ^ c.w ^ key.y, lo0);
        key += uvec2(0x9E3779B9u, 0xBB67AE85u);
    }
    return c;
}

// The words of keys 4 i .. 4 i + 3 of one query of one head.
uvec4 dropout_words(uint i, uint query, uint head, uvec2 key)
{
    return philox4x32(uvec4(i, query, head, 0u), key);
}

#endif
