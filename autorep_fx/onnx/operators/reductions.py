"""Sums, means and extremes along axes."""

from __future__ import annotations

from typing import Any

import torch

from ..call import Call, Unsupported, Value, operator


def _axes(c: Call) -> tuple[int, ...]:
    axes = c.numbers(1, "axes")
    if not axes and c.attribute("noop_with_empty_axes", 0):
        return ()
    return tuple(sorted(a % c.rank() for a in axes)) if axes else tuple(range(c.rank()))


_REDUCTIONS: dict[str, Any] = {
    "ReduceMean": torch.mean,
    "ReduceSum": torch.sum,
    "ReduceMax": torch.amax,
    "ReduceMin": torch.amin,
    "ReduceL1": lambda x, axes, keep: torch.sum(torch.abs(x), axes, keep),
    "ReduceL2": lambda x, axes, keep: torch.norm(x, 2, axes, keep),
    "ReduceSumSquare": lambda x, axes, keep: torch.sum(x * x, axes, keep),
    "ReduceLogSum": lambda x, axes, keep: torch.log(torch.sum(x, axes, keep)),
    "ReduceLogSumExp": torch.logsumexp,
}


@operator(*_REDUCTIONS)
def reduction(c: Call) -> Value:
    axes = _axes(c)
    return _REDUCTIONS[c.name](c.proxy(0), axes, bool(c.attribute("keepdims", 1))) if axes else c.proxy(0)


@operator("ReduceProd")
def product(c: Call) -> Value:
    x = c.proxy(0)
    for axis in reversed(_axes(c)):
        x = torch.prod(x, axis, bool(c.attribute("keepdims", 1)))
    return x


@operator("ArgMax", "ArgMin")
def arg_extreme(c: Call) -> Value:
    if c.attribute("select_last_index", 0):
        raise Unsupported("select_last_index=1; of equal values the first is supported")
    function = torch.argmax if c.name == "ArgMax" else torch.argmin
    return function(c.proxy(0), c.axis(0), bool(c.attribute("keepdims", 1)))


@operator("TopK")
def top_k(c: Call) -> Value:
    found = torch.topk(c.proxy(0), int(c.scalar(1, "k")), c.axis(-1), bool(c.attribute("largest", 1)),
                       bool(c.attribute("sorted", 1)))  # fmt: skip
    return found[0], found[1]


@operator("CumSum")
def cumulative(c: Call) -> Value:
    if c.attribute("exclusive", 0) or c.attribute("reverse", 0):
        raise Unsupported("exclusive or reversed; the plain sum is supported")
    return torch.cumsum(c.proxy(0), int(c.scalar(1)) % c.rank())
