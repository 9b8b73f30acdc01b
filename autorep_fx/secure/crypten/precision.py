"""Whether CrypTen's number format is precise enough for a network and its inputs, before a run starts."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from ...errors import CompileError, CompileWarning
from ..program.plaintext import off_by
from .error_bound import wraps
from .fixed_point import FixedProgram
from .model import execute, simulated

#: Samples that are looked at, at most.
_SAMPLES = 16

#: Beyond this part of the differences between samples, or this many wrapped numbers expected in a run, one is told;
#: beyond the second ones there is no answer.
_ERROR, _WRAPS = (0.02, 0.2), (0.05, 0.5)


def check_precision(program: FixedProgram, x: Tensor) -> None:
    """Warn or refuse where fixed point is too coarse, or where shares are likely to wrap around (error_bound.py).

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
