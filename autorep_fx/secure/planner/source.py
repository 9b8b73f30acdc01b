"""What planning has to know of one operation of a program: its record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ...text import brief
from ..program.program import Step
from .builder import Builder


@dataclass(frozen=True)
class Source:
    """One operation of a program.

    Attributes:
        build: makes the nodes that a step becomes; the last one bears the step's name.
        bound: on the absolute value of the result, exact arithmetic, from the step, the server's tensors by role and
            the bounds of the inputs (ranges.py).
        truncated: whether what it reads is truncated for it alone, so that the gain of that is asked for.
        slopes: the squares of the derivatives by its weights, summed by channel of the result, (C,) float64, from the
            step, the weights, what they multiply and the derivative by the result, where bias_correction.py keeps the
            weights' rounding from shifting the result; None: of all others.
        scales: where it multiplies by numbers whose bits are chosen in proportion: "wholly" by one, or by several, by
            "position"; None: nowhere.
        affine: whether it is a linear map and a constant; whatever is not ends on masked wires.
    """

    build: Callable[[Builder, Step], Any] = field(repr=False)
    bound: Callable[..., Tensor] = field(repr=False)
    truncated: bool = False
    slopes: Callable[[Step, Tensor, Tensor, Tensor], Tensor] | None = field(default=None, repr=False)
    scales: str | None = None
    affine: bool = False

    __repr__ = brief
