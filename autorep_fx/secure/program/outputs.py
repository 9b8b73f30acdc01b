"""What the client makes of the values that it learns: the tensors that the model returns, each in its place.

A form is JSON data, so that it can be part of a file: ``{"tensor": [start, [sizes], [[finish, dim], ...]]}`` takes the
values from ``start`` on of every sample, in a shape of these sizes, and does to them what the model does last
(graph/finish.py; the batch is dimension 0, which stands for none). ``{"tuple": [...]}``, ``{"list": [...]}`` and
``{"dict": {...}}`` hold more of them, and ``{"none": null}`` is None. Where a model does more last (graph/tail.py),
the whole is ``{"tail": [[step, ...], form]}``, and ``{"value": name}`` in its form what a step gives (tail/).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from ...errors import FormatError
from ...graph.names import ALONG
from .checks import SHAPE
from .tail.along import log_softmax, softmax
from .tail.arithmetic import logsigmoid, sigmoid
from .tail.tail import check_tail, run_tail

Form = dict[str, Any]

#: name of graph/names.py -> what it computes of float64 values, along an axis where it has one.
FINISHES: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "softmax": softmax,
    "log_softmax": log_softmax,
    "sigmoid": lambda x, _: sigmoid(x),
    "logsigmoid": lambda x, _: logsigmoid(x),
    "tanh": lambda x, _: np.tanh(x),
}

#: Containers in one another, and entries of one, at most.
_DEPTH, _ENTRIES = 16, 2**16


def assemble(form: Form | None, y: Any, dtype: Any) -> Any:
    """What the model returns, from the opened values ``y`` (N, ...) in float64. None: ``y`` itself.

    Args:
        y: an array; or a tensor, and tensors are returned.
        dtype: of the numbers that are returned, NumPy's or torch's. Places and truths have a type of their own.
    """
    if isinstance(y, np.ndarray):
        return _assembled(form, y, lambda x: x.astype(dtype) if x.dtype.kind == "f" else np.array(x))
    import torch  # whoever has a tensor has it

    def give(x: np.ndarray) -> torch.Tensor:
        found = torch.from_numpy(np.array(x))  # what was expanded, or turned round, becomes an array of its own
        return found.to(dtype) if x.dtype.kind == "f" else found

    return _assembled(form, y.numpy(), give)


def _assembled(form: Form | None, y: np.ndarray, give: Callable[[np.ndarray], Any]) -> Any:
    if form is None:
        return give(y)
    if "tail" not in form:
        return _filled(form, y, {}, give)
    rows, inner = form["tail"]
    return _filled(inner, y, run_tail(rows, y), give)


def _filled(form: Form, y: np.ndarray, values: dict[str, np.ndarray], give: Callable[[np.ndarray], Any]) -> Any:
    ((kind, inner),) = form.items()
    if kind == "none":
        return None
    if kind == "value":
        return give(values[inner])
    if kind == "dict":
        return {name: _filled(each, y, values, give) for name, each in inner.items()}
    if kind in ("tuple", "list"):
        return {"tuple": tuple, "list": list}[kind](_filled(each, y, values, give) for each in inner)
    start, sizes, then = inner
    x = y.reshape(len(y), -1)[:, start : start + math.prod(sizes)].reshape(len(y), *sizes)
    for name, axis in then:
        x = FINISHES[name](x, axis)
    return give(x)


def check_form(form: Any, size: int) -> None:
    """Raise FormatError unless ``form`` is one for ``size`` values of a sample."""
    if form is None:
        return
    names: Collection[str] = ()
    if type(form) is dict and {*form} == {"tail"}:
        if type(form["tail"]) is not list or len(form["tail"]) != 2:
            raise FormatError("the output's form has a tail that is none")
        rows, form = form["tail"]
        try:
            names = check_tail(rows, size)
        except FormatError as error:
            raise FormatError(f"the output's form: {error}") from error
    _check(form, size, _DEPTH, names)


def _check(form: Any, size: int, depth: int, names: Collection[str]) -> None:
    if type(form) is not dict or len(form) != 1 or not depth:
        raise FormatError("the output's form is none")
    ((kind, inner),) = form.items()
    if kind in ("tuple", "list", "dict"):
        if type(inner) is not (dict if kind == "dict" else list) or len(inner) > _ENTRIES:
            raise FormatError(f"the output's form has a {kind} that is none")
        for each in inner.values() if kind == "dict" else inner:
            _check(each, size, depth - 1, names)
    elif kind == "tensor":
        _check_tensor(inner, size)
    elif kind == "value":
        if type(inner) is not str or inner not in names:
            raise FormatError(f"the output's form has '{str(inner)[:60]}', which no step gives")
    elif kind != "none" or inner is not None:
        raise FormatError(f"the output's form has a part of an unknown kind, '{str(kind)[:60]}'")


def _check_tensor(inner: Any, size: int) -> None:
    if type(inner) is not list or len(inner) != 3 or type(inner[1]) is not list or type(inner[2]) is not list:
        raise FormatError("the output's form has a tensor that is none")
    start, sizes, then = inner[0], tuple(inner[1]), inner[2]
    if type(start) is not int or not SHAPE.holds(sizes, ()) or not 0 <= start <= size - math.prod(sizes):
        raise FormatError("the output's form has a tensor beyond the output")
    for step in then:
        if type(step) is not list or len(step) != 2 or type(step[0]) is not str or step[0] not in FINISHES:
            raise FormatError("the output's form has a function that is unknown")
        if type(step[1]) is not int or not (1 <= step[1] <= len(sizes) if step[0] in ALONG else step[1] == 0):
            raise FormatError("the output's form has a function along no axis of its tensor")
