"""The sum over common indices, ``einsum``: of a private tensor and a constant one, as one layer between moves, or of
two private ones, as one matrix product."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...text import brief
from .call import Call, Unsupported
from .lowering import Lowering

#: What each axis of a tensor is called, the batch included; axes of one name are of one size, or of size 1.
Indices = tuple[Hashable, ...]


class _Move(NamedTuple):
    op: str
    shape: tuple[int, ...]
    attrs: dict[str, Any]
    secrets: dict[str, Tensor]

    def __repr__(self) -> str:
        return brief(self)


def contract(
    low: Lowering, call: Call, x: str, of_x: Indices, weight: Tensor, of_weight: Indices, out: Indices, suffix: str = ""
) -> str:
    """``einsum(of_x, of_weight -> out)`` of a private value and a constant; the last step is called by ``suffix``.

    An index is of the groups (in both and in the result), summed (in both), free (of ``x`` alone), or of the rows that
    the weight makes. Without groups this is a linear layer, with them a convolution of one element by groups.
    """
    batch = of_x[0]
    moves = _Moves(low, x, of_x[1:])
    moves.diagonals()
    _check((batch, *moves.indices), of_weight, out)
    weight = weight.detach().double()
    if batch in of_weight:
        weight, of_weight = _without(weight, of_weight, batch)
    for index in [i for i in of_weight if i in moves.indices]:
        many, mine = moves.size(index), weight.shape[of_weight.index(index)]
        if mine == 1 < many and index in out:
            weight, of_weight = _without(weight, of_weight, index)
        elif many == 1 < mine:
            moves.drop(index)
    if lone := [i for i in of_weight if i not in (*moves.indices, *out)]:
        weight = weight.sum([of_weight.index(i) for i in lone])
        of_weight = tuple(i for i in of_weight if i not in lone)
    moves.sum([i for i in moves.indices if i not in (*of_weight, *out)])

    groups = [i for i in out if i in moves.indices and i in of_weight]
    summed = [i for i in moves.indices if i in of_weight and i not in out]
    free = [i for i in out if i in moves.indices and i not in of_weight]
    rows = [i for i in out[1:] if i not in moves.indices]
    sizes = {i: moves.size(i) for i in moves.indices} | {
        i: n for i, n in zip(of_weight, weight.shape) if i not in moves.indices
    }
    # A sum over an axis where the weight is of size 1 is one over equal weights.
    weight = weight.expand([sizes[i] for i in of_weight])
    weight = weight.permute([of_weight.index(i) for i in (*groups, *rows, *summed)])
    count = {name: math.prod(sizes[i] for i in part) for name, part in
             (("groups", groups), ("rows", rows), ("summed", summed), ("free", free))}  # fmt: skip
    if not rows and not summed:
        moves.order([*out[1:]])
        if (weight != 1).any():
            moves.scale(weight.reshape([sizes[i] if i in groups else 1 for i in out[1:]]))
    elif groups:
        moves.order([*groups, *summed, *free])
        moves.reshape((count["groups"] * count["summed"], count["free"], 1))
        matrix = weight.reshape(count["groups"] * count["rows"], count["summed"], 1, 1)
        shape = (len(matrix), count["free"], 1)
        moves.add("conv2d", shape, {"weight": matrix}, stride=(1, 1), padding=(0, 0), dilation=(1, 1),
                  groups=count["groups"])  # fmt: skip
        moves.become([*groups, *rows, *free], sizes)
    else:
        moves.order([*free, *summed])
        moves.reshape((*(sizes[i] for i in free), count["summed"]))
        matrix = weight.reshape(count["rows"], count["summed"])
        moves.add("linear", (*(sizes[i] for i in free), len(matrix)), {"weight": matrix})
        moves.become([*free, *rows], sizes)
    moves.order([*out[1:]])
    return moves.emit(call, suffix)


def contract_private(
    low: Lowering, call: Call, given: list[str], parts: list[Indices], out: Indices, suffix: str = ""
) -> str:
    """``einsum(parts -> out)`` of two private values, as one matrix product for each group between moves."""
    batch = out[0]
    for indices in parts:
        if batch not in indices:
            raise Unsupported("multiplies each sample by all of a batch; leave the batch's index in both")
    _check(parts[0], parts[1], out)
    first, second = both = [_Moves(low, x, indices[1:]) for x, indices in zip(given, parts)]
    for moves, other in (both, both[::-1]):
        moves.sum([i for i in moves.indices if i not in out and i not in other.indices])
        for index in [i for i in moves.indices if i in other.indices]:
            if moves.size(index) == 1 < other.size(index):
                moves.drop(index)
    groups = [i for i in out if i in first.indices and i in second.indices]
    summed = [i for i in first.indices if i in second.indices and i not in out]
    rows, columns = ([i for i in out[1:] if i in moves.indices and i not in groups] for moves in both)
    sizes = {i: moves.size(i) for moves in both for i in moves.indices}
    count = [math.prod(sizes[i] for i in part) for part in (rows, summed, columns)]
    wide = tuple(sizes[i] for i in groups)
    first.order([*groups, *rows, *summed])
    first.reshape((*wide, count[0], count[1]))
    second.order([*groups, *summed, *columns])
    second.reshape((*wide, count[1], count[2]))
    factors = tuple(moves.emit(call, f"{suffix}.{name}") for moves, name in zip(both, ("first", "second")))
    product = low.emit(call, "matmul", factors, shape=(*wide, count[0], count[2]), suffix=f"{suffix}.product")
    moves = _Moves(low, product, ())
    moves.become([*groups, *rows, *columns], sizes)
    moves.order([*out[1:]])
    return moves.emit(call, suffix)


def _check(of_x: Indices, other: Indices, out: Indices) -> None:
    for indices in (of_x, other, out):
        if len({*indices}) != len(indices):
            raise Unsupported("takes the diagonal of a tensor; only sums over different indices are supported")
    if of_x[0] not in out:
        raise Unsupported("sums over the batch; leave its index in the result")
    if out[0] != of_x[0]:
        raise Unsupported("moves the batch axis; leave its index in front")


def _without(weight: Tensor, of_weight: Indices, index: Hashable) -> tuple[Tensor, Indices]:
    """The weight without an axis of size 1."""
    at = of_weight.index(index)
    if weight.shape[at] != 1:
        raise Unsupported("multiplies each sample of a batch by another matrix; give all the same")
    return weight.squeeze(at), (*of_weight[:at], *of_weight[at + 1 :])


class _Moves:
    """Steps to be, of which those that change nothing are left out, and the last one has the node's name."""

    def __init__(self, low: Lowering, x: str, indices: Indices):
        self.low, self.x, self.indices = low, x, [*indices]
        self.shape = low.shape_of(x)
        self.steps: list[_Move] = []

    def size(self, index: Hashable) -> int:
        return self.shape[self.indices.index(index)]

    def add(self, op: str, shape: tuple[int, ...], secrets: dict[str, Tensor] | None = None, **attrs: Any) -> None:
        self.steps.append(_Move(op, shape, attrs, secrets or {}))
        self.shape = shape

    def reshape(self, shape: tuple[int, ...]) -> None:
        if shape != self.shape:
            self.add("reshape", shape)

    def drop(self, index: Hashable) -> None:
        """An axis of size 1."""
        at = self.indices.index(index)
        self.indices.pop(at)
        self.reshape((*self.shape[:at], *self.shape[at + 1 :]))

    def sum(self, indices: list[Hashable]) -> None:
        if indices:
            dims = tuple(self.indices.index(i) + 1 for i in indices)
            shape = tuple(n for d, n in enumerate(self.shape, 1) if d not in dims)
            self.add("sum", shape, dims=dims, keepdim=False)
            self.indices = [i for i in self.indices if i not in indices]

    def diagonals(self) -> None:
        """Of two axes with one index those elements where both are in one place."""
        for index in [i for i in dict.fromkeys(self.indices) if self.indices.count(i) > 1]:
            own = [axis for axis, i in enumerate(self.indices) if i == index]
            rest = [axis for axis, i in enumerate(self.indices) if i != index]
            size, step = self.shape[own[0]], sum(self.shape[own[0]] ** n for n in range(len(own)))
            before = tuple(self.shape[axis] for axis in rest)
            self.add("permute", (*before, *(size,) * len(own)), dims=(0, *(axis + 1 for axis in (*rest, *own))))
            self.reshape((*before, size ** len(own)))
            self.add("index", (*before, size), index=(Ellipsis, slice(None, None, step)))
            self.indices = [*(self.indices[axis] for axis in rest), index]

    def order(self, indices: list[Hashable]) -> None:
        dims = tuple(self.indices.index(i) + 1 for i in indices)
        if list(dims) != sorted(dims):
            self.add("permute", tuple(self.shape[d - 1] for d in dims), dims=(0, *dims))
        self.indices = indices

    def become(self, indices: list[Hashable], sizes: dict[Hashable, int]) -> None:
        self.indices = indices
        self.reshape(tuple(sizes[i] for i in indices))

    def scale(self, factor: Tensor) -> None:
        """By a factor that has the axes of the value, some of size 1."""
        shape = self.shape
        if shape and all(n == 1 for n in factor.shape[1:]):
            self._affine(factor.flatten().expand(shape[0]))
        else:
            self.reshape((math.prod(shape),))
            self._affine(factor.expand(shape).flatten())
            self.reshape(shape)

    def _affine(self, scale: Tensor) -> None:
        self.add("affine", self.shape, {"scale": scale, "shift": torch.zeros_like(scale)})

    def emit(self, call: Call, suffix: str) -> str:
        for i, step in enumerate(self.steps, 1):
            own = suffix if i == len(self.steps) else f"{suffix}.{step.op}{i}"
            secrets = {role: value.clone() for role, value in step.secrets.items()}
            self.x = self.low.emit(
                call, step.op, (self.x,), shape=step.shape, suffix=own, secrets=secrets, **step.attrs
            )
        return self.x
