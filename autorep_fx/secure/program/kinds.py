"""Activations that have a protocol of their own where they are kept; every other kind is kept as a spline (spline.py).

Each is ``relu(x) - relu(x - top) + slope min(x, 0)``, of which it has the parts that its record says. All that planning
and running needs to know of a kind follows from its record, so another one of this family is a line here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kind:
    """One activation.

    Attributes:
        top: from where on it stays what it is there; None: nowhere.
        slope: who knows its slope below zero, "public" (a number for the site) or "private" (the server's, one a
            channel); None: there is none.
    """

    top: float | None = None
    slope: str | None = None

    @property
    def homogeneous(self) -> bool:
        """Whether ``act(s x) = s act(x)`` for s > 0."""
        return self.top is None

    @property
    def points(self) -> tuple[float, ...]:
        """What is taken off before it is compared with zero."""
        return (0.0,) if self.top is None else (0.0, self.top)

    def compared(self, reach: float) -> float:
        """The largest that is compared, where inputs reach so far."""
        return reach if self.top is None else max(reach, self.top) + self.top

    def bound(self, reach: Any, slope: Any = 0.0) -> Any:
        """What results reach, where inputs reach so far and the slope is that at most; arrays or tensors."""
        if self.top is not None:
            return reach.clip(max=self.top)
        return reach if self.slope is None else reach * abs(slope).clip(min=1.0)

    def plain(self, x: Any, slope: Any = 0.0, cut: Callable[[Any], Any] = lambda y: y) -> Any:
        """The activation of a tensor; ``cut`` sees a product with a number that is no integer."""
        positive = x.relu() if self.top is None else x.clip(min=0, max=self.top)
        return positive if self.slope is None else positive + cut((x - positive) * slope)


EXACT = {
    "relu": Kind(),
    "relu6": Kind(top=6.0),
    "leaky_relu": Kind(slope="public"),
    "prelu": Kind(slope="private"),
}


def homogeneous(kind: str) -> bool:
    """Whether a kept activation of this kind commutes with positive factors."""
    return kind in EXACT and EXACT[kind].homogeneous
