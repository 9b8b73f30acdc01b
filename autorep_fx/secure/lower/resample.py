"""What is linear along single axes: upsampling, and averages whose windows are not all alike."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .call import Call, Unsupported, each_axis, lowers
from .lowering import Lowering

_NEAREST = ("nearest", "nearest-exact")
_MATRICES = ("linear", "bilinear", "trilinear", "bicubic", "area")


@lowers(modules=(nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d), functions=(F.interpolate, F.upsample))
def upsample(low: Lowering, call: Call) -> str:
    """Nearest moves elements, the others are a matrix for each axis."""
    x = low.value(call.get(0, "input"))
    shape, wanted = low.shape_of(x), low.sample_shape(call.node)
    mode = call.option(3, "mode", "nearest")
    if mode not in (*_NEAREST, *_MATRICES):
        raise Unsupported(f"mode={mode!r}; {', '.join((*_NEAREST, *_MATRICES))} are supported")
    options = {"mode": mode}
    if mode not in (*_NEAREST, "area"):
        options["align_corners"] = bool(call.option(4, "align_corners", None))
        options["antialias"] = call.module is None and bool(call.get(6, "antialias", False))
    axes = len(shape) - 1
    factors = _scale_factor(call, axes)
    matrices = [_matrix(n, to, factor, axis, axes, options)
                for axis, (n, to, factor) in enumerate(zip(shape[1:], wanted[1:], factors))]  # fmt: skip
    if mode not in _NEAREST:
        return along(low, call, x, matrices)
    for axis, matrix in enumerate(matrices, 1):
        x = gather(low, call, x, axis, matrix.argmax(1).tolist(), f"axis{axis + 1}")
    return x


def _scale_factor(call: Call, axes: int) -> tuple[float | None, ...]:
    """Where a factor is given, torch takes positions from it and not from the sizes."""
    factor = call.option(2, "scale_factor", None)
    recompute = getattr(call.module, "recompute_scale_factor", None) or call.get(5, "recompute_scale_factor")
    return each_axis(None if recompute else factor, axes)


def _matrix(size: int, to: int, factor: float | None, axis: int, axes: int, options: dict) -> Tensor:
    """(to, size): what the interpolation makes of each unit vector."""

    def among(value, other) -> tuple:
        return tuple(value if i == axis else other for i in range(axes))

    # Two elements along the others: torch takes (1, n, n, 1) for channels that come last, and is wrong with antialias.
    units = torch.eye(size, dtype=torch.float64).reshape(1, size, *among(size, 1)).repeat(1, 1, *among(1, 2))
    how = {"size": among(to, 2)} if factor is None else {"scale_factor": among(factor, 1.0)}
    return F.interpolate(units, **how, **options)[(0, slice(None), *among(slice(None), 0))].T


def along(low: Lowering, call: Call, x: str, matrices: list[Tensor]) -> str:
    """Each matrix (to, size) along one of the last axes, in order; the last step is the node's."""
    axes = len(matrices)
    for axis, matrix in reversed([*enumerate(matrices)]):
        shape = (*low.shape_of(x)[:-1], len(matrix))
        tag = "" if axes == 1 else f".axis{axis + 2}"
        x = low.emit(call, "linear", (x,), shape=shape, suffix=tag, secrets={"weight": matrix})
        if axes > 1:  # the axis goes to the front of those that are left
            rest = len(shape) - axes
            dims = (*range(rest + 1), len(shape), *range(rest + 1, len(shape)))
            x = low.emit(call, "permute", (x,), shape=tuple(shape[d - 1] for d in dims[1:]), dims=dims,
                         suffix=f"{tag}.turned" if axis else "")  # fmt: skip
    return x


def gather(low: Lowering, call: Call, x: str, axis: int, taken: list[int], tag: str) -> str:
    """The elements ``taken`` of an axis of the sample, in this order."""
    shape = low.shape_of(x)
    if taken == list(range(shape[axis])):
        return x
    wanted = (*shape[:axis], len(taken), *shape[axis + 1 :])
    steps = {b - a for a, b in zip(taken, taken[1:])} or {1}
    if len(steps) == 1 and min(steps) > 0:
        part = slice(taken[0], taken[-1] + 1, min(steps))
        return low.emit(call, "index", (x,), shape=wanted, suffix=f".{tag}", index=(*(slice(None),) * (axis + 1), part))
    return low.emit(call, "select", (x,), shape=wanted, suffix=f".{tag}", dim=axis + 1, places=tuple(taken))


def averages(size: int, kernel: int, stride: int, padding: int, outputs: int, include: bool) -> Tensor:
    """(outputs, size): an average over each window, cut off where the padded axis ends."""
    matrix = torch.zeros(outputs, size, dtype=torch.float64)
    for i in range(outputs):
        start = i * stride - padding
        end = min(start + kernel, size + padding)
        inside = slice(max(start, 0), min(end, size))
        matrix[i, inside] = 1 / (end - start if include else inside.stop - inside.start)
    return matrix


def adaptive_averages(size: int, outputs: int) -> Tensor:
    """(outputs, size): windows as even as they can be."""
    return F.adaptive_avg_pool1d(torch.eye(size, dtype=torch.float64), outputs).T


def pad_by_index(low: Lowering, call: Call, x: str, pads: tuple[int, ...], mode: str) -> str:
    """Elements of the sample itself around it."""
    axes = len(low.shape_of(x))
    for i, (before, after) in enumerate(zip(pads[::2], pads[1::2])):
        axis = axes - 1 - i
        places = torch.arange(low.shape_of(x)[axis], dtype=torch.float64)[None, None]
        if before or after:
            taken = F.pad(places, (before, after), mode=mode).flatten().long().tolist()
            x = gather(low, call, x, axis, taken, f"pad{axis}")
    return x
