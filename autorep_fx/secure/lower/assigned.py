"""``x[i] = y``: what is left of ``x`` and what comes in, side by side along each axis that the index chooses from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from ...graph.assigned import assigned as assigned_function
from .arithmetic import add_constant
from .call import Call, Unsupported, lowers
from .lowering import Lowering
from .moves import places, times
from .parts import place_of, whole
from .resample import gather


@lowers(functions=(assigned_function,))
def assigned(low: Lowering, call: Call) -> str:
    """Private parts first, with zeros where constants go; then these."""
    x, index, value = call.args
    shape = low.sample_shape(call.node)
    entries = [*whole(index if isinstance(index, tuple) else (index,), len(shape) + 1)]
    if None in entries:
        raise Unsupported("assigns to a part with a new axis; unsqueeze what is assigned instead")
    if entries.pop(place_of(entries, 0)) != slice(None):
        raise Unsupported("assigns to some samples; leave axis 0 as ':'")
    rows = [each for each in entries if not isinstance(each, (int, slice))]
    if len(rows) > 1 or rows and any(isinstance(each, int) for each in entries):
        raise Unsupported("assigns to places of several axes at once; one row of numbers, or slices, are supported")
    written = [_places(each, size) for each, size in zip(entries, shape)]
    axes = [(axis, taken) for axis, taken in enumerate(written) if taken != list(range(shape[axis]))]
    new = None
    if isinstance(value, fx.Node):
        dropped = [axis for axis, each in enumerate(entries) if isinstance(each, int)]
        new = _in_region(low, call, low.value(value), [len(taken) for taken in written], dropped)
    y = _put(low, call, low.value(x) if isinstance(x, fx.Node) else None, new, axes)
    fixed = torch.zeros(1, *shape, dtype=torch.float64) if isinstance(x, fx.Node) else x.detach().double().clone()
    fixed[index] = 0.0 if isinstance(value, fx.Node) else value
    return add_constant(low, call, y, fixed[0], 1.0) if fixed.any() else y


def _places(entry: Any, size: int) -> list[int]:
    """Those of an axis that an entry of an index names."""
    if isinstance(entry, int):
        return [entry % size]
    if isinstance(entry, slice):
        return list(range(size))[entry]
    return places(entry if isinstance(entry, Tensor) else torch.tensor([*entry]), size)


def _in_region(low: Lowering, call: Call, value: str, region: list[int], dropped: list[int]) -> str:
    """What is assigned, in the shape of what it is assigned to; axes that a number chooses from have one element."""
    shape = low.shape_of(value)
    if len(shape) != len(region) - len(dropped):
        raise Unsupported(f"assigns samples {shape} to {tuple(region)}; give them as many axes")
    sizes = iter(shape)
    own = tuple(1 if axis in dropped else next(sizes) for axis in range(len(region)))
    if own != shape:
        value = low.emit(call, "reshape", (value,), shape=own, suffix=".value")
    return times(low, call, value, [to // n for n, to in zip(own, region)], ".value")


def _put(low: Lowering, call: Call, old: str | None, new: str | None, axes: list[tuple[int, list[int]]]) -> str:
    """``new`` at these places of ``old``; one of the two may be None, zeros.

    Along the first axis the places that are left are set beside the others, in which the same is done along the rest.
    """
    if not axes:
        if new is None:
            raise Unsupported("assigns a constant to all of a private value; use the constant in its place")
        return new
    (axis, taken), *rest = axes
    tag = f"axis{axis + 1}"
    size = low.shape_of(old)[axis] if old is not None else low.sample_shape(call.node)[axis]
    others = [place for place in range(size) if place not in taken]
    inside = new
    if rest:
        chosen = None if old is None else gather(low, call, old, axis, taken, f"{tag}.in")
        inside = _put(low, call, chosen, new, rest)
    outside = None if old is None else gather(low, call, old, axis, others, f"{tag}.out")
    order = (taken + others) if taken[0] == 0 else (others + taken)
    parts = [inside, outside] if taken[0] == 0 else [outside, inside]
    y = _beside(low, call, parts, axis, size, f".{tag}")
    return gather(low, call, y, axis, torch.tensor(order).argsort().tolist(), f"{tag}.back")


def _beside(low: Lowering, call: Call, parts: list[str | None], axis: int, size: int, suffix: str) -> str:
    """Two parts along an axis of ``size``, of which one may be zeros."""
    names = [part for part in parts if part is not None]
    own = list(low.shape_of(names[0]))
    missing, own[axis] = size - own[axis], size
    if len(names) == 2:
        return low.emit(call, "cat", tuple(names), shape=tuple(own), suffix=suffix, dim=axis + 1)
    before = missing if parts[0] is None else 0
    pads = (*(0,) * (2 * (len(own) - 1 - axis)), before, missing - before)
    return low.emit(call, "pad", (names[0],), shape=tuple(own), suffix=suffix, pads=pads)
