// All kernels of one tier. Included by exactly one tier_*.cpp, which defines AR_TIER.
//
// Everything lives in a namespace named after the tier and uses no inline function of the standard library: one that was
// compiled with AVX-512 here could be the copy that the linker keeps for the whole program.
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
#include "cpu/kernels.h"
#include "prg/stream.h"
#include "ring/activation.h"
#include "ring/beaver.h"
#include "ring/fir.h"
#include "ring/fixed_point.h"
#include "ring/rows.h"
#include "ring/tiles.h"

namespace autorep {
namespace AR_TIER {

#define AR_STRING_(x) #x
#define AR_STRING(x) AR_STRING_(x)

static const Kernels table = {
    AR_STRING(AR_TIER),
    beaver_square,
    stream,
    tiles,
    fir_least_tiles,
    fir_split,
    fir_input,
    fir_output,
    rows,
    gen_dcf,
    eval_dcf,
    activation_step,
    deal_powers,
    window,
    deal_relu,
    relu_fss,
    encode,
    decode,
    pack_bits,
    unpack_bits,
    borrow_bits,
    carry_open,
    carry_close,
    deal_and,
    and_close,
    select,
    deal_select,
};

}  // namespace AR_TIER
}  // namespace autorep
