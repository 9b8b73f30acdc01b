"""The program in float64, in the clear: what every private run must agree with."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .program import Program
from .table import OPERATIONS

#: op -> function of the step, its secrets and the inputs.
OPS: dict[str, Callable[..., Tensor]] = {op: operation.plain for op, operation in OPERATIONS.items()}


def execute(program: Program, x: Tensor) -> Tensor:
    """The output for a batch (N, ...), float64."""
    return values(program, x)[program.public.output]


def values(program: Program, x: Tensor) -> dict[str, Tensor]:
    """Every intermediate value, by name."""
    program.check_input(x)
    found = program.public.given(x.detach().to("cpu", torch.float64))
    for step in program.steps:
        found[step.name] = OPS[step.op](step, program.secrets(step), *(found[name] for name in step.inputs))
    return found


#: Values that differ by no more than this part of the largest are the same.
_SAME = 1e-6


def off_by(found: Tensor, exact: Tensor) -> float:
    """Largest difference, as a part of how far the values of different samples lie apart.

    Of the largest value, where there is one sample or all have nearly the same values; by itself, where all are zero.
    """
    if not exact.numel():
        return 0.0
    spread, largest = float((exact - exact[0]).abs().max()), float(exact.abs().max())
    off = float((found - exact).abs().max())
    return off / ((spread if spread > _SAME * largest else largest) or 1.0)
