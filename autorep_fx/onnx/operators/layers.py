"""Layers with weights."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..call import Call, Unsupported, Value, operator
from .windows import Windows, padded

_CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_CONVOLUTIONS: Any = (*_CONV.values(), *_TRANSPOSED.values())
_FUNCTIONS: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


@operator("Conv")
def conv(c: Call) -> Value:
    shape = c.shape(1)
    w, groups = Windows(c, list(shape[2:])), c.attribute("group", 1)
    if not w.symmetric:
        c.inputs = [padded(c.proxy(0), w.pads), *c.inputs[1:]]
    padding = w.before if w.symmetric else (0,) * len(w.pads)
    if not c.is_known(1) or c.has(2) and not c.is_known(2):
        bias = c.proxy(2) if c.has(2) else None
        return _FUNCTIONS[len(w.pads)](c.proxy(0), c.proxy(1), bias, w.stride, padding, w.dilation, groups)
    return c.layer(_CONV[len(w.pads)], shape[1] * groups, shape[0], tuple(w.kernel), tuple(w.stride), padding,
                   tuple(w.dilation), groups, c.has(2),
                   weights={"weight": c.weight(1), "bias": c.weight(2) if c.has(2) else None}, of=1)  # fmt: skip


@operator("ConvTranspose")
def conv_transpose(c: Call) -> Value:
    shape, groups = c.shape(1), c.attribute("group", 1)
    w = Windows(c, list(shape[2:]))
    n = len(w.pads)
    extra: list[int] = c.attribute("output_padding") or [0] * n
    wanted = c.attribute("output_shape")
    upper = c.attribute("auto_pad", "NOTSET") != "SAME_LOWER"
    if wanted or c.attribute("auto_pad", "NOTSET").startswith("SAME"):
        wanted = (wanted or [size * s for size, s in zip(w.sizes, w.stride)])[-n:]
        total = [s * (size - 1) + r + e - o for s, size, r, e, o in zip(w.stride, w.sizes, w.reach, extra, wanted)]
        w.pads = [(t // 2, t - t // 2) if upper else (t - t // 2, t // 2) for t in total]
    # torch takes one padding of both ends; what is cut off the end alone is negative output padding.
    padding = tuple(min(pair) for pair in w.pads)
    cut = [(p - a, p - b) for p, (a, b) in zip(padding, w.pads)]
    y = c.layer(_TRANSPOSED[n], shape[0], shape[1] * groups, tuple(w.kernel), tuple(w.stride), padding, tuple(extra),
                groups, c.has(2), tuple(w.dilation),
                weights={"weight": c.weight(1), "bias": c.weight(2) if c.has(2) else None}, of=1)  # fmt: skip
    return padded(y, cut)


@operator("Gemm")
def gemm(c: Call) -> Value:
    alpha, beta = c.attribute("alpha", 1.0), c.attribute("beta", 1.0)
    first, second = c.attribute("transA", 0), c.attribute("transB", 0)
    out = c.shape(1)[0 if second else 1]
    size = math.prod(c.shape(2)) if c.has(2) else 0
    if not first and c.is_known(1) and (not c.has(2) or c.is_known(2) and size in (1, out)):
        weight = c.weight(1, None if second and alpha == 1 else lambda w: alpha * (w if second else w.T))
        plain = size == out and beta == 1 and c.rank(2) == 1
        bias = c.weight(2, None if plain else lambda b: beta * b.flatten().expand(out)) if c.has(2) else None
        return c.layer(nn.Linear, c.shape(1)[1 if second else 0], out, c.has(2),
                       weights={"weight": weight, "bias": bias}, of=1)  # fmt: skip
    a, b = (c.proxy(i).transpose(0, 1) if turned else c.proxy(i) for i, turned in ((0, first), (1, second)))
    product = torch.matmul(a, b)
    product = product if alpha == 1 else product * alpha
    return product if not c.has(2) else product + (c.operand(2) if beta == 1 else c.proxy(2) * beta)


@operator("MatMul")
def matmul(c: Call) -> Value:
    if c.is_known(1) and c.rank(1) == 2 and not c.is_known(0):
        rows, out = c.shape(1)
        return c.layer(nn.Linear, rows, out, False, weights={"weight": c.weight(1, lambda w: w.T), "bias": None}, of=1)
    return torch.matmul(c.proxy(0), c.proxy(1))


def with_bias(c: Call) -> Value | None:
    """What an Add gives whose other term is the bias of a layer that has none: the layer, with it."""
    for i, j in ((0, 1), (1, 0)):
        if not c.is_known(j) or c.is_known(i):
            continue
        layer: Any = c.recorder.layer_behind(c.node.input[i])
        if isinstance(layer, nn.Linear):
            behind, out = 0, layer.out_features
        elif isinstance(layer, _CONVOLUTIONS):
            behind, out = c.rank(i) - 2, layer.out_channels
        else:
            continue
        shape = c.shape(j)
        along = len(shape) > behind and shape[-1 - behind] == out == math.prod(shape)
        if along and len(shape) <= c.rank(i) and layer.bias is None:
            layer.bias = c.weight(j, Tensor.flatten)
            c.recorder.keep_alone(layer)
            return c.proxy(i)
    return None


@operator("Einsum")
def einsum(c: Call) -> Value:
    return torch.einsum(c.attribute("equation"), *(c.proxy(i) for i in range(len(c.inputs))))


def embedding(c: Call) -> Value:
    """``Gather`` of rows of a table by indices that depend on the input."""
    if not c.is_known(0) or c.rank(0) != 2 or c.axis(0):
        raise Unsupported("its indices depend on the input; only rows of a table of weights can be looked up by them")
    weight, c.inputs = c.weight(0), [c.inputs[1], c.inputs[0]]
    return c.layer(nn.Embedding, *weight.shape, weights={"weight": weight}, of=1)
