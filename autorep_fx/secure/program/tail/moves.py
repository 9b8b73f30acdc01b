"""What the tail begins with, and what moves values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import checks, shapes
from ..checks import Check, Rule, several, whole
from ..shapes import LARGEST, MOST, Shape, need
from .step import TailOperation, TailStep

#: Types of what is neither a number with a fraction nor true or false.
INTEGERS = ("int64", "int32", "int16", "int8", "uint8")

_NUMBERS = several(checks.NUMBER, 1, MOST)
_PLACES = Check(
    f"up to {MOST} integers from -1", lambda v, _: type(v) is tuple and len(v) <= MOST and all(map(_is_place, v))
)


def _is_place(v: Any) -> bool:
    return type(v) is int and -1 <= v < LARGEST


def _opened(step: TailStep, y: np.ndarray) -> np.ndarray:
    start = step.attrs["start"]
    return y.reshape(len(y), -1)[:, start : start + math.prod(step.shape)].reshape(len(y), *step.shape)


def _constant_shape(step: TailStep) -> Shape:
    count = len(step.attrs["values"])
    need(count in (1, math.prod(step.shape)), f"{count} numbers do not fill {step.shape}")
    return step.shape


def _constant(step: TailStep, y: np.ndarray) -> np.ndarray:
    values = np.array(step.attrs["values"])
    values = values.reshape(step.shape) if len(values) == math.prod(step.shape) else values[0]
    return np.broadcast_to(values, (len(y), *step.shape))


def _expanded(step: TailStep, x: Shape) -> Shape:
    need(len(x) == len(step.shape), f"expands {len(x)} axes to {len(step.shape)}")
    return shapes.broadcast(x, step.shape)


def _taken(step: TailStep, x: Shape) -> Shape:
    places = step.attrs["places"]
    need(len(places) == math.prod(step.shape), f"{len(places)} places do not fill {step.shape}")
    need(max(places, default=-1) < math.prod(x), f"takes places beyond {x}")
    return step.shape


def _take(step: TailStep, x: np.ndarray) -> np.ndarray:
    """Zero at -1."""
    places = np.array(step.attrs["places"], np.int64)
    flat = np.where(places < 0, 0, x.reshape(len(x), -1)[:, places]) if (places < 0).any() else x.reshape(
        len(x), -1)[:, places]  # fmt: skip
    return flat.astype(x.dtype, copy=False).reshape(len(x), *step.shape)


OPERATIONS = {
    "opened": TailOperation(Rule(lambda s: s.shape, {"start": whole(0, LARGEST)}, inputs=0), _opened),
    "constant": TailOperation(Rule(_constant_shape, {"values": _NUMBERS}, inputs=0), _constant),
    "reshape": TailOperation(
        Rule(lambda s, x: shapes.reshape(x, s.shape)), lambda step, x: x.reshape(len(x), *step.shape)
    ),
    "permute": TailOperation(
        Rule(lambda s, x: shapes.permute(s.attrs, x), {"dims": several(whole(0))}),
        lambda step, x: x.transpose(step.attrs["dims"]),
    ),
    "index": TailOperation(
        Rule(lambda s, x: shapes.index(s.attrs, x), {"index": checks.INDEX}), lambda step, x: x[step.attrs["index"]]
    ),
    "expand": TailOperation(Rule(_expanded), lambda step, x: np.broadcast_to(x, (len(x), *step.shape))),
    "take": TailOperation(Rule(_taken, {"places": _PLACES}), _take),
    "cat": TailOperation(
        Rule(lambda s, *parts: shapes.cat(s.attrs, *parts), {"dim": checks.WHOLE}, inputs=None),
        lambda step, *parts: np.concatenate(parts, step.attrs["dim"]),
    ),
    "cast": TailOperation(
        Rule(lambda s, x: x, {"to": checks.one_of("float64", "bool", *INTEGERS)}),
        lambda step, x: x.astype(step.attrs["to"]),
    ),
}
