#include "compute/x86/lanes_avx2.h"

#include "compute/x86/eights_avx2.h"

#include "compute/x86/merge_lanes.h"
