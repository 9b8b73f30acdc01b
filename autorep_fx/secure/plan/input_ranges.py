"""The ranges of several inputs, each its own, as one of the rows (N, P) that their values are side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ...text import brief
from ..program.program import Program
from ..program.shapes import Shape
from .input_range import InputRange, has_channels
from .plan import Plan, node_of

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class InputRanges(InputRange):
    """See :class:`~.input_range.InputRange`, of rows: ``low`` and ``high`` are (P,).

    Attributes:
        parts: by the inputs' names, in their order.
        shapes: of a sample of each.
    """

    parts: dict[str, InputRange] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)

    __repr__ = brief

    @staticmethod
    def of_parts(parts: Mapping[str, InputRange], shapes: Mapping[str, Shape]) -> InputRanges:
        ends = [np.concatenate([_row(getattr(parts[name], end), shape) for name, shape in shapes.items()])
                for end in ("low", "high")]  # fmt: skip
        statistics = {f"{name}, {key}": pair for name in shapes for key, pair in parts[name].statistics.items()}
        low, high = ends
        return InputRanges(low, high, statistics, {name: parts[name] for name in shapes}, dict(shapes))

    def of(self, name: str) -> InputRange:
        return self.parts[name]

    def apart(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """The values of each input of rows (N, P)."""
        ends = np.cumsum([math.prod(shape) for shape in self.shapes.values()])[:-1]
        found = zip(self.shapes.items(), np.split(x, ends, 1))
        return {name: part.reshape(len(x), *shape) for (name, shape), part in found}

    def with_statistics(self, x: np.ndarray, unlike: np.ndarray) -> InputRanges:
        of_x, of_others = self.apart(x), self.apart(unlike)
        parts = {name: part.with_statistics(of_x[name], of_others[name]) for name, part in self.parts.items()}
        return InputRanges.of_parts(parts, self.shapes)

    def typical(self, x: np.ndarray) -> np.ndarray:
        inside = [self.parts[name].typical(part) for name, part in self.apart(x).items()]
        return np.logical_and.reduce(inside)

    def check(self, x: np.ndarray, name: str = "") -> None:
        """Raise ValueError where a value is outside; names the input, says which, and what to do."""
        for own, part in self.apart(x).items():
            self.parts[own].check(part, f"'{node_of(own)}'" + (f" of {name}" if name else ""))


def range_of(plan: Plan) -> InputRange:
    """What a plan publishes of its inputs."""
    if len(plan.inputs) == 1:
        return InputRange.of_step(plan.input)
    parts = {step.name: InputRange.of_step(step) for step in plan.inputs}
    return InputRanges.of_parts(parts, {step.name: step.shape for step in plan.inputs})


def of_inputs(program: Program, parts: Mapping[str, InputRange]) -> InputRange:
    """The ranges of a program's inputs as one."""
    inputs = program.public.inputs
    return InputRanges.of_parts(parts, inputs) if len(inputs) > 1 else parts[program.public.input]


def shown(program: Program, x: Tensor) -> InputRange:
    """What examples (N, *sample_shape) show of every input."""
    found = {name: InputRange.of_examples(part.numpy(), has_channels(program, name))
             for name, part in program.public.given(x).items()}  # fmt: skip
    return of_inputs(program, found)


def _row(ends: np.ndarray, shape: Shape) -> np.ndarray:
    """One for each element of a sample."""
    by_channel = ends.reshape(-1, *(1,) * (len(shape) - 1)) if shape else ends.reshape(())
    return np.broadcast_to(by_channel, shape).reshape(-1)
