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
    return walk(program, x, lambda name, value: None)


def values(program: Program, x: Tensor) -> dict[str, Tensor]:
    """Every intermediate value, by name: in float64, or in float32 of a :func:`single` program."""
    found: dict[str, Tensor] = {}
    walk(program, x, found.__setitem__)
    return found


def walk(program: Program, x: Tensor, see: Callable[[str, Tensor], None]) -> Tensor:
    """The output; every value is shown to ``see`` when it is there, and kept as long as a step reads it: memory that is
    used again is much quicker than new one."""
    program.check_input(x)
    gone = program.public.last_uses()
    dtype = next((tensor.dtype for tensor in program.server.values()), torch.float64)
    found = program.public.given(x.detach().to("cpu", dtype))
    for name, value in found.items():
        see(name, value)
    for step in program.steps:
        value = OPS[step.op](step, program.secrets(step), *(found[name] for name in step.inputs))
        found[step.name] = value
        see(step.name, value)
        for name in gone.get(step.name, ()):
            del found[name]
    return found[program.public.output]


def single(program: Program) -> Program:
    """The program in float32, a seventh of the work: for how large values are and which way is up."""
    return program.single


#: Values that differ by no more than this part of the largest are the same.
_SAME = 1e-6


def off_by(found: Tensor, exact: Tensor) -> float:
    """Largest difference, as a part of :func:`spread`."""
    return float((found - exact).abs().max()) / spread(exact) if exact.numel() else 0.0


def spread(exact: Tensor) -> float:
    """How far the values of different samples lie apart at most.

    The largest value, where there is one sample or all have nearly the same values; 1, where all are zero.
    """
    if not exact.numel():
        return 1.0
    apart, largest = float((exact - exact[0]).abs().max()), float(exact.abs().max())
    return (apart if apart > _SAME * largest else largest) or 1.0
