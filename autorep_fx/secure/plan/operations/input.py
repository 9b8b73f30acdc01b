"""The client's numbers, blinded: the first message."""

from __future__ import annotations

import numpy as np

from ...program import checks, shapes
from ...program.checks import Check, Rule, several
from ...program.shapes import Shape, need
from ..input_range import STATISTICS
from ..operation import Operation, Simulated
from ..plan import Step
from ..ring import encode, narrowed
from ..server_numbers import Numbers

_ENDS, _PAIR = several(checks.NUMBER, 1, shapes.MOST), several(checks.NUMBER, 2, 2)
_STATISTICS = Check(
    "a table of pairs of numbers", lambda v, s: type(v) is dict and all(_PAIR.holds(x, s) for x in v.values())
)


def _shape(step: Step) -> Shape:
    a, channels = step.attrs, step.shape[0] if step.shape else 1
    need(len(a["low"]) == len(a["high"]) == channels, "needs a range for each channel")
    need(all(low <= high for low, high in zip(a["low"], a["high"])), "has an empty range")
    known = STATISTICS if len(step.shape) >= 3 else STATISTICS[:2]
    need({*a["statistics"]} <= {*known}, f"knows no statistics but {', '.join(known)}")
    return step.shape


def _simulate(
    step: Step, given: list[np.ndarray], errors: list[np.ndarray], own: Numbers, rounding: object
) -> Simulated:
    (x,) = given
    return narrowed(encode(x, step.frac_bits), step.width), np.zeros(x.shape)


OPERATION = Operation(
    {None: Rule(_shape, {"low": _ENDS, "high": _ENDS, "statistics": _STATISTICS}, inputs=0)}, _simulate
)
