"""What an option may be: ranges of numbers as types, and what any type allows, checked and in words."""

from __future__ import annotations

import math
import numbers
import os
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

if TYPE_CHECKING:
    import torch

_WORDS: dict[Any, str] = {bool: "True or False", str: "a text", os.PathLike: "a path", type(None): "None"}
_UNIONS = (Union, types.UnionType)


@dataclass(frozen=True)
class Range:
    """What a number may be: from ``low`` to ``high``, both included, or larger than ``above``."""

    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high and value > self.above

    def __str__(self) -> str:
        if self.above > -math.inf:
            return f"above {self.above:g}"
        return f"from {self.low:g} to {self.high:g}" if self.high < math.inf else f"of at least {self.low:g}"


@dataclass(frozen=True)
class Spelling:
    """What a text may be: all of it matches ``pattern``; ``such_as`` is one in words."""

    pattern: str
    such_as: str

    def __contains__(self, value: str) -> bool:
        return re.fullmatch(self.pattern, value) is not None

    def __str__(self) -> str:
        return f"such as {self.such_as}"


Count = Annotated[int, Range(low=0)]
AtLeastOne = Annotated[int, Range(low=1)]
Fraction = Annotated[float, Range(0, 1)]
Positive = Annotated[float, Range(above=0)]
NotNegative = Annotated[float, Range(low=0)]
Folder = str | os.PathLike
#: By name, "mse_loss" of torch.nn.functional or "package.module:name" of one's own, or itself.
Function = (
    Annotated[str, Spelling(r"[A-Za-z_]\w*|[\w.]+:[\w.]+", "mse_loss or package.module:name")] | Callable[..., Any]
)
if TYPE_CHECKING:
    Device = str | torch.device
else:  # options need no torch, and keep the name
    Device = Annotated[str, Spelling(r"[a-z]+(:\d+)?", "cpu or cuda:1")]


def fault_of(hint: Any, name: str, value: Any, default: Any = None) -> str | None:
    """Why ``value`` cannot be an option of the type ``hint``; None if it can."""
    if _fits(hint, value):
        return None
    return f"{name} must be {allowed(hint, default)}, got {value!r}"


def allowed(hint: Any, default: Any = None) -> str:
    """What a type allows, in words; of None, which most have as their default, only where it is not."""
    args = get_args(hint)
    if get_origin(hint) is Annotated:
        return f"{allowed(args[0])} {args[1]}"
    if get_origin(hint) in _UNIONS:
        kinds = [allowed(arg) for arg in args if arg is not type(None)]
        return " or ".join(kinds + ["None"] * (len(kinds) < len(args) and default is not None))
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, args))}"
    if get_origin(hint) is Callable:
        return "a function"
    if args:
        return f"a mapping of {allowed(args[0])} to {allowed(args[1])}"
    return {int: "a whole number", float: "a number", **_WORDS}.get(hint, f"a {getattr(hint, '__name__', hint)}")


def _fits(hint: Any, value: Any) -> bool:
    args = get_args(hint)
    if get_origin(hint) is Annotated:
        return _fits(args[0], value) and value in args[1]
    if get_origin(hint) in _UNIONS:
        return any(_fits(arg, value) for arg in args)
    if get_origin(hint) is Literal:
        return isinstance(value, str) and value in args
    if get_origin(hint) is Callable:
        return callable(value)
    if args:  # a mapping
        return isinstance(value, Mapping) and all(_fits(args[0], k) and _fits(args[1], v) for k, v in value.items())
    if hint is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if hint is float:
        return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, hint)
