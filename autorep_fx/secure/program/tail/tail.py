"""The steps of the tail, checked and run."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ....errors import FormatError
from ..checks import check_step
from ..shapes import LARGEST, Shape
from ..step_json import from_json
from . import along, arithmetic, moves
from .step import TailOperation, TailStep

OPERATIONS: dict[str, TailOperation] = {**moves.OPERATIONS, **arithmetic.OPERATIONS, **along.OPERATIONS}

#: Most steps. All of their values together have ``LARGEST`` elements a sample at most.
STEPS = 2**12


def steps_of(rows: list[Any]) -> list[TailStep]:
    """Steps from JSON data.

    Raises:
        FormatError: it is none of steps.
    """
    return [from_json(TailStep, row, f"step {i} of the client's") for i, row in enumerate(rows)]


def check_tail(rows: Any, size: int) -> dict[str, Shape]:
    """The shapes of all values, by name.

    Raises:
        FormatError: not steps that a client can run on ``size`` values of a sample; names the step.
    """
    if type(rows) is not list or len(rows) > STEPS:
        raise FormatError(f"the client's part is no list of {STEPS} steps at most")
    known: dict[str, Shape] = {}
    for step in steps_of(rows):
        operation = OPERATIONS.get(step.op) if type(step.op) is str else None
        check_step(step, None if operation is None else operation.rule, known)
        if step.op == "opened" and step.attrs["start"] + math.prod(step.shape) > size:
            raise FormatError(f"step '{step.name}' is beyond the output")
        known[step.name] = step.shape
    if sum(map(math.prod, known.values())) > LARGEST:
        raise FormatError(f"the client's part has values of more than {LARGEST} elements")
    return known


def run_tail(rows: list[Any], y: np.ndarray) -> dict[str, np.ndarray]:
    """All values of the opened ones (N, P), by name."""
    found: dict[str, np.ndarray] = {}
    with np.errstate(all="ignore"):  # as torch: an infinity is one
        for step in steps_of(rows):
            compute = OPERATIONS[step.op].compute
            found[step.name] = compute(step, *([found[name] for name in step.inputs] or [y]))
    return found
