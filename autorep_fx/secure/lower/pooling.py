"""Pooling and means over axes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .call import Call, Unsupported, lowers
from .linear import _pair
from .lowering import Lowering


@lowers(modules=(nn.AvgPool2d,), functions=(F.avg_pool2d,))
def avg_pool2d(low: Lowering, call: Call) -> str:
    x = low.value(call.get(0, "input"))
    kernel = _pair(call.option(1, "kernel_size"))
    stride = _pair(call.option(2, "stride", None) or kernel)
    padding = _pair(call.option(3, "padding", 0))
    if call.option(5, "count_include_pad", True) is False and any(padding):
        raise Unsupported("count_include_pad=False with padding; pad with nn.ZeroPad2d or use count_include_pad=True")
    _refuse_ceil(low, call, x, kernel, stride, padding, (1, 1), call.option(4, "ceil_mode", False))
    divisor = call.option(6, "divisor_override", None) or kernel[0] * kernel[1]
    return low.emit(call, "avg_pool2d", (x,), kernel=kernel, stride=stride, padding=padding, divisor=divisor)


@lowers(modules=(nn.AdaptiveAvgPool2d,), functions=(F.adaptive_avg_pool2d,))
def adaptive_avg_pool2d(low: Lowering, call: Call) -> str:
    x, kernel = _adaptive(low, call)
    return low.emit(
        call, "avg_pool2d", (x,), kernel=kernel, stride=kernel, padding=(0, 0), divisor=kernel[0] * kernel[1]
    )


@lowers(modules=(nn.AdaptiveMaxPool2d,), functions=(F.adaptive_max_pool2d,))
def adaptive_max_pool2d(low: Lowering, call: Call) -> str:
    x, kernel = _adaptive(low, call)
    return _maximum(low, call, x, kernel, kernel)


def _adaptive(low: Lowering, call: Call) -> tuple[str, tuple[int, int]]:
    x = low.value(call.get(0, "input"))
    size = low.shape_of(x)[-2:]
    wanted = [s if w is None else w for s, w in zip(size, _pair(call.option(1, "output_size")))]
    if any(s % w for s, w in zip(size, wanted)):
        raise Unsupported(
            f"output size {tuple(wanted)} does not divide the input size {tuple(size)}; choose one that does"
        )
    return x, (size[0] // wanted[0], size[1] // wanted[1])


@lowers(modules=(nn.MaxPool2d,), functions=(F.max_pool2d, torch.max_pool2d))
def max_pool2d(low: Lowering, call: Call) -> str:
    x = low.value(call.get(0, "input"))
    kernel = _pair(call.option(1, "kernel_size"))
    stride = _pair(call.option(2, "stride", None) or kernel)
    padding, dilation = _pair(call.option(3, "padding", 0)), _pair(call.option(4, "dilation", 1))
    if call.option(6, "return_indices", False):
        raise Unsupported("return_indices=True; only the maxima can be computed")
    _refuse_ceil(low, call, x, kernel, stride, padding, dilation, call.option(5, "ceil_mode", False))
    return _maximum(low, call, x, kernel, stride, padding, dilation)


def _maximum(low: Lowering, call: Call, x: str, kernel, stride, padding=(0, 0), dilation=(1, 1), **options) -> str:
    if kernel == (1, 1):  # nothing to compare, and torch allows no padding: the stride is what is left
        index = (..., *(slice(None, None, s) for s in stride))
        return x if stride == (1, 1) else low.emit(call, "index", (x,), index=index, **options)
    return low.emit(
        call, "max_pool2d", (x,), kernel=kernel, stride=stride, padding=padding, dilation=dilation, **options
    )


def _refuse_ceil(low: Lowering, call: Call, x: str, kernel, stride, padding, dilation, ceil_mode: bool) -> None:
    """``ceil_mode`` is fine where it does not change the shape."""
    if not ceil_mode:
        return
    floor = [(n + 2 * p - d * (k - 1) - 1) // s + 1
             for n, k, s, p, d in zip(low.shape_of(x)[-2:], kernel, stride, padding, dilation)]  # fmt: skip
    if list(low.sample_shape(call.node)[-2:]) != floor:
        raise Unsupported("ceil_mode=True reads windows that are cut off; pad the input and use ceil_mode=False")


@lowers(functions=(torch.amax,), methods=("amax",))
def amax(low: Lowering, call: Call) -> str:
    x = low.value(call.get(0, "input"))
    shape = low.shape_of(x)
    dims = call.get(1, "dim", ())
    dims = {d % (len(shape) + 1) for d in (dims if isinstance(dims, (tuple, list)) else (dims,))}
    if len(shape) != 3 or dims != {2, 3}:
        raise Unsupported(
            "only the maximum over both spatial axes of (N, C, H, W) is supported; use MaxPool2d otherwise"
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
