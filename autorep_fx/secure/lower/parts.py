"""Parts of tensors: slices, elements of an axis, and what split, chunk and unbind return."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx

from .call import Call, Unsupported, lowers
from .lowering import Lowering
from .moves import places
from .resample import gather


@lowers(functions=(torch.chunk, torch.split, torch.tensor_split, torch.split_with_sizes),
        methods=("chunk", "split", "tensor_split", "split_with_sizes"))  # fmt: skip
def split(low: Lowering, call: Call) -> str:
    """Nothing yet: each part is a slice where it is read."""
    axis = _axis(low, call, 2)
    sizes = [part.shape[call.get(2, "dim", 0)] for part in low.values[call.node]]
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return _parted(low, call, axis, [slice(start, start + size) for start, size in zip(starts, sizes)])


@lowers(functions=(torch.hsplit, torch.dsplit), methods=("hsplit", "dsplit"))
def split_by_name(low: Lowering, call: Call) -> str:
    """Along the second axis, or the third."""
    dim = {"h": 1, "d": 2}[getattr(call.node.target, "__name__", str(call.node.target))[0]]
    call.kwargs["dim"] = dim
    return split(low, call)


@lowers(functions=(torch.unbind,), methods=("unbind",))
def unbind(low: Lowering, call: Call) -> str:
    axis = _axis(low, call, 1)
    return _parted(low, call, axis, list(range(len(low.values[call.node]))))


def _axis(low: Lowering, call: Call, position: int) -> int:
    axis = low.axis(call.get(0, "input"), call.get(position, "dim", 0))
    if axis is None:
        raise Unsupported("splits the batch; give dim, another axis than that of the batch")
    return axis


def _parted(low: Lowering, call: Call, axis: int, taken: list[slice] | list[int]) -> str:
    x = low.value(call.get(0, "input"), anywhere=True)
    shape, before = low.shape_of(x), (slice(None),) * (axis + 1)

    def part(place: slice | int, call: Call, suffix: str) -> str:
        size = () if isinstance(place, int) else (place.stop - place.start,)
        wanted = (*shape[:axis], *size, *shape[axis + 1 :])
        return low.emit(call, "index", (x,), shape=wanted, suffix=suffix, index=(*before, place))

    low.parts[call.node] = [partial(part, place) for place in taken]
    return x


@lowers(functions=(operator.getitem,))
def getitem(low: Lowering, call: Call) -> str:
    source, index = call.args
    if isinstance(low.values[source], (tuple, list)):
        return _of_parts(low, call, source, index)
    x = low.value(source, anywhere=True)
    index = [*whole(index if isinstance(index, tuple) else (index,), low.values[source].dim())]
    at = place_of(index, low.batch_axis(source))
    if index.pop(at) != slice(None):
        raise Unsupported(f"selects samples; leave axis {at} as ':'")
    chosen = [i for i, each in enumerate(index) if isinstance(each, (list, tuple, Tensor))]
    if len(chosen) == 1 and all(each == slice(None) for i, each in enumerate(index) if i not in chosen):
        (axis,) = chosen
        row = index[axis] if isinstance(index[axis], Tensor) else torch.tensor([*index[axis]])
        return gather(low, call, x, axis, places(row, low.shape_of(x)[axis]), "taken")
    if chosen:
        raise Unsupported("indexes by a tensor among others; one row of numbers, or slices, are supported")
    shape = low.sample_shape(call.node, anywhere=True)
    return low.emit(call, "index", (x,), shape=shape, index=(slice(None), *index))


def whole(index: tuple, axes: int) -> Iterator[Any]:
    """An index that names every axis."""
    if not all(i is None or i is Ellipsis or isinstance(i, (int, slice, list, tuple, Tensor)) for i in index):
        raise Unsupported("indexes by what depends on the input; numbers and slices are supported")
    rest = axes - sum(i is not None and i is not Ellipsis for i in index)
    if not any(i is Ellipsis for i in index):
        index = (*index, Ellipsis)
    for each in index:
        yield from (slice(None),) * rest if each is Ellipsis else (each,)


def place_of(index: list, axis: int) -> int:
    """Where an index speaks of an axis: new axes are among its entries."""
    return [i for i, each in enumerate(index) if each is not None][axis]


def _of_parts(low: Lowering, call: Call, source: fx.Node, index: int | slice) -> str:
    if source not in low.parts:
        raise Unsupported(f"takes a part of what '{source.name}' returns; only split, chunk, unbind and a maximum over "
                          "an axis have parts to take")  # fmt: skip
    if isinstance(index, slice):
        low.parts[call.node] = low.parts[source][index]
        return low.names[source]
    return low.parts[source][index](call, "")


@lowers(functions=(getattr,))
def attribute(low: Lowering, call: Call) -> str:
    """``x.max(1).values``."""
    source, name = call.args
    if source not in low.parts or name not in ("values", "indices"):
        raise Unsupported("takes an attribute of a tensor; write x.transpose(-2, -1) for x.T, and shapes as x.shape")
    return low.parts[source][("values", "indices").index(name)](call, "")
