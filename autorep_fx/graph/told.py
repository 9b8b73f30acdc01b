"""Functions of outputs and targets that a user gives, by name or themselves: a loss, a metric."""

from __future__ import annotations

import difflib
import inspect
import os
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ..settings.options import name_of
from .nested import in_words, leaves

#: What torch warns of, and computes something that nobody wants: (N, 1) beside (N,) is (N, N).
_BROADCAST = "Using a target size"

_FAULTS = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError)


def function_of(told: str | Callable[..., Any], option: str) -> Callable[..., Any]:
    """What a name says: of torch.nn.functional, or ``package.module:name``, where a class is made without arguments.

    Raises:
        ValueError: there is none of that name; says what is near, or what the import said.
    """
    if not isinstance(told, str):
        return told
    module, _, name = told.rpartition(":")
    if not module:
        found = getattr(F, name, None)
        if not inspect.isroutine(found):
            known = [each for each in dir(F) if inspect.isroutine(getattr(F, each)) and not each.startswith("_")]
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ValueError(f"{option}: torch.nn.functional has no {told!r}; {hint}one of your own is "
                             "'package.module:name', in code the function itself")  # fmt: skip
        return found
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        found = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
        found = found() if inspect.isclass(found) else found
    except Exception as error:
        raise ValueError(f"{option}: {told!r} cannot be had: {error!r}") from error
    if not callable(found):
        raise ValueError(f"{option}: {told!r} is {type(found).__name__}, and no function of outputs and targets")
    return found


class Told:
    """A function of outputs and targets, whose result is checked.

    Args:
        told: itself or its name.
        option: what it is called in a message.
        error: raised where it fails.
    """

    def __init__(self, told: str | Callable[..., Any], option: str, error: type[ValueError] = ValueError):
        self.function, self.option, self.error = function_of(told, option), option, error
        self.name = told if isinstance(told, str) else name_of(told).rpartition(":")[2]

    def __call__(self, outputs: Any, targets: Any, where: str) -> Any:
        """What it returns.

        Raises:
            ValueError: it does not take these; names ``where`` and the kinds and shapes of both.
        """
        given = f"{where}: {self.option} {self.name!r} does not take outputs and targets as they are, "
        given += f"{in_words(outputs)} and {in_words(targets)}"
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("error", _BROADCAST)
                return self.function(outputs, targets)
        except UserWarning as warned:
            if _BROADCAST not in str(warned):
                raise
            raise self.error(f"{given}: one would be spread over the other. Give both one shape, for a column such as "
                             "targets[:, None] or outputs.flatten()") from warned  # fmt: skip
        except _FAULTS as error:
            said = next(iter(str(error).splitlines()), "") or type(error).__name__
            raise self.error(f"{given}: {said}. Change the targets where the data are made, or give {self.option}= a "
                             "function of your own that fits both") from error  # fmt: skip

    def number(self, outputs: Any, targets: Any, where: str) -> float:
        """What it returns, as a number.

        Raises:
            ValueError: it returns none.
        """
        found = self(outputs, targets, where)
        if isinstance(found, Tensor) and found.numel() == 1:
            found = found.item()
        if not isinstance(found, (int, float)):
            raise self.error(f"{where}: {self.option} {self.name!r} returns {in_words(found)}, not one number: "
                             "end it with .mean(), or leave reduction='mean' as it is")  # fmt: skip
        return float(found)


class Loss(Told):
    """A loss that was told; a call gives one number with a gradient."""

    def __init__(self, told: str | Callable[..., Any], error: type[ValueError] = ValueError):
        super().__init__(told, "loss", error)

    def __call__(self, outputs: Any, targets: Any, where: str) -> Tensor:
        """Also:

        Raises:
            ValueError: what it returns is no scalar, or has no gradient.
        """
        found = super().__call__(outputs, targets, where)
        if not isinstance(found, Tensor) or found.numel() != 1 or not found.is_floating_point():
            raise self.error(f"{where}: loss {self.name!r} returns {in_words(found)}, and a scalar is needed, one "
                             "floating-point number a batch: end it with .mean(), or leave reduction='mean' as it is, "
                             "and add up the terms of several outputs")  # fmt: skip
        has = any(isinstance(part, Tensor) and part.requires_grad for _, part in leaves(outputs))
        if has and not found.requires_grad:
            raise self.error(f"{where}: loss {self.name!r} returns a number without a gradient; compute it by "
                             "functions of torch from the outputs, without .detach(), .item() or argmax")  # fmt: skip
        return found.reshape(())
