"""Averages and maxima over windows along one, two and three axes, each as poolings along two."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from .call import Call, Unsupported, each_axis, lowers
from .lowering import Lowering
from .resample import adaptive_averages, along, averages, gather


@lowers(modules=(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), functions=(F.avg_pool1d, F.avg_pool2d, F.avg_pool3d))
def avg_pool(low: Lowering, call: Call) -> str:
    x = low.value(call.get(0, "input"))
    kernel, stride, padding = _window(call)
    include, override = call.option(5, "count_include_pad", True), None
    if call.axes > 1:
        override = call.option(6, "divisor_override", None)
    ones = (1,) * call.axes
    cut = _cut_off(low, call, x, kernel, stride, padding, ones)
    if any(cut) or not include and any(padding):
        if override is not None:
            raise Unsupported("divisor_override with windows that are cut off; pad the input and use ceil_mode=False")
        sizes, outputs = low.shape_of(x)[-call.axes :], low.sample_shape(call.node)[-call.axes :]
        return along(low, call, x, [
            averages(n, k, s, p, to, include) for n, k, s, p, to in zip(sizes, kernel, stride, padding, outputs)
        ])  # fmt: skip
    return _average(low, call, x, kernel, stride, padding, override)


@lowers(modules=(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
        functions=(F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d))  # fmt: skip
def adaptive_avg_pool(low: Lowering, call: Call) -> str:
    x = low.value(call.get(0, "input"))
    sizes, wanted = low.shape_of(x)[-call.axes :], low.sample_shape(call.node)[-call.axes :]
    if any(n % to for n, to in zip(sizes, wanted)):
        return along(low, call, x, [adaptive_averages(n, to) for n, to in zip(sizes, wanted)])
    kernel = tuple(n // to for n, to in zip(sizes, wanted))
    return _average(low, call, x, kernel, kernel, (0,) * call.axes)


def _average(low: Lowering, call: Call, x: str, kernel, stride, padding, divisor: int | None = None) -> str:
    """Over whole windows. Of several poolings in a row the last one divides, by all."""
    divisor = divisor or math.prod(kernel)

    def pool(x: str, shape: tuple[int, ...], suffix: str, kernel, stride, padding) -> str:
        return low.emit(call, "avg_pool2d", (x,), shape=shape, suffix=suffix, kernel=kernel, stride=stride,
                        padding=padding, divisor=1 if suffix == ".layers" else divisor)  # fmt: skip

    return _by_two(low, call, x, pool, kernel, stride, padding)


@lowers(modules=(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
        functions=(F.max_pool1d, torch.max_pool1d, F.max_pool2d, torch.max_pool2d, F.max_pool3d,
                   torch.max_pool3d))  # fmt: skip
def max_pool(low: Lowering, call: Call) -> str:
    x = low.value(call.get(0, "input"))
    kernel, stride, padding = _window(call)
    dilation = each_axis(call.option(4, "dilation", 1), call.axes)
    if call.option(6, "return_indices", False):
        raise Unsupported("return_indices=True; only the maxima can be computed")
    for axis, (rows, d) in enumerate(zip(_cut_off(low, call, x, kernel, stride, padding, dilation), dilation)):
        if rows and d > 1:
            raise Unsupported("ceil_mode=True with dilation; pad the input and use ceil_mode=False")
        if rows:  # the last element again: every window that reaches beyond the end has it already
            place = len(low.shape_of(x)) - call.axes + axis
            size = low.shape_of(x)[place]
            x = gather(low, call, x, place, [*range(size), *[size - 1] * rows], f"axis{place + 1}")
    return _maximum(low, call, x, kernel, stride, padding, dilation)


@lowers(modules=(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
        functions=(F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d))  # fmt: skip
def adaptive_max_pool(low: Lowering, call: Call) -> str:
    x = low.value(call.get(0, "input"))
    if call.option(2, "return_indices", False):
        raise Unsupported("return_indices=True; only the maxima can be computed")
    kernel = []
    for axis, wanted in zip(range(-call.axes, 0), low.sample_shape(call.node)[-call.axes :]):
        place = len(low.shape_of(x)) + axis
        size = low.shape_of(x)[place]
        starts = [i * size // wanted for i in range(wanted)]
        ends = [-(-i * size // wanted) for i in range(1, wanted + 1)]
        kernel.append(max(end - start for start, end in zip(starts, ends)))
        if size % wanted:  # windows overlap and differ: each gets elements of its own, short ones the last one again
            taken = [min(start + j, end - 1) for start, end in zip(starts, ends) for j in range(kernel[-1])]
            x = gather(low, call, x, place, taken, f"axis{place + 1}")
    return _maximum(low, call, x, tuple(kernel), tuple(kernel), (0,) * call.axes, (1,) * call.axes)


def _maximum(low: Lowering, call: Call, x: str, kernel, stride, padding, dilation) -> str:
    def pool(x: str, shape: tuple[int, ...], suffix: str, kernel, stride, padding, dilation) -> str:
        return largest(low, call, x, shape, suffix, kernel, stride, padding, dilation)

    return _by_two(low, call, x, pool, kernel, stride, padding, dilation)


def largest(low: Lowering, call: Call, x: str, shape: tuple[int, ...], suffix: str, kernel, stride, padding=(0, 0),
            dilation=(1, 1)) -> str:  # fmt: skip
    """The maximum of each window along the last two axes."""
    if kernel == (1, 1):  # nothing to compare, and torch allows no padding: the stride is what is left
        index = (..., *(slice(None, None, s) for s in stride))
        return x if stride == (1, 1) else low.emit(call, "index", (x,), shape=shape, suffix=suffix, index=index)
    return low.emit(call, "max_pool2d", (x,), shape=shape, suffix=suffix, kernel=kernel, stride=stride, padding=padding,
                    dilation=dilation)  # fmt: skip


def _by_two(low: Lowering, call: Call, x: str, pool, *options: tuple) -> str:
    """``pool(x, shape, suffix, *options)`` along as many of the last axes as there are options for, two at a time.

    options: kernel and stride first; of all others 0 or 1 is what is given to an axis that is not pooled.
    """
    shape, axes = low.sample_shape(call.node), call.axes
    if axes == 2:
        return pool(x, shape, "", *options)
    given = low.shape_of(x)
    idle = (1, 1, 0, 1)[: len(options)]
    if axes == 1:
        row = low.emit(call, "reshape", (x,), shape=(*given[:-1], 1, given[-1]), suffix=".row")
        row = pool(row, (*shape[:-1], 1, shape[-1]), ".pool", *((n, *own) for n, own in zip(idle, options)))
        return low.emit(call, "reshape", (row,))
    rest, depth = given[:-3], given[-3]
    x = pool(x, (*rest, depth, *shape[-2:]), ".layers", *(own[1:] for own in options))
    places = math.prod(shape[-2:])
    x = low.emit(call, "reshape", (x,), shape=(*rest, depth, places), suffix=".lines")
    x = pool(x, (*rest, shape[-3], places), ".depth", *((own[0], n) for n, own in zip(idle, options)))
    return low.emit(call, "reshape", (x,))


def _window(call: Call) -> tuple[tuple, tuple, tuple]:
    """Kernel, stride and padding."""
    kernel = each_axis(call.option(1, "kernel_size"), call.axes)
    stride = each_axis(call.option(2, "stride", None) or kernel, call.axes)
    return kernel, stride, each_axis(call.option(3, "padding", 0), call.axes)


def _cut_off(low: Lowering, call: Call, x: str, kernel, stride, padding, dilation) -> list[int]:
    """By how much the last window of each axis reaches beyond the padded input: with ``ceil_mode``, or not at all."""
    sizes, outputs = low.shape_of(x)[-len(kernel) :], low.sample_shape(call.node)[-len(kernel) :]
    reach = [(to - 1) * s + d * (k - 1) + 1 - 2 * p - n
             for n, to, k, s, p, d in zip(sizes, outputs, kernel, stride, padding, dilation)]  # fmt: skip
    return [max(r, 0) for r in reach]
