"""What the nodes of a tail become (tail.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from ..program.tail.moves import INTEGERS
from .call import Call, Unsupported
from .tail import Tail, name_of

_TYPES = {torch.bool: "bool", **{getattr(torch, name): name for name in INTEGERS}}


def _of_one(tail: Tail, call: Call) -> str:
    op = name_of(call) if call.module is None else name_of(call).lower()
    if call.get(1, "decimals"):
        raise Unsupported("rounds to decimals; multiply, round and divide")
    return tail.emit(call, op, (tail.value(call.get(0, "input")),))


def _of_two(tail: Tail, call: Call) -> str:
    op, a, b = name_of(call), call.get(0, "input"), call.get(1, "other")
    if op in ("max", "min"):
        op = {"max": "maximum", "min": "minimum"}[op]
    if op == "rsub":
        op, a, b = "sub", b, a
    if call.kwargs.get("rounding_mode") is not None:
        raise Unsupported("a rounded division; divide, and floor what it gives")
    if (alpha := call.kwargs.get("alpha", 1)) != 1:
        raise Unsupported(f"adds alpha={alpha} times a tensor; multiply it first")
    return tail.emit(call, op, _operands(tail, call, a, b))


def _operands(tail: Tail, call: Call, *given: Any) -> tuple[str, ...]:
    axes = max(len(tail.shapes[tail.value(each)]) for each in given if isinstance(each, fx.Node))
    return tuple(tail.operand(call, each, axes) for each in given)


def _power(tail: Tail, call: Call) -> str:
    exponent = 2 if name_of(call) == "square" else call.get(1, "exponent")
    if not isinstance(exponent, (int, float)):
        raise Unsupported("a power that is no number")
    return tail.emit(call, "power", (tail.value(call.get(0, "input")),), exponent=float(exponent))


def _special(op: str, exponent: float) -> Callable[[Tail, Call], str]:
    return lambda tail, call: tail.emit(call, op, (tail.value(call.get(0, "input")),), exponent=exponent)


def _neg(tail: Tail, call: Call) -> str:
    return tail.emit(call, "mul", _operands(tail, call, call.get(0, "input"), -1))


def _clamp(tail: Tail, call: Call) -> str:
    name = name_of(call) if call.module is None else "relu"
    low = 0 if name == "relu" else None if name == "clamp_max" else call.get(1, "min")
    high = call.get(1, "max") if name == "clamp_max" else call.get(2, "max") if name == "clamp" else None
    if any(isinstance(end, (Tensor, fx.Node)) for end in (low, high)):
        raise Unsupported("clamps by a tensor; use torch.maximum and torch.minimum")
    return tail.emit(call, "clamp", (tail.value(call.get(0, "input")),), low=low, high=high)


def _where(tail: Tail, call: Call) -> str:
    if name_of(call) == "masked_fill":
        x, condition, y = call.get(0, "input"), call.get(1, "mask"), call.get(2, "value")
        return tail.emit(call, "where", _operands(tail, call, condition, y, x))
    condition, x, y = call.get(0, "condition"), call.get(1, "input"), call.get(2, "other")
    if call.node.op == "call_method":  # x.where(condition, y)
        condition, x = x if x is not None else call.get(1, "condition"), condition
    return tail.emit(call, "where", _operands(tail, call, condition, x, y))


def _cast(tail: Tail, call: Call) -> str:
    source = call.get(0, "input")
    before, after = tail.low.values[source], tail.low.values[call.node]
    x = tail.value(source)
    if before.dtype == after.dtype or before.is_floating_point() and after.is_floating_point():
        return x
    to = "float64" if after.is_floating_point() else _TYPES.get(after.dtype)
    if to is None:
        raise Unsupported(f"makes {after.dtype}, which a client has not")
    return tail.emit(call, "cast", (x,), to=to)


def _dim_of(call: Call) -> Any:
    return call.module.dim if hasattr(call.module, "dim") else call.get(1, "dim", call.kwargs.get("axis"))


def _softmax(tail: Tail, call: Call) -> str:
    x, name = tail.value(call.get(0, "input")), name_of(call)
    if call.module is not None:
        name = {nn.LogSoftmax: "log_softmax"}.get(type(call.module), "softmax")
    axes, dim = len(tail.shapes[x]) + 1, -3 if isinstance(call.module, nn.Softmax2d) else _dim_of(call)
    dim = (0 if axes in (1, 3) else 1) if dim is None else dim  # what is left out means this, in old code
    axis = tail.axis(x, dim)
    if name == "softmin":
        x = tail.emit(call, "mul", (x, tail.operand(call, -1, axes - 1)), tail.shapes[x], ".turned")
        name = "softmax"
    return tail.emit(call, name, (x,), dim=axis)


def _dims(tail: Tail, call: Call, x: str, position: int = 1) -> tuple[int, ...]:
    dims = call.get(position, "dim", call.kwargs.get("axis"))
    dims = dims if isinstance(dims, (tuple, list)) else (dims,)
    return tuple(sorted(tail.axis(x, dim) for dim in dims))


def _total(op: str) -> Callable[[Tail, Call], str]:
    def lowered(tail: Tail, call: Call) -> str:
        x = tail.value(call.get(0, "input"))
        return tail.emit(call, op, (x,), dims=_dims(tail, call, x), keepdim=bool(call.get(2, "keepdim", False)))

    return lowered


def _place_of(tail: Tail, call: Call) -> str:
    x = tail.value(call.get(0, "input"))
    keep = bool(call.get(2, "keepdim", False))
    return tail.emit(call, name_of(call), (x,), dim=tail.axis(x, call.get(1, "dim")), keepdim=keep)


def _along(tail: Tail, call: Call) -> str:
    x = tail.value(call.get(0, "input"))
    return tail.emit(call, name_of(call), (x,), dim=tail.axis(x, _dim_of(call)))


def _argsort(tail: Tail, call: Call) -> str:
    x = tail.value(call.get(0, "input"))
    return tail.best(call, x, None, call.get(1, "dim", -1), bool(call.get(2, "descending", False)), "places")


def _gather(tail: Tail, call: Call) -> str:
    x, places = tail.value(call.get(0, "input")), tail.value(call.get(2, "index"))
    return tail.emit(call, "gather", (x, places), dim=tail.axis(x, call.get(1, "dim")))


def _cat(tail: Tail, call: Call) -> str:
    parts, stacks = call.get(0, "tensors"), name_of(call) == "stack"
    dim = call.get(1, "dim", call.kwargs.get("axis", 0))
    shape = tail.shapes[tail.value(next(part for part in parts if isinstance(part, fx.Node)))]
    axis = dim % (len(shape) + (2 if stacks else 1))
    if axis == 0:
        raise Unsupported("joins along the batch")
    names = []
    for i, part in enumerate(parts):
        name = tail.operand(call, part, len(shape))
        if stacks:
            own = tail.shapes[name]
            name = tail.emit(call, "reshape", (name,), (*own[: axis - 1], 1, *own[axis - 1 :]), f".{i}")
        names.append(name)
    return tail.emit(call, "cat", tuple(names), dim=axis)


def _size(tail: Tail, call: Call, x: str, p: Any, axes: tuple[int, ...], suffix: str) -> str:
    """The norm along axes, which stay as axes of one."""
    if p in (None, "fro"):
        p = 2
    if p not in (1, 2):
        raise Unsupported(f"a norm with p={p!r}; 1 and 2 are supported")
    shape = tail.shapes[x]
    one = tuple(1 if axis in axes else n for axis, n in enumerate(shape, 1))
    x = tail.emit(call, "power", (x,), shape, f".{suffix}.squares", exponent=2.0) if p == 2 else tail.emit(
        call, "abs", (x,), shape, f".{suffix}.abs")  # fmt: skip
    x = tail.emit(call, "sum", (x,), one, f".{suffix}.sum", dims=axes, keepdim=True)
    return tail.emit(call, "sqrt", (x,), one, f".{suffix}.root") if p == 2 else x


def _norm(tail: Tail, call: Call) -> str:
    x = tail.value(call.get(0, "input"))
    p = call.get(1, "p", call.kwargs.get("ord", 2))
    x = _size(tail, call, x, p, _dims(tail, call, x, 2), "norm")
    shape = tail.low.sample_shape(call.node)
    return x if shape == tail.shapes[x] else tail.emit(call, "reshape", (x,))


def _normalize(tail: Tail, call: Call) -> str:
    x = tail.value(call.get(0, "input"))
    size = _size(tail, call, x, call.get(1, "p", 2.0), _dims_or(tail, call, x, 1), "norm")
    size = tail.emit(call, "clamp", (size,), tail.shapes[size], ".norm.most", low=float(call.get(3, "eps", 1e-12)),
                     high=None)  # fmt: skip
    return tail.emit(call, "div", (x, size))


def _dims_or(tail: Tail, call: Call, x: str, default: int) -> tuple[int, ...]:
    dims = call.get(2, "dim", default)
    return tuple(sorted(tail.axis(x, dim) for dim in (dims if isinstance(dims, (tuple, list)) else (dims,))))


def _cosine(tail: Tail, call: Call) -> str:
    a, b = call.get(0, "x1"), call.get(1, "x2")
    x, y = _operands(tail, call, a, b)
    axis, eps = tail.axis(x, call.option(2, "dim", 1)), float(call.option(3, "eps", 1e-8))
    parts = []
    for i, each in enumerate((x, y)):
        size = _size(tail, call, each, 2, (axis,), f"{i}")
        size = tail.emit(call, "clamp", (size,), tail.shapes[size], f".{i}.most", low=eps, high=None)
        parts.append(tail.emit(call, "div", (each, size), tail.shapes[each], f".{i}.unit"))
    shape = tuple(max(pair) for pair in zip(tail.shapes[x], tail.shapes[y]))
    product = tail.emit(call, "mul", tuple(parts), shape, ".product")
    return tail.emit(call, "sum", (product,), dims=(axis,), keepdim=False)


def _distance(tail: Tail, call: Call) -> str:
    a, b, module = call.get(0, "x1"), call.get(1, "x2"), call.module
    p = module.norm if module is not None else call.get(2, "p", 2.0)
    keep = module.keepdim if module is not None else call.get(4, "keepdim", False)
    x, y = _operands(tail, call, a, b)
    shape = tuple(max(pair) for pair in zip(tail.shapes[x], tail.shapes[y]))
    apart = tail.emit(call, "sub", (x, y), shape, ".apart")
    moved = tail.operand(call, float(call.option(3, "eps", 1e-6)), len(shape))
    apart = tail.emit(call, "add", (apart, moved), shape, ".moved")
    size = _size(tail, call, apart, p, (len(shape),), "norm")
    return size if keep else tail.emit(call, "reshape", (size,))


def _logsumexp(tail: Tail, call: Call) -> str:
    """The largest, and the logarithm of the sum of what is left."""
    x = tail.value(call.get(0, "input"))
    dims, shape = _dims(tail, call, x), tail.shapes[x]
    one = tuple(1 if axis in dims else n for axis, n in enumerate(shape, 1))
    largest = tail.emit(call, "largest", (x,), one, ".largest", dims=dims, keepdim=True)
    x = tail.emit(call, "sub", (x, largest), shape, ".less")
    x = tail.emit(call, "exp", (x,), shape, ".exp")
    x = tail.emit(call, "sum", (x,), one, ".sum", dims=dims, keepdim=True)
    x = tail.emit(call, "log", (x,), one, ".log")
    x = tail.emit(call, "add", (x, largest), one, ".whole")
    return x if tail.low.sample_shape(call.node) == one else tail.emit(call, "reshape", (x,))


def _identity(tail: Tail, call: Call) -> str:
    return tail.value(call.get(0, "input"))


TABLE: dict[str, Callable[[Tail, Call], str]] = {
    **dict.fromkeys(("abs", "exp", "expm1", "log", "log1p", "sqrt", "floor", "ceil", "round", "not", "sigmoid",
                     "logsigmoid", "tanh", "Sigmoid", "Tanh", "LogSigmoid"), _of_one),
    **dict.fromkeys(("add", "sub", "mul", "div", "rsub", "maximum", "minimum", "max", "min", "gt", "ge", "lt", "le",
                     "eq", "ne", "and", "or"), _of_two),
    **dict.fromkeys(("square", "pow"), _power), "rsqrt": _special("power", -0.5), "reciprocal": _special("power", -1.0),
    "neg": _neg, **dict.fromkeys(("clamp", "clamp_min", "clamp_max", "relu", "ReLU"), _clamp),
    **dict.fromkeys(("where", "masked_fill"), _where),
    **dict.fromkeys(("to", "float", "double", "type_as", "long", "int", "bool"), _cast),
    **dict.fromkeys(("softmax", "log_softmax", "softmin", "Softmax", "LogSoftmax", "Softmax2d"), _softmax),
    "sum": _total("sum"), "mean": _total("mean"), "amax": _total("largest"), "amin": _total("smallest"),
    **dict.fromkeys(("argmax", "argmin"), _place_of), "argsort": _argsort, "cumsum": _along, "gather": _gather,
    **dict.fromkeys(("cat", "stack"), _cat), "norm": _norm, "normalize": _normalize, "logsumexp": _logsumexp,
    **dict.fromkeys(("cosine_similarity", "CosineSimilarity"), _cosine),
    **dict.fromkeys(("pairwise_distance", "PairwiseDistance"), _distance),
    **dict.fromkeys(("contiguous", "clone", "detach", "detached", "Identity"), _identity),
}  # fmt: skip
