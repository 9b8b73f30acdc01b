"""Convolutions along one, two and three axes, each as one along two."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from .call import Call, each_axis, lowers
from .linear import weights
from .lowering import Lowering
from .resample import pad_by_index


@lowers(modules=(nn.Conv1d, nn.Conv2d, nn.Conv3d), functions=(F.conv1d, F.conv2d, F.conv3d))
def conv(low: Lowering, call: Call) -> str:
    x = low.value(call.get(0, "input"))
    weight, bias = weights(call)
    axes = weight.dim() - 2
    stride, dilation = (each_axis(call.option(*option), axes) for option in ((3, "stride", 1), (5, "dilation", 1)))
    padding, groups = call.option(4, "padding", 0), call.option(6, "groups", 1)
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:])]
        if any(t % 2 for t in total):  # torch puts the odd row or column behind
            x = pad(low, call, x, [(t // 2, t - t // 2) for t in total])
            padding = 0
        else:
            padding = tuple(t // 2 for t in total)
    padding = each_axis(0 if padding == "valid" else padding, axes)
    if call.module is not None and call.module.padding_mode != "zeros" and any(padding):
        pads = tuple(p for p in reversed(padding) for _ in range(2))
        x, padding = pad_by_index(low, call, x, pads, call.module.padding_mode), each_axis(0, axes)
    return convolve(low, call, x, weight, bias, stride, padding, dilation, groups, low.sample_shape(call.node))


def pad(low: Lowering, call: Call, x: str, room: list[tuple[int, int]], suffix: str = ".pad") -> str:
    """Zeros before and behind the last axes, or fewer elements there where a number is negative."""
    if not any(map(any, room)):
        return x
    shape = low.shape_of(x)
    shape = (*shape[: -len(room)], *(n + before + after for n, (before, after) in zip(shape[-len(room) :], room)))
    pads = tuple(n for pair in reversed(room) for n in pair)
    return low.emit(call, "pad", (x,), shape=shape, suffix=suffix, pads=pads)


def convolve(low: Lowering, call: Call, x: str, weight: Tensor, bias: Tensor | None, stride: tuple, padding: tuple,
             dilation: tuple, groups: int, shape: tuple[int, ...], suffix: str = "") -> str:  # fmt: skip
    """A convolution by ``weight`` (O, I / groups, *kernel), of this shape; its last step is called by ``suffix``.

    Of other than two axes one stays, the last, or the first where the kernel is longer there; the elements that a
    window has along the others become channels, as many products as before, and what is left of these axes lies side by
    side.
    """
    if weight.dim() == 4:
        return low.emit(call, "conv2d", (x,), shape=shape, suffix=suffix, secrets={"weight": weight, "bias": bias},
                        stride=stride, padding=padding, dilation=dilation, groups=groups)  # fmt: skip
    kernel = weight.shape[2:]
    last = len(kernel) - 1
    kept = 0 if kernel[0] > kernel[-1] else last
    x = pad(low, call, x, [(0, 0) if axis == kept else (p, p) for axis, p in enumerate(padding)], f"{suffix}.pad")
    channels, *sizes = low.shape_of(x)
    order = []
    for axis in [axis for axis in range(len(kernel)) if axis != kept]:
        if kernel[axis] == stride[axis] == 1:
            continue
        x = windows(low, call, x, axis + 1, kernel[axis], stride[axis], dilation[axis], f"{suffix}.axis{axis + 2}")
        order.insert(0, axis)
        sizes[axis] = shape[1 + axis]
    count = math.prod(kernel[axis] for axis in order)
    rows = (sizes[0], math.prod(sizes[1:])) if kept < last else (math.prod(sizes[:-1]), sizes[-1])
    if groups > 1 and count > 1:
        rest = (channels // groups, *rows)
        x = low.emit(call, "reshape", (x,), shape=(count, groups, *rest), suffix=f"{suffix}.groups")
        x = low.emit(call, "permute", (x,), shape=(groups, count, *rest), suffix=f"{suffix}.grouped",
                     dims=(0, 2, 1, *range(3, 3 + len(rest))))  # fmt: skip
    x = low.emit(call, "reshape", (x,), shape=(count * channels, *rows), suffix=f"{suffix}.rows")
    alone = [axis for axis in range(len(kernel)) if axis not in (*order, kept)]  # of these the kernel has one element
    matrix = weight.permute(0, *(axis + 2 for axis in order), 1, kept + 2, *(axis + 2 for axis in alone))
    matrix = matrix.reshape(len(weight), count * weight.shape[1], *((kernel[0], 1) if kept < last else (1, kernel[-1])))

    def along(option: tuple, other: int) -> tuple:
        return (option[0], other) if kept < last else (other, option[-1])

    wide = (shape[0], shape[1], math.prod(shape[2:])) if kept < last else (shape[0], math.prod(shape[1:-1]), shape[-1])
    options = {"stride": along(stride, 1), "padding": along(padding, 0), "dilation": along(dilation, 1)}
    x = low.emit(call, "conv2d", (x,), shape=wide, suffix=f"{suffix}.conv", secrets={"weight": matrix, "bias": bias},
                 groups=groups, **options)  # fmt: skip
    return low.emit(call, "reshape", (x,), shape=shape, suffix=suffix)


def windows(low: Lowering, call: Call, x: str, axis: int, size: int, step: int, dilation: int, suffix: str) -> str:
    """The elements of every window along an axis of the sample, as an axis in front that is one with the first."""
    shape = low.shape_of(x)
    before, after = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    many = (shape[axis] - dilation * (size - 1) - 1) // step + 1
    x = low.emit(call, "reshape", (x,), shape=(before, shape[axis], after), suffix=f"{suffix}.line")
    x = low.emit(call, "windows", (x,), shape=(size, before, many, after), suffix=f"{suffix}.windows",
                 kernel=(size, 1), stride=(step, 1), dilation=(dilation, 1))  # fmt: skip
    return low.emit(call, "reshape", (x,), shape=(size * shape[0], *shape[1:axis], many, *shape[axis + 1 :]),
                    suffix=suffix)  # fmt: skip
