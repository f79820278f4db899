// A grid of more workgroups than a dimension holds is folded: workgroup (x, y) is number
// y * 65535 + x. The last line of the fold has numbers past the end.
#ifndef GRID_GLSL
#define GRID_GLSL

uint group_number()
{
    return gl_WorkGroupID.y * 65535u + gl_WorkGroupID.x;
}

#endif
