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


def misfit(module: nn.Module, x: Tensor) -> str:
    """What of a module itself keeps it from computing with ``x``, and the way out; nothing where all is well."""
    for name, tensor in chain(module.named_parameters(), module.named_buffers()):
        if tensor.is_meta:
            return (
                f"'{name}' is on the meta device, without values: model.to_empty(device='cpu'), then load its weights"
            )
    for name, tensor in module.named_parameters():  # a mask that is a buffer may have infinity
        if not tensor.isfinite().all():
            return f"'{name}' is not finite: load weights without NaN and infinity"
    here = next((p.dtype for p in module.parameters() if p.is_floating_point()), x.dtype)
    if here != x.dtype:
        return f"its weights are {here} and the batch is {x.dtype}: give model.float(), or the batch.to({here})"
    return ""


def _tensors(module: nn.Module) -> chain[Tensor]:
    return chain(module.parameters(), module.buffers())
