"""Whether CrypTen's number format is precise enough for a network and its inputs, before a run starts.

Where a run errs, beside the rounding of the input and of the server's numbers to multiples of u = 2**-frac_bits: where
shares are divided, a product by d = 2**frac_bits, a pooled sum by the size d of its window. Each party divides its own
share, cutting towards zero. With v = s0 + s1 the shared integer and s0, s1 of opposite sign (they are, unless |v| is
comparable to 2**63), say s0 >= 0 > s1:

    floor(s0 / d) + ceil(s1 / d) = floor(s0 / d) - floor((s0 - v) / d)

is floor(v / d) or ceil(v / d), and the upper one with probability frac(v / d), since s0 mod d is uniform. So this is
stochastic rounding: error below u, mean zero, variance p (1 - p) u**2 <= u**2 / 4, independent between elements. Sums,
comparisons and products with a comparison's bit are exact in the ring.

It fails, *wraps around*, when s0 + s1 leaves [-2**63, 2**63). For uniform s0 and v > 0 that is ``s0 < v - 2**63``, so
the probability is |v| / 2**64 for every divided element, and the result is then wrong by 2**64 / d units, which
destroys it. With |y| = 4 and frac_bits = 16 this is 4 * 2**32 / 2**64 = 1e-9; a ResNet-18 on a 32x32 image with every
ReLU replaced divides about 1.7 million elements, all of which count.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from ...errors import CompileError, CompileWarning
from ..program.plaintext import off_by
from .fixed_point import FixedProgram
from .simulate import execute, simulated

#: Samples that are looked at, at most.
_SAMPLES = 16

#: Beyond this part of the differences between samples, or this many wrapped numbers expected in a run, one is told;
#: beyond the second ones there is no answer.
_ERROR, _WRAPS = (0.02, 0.2), (0.05, 0.5)


def check_precision(program: FixedProgram, x: Tensor) -> None:
    """Warn or refuse where fixed point is too coarse, or where shares are likely to wrap around.

    Raises:
        CompileError: the result would be far off.

    Warns:
        CompileWarning: it may be.
    """
    part = x[:_SAMPLES]
    cut = simulated(program.frac_bits, torch.Generator().manual_seed(0))
    error = off_by(execute(program, part, rounded=True, cut=cut), execute(program, part))
    wrapped = wraps(program, part) * len(x) / len(part)
    for found, (tell, refuse), text in (
        (error, _ERROR, f"results are off by up to {error:.2%} of the differences between samples; use more frac_bits, "
                        "or bring inputs, weights and outputs to the order of 1"),
        (wrapped, _WRAPS, f"{wrapped:.2g} numbers of this run are expected to wrap around, each of which destroys the "
                          "result; use fewer frac_bits, or scale inputs and weights down"),
    ):  # fmt: skip
        text = f"on CrypTen with frac_bits={program.frac_bits} {text}"
        if found > refuse:
            raise CompileError(text)
        if found > tell:
            warnings.warn(text, CompileWarning, 3)


def wraps(program: FixedProgram, x: Tensor) -> float:
    """How many numbers of a run on ``x`` are expected to wrap around."""
    total = 0.0

    def count(value: Tensor, divisor: int | None) -> Tensor:
        nonlocal total
        divisor = divisor or 2**program.frac_bits
        total += float(value.abs().sum()) * 2.0**program.frac_bits * divisor / 2.0**64
        return value

    execute(program, x, rounded=True, cut=count)
    return total
