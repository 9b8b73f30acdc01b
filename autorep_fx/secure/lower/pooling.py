"""Pooling and means over axes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .call import Call, Unsupported, lowers
from .linear import _pair
from .lowering import Lowering
from .resample import adaptive_averages, along_both, averages, gather


@lowers(modules=(nn.AvgPool2d,), functions=(F.avg_pool2d,))
def avg_pool2d(low: Lowering, call: Call) -> str:
    x = low.value(call.get(0, "input"))
    kernel = _pair(call.option(1, "kernel_size"))
    stride = _pair(call.option(2, "stride", None) or kernel)
    padding = _pair(call.option(3, "padding", 0))
    include, override = call.option(5, "count_include_pad", True), call.option(6, "divisor_override", None)
    cut = _cut_off(low, call, x, kernel, stride, padding, (1, 1))
    if any(cut) or not include and any(padding):
        if override is not None:
            raise Unsupported("divisor_override with windows that are cut off; pad the input and use ceil_mode=False")
        shape, outputs = low.shape_of(x)[-2:], low.sample_shape(call.node)[-2:]
        return along_both(low, call, x, *(
            averages(n, k, s, p, to, include) for n, k, s, p, to in zip(shape, kernel, stride, padding, outputs)
        ))  # fmt: skip
    divisor = override or kernel[0] * kernel[1]
    return low.emit(call, "avg_pool2d", (x,), kernel=kernel, stride=stride, padding=padding, divisor=divisor)


@lowers(modules=(nn.AdaptiveAvgPool2d,), functions=(F.adaptive_avg_pool2d,))
def adaptive_avg_pool2d(low: Lowering, call: Call) -> str:
    x = low.value(call.get(0, "input"))
    size, wanted = low.shape_of(x)[-2:], low.sample_shape(call.node)[-2:]
    if any(s % w for s, w in zip(size, wanted)):
        return along_both(low, call, x, *(adaptive_averages(s, w) for s, w in zip(size, wanted)))
    kernel = (size[0] // wanted[0], size[1] // wanted[1])
    return low.emit(
        call, "avg_pool2d", (x,), kernel=kernel, stride=kernel, padding=(0, 0), divisor=kernel[0] * kernel[1]
    )


@lowers(modules=(nn.AdaptiveMaxPool2d,), functions=(F.adaptive_max_pool2d,))
def adaptive_max_pool2d(low: Lowering, call: Call) -> str:
    x = low.value(call.get(0, "input"))
    if call.option(2, "return_indices", False):
        raise Unsupported("return_indices=True; only the maxima can be computed")
    kernel = []
    for axis, wanted in zip((-2, -1), low.sample_shape(call.node)[-2:]):
        place = len(low.shape_of(x)) + axis
        size = low.shape_of(x)[place]
        starts = [i * size // wanted for i in range(wanted)]
        ends = [-(-i * size // wanted) for i in range(1, wanted + 1)]
        kernel.append(max(end - start for start, end in zip(starts, ends)))
        if size % wanted:  # windows overlap and differ: each gets elements of its own, short ones the last one again
            taken = [min(start + j, end - 1) for start, end in zip(starts, ends) for j in range(kernel[-1])]
            x = gather(low, call, x, place, taken, ("rows", "columns")[axis])
    return _maximum(low, call, x, tuple(kernel), tuple(kernel))


@lowers(modules=(nn.MaxPool2d,), functions=(F.max_pool2d, torch.max_pool2d))
def max_pool2d(low: Lowering, call: Call) -> str:
    x = low.value(call.get(0, "input"))
    kernel = _pair(call.option(1, "kernel_size"))
    stride = _pair(call.option(2, "stride", None) or kernel)
    padding, dilation = _pair(call.option(3, "padding", 0)), _pair(call.option(4, "dilation", 1))
    if call.option(6, "return_indices", False):
        raise Unsupported("return_indices=True; only the maxima can be computed")
    for axis, (rows, d) in enumerate(zip(_cut_off(low, call, x, kernel, stride, padding, dilation), dilation)):
        if rows and d > 1:
            raise Unsupported("ceil_mode=True with dilation; pad the input and use ceil_mode=False")
        if rows:  # the last element again: every window that reaches beyond the end has it already
            place = len(low.shape_of(x)) - 2 + axis
            size = low.shape_of(x)[place]
            x = gather(low, call, x, place, [*range(size), *[size - 1] * rows], ("rows", "columns")[axis])
    return _maximum(low, call, x, kernel, stride, padding, dilation)


def _maximum(low: Lowering, call: Call, x: str, kernel, stride, padding=(0, 0), dilation=(1, 1), **options) -> str:
    if kernel == (1, 1):  # nothing to compare, and torch allows no padding: the stride is what is left
        index = (..., *(slice(None, None, s) for s in stride))
        return x if stride == (1, 1) else low.emit(call, "index", (x,), index=index, **options)
    return low.emit(
        call, "max_pool2d", (x,), kernel=kernel, stride=stride, padding=padding, dilation=dilation, **options
    )


def _cut_off(low: Lowering, call: Call, x: str, kernel, stride, padding, dilation) -> list[int]:
    """By how much the last window of each axis reaches beyond the padded input: with ``ceil_mode``, or not at all."""
    sizes, outputs = low.shape_of(x)[-2:], low.sample_shape(call.node)[-2:]
    reach = [(to - 1) * s + d * (k - 1) + 1 - 2 * p - n
             for n, to, k, s, p, d in zip(sizes, outputs, kernel, stride, padding, dilation)]  # fmt: skip
    return [max(r, 0) for r in reach]


@lowers(functions=(torch.amax,), methods=("amax",))
def amax(low: Lowering, call: Call) -> str:
    x = low.value(call.get(0, "input"))
    shape = low.shape_of(x)
    dims = call.get(1, "dim", ())
    dims = {d % (len(shape) + 1) for d in (dims if isinstance(dims, (tuple, list)) else (dims,))}
    if len(shape) != 3 or dims != {2, 3}:
        raise Unsupported(
            "only the maximum over both spatial axes of (N, C, H, W) is supported; F.max_pool2d(x, (1, w)) is the one "
            "along a last axis of w, and F.max_pool2d(x.flatten(2).unsqueeze(1), (c, 1)) that over c channels"
        )
    kernel = shape[1:]
    pooled = _maximum(low, call, x, kernel, kernel, shape=(shape[0], 1, 1), suffix=".pool")
    return pooled if low.sample_shape(call.node) == (shape[0], 1, 1) else low.emit(call, "reshape", (pooled,))


@lowers(functions=(torch.mean,), methods=("mean",))
def mean(low: Lowering, call: Call) -> str:
    x = low.value(call.get(0, "input"))
    axes = len(low.shape_of(x)) + 1
    dims = call.get(1, "dim", call.kwargs.get("axis"))
    if dims is None:
        raise Unsupported("averages over the batch too; give dim, without axis 0")
    dims = tuple(d % axes for d in (dims if isinstance(dims, (tuple, list)) else (dims,)))
    if 0 in dims:
        raise Unsupported("averages over the batch; leave axis 0 out of dim")
    return low.emit(call, "mean", (x,), dims=dims, keepdim=bool(call.get(2, "keepdim", False)))


@lowers(functions=(torch.sum,), methods=("sum",))
def total(low: Lowering, call: Call) -> str:
    x = low.value(call.get(0, "input"))
    shape = low.shape_of(x)
    dims = call.get(1, "dim", call.kwargs.get("axis"))
    if dims is None:
        raise Unsupported("sums over the batch too; give dim, without axis 0")
    dims = tuple(d % (len(shape) + 1) for d in (dims if isinstance(dims, (tuple, list)) else (dims,)))
    if 0 in dims:
        raise Unsupported("sums over the batch; leave axis 0 out of dim")
    return low.emit(call, "sum", (x,), dims=dims, keepdim=bool(call.get(2, "keepdim", False)))
