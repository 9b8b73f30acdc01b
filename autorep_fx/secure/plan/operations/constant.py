"""Something of the server's that is added to what is blinded: no message."""

from __future__ import annotations

import numpy as np

from ...program.checks import Rule
from ..operation import Operation, Simulated
from ..plan import Step
from ..ring import narrowed
from ..server_numbers import Numbers


def _simulate(
    step: Step, given: list[np.ndarray], errors: list[np.ndarray], own: Numbers, rounding: object
) -> Simulated:
    value = narrowed(given[0], step.width) + narrowed(own.constant, step.width)
    return value, np.broadcast_to(errors[0], given[0].shape)


OPERATION = Operation({None: Rule(lambda s, x: x)}, _simulate, constant="must", shown=None)
