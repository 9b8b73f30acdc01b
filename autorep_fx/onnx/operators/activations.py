"""Element-wise functions that networks put between layers."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..call import Call, Value, operator

#: Bounds of a Clip that are none: the ends of float32, which some exporters write.
_FAR = 3e38


@operator("Relu", "Sigmoid", "Tanh", "HardSwish", "Softsign", "Mish", "Identity")
def plain(c: Call) -> Value:
    if c.name == "Identity":
        return c.proxy(0)
    kinds = {"Relu": nn.ReLU, "Sigmoid": nn.Sigmoid, "Tanh": nn.Tanh, "HardSwish": nn.Hardswish,
             "Softsign": nn.Softsign, "Mish": nn.Mish}  # fmt: skip
    return c.module(kinds[c.name]())


@operator("Dropout")
def dropout(c: Call) -> Value:
    y = c.module(nn.Dropout(float(c.scalar(1, "ratio", 0.5))))
    return y if len(c.node.output) == 1 else (y, torch.ones_like(y, dtype=torch.bool))


@operator("LeakyRelu")
def leaky_relu(c: Call) -> Value:
    return c.module(nn.LeakyReLU(round(c.attribute("alpha", 0.01), 7)))


@operator("Elu", "Celu")
def elu(c: Call) -> Value:
    return c.module((nn.ELU if c.name == "Elu" else nn.CELU)(round(c.attribute("alpha", 1.0), 7)))


@operator("Selu")
def selu(c: Call) -> Value:
    alpha, gamma = c.attribute("alpha", 1.6732632), c.attribute("gamma", 1.050701)
    if math.isclose(alpha, 1.6732632, rel_tol=1e-6) and math.isclose(gamma, 1.050701, rel_tol=1e-6):
        return c.module(nn.SELU())
    return F.elu(c.proxy(0), alpha) * gamma


@operator("Softplus")
def softplus(c: Call) -> Value:
    return c.module(nn.Softplus())


@operator("Gelu")
def gelu(c: Call) -> Value:
    return c.module(nn.GELU(approximate=c.attribute("approximate", "none")))


@operator("ThresholdedRelu")
def thresholded_relu(c: Call) -> Value:
    return c.module(nn.Threshold(c.attribute("alpha", 1.0), 0.0))


@operator("PRelu")
def prelu(c: Call) -> Value:
    shape, rank = c.shape(1), c.rank()
    if c.is_known(1) and (math.prod(shape) == 1 or _is_of_channels(shape, rank) and shape[1 - rank] == c.shape()[1]):
        weight = c.weight(1, None if len(shape) == 1 else Tensor.flatten)
        return c.layer(nn.PReLU, len(weight), weights={"weight": weight}, of=1)
    x, slope = c.proxy(0), c.operand(1)
    return torch.clamp(x, min=0) + slope * torch.clamp(x, max=0)


def _is_of_channels(shape: tuple[int, ...], rank: int) -> bool:
    """``(C, 1, 1)`` or ``(1, C, 1, 1)``; of samples with one axis, ``(C,)``."""
    return rank >= 2 and len(shape) >= rank - 1 and shape[1 - rank] == math.prod(shape)


@operator("HardSigmoid")
def hard_sigmoid(c: Call) -> Value:
    alpha, beta = c.attribute("alpha", 0.2), c.attribute("beta", 0.5)
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return c.module(nn.Hardsigmoid())
    return torch.clamp(c.proxy(0) * round(alpha, 7) + round(beta, 7), 0, 1)


@operator("Clip")
def clip(c: Call) -> Value:
    low, high = c.scalar(1, "min"), c.scalar(2, "max")
    low = None if low is None or low < -_FAR else _short(low)
    high = None if high is None or high > _FAR else _short(high)
    if low == 0 and high is None:
        return c.module(nn.ReLU())
    if (low, high) == (0, 6):
        return c.module(nn.ReLU6())
    return c.proxy(0) if low is None and high is None else torch.clamp(c.proxy(0), low, high)


def _short(value: float) -> float:
    return round(value, 7) if isinstance(value, float) else value


@operator("Softmax", "LogSoftmax")
def softmax(c: Call) -> Value:
    kind = nn.Softmax if c.name == "Softmax" else nn.LogSoftmax
    axis = c.axis(-1 if c.opset >= 13 else 1)
    if c.opset >= 13 or axis == c.rank() - 1:
        return c.module(kind(axis))
    # Before operator set 13, it was over all axes from this one on.
    y = c.recorder.call(kind(-1), "", torch.flatten(c.proxy(0), axis))
    return torch.reshape(y, c.shape())
