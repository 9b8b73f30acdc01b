"""Outputs and targets as models and data have them: a tensor, or tuples, lists and tables of them, in one another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

#: Parts that a message names.
_NAMED = 6


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """What is no tuple, list or table, in order, each with where it is: ``boxes``, ``0``, ``heads.1``."""
    if isinstance(value, (Mapping, tuple, list)):
        for key, part in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from leaves(part, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def floats(value: Any) -> list[Tensor]:
    """The floating-point tensors among the leaves."""
    return [part for _, part in leaves(value) if isinstance(part, Tensor) and part.is_floating_point()]


def mapped(function: Callable[[Tensor], Any], value: Any) -> Any:
    """The same with ``function`` of every tensor in its place."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, Mapping):
        return {key: mapped(function, part) for key, part in value.items()}
    if isinstance(value, (tuple, list)):
        parts = [mapped(function, part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


def moved(value: Any, device: torch.device) -> Any:
    """The same with every tensor on ``device``."""
    return mapped(lambda part: part.to(device, non_blocking=True), value)


def in_words(value: Any) -> str:
    """Kinds and shapes, for a message."""
    if not isinstance(value, (Mapping, tuple, list)):
        return _leaf(value)
    parts = [f"{name} {_leaf(part)}" for name, part in leaves(value)]
    kind = f"a {type(value).__name__.removeprefix('immutable_')}"  # torch.fx has its own
    return f"{kind} of {', '.join(parts[:_NAMED])}{', ...' if len(parts) > _NAMED else ''}" if parts else kind


def _leaf(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return f"a {type(value).__name__}"
