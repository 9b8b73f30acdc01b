"""Normalisation by the statistics of a sample, and softmax inside a network: products with what a spline makes of sums.

    d = x - mean,   v = mean(d**2) + eps,   y = d rsqrt(v)

``d`` is taken as n x - sum(x), over a power of two, which is exact: what a mean's rounding shifts is as large for a
value with a large mean as for a small one, and the factor leaves with the root. Of the three round trips two carry one
number a group.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..program.shapes import Shape
from .arithmetic import _scale_by, squared
from .call import Call, Unsupported, lowers
from .hidden import Hidden
from .linear import batch_norm
from .lowering import Lowering
from .ranged import OPEN, divided, ranged, root, site


@lowers(modules=(nn.LayerNorm,), functions=(F.layer_norm, torch.layer_norm))
def layer_norm(low: Lowering, call: Call) -> str:
    x = low.value(call.get(0, "input"))
    axes = len(call.option(1, "normalized_shape"))
    weight, bias, eps = call.option(2, "weight"), call.option(3, "bias"), call.option(4, "eps", 1e-5)
    return _affine(low, call, _normalised(low, call, x, axes, eps, centred=True), weight, bias)


@lowers(modules=(nn.RMSNorm,), functions=(F.rms_norm, torch.rms_norm))
def rms_norm(low: Lowering, call: Call) -> str:
    x = low.value(call.get(0, "input"))
    axes = len(call.option(1, "normalized_shape"))
    eps = call.option(3, "eps")
    eps = torch.finfo(torch.float32).eps if eps is None else eps
    return _affine(low, call, _normalised(low, call, x, axes, eps, centred=False), call.option(2, "weight"), None)


@lowers(modules=(nn.GroupNorm,), functions=(F.group_norm, torch.group_norm))
def group_norm(low: Lowering, call: Call) -> str:
    x, groups = low.value(call.get(0, "input")), call.option(1, "num_groups")
    weight, bias, eps = call.option(2, "weight"), call.option(3, "bias"), call.option(4, "eps", 1e-5)
    return _by_groups(low, call, x, groups, eps, weight, bias)


@lowers(modules=(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d))
def instance_norm(low: Lowering, call: Call) -> str:
    x, own = low.value(call.get(0, "input")), call.module
    if own.track_running_stats:
        return batch_norm(low, call)
    return _by_groups(low, call, x, low.shape_of(x)[0], own.eps, own.weight, own.bias)


@lowers(functions=(F.instance_norm,))
def instance_norm_function(low: Lowering, call: Call) -> str:
    x = low.value(call.get(0, "input"))
    if not call.get(5, "use_input_stats", True):
        raise Unsupported("takes statistics that are given; nn.InstanceNorm2d(track_running_stats=True) is supported")
    weight, bias, eps = call.get(3, "weight"), call.get(4, "bias"), call.get(7, "eps", 1e-5)
    return _by_groups(low, call, x, low.shape_of(x)[0], eps, weight, bias)


@lowers(functions=(F.normalize,))
def normalize(low: Lowering, call: Call) -> str:
    """By the Euclidean norm; ``max(norm, eps)`` is the root of ``max(squares, eps**2)``."""
    x, dim = low.value(call.get(0, "input")), call.get(2, "dim", 1)
    shape = low.shape_of(x)
    if call.get(1, "p", 2.0) != 2 or not isinstance(dim, int) or dim % (len(shape) + 1) == 0:
        raise Unsupported("only the Euclidean norm along one axis that is not the batch is supported")
    dim %= len(shape) + 1
    squares = total_over(low, call, squared(low, call, x, ".square"), (dim,), ".sum")
    return low.emit(call, "mul", (x, ranged(low, call, "rsqrt", squares, ".root", call.get(3, "eps", 1e-12) ** 2)))


@lowers(functions=(torch.norm, torch.linalg.norm, torch.linalg.vector_norm), methods=("norm",))
def norm(low: Lowering, call: Call) -> str:
    """The Euclidean one."""
    x, dims = low.value(call.get(0, "input", call.kwargs.get("x"))), call.get(2, "dim")
    shape, wanted = low.shape_of(x), low.sample_shape(call.node)
    if call.get(1, "p", call.kwargs.get("ord", 2)) not in (None, 2, "fro") or dims is None:
        raise Unsupported("only the Euclidean norm along given axes is supported: x.norm(dim=1)")
    dims = tuple(d % (len(shape) + 1) for d in (dims if isinstance(dims, (tuple, list)) else (dims,)))
    if 0 in dims:
        raise Unsupported("takes the norm over the batch; leave axis 0 out of dim")
    squares = low.emit(call, "sum", (squared(low, call, x, ".square"),), shape=wanted, suffix=".squares", dims=dims,
                       keepdim=len(wanted) == len(shape))  # fmt: skip
    return root(low, call, squares)


@lowers(functions=(torch.var,), methods=("var",))
def variance(low: Lowering, call: Call) -> str:
    return _variance(low, call, "")


@lowers(functions=(torch.std,), methods=("std",))
def deviation(low: Lowering, call: Call) -> str:
    return root(low, call, _variance(low, call, ".of"))


def _variance(low: Lowering, call: Call, suffix: str) -> str:
    x, dims = low.value(call.get(0, "input")), call.get(1, "dim")
    shape = low.shape_of(x)
    if not isinstance(dims, (int, tuple, list)) or isinstance(dims, bool):
        raise Unsupported("takes the variance over the batch, too; give dim, without axis 0")
    dims = tuple(d % (len(shape) + 1) for d in (dims if isinstance(dims, (tuple, list)) else (dims,)))
    if 0 in dims:
        raise Unsupported("takes the variance over the batch; leave axis 0 out of dim")
    free = call.kwargs.get("correction", 1 if call.get(2, "unbiased", True) else 0)
    d, n = _centred(low, call, x, dims)
    wanted = low.sample_shape(call.node)
    squares = low.emit(call, "sum", (squared(low, call, d, ".square"),), shape=wanted, suffix=".squares", dims=dims,
                       keepdim=len(wanted) == len(shape))  # fmt: skip
    return low.emit(call, "scale", (squares,), suffix=suffix, factor=1 / (n * n * max(n - free, 1)))


@lowers(modules=(nn.Softmax,), functions=(F.softmax, torch.softmax), methods=("softmax",))
def softmax(low: Lowering, call: Call) -> str:
    """``exp(x - c) / sum``; c is known from examples (planner/ranged_arguments.py)."""
    x, dim = low.value(call.get(0, "input")), call.option(1, "dim")
    shape = low.shape_of(x)
    if dim is None or dim % (len(shape) + 1) == 0:
        raise Unsupported("a softmax along the batch; give it another dim")
    dim %= len(shape) + 1
    powers = exponentials(low, call, x)
    if x in low.hidden:
        powers = without(low, call, powers, seen(low.hidden[x], shape, dim - 1))
    return divided(low, call, powers, total_over(low, call, powers, (dim,), ".total"), shape)


def seen(hidden: Hidden, shape: Shape, axis: int) -> Tensor:
    """Which scores count, along an axis of the sample; where all have the same number more, none is hidden."""
    where = hidden.where.expand(shape)
    whole = where.all(axis, keepdim=True)
    if hidden.filled and whole.any():
        raise Unsupported(
            "hides all scores of some rows, of which no mean is left; leave one in, or cut these rows off"
        )
    return ~(where & ~whole)


def without(low: Lowering, call: Call, powers: str, kept: Tensor) -> str:
    """Public zeros; positions of them are dropped before anything is summed."""
    positions = kept.flatten().nonzero().flatten()
    return low.emit(call, "keep", (powers,), shape=low.shape_of(powers), suffix=".seen", positions=positions.numpy())


@lowers(modules=(nn.LocalResponseNorm,), functions=(F.local_response_norm,))
def local_response_norm(low: Lowering, call: Call) -> str:
    """``x v**-beta`` of ``v = k + alpha mean(x**2)`` over neighbouring channels; ``v**-0.75`` is ``r r / sqrt(r)`` of
    ``r = 1 / sqrt(v)``."""
    x, size = low.value(call.get(0, "input")), call.option(1, "size")
    alpha, beta, k = call.option(2, "alpha", 1e-4), call.option(3, "beta", 0.75), call.option(4, "k", 1.0)
    if beta not in (0.5, 0.75, 1.0):
        raise Unsupported(f"a power of {beta}; beta of 0.5, 0.75 and 1 are supported, and group norm")
    shape = low.shape_of(x)
    rows = (shape[0], math.prod(shape[1:]))
    x = low.emit(call, "reshape", (x,), shape=rows, suffix=".rows")
    wide = (rows[0] + size - 1, rows[1])
    around = low.emit(call, "pad", (squared(low, call, x, ".square"),), shape=wide, suffix=".pad",
                      pads=(0, 0, size // 2, (size - 1) // 2))  # fmt: skip
    around = low.emit(call, "avg_pool2d", (around,), shape=rows, suffix=".around", kernel=(size, 1), stride=(1, 1),
                      padding=(0, 0), divisor=size)  # fmt: skip
    v = low.emit(call, "scale", (around,), shape=rows, suffix=".alpha", factor=float(alpha))
    v = low.emit(call, "add_number", (v,), shape=rows, suffix=".positive", number=float(k))
    least = max(float(k), 0.0)
    power = ranged(low, call, "reciprocal" if beta == 1 else "rsqrt", v, ".root", least=least)
    if beta == 0.75:
        slow = ranged(low, call, "rsqrt", power, ".slow")
        power = low.emit(call, "mul", (power, power), shape=rows, suffix=".twice")
        power = low.emit(call, "mul", (power, slow), shape=rows, suffix=".power")
    y = low.emit(call, "mul", (x, power), shape=rows, suffix=".normalised")
    return low.emit(call, "reshape", (y,), shape=shape)


def exponentials(low: Lowering, call: Call, x: str) -> str:
    """``exp(x - c)``; c comes in when examples are looked at."""
    return site(low, call, "exp", x, ".powers", low=-OPEN, high=OPEN)


def total_over(low: Lowering, call: Call, x: str, dims: tuple[int, ...], suffix: str) -> str:
    """The sum over axes of the batch's, which stay as axes of one."""
    return low.emit(call, "sum", (x,), shape=_one(low.shape_of(x), dims), suffix=suffix, dims=dims, keepdim=True)


def _by_groups(
    low: Lowering, call: Call, x: str, groups: int, eps: float, weight: Tensor | None, bias: Tensor | None
) -> str:
    shape = low.shape_of(x)
    flat = low.emit(call, "reshape", (x,), shape=(groups, math.prod(shape) // groups), suffix=".groups")
    y = _normalised(low, call, flat, 1, eps, centred=True)
    y = low.emit(call, "reshape", (y,), shape=shape, suffix=".back")
    each = (-1, *(1,) * (len(shape) - 1))
    weight, bias = (None if own is None else own.reshape(each) for own in (weight, bias))
    return _affine(low, call, y, weight, bias)


def _normalised(low: Lowering, call: Call, x: str, axes: int, eps: float, *, centred: bool) -> str:
    """Over the last axes of a sample."""
    shape = low.shape_of(x)
    if not 0 < axes <= len(shape):
        raise Unsupported(f"normalises over {axes} axes of samples {shape}; axis 0 must stay the batch")
    dims = tuple(range(len(shape) - axes + 1, len(shape) + 1))
    one, d, unit = _one(shape, dims), x, 1.0
    if centred:
        d, n = _centred(low, call, x, dims)
        unit = 2.0 ** -math.ceil(math.log2(n))
        d = low.emit(call, "scale", (d,), shape=shape, suffix=".deviation", factor=unit)
        unit *= n
    squares = squared(low, call, d, ".square")
    v = low.emit(call, "mean", (squares,), shape=one, suffix=".variance", dims=dims, keepdim=True)
    v = low.emit(call, "add_number", (v,), shape=one, suffix=".positive", number=eps * unit**2)
    inverse = ranged(low, call, "rsqrt", v, ".root", least=eps * unit**2)
    return low.emit(call, "mul", (d, inverse), shape=shape, suffix=".normalised")


def _centred(low: Lowering, call: Call, x: str, dims: tuple[int, ...]) -> tuple[str, int]:
    """``n x - sum(x)`` over axes of n elements, and n."""
    shape = low.shape_of(x)
    n = math.prod(shape[d - 1] for d in dims)
    many = low.emit(call, "scale", (x,), shape=shape, suffix=".times", factor=float(n))
    total = total_over(low, call, x, dims, ".total")
    return low.emit(call, "add", (many, total), shape=shape, suffix=".centred", sign=-1), n


def _one(shape: Shape, dims: tuple[int, ...]) -> Shape:
    """With one element along these axes of the batch's."""
    return tuple(1 if d in dims else n for d, n in enumerate(shape, 1))


def _affine(low: Lowering, call: Call, x: str, weight: Tensor | None, bias: Tensor | None) -> str:
    """Each element of the normalised axes has a factor and a constant."""
    if weight is not None and bool((weight != 1).any()):
        x = _scale_by(low, call, x, weight, ".weighted")
    if bias is not None and bool((bias != 0).any()):
        x = low.emit(call, "add_private", (x,), suffix=".biased", secrets={"constant": bias.detach().double()})
    return x
