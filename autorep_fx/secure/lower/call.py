"""A node as a lowering sees it, and how a lowering says which spellings it is for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import fx, nn


class Unsupported(Exception):
    """A node that cannot be lowered; the text says what to do about it."""


def lowers(*, modules: tuple = (), functions: tuple = (), methods: tuple = (), takes_sizes: bool = False) -> Callable:
    """Mark a function as the lowering of these spellings; table.py collects what is marked. It gets the
    :class:`~.lowering.Lowering` and a :class:`Call`, emits steps and returns the name of the result.

    takes_sizes: numbers among its arguments are sizes of its result, of which that of the batch may be one.
    """

    def mark(function: Callable) -> Callable:
        function.takes_sizes = takes_sizes
        function.spellings = [
            *(("call_module", module) for module in modules),
            *(("call_function", each) for each in functions),
            *(("call_method", method) for method in methods),
        ]
        return function

    return mark


def each_axis(value: Any, axes: int) -> tuple:
    """An option that is one for all axes, or one for each."""
    value = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return value * axes if len(value) == 1 else value


class Call:
    """One node's arguments, by position or name, with constants in place of the nodes that compute them.

    An argument that holds private data stays an ``fx.Node``; sizes are Python numbers, parameters are tensors.
    """

    def __init__(self, node: fx.Node, module: nn.Module | None, args: tuple, kwargs: dict):
        self.node, self.module, self.kwargs = node, module, dict(kwargs)
        for name in ("input", "self", "tensors"):
            if name in self.kwargs:
                args = (self.kwargs.pop(name), *args)
        self.args = args

    def get(self, position: int, name: str, default: Any = None) -> Any:
        return self.args[position] if position < len(self.args) else self.kwargs.get(name, default)

    def option(self, position: int, name: str, default: Any = None) -> Any:
        """A parameter that a module has as an attribute and a function as an argument."""
        return getattr(self.module, name) if self.module is not None else self.get(position, name, default)

    @property
    def axes(self) -> int:
        """How many axes a layer goes along whose name says it: ``AvgPool3d``, ``F.max_pool1d``."""
        name = type(self.module).__name__ if self.module is not None else self.node.target.__name__
        return int(name[-2])

    def rest(self, name: str) -> tuple:
        """Integers that may come one by one or as a tuple: ``x.view(a, b)``, ``x.view((a, b))``."""
        values = self.args[1:] or (self.kwargs.get(name),)
        return tuple(values[0]) if len(values) == 1 and isinstance(values[0], (tuple, list)) else tuple(values)
