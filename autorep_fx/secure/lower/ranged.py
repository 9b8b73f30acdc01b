"""Roots and reciprocals of private values, as splines on the range that the examples show."""

from __future__ import annotations

import math
from typing import Any

import torch

from ..program.shapes import Shape
from .call import Call, lowers
from .lowering import Lowering

#: What stands for an end that is known from examples later (planner/ranged_arguments.py); above all that is computed.
OPEN = 1e30


@lowers(functions=(torch.rsqrt,), methods=("rsqrt",))
def rsqrt(low: Lowering, call: Call) -> str:
    return ranged(low, call, "rsqrt", low.value(call.get(0, "input")))


@lowers(functions=(torch.reciprocal,), methods=("reciprocal",))
def reciprocal(low: Lowering, call: Call) -> str:
    return ranged(low, call, "reciprocal", low.value(call.get(0, "input")))


@lowers(functions=(torch.sqrt,), methods=("sqrt",))
def sqrt(low: Lowering, call: Call) -> str:
    return root(low, call, low.value(call.get(0, "input")))


def root(low: Lowering, call: Call, x: str) -> str:
    """``x / sqrt(x)``."""
    return low.emit(call, "mul", (x, ranged(low, call, "rsqrt", x, ".rsqrt")))


def ranged(low: Lowering, call: Call, kind: str, x: str, suffix: str = "", least: float = 0.0) -> str:
    """A root or reciprocal of a value that is known to be ``least`` or more, between factors that are set later."""
    shape = low.shape_of(x)
    flat = shape or (1,)
    if not shape:
        x = low.emit(call, "reshape", (x,), shape=flat, suffix=f"{suffix}.row")
    x = low.emit(call, "scale", (x,), shape=flat, suffix=f"{suffix}.argument", factor=1.0)
    x = site(low, call, kind, x, f"{suffix}.{kind}", low=least, high=OPEN)
    x = low.emit(call, "scale", (x,), shape=flat, suffix=suffix if shape else f"{suffix}.result", factor=1.0)
    return x if shape else low.emit(call, "reshape", (x,), shape=shape, suffix=suffix)


def divided(low: Lowering, call: Call, x: str, by: str, shape: Shape, suffix: str = "") -> str:
    one_over = ranged(low, call, "reciprocal", by, f"{suffix}.one_over")
    return low.emit(call, "mul", (x, one_over), shape=shape, suffix=suffix)


def site(lowering: Lowering, call: Call, kind: str, x: str, suffix: str, **params: Any) -> str:
    """A function of program/ranged.py at all positions of a sample."""
    shape = lowering.shape_of(x)
    count = math.prod(shape)
    return lowering.emit(call, "hybrid", (x,), shape=shape, suffix=suffix, kind=kind, degree=2,
                         per_channel=count // shape[0], kept=torch.arange(count), replaced=torch.arange(0),
                         params=params)  # fmt: skip
