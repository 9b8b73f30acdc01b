"""Scores that a constant mask hides from a softmax: what has -inf there in the model, or -1e9.

No fixed point holds such numbers beside scores. What is hidden is remembered with the value instead, which keeps the
scores that it has there, until the softmax leaves those places out of its sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from ...text import brief
from ..program.shapes import Shape

#: A score below this hides its key: exp of it is 0, and so is that of the ten times smaller one of float32.
LOWEST = -1000.0

#: What a step may do to scores and leave hidden what is hidden.
_CARRIES = ("reshape", "add", "add_number", "add_private", "scale")

_MODULES = (nn.Dropout, nn.Identity, nn.Flatten, nn.Unflatten)
_NAMES = {"view", "reshape", "flatten", "unflatten", "view_as", "reshape_as", "contiguous", "clone", "float", "to",
          "type_as", "dropout", "add", "add_", "iadd", "sub", "isub", "masked_fill", "masked_fill_"}  # fmt: skip
_BY_NUMBERS = {"mul", "imul", "mul_", "truediv", "itruediv", "div", "div_"}


@dataclass(frozen=True)
class Hidden:
    """Which scores of a sample are.

    Attributes:
        where: True there; in the shape of the sample, but for axes of one.
        filled: the model has one and the same number at all of them; otherwise the scores and a number more.
    """

    where: Tensor = field(repr=False)
    filled: bool

    __repr__ = brief


def carried(op: str, given: Sequence[tuple[Shape, Hidden | None]], shape: Shape) -> Hidden | None:
    """What a step hides whose inputs, of these shapes, hide that."""
    found = [(own, each) for own, each in given if each is not None]
    if not found or op not in _CARRIES:
        return None
    if op == "reshape":
        own, each = found[0]
        return Hidden(each.where.expand(own).reshape(shape), each.filled)
    where = torch.zeros((), dtype=torch.bool)
    for _, each in found:
        where = where | each.where
    return Hidden(where, all(each.filled for _, each in found))


def reaches_softmax_alone(gm: fx.GraphModule, node: fx.Node, values: dict[fx.Node, Any], last: set[fx.Node]) -> bool:
    """Whether a node's value is read by softmax and by nothing else, also behind what moves or shifts it.

    values: of every node; what is no tensor (a size) does not count.
    last: what is left to the client, which sees the scores themselves.
    """
    waiting, found = [user for user in node.users if isinstance(values.get(user), Tensor)], False
    while waiting:
        user = waiting.pop()
        if user in last or user.op == "output":
            return False
        module = gm.get_submodule(str(user.target)) if user.op == "call_module" else None
        name = "" if module is not None else getattr(user.target, "__name__", str(user.target))
        if isinstance(module, nn.Softmax) or name == "softmax":
            found = True
        elif isinstance(module, _MODULES) or name in _NAMES or name in _BY_NUMBERS and _positive(user):
            waiting += [each for each in user.users if isinstance(values.get(each), Tensor)]
        else:
            return False
    return found


def _positive(node: fx.Node) -> bool:
    by = node.args[1] if len(node.args) > 1 else node.kwargs.get("other")
    return isinstance(by, (int, float)) and by > 0
