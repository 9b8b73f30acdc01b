"""A step of the tail, and what there is to know of its operation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ....text import brief
from ..checks import Rule


@dataclass(frozen=True)
class TailStep:
    """One operation on arrays (N, ...): float64, or what a comparison or a choice gives.

    Attributes:
        name: unique; the result's name.
        op: an operation of the tail's tables.
        inputs: names of earlier results.
        shape: of the result without the batch.
        attrs: numbers, tuples, strings and slices. Axes count the batch, which is axis 0 and no one's.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    attrs: dict[str, Any] = field(default_factory=dict)

    __repr__ = brief


@dataclass(frozen=True)
class TailOperation:
    """One operation.

    Attributes:
        rule: what its steps look like.
        compute: of the step and the arrays of its inputs. Where they have none (what was opened, and constants) of the
            opened values (N, P).
    """

    rule: Rule
    compute: Callable[..., np.ndarray] = field(repr=False)

    __repr__ = brief
