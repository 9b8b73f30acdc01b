"""The product of two private tensors, each on a masked wire of its own; the protocol is parties/operations/product.py.

``first``, ``second``: the factors' shapes, which broadcast; ``exponents``: theirs before ``shift``, the bits that are
truncated of each.
"""

from __future__ import annotations

import numpy as np

from ....errors import FormatError
from ...program import checks, shapes
from ...program.checks import Rule, several
from ...program.shapes import Shape, need
from ..attributes import EXPONENT, SHIFT, WIDTH
from ..operation import Arrays, Operation, Simulated
from ..plan import Step
from ..ring import elements, narrowed
from ..rounding import NO_BOUND, Rounding, in_ring, no_bound, truncate
from ..server_numbers import Numbers


def _shape(step: Step, x: Shape, y: Shape) -> Shape:
    a = step.attrs
    need((a["first"], a["second"]) == (x, y), f"multiplies {x} and {y}, and says otherwise")
    need(all(t <= e for t, e in zip(a["shift"], a["exponents"])), "cuts off more bits than its factors have")
    return shapes.add(x, y)


def _exponent(step: Step, given: list[int]) -> int:
    if step.attrs["exponents"] != tuple(given):
        raise FormatError(f"'exponents' of step '{step.name}' must be {tuple(given)}, got {step.attrs['exponents']}")
    return sum(given) - sum(step.attrs["shift"])


def _simulate(
    step: Step, given: list[np.ndarray], errors: list[np.ndarray], own: Numbers, rounding: Rounding
) -> Simulated:
    given = [narrowed(v, step.attrs["wire"]) for v in given]
    (x, b), (y, c) = (truncate(*factor, rounding) for factor in zip(given, errors, step.attrs["shift"]))
    if rounding.rng is not None:
        product = in_ring(step, x * y)
        return product, no_bound(product)
    b, c = np.minimum(b, NO_BOUND), np.minimum(c, NO_BOUND)
    bound = np.abs(x.astype(np.float64)) * c + np.abs(y.astype(np.float64)) * b + b * c
    return in_ring(step, x * y), bound


def _arrays(step: Step, batch: int) -> Arrays:
    """Those that the protocol names, of both wires and of the product."""
    ring = elements(step.width).type
    wires, result = ((batch, step.wire_size), ring), ((batch, step.size), ring)
    return {"alpha": wires, "beta": wires, **dict.fromkeys(("aa", "ab", "ba", "bb"), result)}


OPERATION = Operation(
    {
        None: Rule(
            _shape,
            {"first": checks.SHAPE, "second": checks.SHAPE, "wire": WIDTH, "shift": several(SHIFT, 2, 2),
             "exponents": several(EXPONENT, 2, 2)},
            inputs=2,
        )
    },
    _simulate,
    _exponent,
    _arrays,
)  # fmt: skip
