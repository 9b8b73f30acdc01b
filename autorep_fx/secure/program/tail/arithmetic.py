"""Functions of each element, and of elements of several values side by side."""

from __future__ import annotations

import numpy as np

from .. import checks, shapes
from ..checks import Check, Rule
from ..shapes import Shape
from .step import TailOperation, TailStep

_END = Check("a finite number, or none", lambda v, s: v is None or checks.NUMBER.holds(v, s))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.where(x >= 0, 1.0, np.exp(-np.abs(x))) / (1 + np.exp(-np.abs(x)))


def logsigmoid(x: np.ndarray) -> np.ndarray:
    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))


#: Of one element.
_OF_ONE = {
    "abs": np.abs, "exp": np.exp, "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "sqrt": np.sqrt,
    "floor": np.floor, "ceil": np.ceil, "round": np.round, "not": np.logical_not,
    "sigmoid": sigmoid, "logsigmoid": logsigmoid, "tanh": np.tanh,
}  # fmt: skip

#: Of two, which have as many axes, or one number along some of them.
_OF_TWO = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.true_divide, "maximum": np.maximum,
    "minimum": np.minimum, "gt": np.greater, "ge": np.greater_equal, "lt": np.less, "le": np.less_equal, "eq": np.equal,
    "ne": np.not_equal, "and": np.logical_and, "or": np.logical_or,
}  # fmt: skip


def _where(step: TailStep, condition: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.where(condition != 0, x, y)


def _of_three(step: TailStep, *given: Shape) -> Shape:
    return shapes.add(shapes.add(given[0], given[1]), given[2])


def _clamp(step: TailStep, x: np.ndarray) -> np.ndarray:
    return np.clip(x, step.attrs["low"], step.attrs["high"])


OPERATIONS = {
    **{op: TailOperation(Rule(lambda s, x: x), lambda step, x, f=f: f(x)) for op, f in _OF_ONE.items()},
    **{
        op: TailOperation(Rule(lambda s, x, y: shapes.add(x, y), inputs=2), lambda step, x, y, f=f: f(x, y))
        for op, f in _OF_TWO.items()
    },
    "power": TailOperation(
        Rule(lambda s, x: x, {"exponent": checks.NUMBER}), lambda step, x: np.power(x, float(step.attrs["exponent"]))
    ),
    "clamp": TailOperation(Rule(lambda s, x: x, {"low": _END, "high": _END}), _clamp),
    "where": TailOperation(Rule(_of_three, inputs=3), _where),
}
