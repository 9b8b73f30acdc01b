"""``torch.autocast`` inside forward(): switched on it is refused (trace.py); what else a graph leaves out is named."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from ..errors import TransformWarning


@contextmanager
def watched(entered: Callable[[torch.autocast], None]) -> Iterator[None]:
    """While this is on, ``entered`` sees every ``with torch.autocast(...)``."""
    real = torch.autocast.__enter__

    def enter(self: torch.autocast) -> object:
        entered(self)
        return real(self)

    torch.autocast.__enter__ = enter  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.autocast.__enter__ = real  # type: ignore[method-assign]


def warn_of(left_out: dict[str, torch.autocast]) -> None:
    """Say, by the modules that they are in, which contexts a graph does not have."""
    for where, context in left_out.items():
        if context._enabled:
            text = f"for '{context.device}', where the model is not: the graph computes without it on any device"
        else:
            text = (
                "off (enabled=False), and the graph does not: under autocast, as search and finetune compute with "
                "mixed=True and by default on a GPU, that part would be in bfloat16, too. Give mixed=False, and call "
                "the result outside of autocast"
            )
        warnings.warn(f"forward() of {where} switches torch.autocast {text}", TransformWarning, stacklevel=4)
