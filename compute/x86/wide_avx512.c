#define WIDE_TABLE uqm_wide_avx512
#include "compute/x86/wide_lanes.h"
