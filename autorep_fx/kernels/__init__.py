"""The compiled kernels: arithmetic in Z_2^64 and Z_2^32, AES streams, comparison keys, bit-sliced comparison.

Importing this package never fails. Where the extension was not built, calling anything that needs it raises
`MissingDependency` with the command that builds it; `available()` asks first. `autorep_fx.kernels.reference` holds
NumPy versions of everything, with the same signatures and the same results bit for bit.

Common to all functions: ring elements are `uint64` or `int64` (the same bits), or, where a function says so, of 32
bits; a result has the signedness of the first array. Arrays must have native byte order; a non-contiguous input is
copied, a non-contiguous `out` is refused. Anything with NumPy's array protocol is taken, so a CPU torch tensor is read
in place. Wrong types raise `TypeError`, wrong shapes or ranges `ValueError`, both naming the argument. Python's lock is
released while a kernel runs.

What is written (`out`, and the shares that a function ending in `_` changes) must not share memory with another
argument: a `ValueError` names the two. Where a function says that `out` may be one of them, it may be that array
itself, not a part of it. An input that is copied shares nothing.

The kernels exist in several tiers (portable, avx2, avx512). The best one that the machine has is used, unless the
environment variable `AUTOREP_FX_CPU` or `set_tier` names another; an unsupported one is an error.
"""

from .bits import (
    borrow_bits,
    carry_close,
    carry_open,
    deal_and_,
    deal_select_,
    pack_bits,
    select,
    unpack_bits,
)
from .dcf import dcf_words, eval_dcf, gen_dcf
from .extension import available, available_tiers, num_threads, set_num_threads, set_tier, tier, use
from .ot import (
    block_fold,
    expand_keys,
    lpn_,
    ot_bits,
    ot_flip_,
    ot_receive,
    ot_send,
    trees_full,
    trees_lacking,
    vole_fold_,
    vole_receive,
    vole_send,
)
from .prg import prg_words, tag_words, weigh
from .ring import beaver_square, conv2d, linear, pack_weight, prepare_conv2d
from .rlwe import (
    rlwe_decrypt,
    rlwe_encrypt,
    rlwe_forward,
    rlwe_inverse,
    rlwe_noise,
    rlwe_primes,
    rlwe_public,
    rlwe_respond,
    rlwe_room,
    rlwe_ternary,
    rlwe_uniform,
    rlwe_weight,
)
from .splines import cell_bits, spline_close, spline_sums
from .wire import activation_step, deal_powers_, deal_relu_, relu_checked, relu_fss, window

__all__ = [
    "activation_step",
    "available",
    "available_tiers",
    "beaver_square",
    "block_fold",
    "borrow_bits",
    "carry_close",
    "carry_open",
    "cell_bits",
    "conv2d",
    "dcf_words",
    "deal_and_",
    "deal_select_",
    "deal_powers_",
    "deal_relu_",
    "eval_dcf",
    "expand_keys",
    "gen_dcf",
    "linear",
    "lpn_",
    "num_threads",
    "ot_bits",
    "ot_flip_",
    "ot_receive",
    "ot_send",
    "pack_bits",
    "pack_weight",
    "prepare_conv2d",
    "prg_words",
    "relu_checked",
    "relu_fss",
    "rlwe_decrypt",
    "rlwe_encrypt",
    "rlwe_forward",
    "rlwe_inverse",
    "rlwe_noise",
    "rlwe_primes",
    "rlwe_public",
    "rlwe_respond",
    "rlwe_room",
    "rlwe_ternary",
    "rlwe_uniform",
    "rlwe_weight",
    "select",
    "spline_close",
    "spline_sums",
    "set_num_threads",
    "set_tier",
    "tier",
    "tag_words",
    "unpack_bits",
    "use",
    "trees_full",
    "trees_lacking",
    "vole_fold_",
    "vole_receive",
    "vole_send",
    "weigh",
    "window",
]
