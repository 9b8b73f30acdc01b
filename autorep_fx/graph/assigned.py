"""``x[i] = y`` as a value of its own."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def assigned(x: Tensor, index: Any, value: Any) -> Tensor:
    """``x`` with ``value`` at ``index``; ``x`` stays what it is."""
    x = x.clone()
    x[index] = value
    return x
