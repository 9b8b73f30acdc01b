"""Matrix products, however they are written: with a constant linear layers, or one for each group of elements; of two
private tensors the one of attention."""

from __future__ import annotations

import operator
from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor, fx

from .arithmetic import _sum, add_constant
from .call import Call, Unsupported, lowers
from .contract import Indices, contract, contract_private
from .lowering import Lowering


@lowers(functions=(torch.matmul, operator.matmul, torch.mm, torch.bmm, torch.mv),
        methods=("matmul", "__matmul__", "mm", "bmm", "mv"))  # fmt: skip
def matmul(low: Lowering, call: Call) -> str:
    return _product(low, call, call.get(0, "input"), _argument(call, 1, "other", "mat2", "vec"))


@lowers(functions=(torch.addmm, torch.addmv, torch.baddbmm), methods=("addmm", "addmv", "baddbmm"))
def addmm(low: Lowering, call: Call) -> str:
    """``beta * added + alpha * (a @ b)``."""
    added = call.get(0, "input")
    a, b = _argument(call, 1, "mat1", "mat", "batch1"), _argument(call, 2, "mat2", "vec", "batch2")
    beta, alpha = call.kwargs.get("beta", 1), call.kwargs.get("alpha", 1)
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return _sum(low, call, a.double() @ b.double() * alpha, added, beta)
    a, b = (each.double() * alpha if isinstance(each, Tensor) else each for each in (a, b))
    if beta == 0:
        return _product(low, call, a, b)
    x = _product(low, call, a, b, ".product")
    if not isinstance(added, fx.Node):
        return add_constant(low, call, x, added, beta)
    y = low.value(added)
    if beta != 1:
        y = low.emit(call, "scale", (y,), shape=low.shape_of(y), suffix=".beta", factor=float(beta))
    if len(low.shape_of(x)) != len(low.shape_of(y)):
        raise Unsupported("adds tensors with a different number of axes; unsqueeze one so that batches line up")
    return low.emit(call, "add", (x, y), sign=1)


def _argument(call: Call, position: int, *names: str) -> Any:
    return call.get(position, next((name for name in names if name in call.kwargs), names[0]))


def _product(low: Lowering, call: Call, a: Any, b: Any, suffix: str = "") -> str:
    """``a @ b``, of which one is private, or both."""
    if isinstance(a, fx.Node) and isinstance(b, fx.Node):
        x, y = low.value(a), low.value(b)
        of_a, of_b, out = _of_matmul(len(low.shape_of(x)) + 1, len(low.shape_of(y)) + 1)
        return contract_private(low, call, [x, y], [of_a, of_b], out, suffix)
    private_first = isinstance(a, fx.Node)
    x, weight = (low.value(a), b) if private_first else (low.value(b), a)
    axes = len(low.shape_of(x)) + 1
    of_a, of_b, out = _of_matmul(*((axes, weight.dim()) if private_first else (weight.dim(), axes)))
    of_x, of_weight = (of_a, of_b) if private_first else (of_b, of_a)
    return contract(low, call, x, of_x, weight, of_weight, out, suffix)


def _of_matmul(axes_a: int, axes_b: int) -> tuple[Indices, Indices, Indices]:
    """The indices of ``a``, ``b`` and ``a @ b``: axes before the last two line up from behind."""
    both = [("axis", i) for i in range(max(axes_a, axes_b) - 2, 0, -1)]
    of_a = ("k",) if axes_a == 1 else (*both[len(both) - axes_a + 2 :], "row", "k")
    of_b = ("k",) if axes_b == 1 else (*both[len(both) - axes_b + 2 :], "k", "column")
    return of_a, of_b, (*both, *of_a[-2:-1], *of_b[-1:][: axes_b - 1])


@lowers(functions=(torch.tensordot,))
def tensordot(low: Lowering, call: Call) -> str:
    a, b, dims = call.get(0, "a"), call.get(1, "b"), call.get(2, "dims", 2)
    sizes = [low.values[each].dim() if isinstance(each, fx.Node) else each.dim() for each in (a, b)]
    if isinstance(dims, int):
        dims = (range(sizes[0] - dims, sizes[0]), range(dims))
    of_a, of_b = ([(name, i) for i in range(size)] for name, size in zip("ab", sizes))
    for i, j in zip(*dims):
        of_b[j] = of_a[i]
    summed = {of_a[i] for i in dims[0]}
    return _contracted(low, call, [a, b], [tuple(of_a), tuple(of_b)],
                       tuple(index for index in (*of_a, *of_b) if index not in summed))  # fmt: skip


@lowers(functions=(torch.einsum, torch.functional.einsum))
def einsum(low: Lowering, call: Call) -> str:
    equation, *operands = call.args
    if len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        operands = list(operands[0])
    given, arrow, result = equation.replace(" ", "").partition("->")
    axes = [low.values[each].dim() if isinstance(each, fx.Node) else each.dim() for each in operands]
    parts = [_indices(part, n) for part, n in zip(given.split(","), axes)]
    if arrow:
        dots = max((i for part in parts for i in part if isinstance(i, int)), default=-1) + 1
        return _contracted(low, call, operands, parts, _indices(result, len(result.replace("...", "")) + dots))
    every = [i for part in parts for i in part]
    counted = sorted({i for i in every if isinstance(i, int)}, reverse=True)
    once = sorted(i for i in every if isinstance(i, str) and every.count(i) == 1)
    return _contracted(low, call, operands, parts, (*counted, *once))


def _indices(text: str, axes: int) -> Indices:
    """Letters, and numbers that count the axes of an ellipsis from behind."""
    before, dots, behind = text.partition("...")
    count = axes - len(before) - len(behind)
    return (*before, *(range(count - 1, -1, -1) if dots else ()), *behind)


def _contracted(low: Lowering, call: Call, operands: list[Any], parts: list[Indices], out: Indices) -> str:
    private = [i for i, each in enumerate(operands) if isinstance(each, fx.Node)]
    if len(private) > 2:
        raise Unsupported("multiplies more than two private tensors; write it as products of two")
    given = [low.value(operands[i], anywhere=True) for i in private]
    batches = [parts[i][low.batch_axis(operands[i])] for i in private]
    mine = [(batch, *(index for j, index in enumerate(parts[i]) if j != low.batch_axis(operands[i])))
            for i, batch in zip(private, batches)]  # fmt: skip
    if batches[0] in out:  # in a step it is in front, wherever it is in the result
        out = (batches[0], *(index for index in out if index != batches[0]))
    constants = [i for i in range(len(operands)) if i not in private]
    weight, of_weight = _one_constant(operands, parts, constants, {*out, *(i for part in mine for i in part)})
    if len(private) == 1:
        return contract(low, call, given[0], mine[0], weight, of_weight, out)
    if constants:
        read = {*out, *mine[1]}
        weighted = (*(i for i in mine[0] if i in read), *(i for i in of_weight if i in read and i not in mine[0]))
        given[0] = contract(low, call, given[0], mine[0], weight, of_weight, weighted, ".weighted")
        mine[0] = weighted
    return contract_private(low, call, given, mine, out)


def _one_constant(
    operands: list[Any], parts: list[Indices], constants: list[int], read: set[Hashable]
) -> tuple[Tensor, Indices]:
    """The product of all constants, of the indices that something else has."""
    if not constants:
        return torch.ones(()), ()
    if len(constants) == 1 and len({*parts[constants[0]]}) == len(parts[constants[0]]):
        return operands[constants[0]], parts[constants[0]]
    every = list(dict.fromkeys(index for i in constants for index in parts[i]))
    kept = [index for index in every if index in read]
    number = {index: n for n, index in enumerate(every)}
    numbered = [each for i in constants for each in (operands[i].double(), [number[index] for index in parts[i]])]
    return torch.einsum(*numbered, [number[index] for index in kept]), tuple(kept)
