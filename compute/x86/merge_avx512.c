#include "compute/x86/lanes_avx512.h"

#include "compute/x86/eights_avx512.h"

#include "compute/x86/merge_lanes.h"
