"""A step in the making, and how many bits there may be of what it computes with."""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ...text import brief
from ..plan.table import OPERATIONS
from ..program.spline import BITS as SPLINE_BITS
from .site import Site

#: Significant bits below which nothing is worth computing: inputs are not all like the examples.
LEAST = 5


@dataclass
class Node:
    """A step in the making.

    Attributes:
        name, op, inputs, shape, attrs: as in :class:`~.plan.Step`.
        bits: significant bits that the planner chooses, of a value or a weight; None where there is nothing to choose.
        least, most: where fewer bits say nothing, where more are of no use.
        scale: the largest value or weight is about 2**scale, so ``bits - scale`` of the bits are fractional.
        gain: what rounding to no fractional bits adds to the output's variance, by channel or position; None: unknown.
        below: the same for truncating the result.
        weight, constant: the server's numbers; a constant broadcasts over the result.
        site: of an activation or the factors behind it.
        reach: largest absolute value of the result (of the input for activations and the output, of the first factor
            for products).
        reach_kept: the same over the positions that are compared; of a product, of its second factor.
        extreme: what ``reach`` is on inputs that are made for it: there is room for it where that takes no bit that
            precision needs, and nothing wider (planner.py).
        extreme_kept: the same of ``reach_kept``, margins included: windows are as long as that takes where the ring has
            the bits.
        wire: bits of the ring of the masked wire that ends here, where one does.
        result: of a spline or a product of two private tensors the largest absolute value of the result, which may be
            truncated once more; None: it may not.
        extreme_result: what ``result`` is on inputs that are made for it.
        coefficient_bits: fractional bits of a spline's coefficients.
        spline_gain: what an error of 1 at all that is kept as a spline, squared, adds to the output's variance; of
            what is relative, of all of it (program/ranged.py).
        spline_error: how far off the spline may be; None: as far as its activation.
        forms: what rounding the site's factors to so many bits gives, see exponents.py.
    """

    name: str
    op: str
    inputs: list[str]
    shape: tuple[int, ...]
    attrs: dict[str, Any] = field(default_factory=dict)
    bits: int | None = None
    least: int = LEAST
    most: int = 0
    scale: int = 0
    gain: np.ndarray | float | None = None
    below: float | None = None
    weight: np.ndarray | None = None
    constant: np.ndarray | None = None
    site: Site | None = None
    reach: float | None = None
    reach_kept: float = 0.0
    extreme: float = 0.0
    extreme_kept: float = 0.0
    wire: int = 64
    result: float | None = None
    extreme_result: float = 0.0
    coefficient_bits: int = SPLINE_BITS
    spline_gain: float | None = None
    spline_error: float | None = None
    forms: dict[int, tuple[bool, float]] = field(default_factory=dict)

    __repr__ = brief

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def masked(self) -> bool:
        """Whether masked wires end here."""
        return OPERATIONS[self.op].masked

    @property
    def has_spline(self) -> bool:
        """Whether it keeps activations that are splines."""
        return self.site is not None and self.site.params is not None and len(self.site.kept) > 0

    @cached_property
    def whole_gain(self) -> float:
        """``gain`` of all channels or positions together; zero where it is not known."""
        return 0.0 if self.gain is None else float(np.sum(self.gain))

    @property
    def frac_bits(self) -> int:
        """Fractional bits for the chosen ``bits``."""
        return max(self.bits - self.scale, 0)


#: By name, in the order in which they are computed.
Nodes = dict[str, Node]


def copied(nodes: Nodes) -> Nodes:
    """Nodes to choose for without a change to these."""
    return {name: copy(node) for name, node in nodes.items()}


def whole_bits(largest: float) -> int:
    """``largest < 2**result``."""
    return math.floor(math.log2(largest)) + 1 if largest > 0 else 0


@dataclass(frozen=True)
class Limits:
    """Bits that the planner does not exceed: significant ones of truncated values, weights and factors (15 fit 16-bit
    storage) and of public numbers; of the input and the output fractional ones, or significant ones below 1; and of the
    input fractional ones, however small it is."""

    value: int = 14
    weight: int = 15
    factor: int = 14
    input: int = 16
    number: int = 12
    output: int = 16
    fraction: int = 1000


@dataclass(frozen=True)
class Margins:
    """Bits by which values may exceed what ranges say: in the ring, and in the windows of comparisons."""

    ring: int = 2
    window: int = 2
