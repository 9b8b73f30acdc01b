"""What is public and linear, which each party does by itself; its kinds are in ../local.py."""

from __future__ import annotations

import math

import numpy as np

from ....errors import FormatError
from ...program import checks, shapes
from ...program.checks import Rule, pair, several, whole
from ...program.shapes import Shape, need
from .. import local
from ..attributes import EXPONENT, FACTOR, KEPT
from ..operation import Operation, Simulated
from ..plan import Step
from ..rounding import Rounding, no_bound
from ..server_numbers import Numbers

_SHIFTS = several(EXPONENT, 1, checks.STEPS)


def _take(step: Step, x: Shape) -> Shape:
    positions = step.attrs["positions"]
    need(len(positions) > 0 and positions[-1] < math.prod(x), f"takes positions beyond {x}")
    return (len(positions),)


def _put(step: Step, x: Shape) -> Shape:
    need(x == (len(step.attrs["positions"]),), f"puts {x} elsewhere than at as many positions")
    return step.shape


_KINDS = {
    "add": Rule(lambda s, x, y: shapes.add(x, y), {"sign": checks.SIGN}, inputs=2),
    "times": Rule(lambda s, x: x, {"factor": FACTOR, "up": EXPONENT}),
    "pad": Rule(lambda s, x: shapes.pad(s.attrs, x), {"pads": several(whole(-shapes.MOST))}),
    "windows": Rule(
        lambda s, x: shapes.windows_apart(s.attrs, x), {"kernel": pair(1), "stride": pair(1), "dilation": pair(1)}
    ),
    "sum_pool": Rule(lambda s, x: shapes.pool(s.attrs, x), {"kernel": pair(1), "stride": pair(1), "padding": pair(0)}),
    "sum": Rule(lambda s, x: shapes.sum_over(s.attrs, x), {"dims": several(checks.WHOLE), "keepdim": checks.FLAG}),
    "reshape": Rule(lambda s, x: shapes.reshape(x, s.shape)),
    "broadcast": Rule(lambda s, x: shapes.broadcast(x, s.shape)),
    "at": Rule(lambda s, x: x, {"positions": KEPT}),
    "take": Rule(_take, {"positions": checks.PLACES}),
    "put": Rule(_put, {"positions": KEPT}),
    "permute": Rule(lambda s, x: shapes.permute(s.attrs, x), {"dims": several(whole(0))}),
    "index": Rule(lambda s, x: shapes.index(s.attrs, x), {"index": checks.INDEX}),
    "select": Rule(lambda s, x: shapes.select(s.attrs, x), {"dim": checks.WHOLE, "places": checks.CHOSEN}),
    "cat": Rule(lambda s, *parts: shapes.cat(s.attrs, *parts), {"dim": checks.WHOLE}, inputs=None),
}


def _exponent(step: Step, given: list[int]) -> int:
    largest = max(given)
    if step.attrs["shifts"] != tuple(largest - e for e in given):
        raise FormatError(f"'shifts' of step '{step.name}' do not bring its inputs to one exponent")
    return largest + step.attrs.get("up", 0)


def _simulate(
    step: Step, given: list[np.ndarray], errors: list[np.ndarray], own: Numbers, rounding: Rounding
) -> Simulated:
    y = local.apply(step, *given)
    return y, _bound(step, errors) if rounding.rng is None else no_bound(y)


def _bound(step: Step, errors: list[np.ndarray]) -> np.ndarray:
    errors = [np.ldexp(b, bits) for b, bits in zip(errors, step.attrs["shifts"])]
    kind = step.attrs["kind"]
    if kind == "add":
        return errors[0] + errors[1]
    if kind == "times":
        return errors[0] * abs(step.attrs["factor"])
    return local.LOCAL[kind](step, *errors)


OPERATION = Operation(
    {
        kind: Rule(rule.shape, {"kind": checks.one_of(kind), "shifts": _SHIFTS, **rule.attrs},
                   inputs=rule.inputs)
        for kind, rule in _KINDS.items()
    },
    _simulate,
    _exponent,
    shown=None,
)  # fmt: skip
