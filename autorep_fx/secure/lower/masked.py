"""Values that a constant mask chooses, and scores that one hides from a softmax."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn

from .arithmetic import add_constant
from .call import Call, Unsupported, lowers
from .hidden import LOWEST, Hidden
from .lowering import Lowering
from .refused import COMPARISON


@lowers(functions=(torch.masked_fill,), methods=("masked_fill", "masked_fill_"))
def masked_fill(low: Lowering, call: Call) -> str:
    filled = _mask(call.get(1, "mask"))
    return _chosen(low, call, low.value(call.get(0, "input")), ~filled, call.get(2, "value"))


@lowers(functions=(torch.where,), methods=("where",))
def where(low: Lowering, call: Call) -> str:
    """By a method it is ``x.where(condition, other)``."""
    if call.node.op == "call_method":
        a, condition, b = call.get(0, "input"), call.get(1, "condition"), call.get(2, "other")
    else:
        condition, a, b = call.get(0, "condition"), call.get(1, "input"), call.get(2, "other")
    condition = _mask(condition)
    if not isinstance(a, fx.Node):
        return _chosen(low, call, low.value(b), ~condition, a)
    if not isinstance(b, fx.Node):
        return _chosen(low, call, low.value(a), condition, b)
    parts = [_kept(low, call, low.value(x), mask, f".{i}") for i, (x, mask) in enumerate(((a, condition),
                                                                                         (b, ~condition)))]  # fmt: skip
    return low.emit(call, "add", tuple(parts), sign=1)


def _mask(value: Any) -> Tensor:
    if isinstance(value, fx.Node):
        raise Unsupported(COMPARISON)
    return value.detach().to("cpu", torch.bool)


def _chosen(low: Lowering, call: Call, x: str, kept: Tensor, other: Any) -> str:
    """A private value where a mask keeps it, and a constant elsewhere."""
    if isinstance(other, Tensor) and other.numel() == 1 and not isinstance(other, nn.Parameter):
        other = other.item()
    if isinstance(other, (int, float)) and other <= LOWEST and low.reaches_softmax_alone(call.node):
        kept = _of_sample(low, call, kept)
        y = low.emit(call, "reshape", (_whole(low, call, x),))
        before = low.hidden.get(y)
        low.hidden[y] = Hidden(~kept if before is None else ~kept | before.where, before is None or before.filled)
        return y
    if not isinstance(other, Tensor):
        other = torch.tensor(float(other), dtype=torch.float64)
    if not torch.isfinite(other).all():
        raise Unsupported("puts an infinite number beside private ones; before a softmax, and nothing else, it may")
    other = other[0] if other.dim() > len(low.sample_shape(call.node)) else other
    if not other.any():
        return _kept(low, call, x, kept, "")
    x = _kept(low, call, x, kept, ".kept")
    constant = other.detach().double() * ~_of_sample(low, call, kept)
    return add_constant(low, call, x, constant, 1.0)


def _kept(low: Lowering, call: Call, x: str, kept: Tensor, suffix: str) -> str:
    """Zeros elsewhere."""
    positions = _of_sample(low, call, kept).flatten().nonzero().flatten()
    return low.emit(call, "keep", (_whole(low, call, x),), suffix=suffix, positions=positions.numpy())


def _of_sample(low: Lowering, call: Call, mask: Tensor) -> Tensor:
    """A mask as every sample has it."""
    shape = low.sample_shape(call.node)
    if mask.dim() > len(shape) and len(mask) != 1:
        raise Unsupported("a mask for each sample; one for all is supported")
    return (mask[0] if mask.dim() > len(shape) else mask).expand(shape)


def _whole(low: Lowering, call: Call, x: str) -> str:
    shape = low.sample_shape(call.node)
    if low.shape_of(x) != shape:
        raise Unsupported(f"chooses {shape} of samples {low.shape_of(x)}; expand them before")
    return x
