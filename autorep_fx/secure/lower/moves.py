"""Elements taken, repeated or turned round along axes of the sample."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, fx

from .call import Call, Unsupported, lowers
from .lowering import Lowering
from .resample import gather

_ARITHMETIC = {operator.add, operator.mul, operator.sub, torch.add, torch.mul, torch.sub, "add", "mul", "sub"}


@lowers(functions=(torch.broadcast_to,), methods=("expand", "expand_as", "broadcast_to"), takes_sizes=True)
def expand(low: Lowering, call: Call) -> str:
    """Nothing where what is added or multiplied has the shape already: sums and products expand by themselves."""
    x = low.value(call.get(0, "input"))
    shape = low.sample_shape(call.node)
    if all(_expands_itself(low, user, call.node, shape) for user in call.node.users):
        return x
    return times(low, call, x, [to // n for n, to in zip(low.shape_of(x), shape)])


def _expands_itself(low: Lowering, user: fx.Node, expanded: fx.Node, shape: tuple[int, ...]) -> bool:
    others = [n for n in user.all_input_nodes if n is not expanded and n in low.names]
    return user.target in _ARITHMETIC and any(low.shape_of(low.names[other]) == shape for other in others)


@lowers(functions=(torch.tile,), methods=("repeat", "tile"), takes_sizes=True)
def repeat(low: Lowering, call: Call) -> str:
    x = low.value(call.get(0, "input"))
    shape, wanted = low.shape_of(x), low.sample_shape(call.node)
    shape = (*(1,) * (len(wanted) - len(shape)), *shape)
    if shape != low.shape_of(x):
        raise Unsupported("adds axes before the batch; unsqueeze behind it and repeat there")
    return times(low, call, x, [to // n for n, to in zip(shape, wanted)])


def times(low: Lowering, call: Call, x: str, counts: list[int], last: str = "") -> str:
    """So many copies side by side along each axis of the sample; the last step is the node's, or has this suffix."""
    axes, shape = [axis for axis, count in enumerate(counts) if count > 1], list(low.shape_of(x))
    for axis in axes:
        shape[axis] *= counts[axis]
        suffix = last if axis == axes[-1] else f"{last}.axis{axis + 1}"
        x = low.emit(call, "cat", (x,) * counts[axis], shape=tuple(shape), suffix=suffix, dim=axis + 1)
    return x


@lowers(functions=(torch.repeat_interleave,), methods=("repeat_interleave",))
def repeat_interleave(low: Lowering, call: Call) -> str:
    count = call.get(1, "repeats")
    if isinstance(count, int) and count == 1:
        return low.value(call.get(0, "input"))
    axis = _axis(low, call, 2)
    if not isinstance(count, int):
        raise Unsupported("repeats each element another number of times; only one number for all is supported")
    x = low.value(call.get(0, "input"))
    return gather(low, call, x, axis, [i for i in range(low.shape_of(x)[axis]) for _ in range(count)], "repeated")


@lowers(functions=(torch.index_select,), methods=("index_select",))
def index_select(low: Lowering, call: Call) -> str:
    x, axis = low.value(call.get(0, "input"), anywhere=True), _axis(low, call, 1)
    return gather(low, call, x, axis, places(call.get(2, "index"), low.shape_of(x)[axis]), "taken")


@lowers(functions=(torch.flip,), methods=("flip",))
def flip(low: Lowering, call: Call) -> str:
    x = low.value(call.get(0, "input"))
    dims = call.rest("dims")
    for dim in dims:
        axis = _of_sample(low, call, dim)
        x = gather(low, call, x, axis, list(range(low.shape_of(x)[axis]))[::-1], f"flipped{axis}")
    return x


@lowers(functions=(torch.fliplr, torch.flipud), methods=("fliplr", "flipud"))
def flip_by_name(low: Lowering, call: Call) -> str:
    """Along the second axis, or the first."""
    x, dim = low.value(call.get(0, "input")), int("lr" in getattr(call.node.target, "__name__", str(call.node.target)))
    axis = _of_sample(low, call, dim)
    return gather(low, call, x, axis, list(range(low.shape_of(x)[axis]))[::-1], "flipped")


@lowers(functions=(torch.roll,), methods=("roll",))
def roll(low: Lowering, call: Call) -> str:
    x = low.value(call.get(0, "input"))
    shifts, dims = (each if isinstance(each, (tuple, list)) else (each,)
                    for each in (call.get(1, "shifts"), call.get(2, "dims", ())))  # fmt: skip
    if len(shifts) != len(dims):
        raise Unsupported("rolls over all axes, the batch among them; give dims")
    for i, (shift, dim) in enumerate(zip(shifts, dims)):
        axis = _of_sample(low, call, dim)
        order = torch.arange(low.shape_of(x)[axis]).roll(shift).tolist()
        x = gather(low, call, x, axis, order, f"rolled{i}")
    return x


@lowers(functions=(torch.narrow,), methods=("narrow",))
def narrow(low: Lowering, call: Call) -> str:
    axis, start, length = _axis(low, call, 1), call.get(2, "start"), call.get(3, "length")
    return _index(low, call, axis, slice(start, start + length))


@lowers(functions=(torch.select,), methods=("select",))
def select(low: Lowering, call: Call) -> str:
    return _index(low, call, _axis(low, call, 1), call.get(2, "index"))


def _index(low: Lowering, call: Call, axis: int, index: int | slice) -> str:
    x, shape = low.value(call.get(0, "input"), anywhere=True), low.sample_shape(call.node, anywhere=True)
    return low.emit(call, "index", (x,), shape=shape, index=(*(slice(None),) * (axis + 1), index))


def places(index: Any, size: int) -> list[int]:
    """The places that a constant index along an axis of ``size`` names."""
    if not isinstance(index, Tensor) or index.dim() != 1 or index.dtype in (torch.bool, torch.uint8):
        raise Unsupported("indexes by what depends on the input, or by a mask; a row of numbers is supported")
    return [place % size for place in index.tolist()]


def _axis(low: Lowering, call: Call, position: int) -> int:
    """Of the sample, of the argument ``dim``."""
    dim = call.get(position, "dim")
    if dim is None:
        raise Unsupported("goes over the batch, too; give dim")
    return _of_sample(low, call, dim)


def _of_sample(low: Lowering, call: Call, dim: int) -> int:
    axis = low.axis(call.get(0, "input"), dim)
    if axis is None:
        raise Unsupported("goes along the batch; leave axis 0 alone")
    return axis
