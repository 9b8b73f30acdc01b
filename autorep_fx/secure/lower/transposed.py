"""Transposed convolutions, and layers of one spatial axis: each as a convolution of two."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from .call import Call, Unsupported, lowers
from .linear import _pair, _weights
from .lowering import Lowering


@lowers(modules=(nn.ConvTranspose2d,), functions=(F.conv_transpose2d, torch.conv_transpose2d))
def conv_transpose2d(low: Lowering, call: Call) -> str:
    """Zeros between the elements, then a convolution with the weights turned round."""
    if isinstance(call.get(1, "weight"), fx.Node):
        raise Unsupported("its weights are computed from the input; only constant weights are supported")
    x = low.value(call.get(0, "input"))
    weight, bias = _weights(call)
    stride, padding = _pair(call.option(3, "stride", 1)), _pair(call.option(4, "padding", 0))
    groups, dilation = call.option(6, "groups", 1), _pair(call.option(7, "dilation", 1))
    shape = low.sample_shape(call.node)
    x = _spread(low, call, x, stride)
    c, h, w = low.shape_of(x)
    kernel = weight.shape[2:]
    before = [d * (k - 1) - p for d, k, p in zip(dilation, kernel, padding)]
    # As many behind as give the shape: output_padding is among them.
    after = [to - 1 - (n - 1) + d * (k - 1) - b
             for to, n, d, k, b in zip(shape[1:], (h, w), dilation, kernel, before)]  # fmt: skip
    pads = (before[1], after[1], before[0], after[0])
    if any(pads):
        x = low.emit(call, "pad", (x,), shape=(c, h + before[0] + after[0], w + before[1] + after[1]), suffix=".pad",
                     pads=pads)  # fmt: skip
    return low.emit(call, "conv2d", (x,), secrets={"weight": _turned(weight, groups), "bias": bias}, stride=(1, 1),
                    padding=(0, 0), dilation=dilation, groups=groups)  # fmt: skip


def _spread(low: Lowering, call: Call, x: str, stride: tuple[int, int]) -> str:
    """``stride - 1`` zeros between neighbours."""
    if stride == (1, 1):
        return x
    (c, h, w), (sh, sw) = low.shape_of(x), stride
    x = low.emit(call, "reshape", (x,), shape=(c, h, 1, w, 1), suffix=".apart")
    x = low.emit(call, "pad", (x,), shape=(c, h, sh, w, sw), suffix=".zeros", pads=(0, sw - 1, 0, 0, 0, sh - 1))
    x = low.emit(call, "reshape", (x,), shape=(c, h * sh, w * sw), suffix=".spread")
    return low.emit(call, "pad", (x,), shape=(c, (h - 1) * sh + 1, (w - 1) * sw + 1), suffix=".end",
                    pads=(0, 1 - sw, 0, 1 - sh))  # fmt: skip


def _turned(weight: Tensor, groups: int) -> Tensor:
    """(inputs, outputs / groups, h, w) as (outputs, inputs / groups, h, w), rows and columns the other way round."""
    inputs, outputs = weight.shape[:2]
    split = weight.reshape(groups, inputs // groups, outputs, *weight.shape[2:]).transpose(1, 2)
    return split.reshape(groups * outputs, inputs // groups, *weight.shape[2:]).flip(2, 3)


@lowers(modules=(nn.Conv1d,), functions=(F.conv1d, torch.conv1d))
def conv1d(low: Lowering, call: Call) -> str:
    x = low.value(call.get(0, "input"))
    weight, bias = _weights(call)
    if call.module is not None and call.module.padding_mode != "zeros":
        raise Unsupported(f"padding_mode={call.module.padding_mode!r}; only 'zeros' is supported; give it "
                          "F.pad(x, (n, n), mode) and padding=0")  # fmt: skip
    options = ((3, "stride", 1), (4, "padding", 0), (5, "dilation", 1))
    stride, padding, dilation = (_one(call.option(*option)) for option in options)
    if padding == "same":
        total = dilation * (weight.shape[2] - 1)
        if total % 2:
            raise Unsupported("padding='same' with an even kernel; pad the input and use padding=0")
        padding = total // 2
    padding = 0 if padding == "valid" else padding
    c, n = low.shape_of(x)
    x = low.emit(call, "reshape", (x,), shape=(c, 1, n), suffix=".row")
    shape = low.sample_shape(call.node)
    x = low.emit(call, "conv2d", (x,), shape=(shape[0], 1, shape[1]), suffix=".conv",
                 secrets={"weight": weight.unsqueeze(2), "bias": bias}, stride=(1, stride), padding=(0, padding),
                 dilation=(1, dilation), groups=call.option(6, "groups", 1))  # fmt: skip
    return low.emit(call, "reshape", (x,))


def _one(value):
    return value[0] if isinstance(value, (tuple, list)) else value
