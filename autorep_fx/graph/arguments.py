"""Which arguments of a ``forward()`` are inputs of its graph; the others keep their defaults."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from inspect import Parameter
from typing import Any


def inputs(forward: Callable) -> list[Parameter] | None:
    """The parameters of a method ``forward`` that a graph takes: the first, and all that have no default.

    A path may depend on any of the others (``if mask is None``), so these are what they are in ``forward(x)``, and the
    graph has no such parameter: to give one is an error, never another path than was asked for.

    None where ``forward`` names no parameter but ``self``, as in ``forward(self, *inputs)``.
    """
    _, *parameters = inspect.signature(forward).parameters.values()
    named = [p for p in parameters if p.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)]
    return [p for i, p in enumerate(named) if i == 0 or p.default is Parameter.empty] or None


def called_with(forward: Callable, parameters: list[Parameter]) -> Callable:
    """``forward`` as a function of ``self`` and these parameters, all of them by position."""
    split = sum(p.kind is not Parameter.KEYWORD_ONLY for p in parameters)
    names = [p.name for p in parameters[split:]]

    def call(module: Any, *values: Any) -> Any:
        return forward(module, *values[:split], **dict(zip(names, values[split:])))

    return call
