"""What a party accepts at most, whatever a peer asks for."""

from __future__ import annotations

import os

from ..cost.cost import plan_cost
from ..makers.maker import Maker
from ..makers.table import DEALT
from ..plan.plan import Plan
from ..rates import Rates

#: A batch that fills the words of a bit-sliced plane, so that one sample's share of it is its cost.
_BATCH = 64


def largest_batch(plan: Plan, maker: Maker = DEALT) -> int:
    """Samples of one inference, by default: as many as have correlations that fit into this machine's memory.

    The server holds all of them until the online phase, so a larger batch could not be answered anyway; what a peer may
    make a party allocate is bounded by it.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    sample = sum(plan_cost(plan, batch=_BATCH, rates=Rates(), maker=maker).offline.values()) / _BATCH
    return max(int(memory / sample), 1)
