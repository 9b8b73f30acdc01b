"""What is linear along rows and along columns: upsampling, and averages whose windows are not all alike."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .call import Call, Unsupported, lowers
from .lowering import Lowering

_NEAREST, _BILINEAR = ("nearest", "nearest-exact"), ("bilinear",)


@lowers(modules=(nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d), functions=(F.interpolate, F.upsample))
def upsample(low: Lowering, call: Call) -> str:
    """Nearest moves elements, bilinear is a matrix for each axis."""
    x = low.value(call.get(0, "input"))
    shape, wanted = low.shape_of(x), low.sample_shape(call.node)
    mode = call.option(3, "mode", "nearest")
    smoothed = call.module is None and call.get(6, "antialias", False)
    if len(shape) != 3 or mode not in (*_NEAREST, *_BILINEAR) or smoothed:
        raise Unsupported(f"mode={mode!r} of samples {shape}; nearest and bilinear of (C, H, W) are supported")
    options = {"mode": mode}
    if mode in _BILINEAR:
        options["align_corners"] = bool(call.option(4, "align_corners", None))
    axes = enumerate(zip(shape[1:], wanted[1:], _scale_factor(call)))
    rows, columns = (_matrix(size, to, factor, axis, options) for axis, (size, to, factor) in axes)
    if mode in _NEAREST:
        x = gather(low, call, x, 1, rows.argmax(1).tolist(), "rows")
        return gather(low, call, x, 2, columns.argmax(1).tolist(), "columns")
    return along_both(low, call, x, rows, columns)


def _scale_factor(call: Call) -> tuple[float | None, float | None]:
    """Where a factor is given, torch takes positions from it and not from the sizes."""
    factor = call.option(2, "scale_factor", None)
    recompute = getattr(call.module, "recompute_scale_factor", None) or call.get(5, "recompute_scale_factor")
    if factor is None or recompute:
        return None, None
    return tuple(factor) if isinstance(factor, (tuple, list)) else (factor, factor)


def _matrix(size: int, to: int, factor: float | None, axis: int, options: dict) -> Tensor:
    """(to, size): what the interpolation makes of each unit vector."""
    units = torch.eye(size, dtype=torch.float64)
    units = units.reshape(1, size, size, 1) if axis == 0 else units.reshape(1, size, 1, size)
    if factor is None:
        how = {"size": (to, 1) if axis == 0 else (1, to)}
    else:
        how = {"scale_factor": (factor, 1.0) if axis == 0 else (1.0, factor)}
    return F.interpolate(units, **how, **options).reshape(size, to).T


def along_both(low: Lowering, call: Call, x: str, rows: Tensor, columns: Tensor) -> str:
    """``rows @ x @ columns.T`` for every channel of (C, H, W); the last step is the node's."""
    c, h, w = low.shape_of(x)
    x = low.emit(call, "linear", (x,), shape=(c, h, len(columns)), suffix=".columns", secrets={"weight": columns})
    x = low.emit(call, "permute", (x,), shape=(c, len(columns), h), suffix=".turned", dims=(0, 1, 3, 2))
    x = low.emit(call, "linear", (x,), shape=(c, len(columns), len(rows)), suffix=".rows", secrets={"weight": rows})
    return low.emit(call, "permute", (x,), shape=(c, len(rows), len(columns)), dims=(0, 1, 3, 2))


def gather(low: Lowering, call: Call, x: str, axis: int, taken: list[int], tag: str) -> str:
    """The elements ``taken`` of an axis of the sample, in this order: slices side by side."""
    shape = low.shape_of(x)
    if taken == list(range(shape[axis])):
        return x
    parts: list[str] = []
    for i, place in enumerate(sorted({*taken})):
        index = (*(slice(None),) * (axis + 1), slice(place, place + 1))
        part = (*shape[:axis], 1, *shape[axis + 1 :])
        parts.append(low.emit(call, "index", (x,), shape=part, suffix=f".{tag}.{i}", index=index))
    order = {place: parts[i] for i, place in enumerate(sorted({*taken}))}
    shape = (*shape[:axis], len(taken), *shape[axis + 1 :])
    return low.emit(call, "cat", tuple(order[p] for p in taken), shape=shape, suffix=f".{tag}", dim=axis + 1)


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
