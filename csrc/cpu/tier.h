// All kernels of one tier. Included by exactly one tier_*.cpp, which defines AR_TIER.
//
// Everything lives in a namespace named after the tier and uses no inline function of the standard library: one that
// was compiled with AVX-512 here could be the copy that the linker keeps for the whole program.
#pragma once
#include <omp.h>
#include <stdint.h>
#include <string.h>

#include "compare/carry.h"
#include "compare/dcf_eval.h"
#include "compare/dcf_gen.h"
#include "compare/planes.h"
#include "compare/relu.h"
#include "compare/select.h"
#include "compare/spline.h"
#include "cpu/kernels.h"
#include "ot/fold.h"
#include "ot/hash.h"
#include "ot/lpn.h"
#include "ot/strings.h"
#include "ot/trees.h"
#include "ot/vole.h"
#include "prg/stream.h"
#include "prg/weigh.h"
#include "ring/activation.h"
#include "ring/beaver.h"
#include "ring/fir.h"
#include "ring/rows.h"
#include "ring/tiles.h"
#include "rlwe/encrypt.h"
#include "rlwe/respond.h"

namespace autorep {
namespace AR_TIER {

#define AR_STRING_(x) #x
#define AR_STRING(x) AR_STRING_(x)

#define AR_ENTRY(name, args) name,
static const Kernels table = {AR_STRING(AR_TIER), fir_least_tiles, kRlweLanes, AR_KERNELS(AR_ENTRY)};
#undef AR_ENTRY

}  // namespace AR_TIER
}  // namespace autorep
