"""Tensors side by side, constants among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from .call import Call, Unsupported, lowers
from .lowering import Lowering


@lowers(functions=(torch.cat, torch.concat, torch.concatenate))
def cat(low: Lowering, call: Call) -> str:
    parts, dim = _given(low, call), call.get(1, "dim", call.kwargs.get("axis", 0))
    first = next((part for part in parts if isinstance(part, fx.Node)), None)
    axes = len(_sample_of(low, parts)) + 1
    axis = dim % axes - 1 if first is None else low.axis(first, dim)
    if axis is None or axis < 0:
        raise Unsupported("concatenates along the batch")
    anywhere = first is not None and {low.batch_axis(part) for part in parts if isinstance(part, fx.Node)} == {
        low.batch_axis(first)
    }
    return _joined(low, call, [_named(low, part, axes, anywhere) for part in parts], axis + 1)


@lowers(functions=(torch.hstack, torch.column_stack, torch.dstack))
def cat_by_name(low: Lowering, call: Call) -> str:
    """Along the second axis, or the third."""
    dim = 2 if call.node.target is torch.dstack else 1
    axes = len(_sample_of(low, _given(low, call))) + 1
    if axes <= dim:
        raise Unsupported(
            f"joins samples of {axes - 1} axes along a new one, or the batch; write torch.stack(x, {dim})"
        )
    call.kwargs["dim"] = dim
    return cat(low, call)


@lowers(functions=(torch.stack,))
def stack(low: Lowering, call: Call) -> str:
    """Also before the batch, which is in front in what two parties compute."""
    parts, dim = _given(low, call), call.get(1, "dim", 0)
    shape = _sample_of(low, parts)
    axis = max(dim % (len(shape) + 2), 1)
    one, rows = (*shape[: axis - 1], 1, *shape[axis - 1 :]), []
    for i, part in enumerate(parts):
        row = _named(low, part, len(shape) + 1)
        is_name = isinstance(row, str)
        rows.append(low.emit(call, "reshape", (row,), shape=one, suffix=f".{i}") if is_name else row.reshape(one))
    return _joined(low, call, rows, axis)


def _given(low: Lowering, call: Call) -> list[Any]:
    """What is joined: tensors one by one, names of steps, or all parts of one."""
    given = call.get(0, "tensors")
    if isinstance(given, fx.Node) and given in low.parts:
        return [part(call, f".part{i}") for i, part in enumerate(low.parts[given])]
    return list(given)


def _sample_of(low: Lowering, parts: Sequence[Any]) -> tuple[int, ...]:
    first = next(part for part in parts if isinstance(part, (str, fx.Node)))
    return low.shape_of(first if isinstance(first, str) else low.value(first, anywhere=True))


def _named(low: Lowering, part: Any, axes: int, anywhere: bool = False) -> str | Tensor:
    """The name of a private part; what each sample has of a constant one."""
    if isinstance(part, str):
        return part
    if isinstance(part, fx.Node):
        return low.value(part, anywhere)
    if part.dim() != axes or len(part) != 1:
        raise Unsupported(f"joins a constant of shape {tuple(part.shape)}, which has samples of its own")
    return part[0].detach().double()


def _joined(low: Lowering, call: Call, parts: list[str | Tensor], axis: int) -> str:
    """Zeros where constants are, and then the constants added."""
    if all(isinstance(part, str) for part in parts):
        names = [part for part in parts if isinstance(part, str)]
        first, size = low.shape_of(names[0]), sum(low.shape_of(name)[axis - 1] for name in names)
        return low.emit(call, "cat", tuple(names), shape=(*first[: axis - 1], size, *first[axis:]), dim=axis)
    place, (before, after) = axis - 1, _room(parts, axis - 1)
    added = any(isinstance(part, Tensor) and part.any() for part in parts)
    names = []
    for i, name in enumerate(part for part in parts if isinstance(part, str)):
        if before[i] or after[i]:
            shape = list(low.shape_of(name))
            pads = (*(0,) * (2 * (len(shape) - 1 - place)), before[i], after[i])
            shape[place] += before[i] + after[i]
            last = len(before) == 1 and not added
            name = low.emit(call, "pad", (name,), shape=tuple(shape), suffix="" if last else f".pad.{i}", pads=pads)
        names.append(name)
    x = names[0]
    if len(names) > 1:
        x = low.emit(call, "cat", tuple(names), suffix=".parts" if added else "", dim=axis)
    if not added:
        return x
    whole = [part if isinstance(part, Tensor) else torch.zeros(low.shape_of(part), dtype=torch.float64)
             for part in parts]  # fmt: skip
    return low.emit(call, "add_private", (x,), secrets={"constant": torch.cat(whole, place)})


def _room(parts: list[str | Tensor], place: int) -> tuple[list[int], list[int]]:
    """How many zeros go before and behind each private part: constants before it, and those behind the last one."""
    before, waiting = [], 0
    for part in parts:
        if isinstance(part, str):
            before.append(waiting)
            waiting = 0
        else:
            waiting += part.shape[place]
    return before, [*[0] * (len(before) - 1), waiting]
