#include "compute/x86/lanes_avx512.h"

#include "compute/x86/compare_lanes.h"
