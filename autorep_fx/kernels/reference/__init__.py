"""NumPy versions of the compiled kernels: the same signatures, the same results bit for bit, written to be read.

They are what the kernels are tested against, and say in a few lines what each one computes. They are slow, and neither
check their arguments nor keep secrets from the timing.
"""

from .bits import (
    and_close,
    borrow_bits,
    carry_close,
    carry_open,
    carry_shapes,
    deal_and_,
    deal_gmw_,
    pack_bits,
    relu_gmw,
    unpack_bits,
)
from .dcf import dcf_words, eval_dcf, gen_dcf
from .prg import aes, prg_add, prg_sub, prg_words, prg_xor
from .ring import PackedWeight, beaver_square, conv2d, decode, encode, linear, matmul, pack_weight, prepare_conv2d
from .wire import activation_step, deal_powers_, deal_relu_, relu_fss, window

__all__ = [
    "PackedWeight",
    "activation_step",
    "aes",
    "and_close",
    "beaver_square",
    "borrow_bits",
    "carry_close",
    "carry_open",
    "carry_shapes",
    "conv2d",
    "dcf_words",
    "deal_and_",
    "deal_gmw_",
    "deal_powers_",
    "deal_relu_",
    "decode",
    "encode",
    "eval_dcf",
    "gen_dcf",
    "linear",
    "matmul",
    "pack_bits",
    "pack_weight",
    "prepare_conv2d",
    "prg_add",
    "prg_sub",
    "prg_words",
    "prg_xor",
    "relu_fss",
    "relu_gmw",
    "unpack_bits",
    "window",
]
