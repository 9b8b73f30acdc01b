"""Arithmetic on ring elements. See the package for what is common to all functions."""

from __future__ import annotations

from .extension import load


def beaver_square(epsilon, r, r2, *, frac_bits, party, out=None):
    """This party's share of a fixed-point square, in CrypTen's form, in one pass over memory.

    1. The parties hold `[x]` and the correlation `[r]`, `[r^2]`, and have opened `epsilon = x - r`.
    2. `v = r2 + 2 * epsilon * r`, and party 0 adds `epsilon^2`: shares of `x^2` with exponent `2 * frac_bits`.
    3. Each party divides its share by `2**frac_bits`, signed and rounded towards zero.

    epsilon, r, r2: ring arrays of one shape. frac_bits: 0 to 62. party: 0 or 1. out: written in place and returned; may
    be epsilon, r or r2.

    Error: the local division is off by at most one unit of `2**-frac_bits` per party, and by `2**(64 - frac_bits)` with
    probability about `|v| / 2**63` (CrypTen's own truncation; the masked-wire step has none of this).
    Source: CrypTen 0.4.1, `mpc/primitives/beaver.py::square` and `arithmetic.py::div_`.
    """
    return load().beaver_square(epsilon, r, r2, frac_bits, party, out)


def pack_weight(weight, *, groups=1, weight_bits=64):
    """The weights of a convolution or a linear map, laid out for `conv2d` and `linear`; packed once, used many times.

    weight: (outputs, inputs / groups, height, width) for `conv2d`, (outputs, inputs) for `linear`; 64-bit integers for
    the ring Z_2^64, 32-bit ones for Z_2^32. weight_bits: 16, 32 or 64: how wide, signed, the weights are stored. It is
    a public promise about all of them (a trained layer's fixed-point weights fit 16 bits) that saves memory traffic in
    layers with more weights than pixels; ValueError if one does not fit. Masks and shares need 64.

    Returns a `PackedWeight`. It is the same on every tier.
    """
    return load().pack_weight(weight, groups, weight_bits)


def conv2d(x, weight, *, stride=1, padding=0, dilation=1, add=None, out=None):
    """Convolution in the ring: `conv(x, weight) + add`, modulo 2^64 or 2^32.

    x: (batch, channels, height, width), of the ring that `weight` (a `PackedWeight` of 4 dimensions) was packed for.
    stride, padding, dilation: an int or a pair; padding is zeros. add: an array shaped like the result, or None (a
    share that is added anyway costs no pass of its own here). out: written in place and returned; may be add.
    Exact. 3x3 kernels with many channels take fewer multiplications than products (short fast FIR filters; the weights'
    part of that is made at the first call, or by `prepare_conv2d`), others one each; nothing is unfolded in memory.
    """
    ext = load()
    _need_packed(ext, weight)
    return ext.conv2d(
        x, weight, _pair(stride, "stride"), _pair(padding, "padding"), _pair(dilation, "dilation"), add, out
    )


def prepare_conv2d(x_shape, weight, *, stride=1, padding=0, dilation=1):
    """Make now what `conv2d` on an input of this shape would make of the weight at its first call."""
    ext = load()
    _need_packed(ext, weight)
    ext.prepare_conv2d(x_shape, weight, _pair(stride, "stride"), _pair(padding, "padding"), _pair(dilation, "dilation"))


def linear(x, weight, *, add=None, out=None):
    """`x @ weight.T + add` in the ring.

    x: (batch, inputs). weight: a `PackedWeight` of 2 dimensions. add, out: as in `conv2d`.
    """
    ext = load()
    _need_packed(ext, weight)
    return ext.linear(x, weight, add, out)


def _need_packed(ext, weight):
    if not isinstance(weight, ext.PackedWeight):
        raise TypeError(f"weight: expected the result of pack_weight, got {type(weight).__name__}")


def _pair(value, name):
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or not all(isinstance(v, int) for v in pair):
        raise TypeError(f"{name}: expected an int or a pair of ints, got {value!r}")
    return pair
