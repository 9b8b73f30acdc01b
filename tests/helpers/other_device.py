"""A device that every machine has: its tensors say they are elsewhere, are computed on the CPU, and do not mix with it.

What makes a tensor on the CPU by default, or forgets to move one, fails on it as on a GPU; what passes has the numbers
of the CPU bit for bit.
"""

from __future__ import annotations

from contextlib import contextmanager

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

aten = torch.ops.aten

#: Nothing is computed on it otherwise, and gradients of what is there are found in the thread that asks for them.
OTHER = torch.device("meta")

#: These take an index from the CPU, or copy from one device to another.
_MIXES = {aten.index.Tensor, aten.index_put_.default, aten.copy_.default, aten._to_copy.default}


class Elsewhere(Tensor):
    """``inner``, a tensor of the CPU, under the name of the other device."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(
            cls, inner.size(), strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            device=OTHER,
        )  # fmt: skip

    def __init__(self, inner):
        self.inner = inner

    __torch_function__ = torch._C._disabled_torch_function_impl

    def __repr__(self):
        return f"Elsewhere({self.inner})"

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return _computed(operation, args, kwargs or {})


@contextmanager
def other_device():
    """The name of the device, for as long as new tensors can be made there."""
    with _New():
        yield str(OTHER)


def back(state: dict) -> dict:
    """A state_dict, on the CPU."""
    return tree_map(_inner, state)


class _New(TorchDispatchMode):
    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if any(issubclass(t, Elsewhere) for t in types) or _names_other(kwargs):
            return _computed(operation, args, kwargs)
        return operation(*args, **kwargs)


def _computed(operation, args, kwargs):
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    there = any(isinstance(t, Elsewhere) for t in tensors)
    here = any(not isinstance(t, Elsewhere) and t.dim() for t in tensors)  # single numbers go along
    if there and here and operation not in _MIXES:
        raise RuntimeError(f"{operation}: expected all tensors to be on the same device, found {OTHER} and cpu")
    moved = kwargs.get("device") is not None
    away = _names_other(kwargs) if moved else there
    at = {"device": torch.device("cpu")} if moved else {}
    result = operation(*tree_map(_inner, args), **{**tree_map(_inner, kwargs), **at})
    if args and isinstance(args[0], Elsewhere) and result is args[0].inner:
        return args[0]  # written into
    return tree_map(lambda value: Elsewhere(value) if away and isinstance(value, Tensor) else value, result)


def _inner(value):
    return value.inner if isinstance(value, Elsewhere) else value


def _names_other(kwargs: dict) -> bool:
    return kwargs.get("device") is not None and torch.device(kwargs["device"]) == OTHER
