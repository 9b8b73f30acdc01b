"""What moves elements: reshapes, slices, joins."""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import fx, nn

from ..call import Call, Unsupported, Value, operator
from ..values import Known
from .layers import embedding


def _reshape(c: Call, shape: tuple[int, ...] | list[int]) -> Value:
    """In the simplest form that there is, for one that flattens samples is what everyone knows."""
    shape, before = tuple(shape), c.shape()
    if shape == before:
        return c.proxy(0)
    if len(shape) == 2 < len(before) and shape[0] == before[0]:
        return torch.flatten(c.proxy(0), 1)
    return torch.reshape(c.proxy(0), shape)


class _Moved:
    """A value whose batch a transpose has moved, as of attention whose three parts come first: what is taken of it is
    taken before the transpose, which then leaves the batch where it is."""

    def __init__(self, c: Call):
        node = c.proxy(0).node
        found = node.op == "call_function" and node.target is torch.permute and node.args[1][0] != 0
        self.dims: list[int] = list(node.args[1]) if found else [*range(c.rank())]
        self.source: Value = fx.Proxy(node.args[0], c.proxy(0).tracer) if found else c.proxy(0)

    def back(self, x: Value, gone: Collection[int] = ()) -> Value:
        """Transpose what was made of the source, which lacks these axes of the transposed value."""
        left = [d for i, d in enumerate(self.dims) if i not in gone]
        order = [sorted(left).index(d) for d in left]
        return x if order == sorted(order) else torch.permute(x, tuple(order))


@operator("Reshape")
def reshape(c: Call) -> Value:
    wanted, before = c.numbers(1, "shape"), c.shape()
    if not c.attribute("allowzero", 0):
        wanted = [before[i] if n == 0 else n for i, n in enumerate(wanted)]
    if (
        c.recorder.fixed
        and wanted[0] == c.recorder.fixed
        and before[0] == c.recorder.batch
        and c.recorder.fixed != c.recorder.batch
    ):
        wanted[0] = c.recorder.batch  # the file's own size, where samples stay apart
    if -1 in wanted:
        wanted[wanted.index(-1)] = math.prod(before) // max(1, -math.prod(wanted))
    return _reshape(c, wanted)


@operator("Flatten")
def flatten(c: Call) -> Value:
    axis = c.attribute("axis", 1)
    axis = axis + c.rank() if axis < 0 else axis
    return _reshape(c, (math.prod(c.shape()[:axis]), math.prod(c.shape()[axis:])))


@operator("Squeeze")
def squeeze(c: Call) -> Value:
    shape = c.shape()
    axes = c.numbers(1, "axes")
    gone = {i for i, n in enumerate(shape) if n == 1 and i} if axes is None else {a % len(shape) for a in axes}
    moved = _Moved(c)
    if moved.source is not c.inputs[0]:
        return moved.back(torch.squeeze(moved.source, tuple(moved.dims[i] for i in sorted(gone))), gone)
    return _reshape(c, [n for i, n in enumerate(shape) if i not in gone])


@operator("Unsqueeze")
def unsqueeze(c: Call) -> Value:
    axes = c.numbers(1, "axes")
    rank = c.rank() + len(axes)
    new, old = {a % rank for a in axes}, iter(c.shape())
    if len(new) == 1:
        return torch.unsqueeze(c.proxy(0), min(new))
    return _reshape(c, [1 if i in new else next(old) for i in range(rank)])


@operator("Transpose")
def transpose(c: Call) -> Value:
    dims = c.attribute("perm") or [*reversed(range(c.rank()))]
    return c.proxy(0) if dims == sorted(dims) else torch.permute(c.proxy(0), tuple(dims))


@operator("Concat")
def concat(c: Call) -> Value:
    parts = [c.proxy(i) for i in range(len(c.inputs)) if math.prod(c.shape(i))]
    return torch.cat(parts, c.axis()) if len(parts) > 1 else parts[0]


@operator("Split")
def split(c: Call) -> Value:
    axis = c.axis(0)
    sizes = c.numbers(1, "split")
    if sizes is None:
        size = math.ceil(c.shape()[axis] / len(c.node.output))
        sizes = [min(size, c.shape()[axis] - i * size) for i in range(len(c.node.output))]
    moved = _Moved(c)
    parts = torch.split(moved.source, sizes, moved.dims[axis])
    return tuple(moved.back(parts[i]) for i in range(len(sizes)))


@operator("Slice")
def slices(c: Call) -> Value:
    starts, ends = c.numbers(1, "starts"), c.numbers(2, "ends")
    axes, steps = c.numbers(3, "axes", [*range(len(starts))]), c.numbers(4, "steps", [1] * len(starts))
    moved, taken = _Moved(c), [slice(None)] * c.rank()
    for start, end, axis, step in zip(starts, ends, axes, steps):
        size = c.shape()[axis]
        if step < 0:
            raise Unsupported("goes backwards (a negative step); flip the weights that read it")
        first, last, step = slice(start, end, step).indices(size)
        taken[moved.dims[axis]] = slice(first or None, last if last < size else None, step if step > 1 else None)
    while taken and taken[-1] == slice(None):
        taken.pop()
    return moved.back(moved.source[tuple(taken)]) if taken else c.proxy(0)


@operator("Gather")
def gather(c: Call) -> Value:
    if not c.is_known(1):
        return embedding(c)
    axis = c.axis(0)
    index = c.known(1).array % c.shape()[axis]
    if index.ndim == 0:
        moved = _Moved(c)
        return moved.back(torch.select(moved.source, moved.dims[axis], int(index)), {axis})
    flat = index.reshape(-1)
    if len(flat) and (flat == range(flat[0], flat[0] + len(flat))).all():
        y = c.proxy(0)[(*(slice(None),) * axis, slice(int(flat[0]), int(flat[-1]) + 1))]
    else:
        y = torch.index_select(c.proxy(0), axis, c.recorder.constant(Known(flat, c.known(1).name)))
    if index.ndim == 1:
        return y
    return torch.reshape(y, (*c.shape()[:axis], *index.shape, *c.shape()[axis + 1 :]))


@operator("GatherElements")
def gather_elements(c: Call) -> Value:
    return torch.gather(c.proxy(0), c.axis(0), c.proxy(1))


@operator("Expand")
def expand(c: Call) -> Value:
    wanted, before = c.numbers(1), c.shape()
    before = (1,) * (len(wanted) - len(before)) + before
    wanted = [1] * (len(before) - len(wanted)) + wanted
    if c.recorder.fixed and wanted[0] == c.recorder.fixed:
        wanted[0] = c.recorder.batch
    shape = [b if n == 1 else n for n, b in zip(wanted, before)]
    return c.proxy(0) if tuple(shape) == c.shape() else c.proxy(0).expand(shape)


@operator("Tile")
def tile(c: Call) -> Value:
    return c.proxy(0).repeat(c.numbers(1))


@operator("Pad")
def pad(c: Call) -> Value:
    pads, mode = c.numbers(1, "pads"), c.attribute("mode", "constant")
    axes = [a % c.rank() for a in c.numbers(3, "", [*range(c.rank())])]
    pairs = [(0, 0)] * c.rank()
    for i, axis in enumerate(axes):
        pairs[axis] = (pads[i], pads[i + len(axes)])
    while pairs and pairs[0] == (0, 0):
        pairs.pop(0)
    modes = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}
    if mode not in modes:
        raise Unsupported(f"mode={mode!r}; {', '.join(modes)} are supported")
    value = c.scalar(2, "value", 0.0) if mode == "constant" else None
    flat = tuple(n for pair in reversed(pairs) for n in pair)
    return F.pad(c.proxy(0), flat, modes[mode], value) if flat else c.proxy(0)


@operator("DepthToSpace", "SpaceToDepth")
def depth_to_space(c: Call) -> Value:
    r, (n, channels, h, w) = c.attribute("blocksize"), c.shape()
    if c.name == "DepthToSpace" and c.attribute("mode", "DCR") == "CRD":
        return c.module(nn.PixelShuffle(r))
    x = c.proxy(0)
    if c.name == "DepthToSpace":
        x = torch.permute(torch.reshape(x, (n, r, r, channels // (r * r), h, w)), (0, 3, 4, 1, 5, 2))
        return torch.reshape(x, (n, channels // (r * r), h * r, w * r))
    x = torch.permute(torch.reshape(x, (n, channels, h // r, r, w // r, r)), (0, 3, 5, 1, 2, 4))
    return torch.reshape(x, (n, channels * r * r, h // r, w // r))
