"""Convolutions, linear layers and batch normalisation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from .call import Call, Unsupported, lowers
from .lowering import Lowering
from .resample import pad_by_index


@lowers(modules=(nn.Conv2d,), functions=(F.conv2d, torch.conv2d))
def conv2d(low: Lowering, call: Call) -> str:
    x = low.value(call.get(0, "input"))
    weight, bias = _weights(call)
    stride, dilation = _pair(call.option(3, "stride", 1)), _pair(call.option(5, "dilation", 1))
    padding, groups = call.option(4, "padding", 0), call.option(6, "groups", 1)
    if padding == "valid":
        padding = 0
    elif padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:])]
        if any(t % 2 for t in total):  # torch puts the odd row or column behind
            x = _pad(low, call, x, (total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2))
            padding = 0
        else:
            padding = tuple(t // 2 for t in total)
    if call.module is not None and call.module.padding_mode != "zeros" and padding != 0:
        (ph, pw), mode = _pair(padding), call.module.padding_mode
        x, padding = pad_by_index(low, call, x, (pw, pw, ph, ph), mode), 0
    return low.emit(call, "conv2d", (x,), secrets={"weight": weight, "bias": bias}, stride=stride,
                    padding=_pair(padding), dilation=dilation, groups=groups)  # fmt: skip


def _pad(low: Lowering, call: Call, x: str, pads: tuple[int, int, int, int]) -> str:
    c, h, w = low.shape_of(x)
    shape = (c, h + pads[2] + pads[3], w + pads[0] + pads[1])
    return low.emit(call, "pad", (x,), shape=shape, suffix=".pad", pads=pads)


@lowers(modules=(nn.Linear,), functions=(F.linear,))
def linear(low: Lowering, call: Call) -> str:
    weight, bias = _weights(call)
    return low.emit(call, "linear", (low.value(call.get(0, "input")),), secrets={"weight": weight, "bias": bias})


def _weights(call: Call) -> tuple[Tensor, Tensor | None]:
    if call.module is not None:
        return call.module.weight, call.module.bias
    weight, bias = call.get(1, "weight"), call.get(2, "bias")
    if isinstance(weight, fx.Node) or isinstance(bias, fx.Node):
        raise Unsupported("its weights are computed from the input; only constant weights are supported")
    return weight, bias


@lowers(modules=(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm), functions=(F.batch_norm,))
def batch_norm(low: Lowering, call: Call) -> str:
    """A per-channel scale and shift: ``weight / sqrt(var + eps)`` and ``bias - mean * scale``."""
    module = call.module
    if module is not None:
        mean, var, weight, bias = module.running_mean, module.running_var, module.weight, module.bias
        by_batch, eps = var is None, module.eps
    else:
        mean, var, weight, bias = (
            call.get(i, n) for i, n in enumerate(("running_mean", "running_var", "weight", "bias"), 1)
        )
        by_batch, eps = call.get(5, "training", False), call.get(7, "eps", 1e-5)
    if by_batch:
        raise Unsupported("it normalises by the statistics of the batch; track running statistics and use eval mode")
    scale = (var.double() + eps).rsqrt() * (1 if weight is None else weight.double())
    shift = (0 if bias is None else bias.double()) - mean.double() * scale
    return low.emit(call, "affine", (low.value(call.get(0, "input")),), secrets={"scale": scale, "shift": shift})


def _pair(value) -> tuple[int, int]:
    value = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return (value[0], value[0]) if len(value) == 1 else (value[0], value[1])
