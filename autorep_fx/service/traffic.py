"""What an inference puts on the links, by its plan: what limits are counted in."""

from __future__ import annotations

from ..secure.cost.cost import plan_cost
from ..secure.makers.maker import Maker
from ..secure.plan.plan import Plan
from ..secure.rates import Rates

#: Fills the words of a bit-sliced plane.
_BATCH = 64


class Load:
    """Megabytes of a batch, by whom makes the correlations.

    Attributes:
        setup: what each party sends before the first inference, if the others have nothing of this model yet.
    """

    def __init__(self, plan: Plan, maker: Maker):
        one, many = (plan_cost(plan, batch=batch, rates=Rates(), maker=maker) for batch in (1, _BATCH))
        self.setup = {party: size / 1e6 for party, size in one.setup.items()}
        self._offline = [cost.offline for cost in (one, many)]
        self._all = [(sum(cost.offline.values()) + sum(cost.online.values())) / 1e6 for cost in (one, many)]

    def offline(self, party: str, batch: int) -> float:
        """What a party sends offline."""
        return _between([sent[party] / 1e6 for sent in self._offline], batch)

    def all(self, batch: int) -> float:
        """What everyone sends, offline and online."""
        return _between(self._all, batch)


def _between(ends: list[float], batch: int) -> float:
    first, last = ends
    return first + (last - first) * (batch - 1) / (_BATCH - 1)
