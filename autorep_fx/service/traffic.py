"""What an inference puts on the links, by its plan: what limits are counted in."""

from __future__ import annotations

from ..secure.cost.cost import plan_cost
from ..secure.plan.plan import Plan
from ..secure.rates import Rates

#: Fills the words of a bit-sliced plane.
_BATCH = 64


class Load:
    """Megabytes of a batch.

    Attributes:
        once: what the server sends a client that has nothing of this model yet.
    """

    def __init__(self, plan: Plan):
        one, many = (plan_cost(plan, batch=batch, rates=Rates()) for batch in (1, _BATCH))
        self.once = one.setup["server"] / 1e6
        self._dealt = [cost.offline["dealer"] / 1e6 for cost in (one, many)]
        self._all = [(sum(cost.offline.values()) + sum(cost.online.values())) / 1e6 for cost in (one, many)]

    def dealt(self, batch: int) -> float:
        """What the dealer sends."""
        return _between(self._dealt, batch)

    def all(self, batch: int) -> float:
        """What everyone sends, offline and online."""
        return _between(self._all, batch)


def _between(ends: list[float], batch: int) -> float:
    first, last = ends
    return first + (last - first) * (batch - 1) / (_BATCH - 1)
