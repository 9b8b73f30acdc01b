"""What there is to know of one operation of a program, whoever runs it: its record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from ...text import brief
from .checks import Rule


@dataclass(frozen=True)
class Private(Rule):
    """A rule of a step that has tensors of the server.

    Attributes:
        secrets: role -> whether it must be there.
    """

    secrets: dict[str, bool] = field(default_factory=dict)

    __repr__ = brief


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        rule: what its steps look like; shapes of the server's tensors come by their roles.
        plain: what it computes in the clear, in float64, of the step, the server's tensors by role and the inputs.
    """

    rule: Rule
    plain: Callable[..., Tensor] = field(repr=False)

    __repr__ = brief
