"""The matrix product of two private tensors, each on a masked wire of its own; the protocol is
parties/operations/matmul.py.

``first``, ``second``: the factors' shapes, (..., n, k) and (..., k, m) with the same axes in front. Nothing is
truncated, so the exponents add up, and a mask may wrap in its ring: whoever reads the product truncates.
"""

from __future__ import annotations

import numpy as np

from ...program import checks, shapes
from ...program.checks import Rule
from ...program.shapes import Shape, need
from ..attributes import WIDTH
from ..operation import Arrays, Operation, Simulated
from ..plan import Step
from ..ring import elements, matmul, narrowed
from ..rounding import NO_BOUND, Rounding
from ..server_numbers import Numbers

#: How far the product is off at most where two make the one of both masks by encryption.
_UNITS_OF_TWO = 2.0


def _shape(step: Step, x: Shape, y: Shape) -> Shape:
    a = step.attrs
    need((a["first"], a["second"]) == (x, y), f"multiplies {x} and {y}, and says otherwise")
    need(step.width <= a["wire"], "is wider than its wire, whose masks are gone there alone")
    return shapes.matmul(x, y)


def _simulate(
    step: Step, given: list[np.ndarray], errors: list[np.ndarray], own: Numbers, rounding: Rounding
) -> Simulated:
    x, y = (narrowed(v, step.width) for v in given)
    b, c = (np.minimum(error, NO_BOUND) for error in errors)
    sizes = [np.abs(narrowed(v, step.attrs["wire"]).view(_signed(step)).astype(np.float64)) for v in given]
    return matmul(x, y), sizes[0] @ c + b @ sizes[1] + b @ c + (_UNITS_OF_TWO if rounding.nearest else 0.0)


def _signed(step: Step) -> type:
    return np.int64 if step.attrs["wire"] == 64 else np.int32


def _arrays(step: Step, batch: int) -> Arrays:
    """Of the masks of both wires, and of their product."""
    ring = elements(step.width).type
    return {"r": ((batch, step.wire_size), ring), "product": ((batch, step.size), ring)}


OPERATION = Operation(
    {None: Rule(_shape, {"first": checks.SHAPE, "second": checks.SHAPE, "wire": WIDTH}, inputs=2)},
    _simulate,
    lambda step, given: sum(given),
    _arrays,
)
