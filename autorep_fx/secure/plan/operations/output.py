"""What the client learns: a masked wire, truncated, with the server's share of the result beside it."""

from __future__ import annotations

import numpy as np

from ...program.checks import Rule
from .. import wire
from ..attributes import SHIFT, WIDTH
from ..operation import Operation, Simulated
from ..plan import Step
from ..ring import narrowed
from ..rounding import Rounding, in_ring, truncate
from ..server_numbers import Numbers


def _exponent(step: Step, given: list[int]) -> int:
    return given[0] - step.attrs["shift"]


def _simulate(
    step: Step, given: list[np.ndarray], errors: list[np.ndarray], own: Numbers, rounding: Rounding
) -> Simulated:
    x, bound = truncate(narrowed(given[0], step.attrs["wire"]), errors[0], step.attrs["shift"], rounding)
    return in_ring(step, x), bound


OPERATION = Operation(
    {None: Rule(lambda s, x: x, {"wire": WIDTH, "shift": SHIFT})}, _simulate, _exponent, wire.truncated_arrays
)
