"""Means, sums and maxima over whole axes, and the larger or smaller of two tensors."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, fx

from .arithmetic import add_constant
from .call import Call, Unsupported, lowers
from .lowering import Lowering
from .pooling import largest

_NO_PLACES = (
    "takes where the largest is, which is no sum of shares; return the scores, and take .argmax(1) or .topk(k) of what "
    "the client gets, which is free"
)


@lowers(functions=(torch.mean,), methods=("mean",))
def mean(low: Lowering, call: Call) -> str:
    return _total(low, call, "mean", "averages")


@lowers(functions=(torch.sum,), methods=("sum",))
def total(low: Lowering, call: Call) -> str:
    return _total(low, call, "sum", "sums")


def _total(low: Lowering, call: Call, op: str, what: str) -> str:
    x = low.value(call.get(0, "input"), anywhere=True)
    dims = tuple(axis + 1 for axis in _axes(low, call, what))
    return low.emit(call, op, (x,), dims=dims, keepdim=bool(call.get(2, "keepdim", False)))


@lowers(functions=(torch.amax,), methods=("amax",))
def amax(low: Lowering, call: Call) -> str:
    return _over(low, call, 1.0)


@lowers(functions=(torch.amin,), methods=("amin",))
def amin(low: Lowering, call: Call) -> str:
    return _over(low, call, -1.0)


@lowers(functions=(torch.max,), methods=("max",))
def maximum_of(low: Lowering, call: Call) -> str:
    """Along an axis, or of two."""
    return _over(low, call, 1.0) if isinstance(_second(call, "dim"), int) else _of_two(low, call, 1.0)


@lowers(functions=(torch.min,), methods=("min",))
def minimum_of(low: Lowering, call: Call) -> str:
    return _over(low, call, -1.0) if isinstance(_second(call, "dim"), int) else _of_two(low, call, -1.0)


@lowers(functions=(torch.maximum, torch.fmax), methods=("maximum", "fmax"))
def maximum(low: Lowering, call: Call) -> str:
    return _of_two(low, call, 1.0)


@lowers(functions=(torch.minimum, torch.fmin), methods=("minimum", "fmin"))
def minimum(low: Lowering, call: Call) -> str:
    return _of_two(low, call, -1.0)


def _second(call: Call, name: str) -> Any:
    return call.get(1, name, call.kwargs.get("axis"))


def _axes(low: Lowering, call: Call, what: str) -> list[int]:
    """Of the sample, which ``dim`` names."""
    dims = _second(call, "dim")
    if dims is None or dims == ():
        raise Unsupported(f"{what} over the batch too; give dim, without axis 0")
    dims = dims if isinstance(dims, (tuple, list)) else (dims,)
    axes = [low.axis(call.get(0, "input"), dim) for dim in dims]
    if None in axes:
        raise Unsupported(f"{what} over the batch; leave axis 0 out of dim")
    return axes


def _over(low: Lowering, call: Call, sign: float) -> str:
    """The largest over axes, or the smallest, as a max pooling along the last two axes."""
    x, axes = low.value(call.get(0, "input"), anywhere=True), sorted(_axes(low, call, "compares"))
    keepdim, shape = bool(call.get(2, "keepdim", False)), low.shape_of(x)
    wanted = tuple(1 if i in axes else n for i, n in enumerate(shape) if keepdim or i not in axes)
    returns_places = isinstance(low.values[call.node], tuple)
    if sign < 0:
        x = low.emit(call, "scale", (x,), shape=shape, suffix=".turned", factor=-1.0)
    if axes != [*range(axes[0], axes[-1] + 1)]:  # side by side, in front
        dims = (*axes, *(i for i in range(len(shape)) if i not in axes))
        shape = tuple(shape[i] for i in dims)
        x = low.emit(call, "permute", (x,), shape=shape, suffix=".axes", dims=(0, *(i + 1 for i in dims)))
        axes = [*range(len(axes))]
    if len(axes) == 2 and axes[-1] == len(shape) - 1:
        kernel, pooled = shape[-2:], (*shape[:-2], 1, 1)
    else:
        before, after = math.prod(shape[: axes[0]]), math.prod(shape[axes[-1] + 1 :])
        kernel, pooled = (math.prod(shape[i] for i in axes), 1), (before, 1, after)
        x = _reshaped(low, call, x, (before, kernel[0], after), ".line")
    x = largest(low, call, x, pooled, ".pool", kernel, kernel)
    if sign < 0:
        x = low.emit(call, "scale", (x,), shape=pooled, suffix=".back", factor=-1.0)
    x = _reshaped(low, call, x, wanted, "")
    if returns_places:
        low.parts[call.node] = [lambda call, suffix: x, _places]
    return x


def _places(call: Call, suffix: str) -> str:
    raise Unsupported(_NO_PLACES)


def _reshaped(low: Lowering, call: Call, x: str, shape: tuple[int, ...], suffix: str) -> str:
    return x if low.shape_of(x) == shape else low.emit(call, "reshape", (x,), shape=shape, suffix=suffix)


def _of_two(low: Lowering, call: Call, sign: float) -> str:
    """``b + relu(a - b)``, or ``a - relu(a - b)``."""
    a, b = call.get(0, "input"), call.get(1, "other")
    if b is None:
        raise Unsupported("compares samples of the batch, too; give dim, without axis 0")
    if not isinstance(a, fx.Node):
        a, b = b, a
    x, shape = low.value(a), low.sample_shape(call.node)
    if not shape:
        raise Unsupported("compares one number a sample; give it an axis, x[:, None]")
    if isinstance(b, fx.Node):
        y = low.value(b)
        if len(low.shape_of(x)) != len(low.shape_of(y)):
            raise Unsupported("compares tensors with a different number of axes; unsqueeze one so that batches line up")
        gap = low.emit(call, "add", (x, y), suffix=".gap", sign=-1)
    else:
        gap = add_constant(low, call, x, b, -1, ".gap")
    count = math.prod(shape)
    larger = low.emit(call, "hybrid", (gap,), suffix=".relu", kind="relu", degree=2, per_channel=count // shape[0],
                      kept=torch.arange(count), replaced=torch.arange(0))  # fmt: skip
    if sign < 0:
        return low.emit(call, "add", (x, larger), sign=-1)
    if isinstance(b, Tensor):
        return add_constant(low, call, larger, b, 1)
    return low.emit(call, "add", (y, larger), sign=1)
