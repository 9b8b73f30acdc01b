"""Public linear operations: sums, means, and whatever moves values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

from ...plan import local
from ...program import tensor_ops
from ...program.program import Step
from ..builder import Builder
from ..node import Margins, Node, Nodes
from ..planned import Bounded, Chosen, Planned
from ..source import Source


def _number(node: Node) -> tuple[int, int]:
    """(integer, what it adds to the exponent) of a public factor."""
    if "factor" in node.attrs:
        return node.attrs["factor"], node.attrs["up"]
    real = node.attrs["real"]
    up = max(node.bits - math.floor(math.log2(abs(real))), 0) if real else 0
    return round(math.ldexp(real, up)), up


def _exponent(nodes: Nodes, node: Node, given: list[int], margins: Margins) -> int:
    return max(given) + (_number(node)[1] if node.attrs["kind"] == "times" else 0)


def _bound(chosen: Chosen, node: Node, given: list[np.ndarray]) -> Bounded:
    kind = node.attrs["kind"]
    if kind == "add":
        return Bounded(given[0] + given[1])
    if kind == "times":
        factor, up = _number(node)
        return Bounded(given[0] * math.ldexp(abs(factor), -up))
    return Bounded(local.LOCAL[kind](node, *given))


def _emit(chosen: Chosen, node: Node) -> tuple[dict[str, Any], None]:
    given = chosen.given(node)
    attrs: dict[str, Any] = {"shifts": tuple(max(given) - e for e in given)}
    if node.attrs["kind"] == "times":
        attrs["factor"], attrs["up"] = _number(node)
    return attrs, None


def _pool(b: Builder, step: Step) -> None:
    a = step.attrs
    size = {key: a[key] for key in ("kernel", "stride", "padding")}
    total = b.local("sum_pool", f"{step.name}.sum", [step.inputs[0]], step.shape, **size)
    b.times(step.name, total, step.shape, 1 / a["divisor"])


def _mean(b: Builder, step: Step) -> None:
    a, x = step.attrs, b.nodes[step.inputs[0]]
    count = math.prod(x.shape[d - 1] for d in a["dims"])
    total = b.local("sum", f"{step.name}.sum", [x.name], step.shape, dims=tuple(a["dims"]), keepdim=a["keepdim"])
    b.times(step.name, total, step.shape, 1 / count)


def _move_as(b: Builder, step: Step, kind: str, **attrs: Any) -> None:
    b.local(kind, step.name, list(step.inputs), step.shape, **attrs)


def _move(b: Builder, step: Step, **attrs: Any) -> None:
    _move_as(b, step, step.op, **attrs)


def _moved(step: Step, secrets: dict[str, Tensor], *inputs: Tensor) -> Tensor:
    return tensor_ops.MOVES[step.op](step, *inputs)


PLANNED = Planned(_bound, _exponent, _emit, order=1)

SOURCES = {
    "add": Source(lambda b, s: _move(b, s, sign=s.attrs["sign"]), lambda step, secrets, x, y: x + y, affine=True),
    "scale": Source(
        lambda b, s: b.times(s.name, s.inputs[0], s.shape, s.attrs["factor"]),
        lambda step, secrets, x: x * abs(step.attrs["factor"]),
        scales="wholly",
        affine=True,
    ),
    "avg_pool2d": Source(
        _pool,
        lambda step, secrets, x: tensor_ops.sum_pool2d(step, x) / step.attrs["divisor"],
        scales="wholly",
        affine=True,
    ),
    "mean": Source(
        _mean,
        lambda step, secrets, x: tensor_ops.sum_over(step, x) / tensor_ops.summed(step, x),
        scales="wholly",
        affine=True,
    ),
    "sum": Source(
        lambda b, s: _move_as(b, s, "sum", dims=tuple(s.attrs["dims"]), keepdim=s.attrs["keepdim"]),
        lambda step, secrets, x: tensor_ops.sum_over(step, x),
        affine=True,
    ),
    "keep": Source(lambda b, s: _move_as(b, s, "at", positions=s.attrs["positions"]), _moved, affine=True),
    "reshape": Source(_move, _moved, affine=True),
    "permute": Source(lambda b, s: _move(b, s, dims=tuple(s.attrs["dims"])), _moved, affine=True),
    "pad": Source(lambda b, s: _move(b, s, pads=tuple(s.attrs["pads"])), _moved, affine=True),
    "index": Source(lambda b, s: _move(b, s, index=s.attrs["index"]), _moved, affine=True),
    "select": Source(
        lambda b, s: _move(b, s, dim=s.attrs["dim"], places=tuple(s.attrs["places"])), _moved, affine=True
    ),
    "windows": Source(
        lambda b, s: _move(b, s, **{key: tuple(s.attrs[key]) for key in ("kernel", "stride", "dilation")}),
        _moved,
        affine=True,
    ),
    "cat": Source(lambda b, s: _move(b, s, dim=s.attrs["dim"]), _moved, affine=True),
}
