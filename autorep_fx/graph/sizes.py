"""Sizes of the input where torch wants numbers: ``len(x)``, ``torch.zeros(x.size(0), 8)``.

While a model is traced a size is a node, and these calls take none: they are given it in a form that they record.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx

#: What takes sizes one by one or as a tuple, and records a node of a trace in a tuple only.
_FACTORIES = ("zeros", "ones", "empty", "rand", "randn")
_METHODS = ("expand", "view", "reshape", "repeat", "permute", "tile", "new_zeros", "new_ones", "new_empty")


@contextmanager
def recorded() -> Iterator[None]:
    """While this is on, calls with sizes of the input become nodes."""
    changes: list[tuple[Any, str, Callable]] = [(builtins, "len", _length), (torch, "tensor", _tensor)]
    changes.append((torch, "Size", _shape))
    changes += [(torch, name, _of_sizes) for name in _FACTORIES]
    changes += [(Tensor, name, _behind_itself) for name in _METHODS]
    before = [vars(owner).get(name) for owner, name, _ in changes]
    try:
        for owner, name, recording in changes:
            setattr(owner, name, recording(getattr(owner, name)))
        yield
    finally:
        for (owner, name, _), own in zip(changes, before):
            if own is None:  # it is of a base class
                delattr(owner, name)
            else:
                setattr(owner, name, own)


def _length(real: Callable) -> Callable:
    def call(value: Any) -> Any:
        if not isinstance(value, fx.Proxy):
            return real(value)
        parts = getattr(value.tracer, "count", lambda node: None)(value.node)
        if parts is not None:
            return parts
        shape: Any = value.shape
        return shape[0]

    return call


def _shape(real: Any) -> Callable:
    class Shape(type):
        """Of what stands for ``torch.Size`` meanwhile: as a type it is the same."""

        def __call__(cls, sizes: Any = ()) -> Any:
            sizes = tuple(sizes)
            return sizes if any(isinstance(n, fx.Proxy) for n in sizes) else real(sizes)

        def __instancecheck__(cls, value: Any) -> bool:
            return isinstance(value, real)

        def __subclasscheck__(cls, kind: type) -> bool:
            return issubclass(kind, real)

    return Shape("Size", (), {})


def _of_sizes(real: Callable) -> Callable:
    def call(*sizes: Any, **options: Any) -> Any:
        of_input = len(sizes) > 1 and any(isinstance(n, fx.Proxy) for n in sizes)  # a size alone is a whole shape
        return real(sizes, **options) if of_input else real(*sizes, **options)

    return call


def _behind_itself(real: Callable) -> Callable:
    def call(tensor: Tensor, *sizes: Any, **options: Any) -> Any:
        of_input = any(isinstance(n, fx.Proxy) for n in sizes)
        return real(tensor, sizes, **options) if of_input else real(tensor, *sizes, **options)

    return call


def _tensor(real: Callable) -> Callable:
    def call(data: Any, **options: Any) -> Any:
        found: list[fx.Proxy] = []
        fx.node.map_aggregate(data, lambda value: found.append(value) if isinstance(value, fx.Proxy) else None)
        if found:
            return found[0].tracer.create_proxy("call_function", real, (data,), options)
        return real(data, **options)

    return call
