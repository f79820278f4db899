// enum uqm_epilogue of compute/gemm.h. A shader that includes this declares EPILOGUE.
#ifndef EPILOGUE_GLSL
#define EPILOGUE_GLSL

#include "lane_math.glsl"

const uint EPI_STORE = 0u, EPI_ADD = 1u, EPI_SILU_MUL = 2u, EPI_QUICK_GELU = 3u, EPI_GELU = 4u;

// v with its bias, y what the place held before.
float epilogue(float v, float y)
{
    switch (EPILOGUE) {
    case EPI_ADD: return y + v;
    case EPI_SILU_MUL: return silu_f32(y) * v;
    case EPI_QUICK_GELU: return quick_gelu_f32(v);
    case EPI_GELU: return gelu_f32(v);
    default: return v;
    }
}

#endif
