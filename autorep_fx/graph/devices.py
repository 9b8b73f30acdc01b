"""Where a module is, and where it is to be."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from typing import TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


def device_of(module: nn.Module) -> torch.device:
    """Where the tensors of ``module`` are (the CPU, if it has none)."""
    return next((tensor.device for tensor in _tensors(module)), torch.device("cpu"))


def usable(name: str | torch.device | None) -> torch.device | None:
    """The device of that name, with its number; None for None.

    Raises:
        ValueError: this torch, or this machine, has none.
    """
    if name is None:
        return None
    try:
        return torch.empty(0, device=name).device  # "cuda" is one of several
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"device={str(name)!r} is not to be had here: {str(error).splitlines()[0]}; leave it out to compute where "
            "the model is"
        ) from error


def autocast(device: torch.device, enabled: bool) -> AbstractContextManager:
    """Computing in bfloat16 where that is safe, or not doing so; on a device that knows of no such thing nothing."""
    if not enabled and not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def autocasts(device: torch.device) -> bool:
    """Whether what is computed there now is under autocast."""
    return torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)


def copy_at(module: M, device: torch.device) -> M:
    """``module``, if all of it is there already, or else a copy that is."""
    if all(tensor.device == device for tensor in _tensors(module)):
        return module
    return copy.deepcopy(module).to(device)


def _tensors(module: nn.Module) -> chain[Tensor]:
    return chain(module.parameters(), module.buffers())
