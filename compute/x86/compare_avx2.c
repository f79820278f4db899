#include "compute/x86/lanes_avx2.h"

#include "compute/x86/compare_lanes.h"
