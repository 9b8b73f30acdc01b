"""Transposed convolutions, as a convolution that makes all elements between two of the input at once."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .call import Call, each_axis, lowers
from .convolution import convolve, pad
from .linear import weights
from .lowering import Lowering


@lowers(modules=(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
        functions=(F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d))  # fmt: skip
def conv_transpose(low: Lowering, call: Call) -> str:
    x = low.value(call.get(0, "input"))
    weight, bias = weights(call)
    axes = weight.dim() - 2
    stride, padding, dilation = (
        each_axis(call.option(*option), axes) for option in ((3, "stride", 1), (4, "padding", 0), (7, "dilation", 1))
    )
    return transposed(low, call, x, weight, bias, stride, padding, dilation, call.option(6, "groups", 1))


def transposed(low: Lowering, call: Call, x: str, weight: Tensor, bias: Tensor | None, stride: tuple, padding: tuple,
               dilation: tuple, groups: int) -> str:  # fmt: skip
    """By ``weight`` (I, O / groups, *kernel); the last step is the node's.

    With a stride of s an element ``s q + r`` of the result takes every s-th of the kernel's elements, those from r on:
    s convolutions of the input, whose results are channels of one and are then put between each other.
    """
    outputs, *sizes = low.sample_shape(call.node)
    weight = _turned(weight, groups)
    room, firsts, counts = [], [], []
    for axis, (n, to, s, p, d) in enumerate(zip(low.shape_of(x)[1:], sizes, stride, padding, dilation)):
        if s > 1 and d > 1:  # taps of one phase are no even steps apart
            weight, d = _spread(weight, axis + 2, d), 1
        reach = d * (-(-weight.shape[axis + 2] // s) - 1)
        first, end = p // s, (p + to - 1) // s
        room.append((reach - first, end - (n - 1)))
        firsts.append(p - s * first)
        counts.append(end - first + 1)
    x = pad(low, call, x, room)
    phases = math.prod(stride)
    matrix = _phases(weight, stride)
    dilation = tuple(1 if s > 1 else d for s, d in zip(stride, dilation))
    ones = (1,) * len(stride)
    bias = None if bias is None else bias.repeat_interleave(phases)
    x = convolve(low, call, x, matrix, bias, ones, (0,) * len(stride), dilation, groups,
                 (outputs * phases, *counts), "" if phases == 1 else ".phases")  # fmt: skip
    if phases == 1:
        return x
    between = [n for pair in zip(counts, stride) for n in pair]
    apart = (outputs, *stride, *counts)
    x = low.emit(call, "reshape", (x,), shape=apart, suffix=".apart")
    dims = [i for axis in range(len(stride)) for i in (2 + len(stride) + axis, 2 + axis)]
    x = low.emit(call, "permute", (x,), shape=(outputs, *between), suffix=".between", dims=(0, 1, *dims))
    wide = tuple(n * s for n, s in zip(counts, stride))
    crop = [(-first, first + to - n) for first, to, n in zip(firsts, sizes, wide)]
    x = low.emit(call, "reshape", (x,), shape=(outputs, *wide), suffix=".wide" if any(map(any, crop)) else "")
    return pad(low, call, x, crop, "")


def _turned(weight: Tensor, groups: int) -> Tensor:
    """(inputs, outputs / groups, *kernel) as (outputs, inputs / groups, *kernel)."""
    inputs, outputs, *kernel = weight.shape
    split = weight.reshape(groups, inputs // groups, outputs, *kernel).transpose(1, 2)
    return split.reshape(groups * outputs, inputs // groups, *kernel)


def _spread(weight: Tensor, axis: int, dilation: int) -> Tensor:
    """``dilation - 1`` zeros between the elements of an axis."""
    size = weight.shape[axis]
    wide = weight.new_zeros(*weight.shape[:axis], dilation * (size - 1) + 1, *weight.shape[axis + 1 :])
    return wide.index_copy(axis, torch.arange(size) * dilation, weight)


def _phases(weight: Tensor, stride: tuple) -> Tensor:
    """(outputs * all strides, inputs, *taps), the taps of each phase the other way round."""
    outputs, inputs, *kernel = weight.shape
    pads = [n for k, s in zip(reversed(kernel), reversed(stride)) for n in (0, -k % s)]
    apart = [n for k, s in zip(kernel, stride) for n in (-(-k // s), s)]
    split = F.pad(weight, pads).reshape(outputs, inputs, *apart)
    axes = range(len(stride))
    split = split.permute(0, *(3 + 2 * i for i in axes), 1, *(2 + 2 * i for i in axes))
    taps = split.shape[2 + len(stride) :]
    return split.reshape(-1, inputs, *taps).flip([2 + i for i in axes])
