"""Windows side by side, and windows added up."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from .call import Call, Unsupported, each_axis, lowers
from .convolution import pad
from .lowering import Lowering
from .transposed import transposed


def _options(call: Call, first: int) -> dict[str, tuple[int, int]]:
    """Kernel, dilation, padding and stride, which begin at a position."""
    options = (("kernel_size", None), ("dilation", 1), ("padding", 0), ("stride", 1))
    return {name: each_axis(call.option(first + i, name, default), 2) for i, (name, default) in enumerate(options)}


@lowers(modules=(nn.Unfold,), functions=(F.unfold,))
def unfold(low: Lowering, call: Call) -> str:
    """(C, H, W) to (C * window, places)."""
    o = _options(call, 1)
    x = pad(low, call, low.value(call.get(0, "input")), [(p, p) for p in o["padding"]])
    channels, *sizes = low.shape_of(x)
    kernel, stride, dilation = o["kernel_size"], o["stride"], o["dilation"]
    rows, columns = ((n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(sizes, kernel, stride, dilation))
    shape = (math.prod(kernel), channels, rows, columns)
    x = low.emit(call, "windows", (x,), shape=shape, suffix=".windows", kernel=kernel, stride=stride, dilation=dilation)
    x = low.emit(call, "permute", (x,), shape=(shape[1], shape[0], *shape[2:]), suffix=".moved", dims=(0, 2, 1, 3, 4))
    return low.emit(call, "reshape", (x,))


@lowers(functions=(torch.Tensor.unfold,), methods=("unfold",))
def windows_of_axis(low: Lowering, call: Call) -> str:
    """``x.unfold(dim, size, step)``: the windows along an axis, their elements along a last one."""
    x, dim = low.value(call.get(0, "input")), call.get(1, "dimension")
    size, step = call.get(2, "size"), call.get(3, "step")
    axis, shape, wanted = low.axis(call.get(0, "input"), dim), low.shape_of(x), low.sample_shape(call.node)
    if axis is None:
        raise Unsupported("goes along the batch; leave axis 0 alone")
    before, after, many = math.prod(shape[:axis]), math.prod(shape[axis + 1 :]), wanted[axis]
    x = low.emit(call, "reshape", (x,), shape=(before, shape[axis], after), suffix=".line")
    x = low.emit(call, "windows", (x,), shape=(size, before, many, after), suffix=".windows", kernel=(size, 1),
                 stride=(step, 1), dilation=(1, 1))  # fmt: skip
    x = low.emit(call, "permute", (x,), shape=(before, many, after, size), suffix=".moved", dims=(0, 2, 3, 4, 1))
    return low.emit(call, "reshape", (x,))


@lowers(modules=(nn.Fold,), functions=(F.fold,))
def fold(low: Lowering, call: Call) -> str:
    """A transposed convolution, by ones, of each channel's windows."""
    o, x = _options(call, 2), low.value(call.get(0, "input"))
    channels, *sizes = low.sample_shape(call.node)
    kernel, stride, dilation, padding = (o[name] for name in ("kernel_size", "stride", "dilation", "padding"))
    rows, columns = ((n + 2 * p - d * (k - 1) - 1) // s + 1
                     for n, p, d, k, s in zip(sizes, padding, dilation, kernel, stride))  # fmt: skip
    count = math.prod(kernel)
    x = low.emit(call, "reshape", (x,), shape=(channels * count, rows, columns), suffix=".places")
    ones = torch.eye(count, dtype=torch.float64).reshape(count, 1, *kernel).repeat(channels, 1, 1, 1)
    return transposed(low, call, x, ones, None, stride, padding, dilation, channels)
