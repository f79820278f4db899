#define WIDE_TABLE uqm_wide_avx2
#include "compute/x86/wide_lanes.h"
