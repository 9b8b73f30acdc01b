"""NumPy versions of the compiled kernels: the same signatures, the same results bit for bit, written to be read.

They are what the kernels are tested against, and say in a few lines what each one computes. They are slow, keep no
secrets from the timing, and of their arguments check only that what is written does not overlap another one.
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
from .prg import aes, prg_words, tag_words, weigh
from .ring import PackedWeight, beaver_square, conv2d, linear, pack_weight, prepare_conv2d
from .rlwe import (
    RlweWeight,
    rlwe_decrypt,
    rlwe_encrypt,
    rlwe_forward,
    rlwe_inverse,
    rlwe_noise,
    rlwe_public,
    rlwe_respond,
    rlwe_ternary,
    rlwe_uniform,
    rlwe_weight,
)
from .splines import cell_bits, spline_close, spline_sums
from .wire import activation_step, deal_powers_, deal_relu_, relu_checked, relu_fss, window

__all__ = [
    "PackedWeight",
    "activation_step",
    "aes",
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
    "RlweWeight",
    "rlwe_decrypt",
    "rlwe_encrypt",
    "rlwe_forward",
    "rlwe_inverse",
    "rlwe_noise",
    "rlwe_public",
    "rlwe_respond",
    "rlwe_ternary",
    "rlwe_uniform",
    "rlwe_weight",
    "select",
    "spline_close",
    "spline_sums",
    "tag_words",
    "unpack_bits",
    "trees_full",
    "trees_lacking",
    "vole_fold_",
    "vole_receive",
    "vole_send",
    "weigh",
    "window",
]
