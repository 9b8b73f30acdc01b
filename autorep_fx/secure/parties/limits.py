"""What a party accepts at most, whatever a peer asks for."""

from __future__ import annotations

import os

from ..plan.cost import plan_cost
from ..plan.plan import Plan
from ..plan.rates import Rates

#: The longest chain of messages outside of the online phase: greeting, seed, request, and the offline phase's three.
_OFFLINE_DEPTH = 6

#: A batch that fills the words of a bit-sliced plane, so that one sample's share of it is its cost.
_BATCH = 64


def longest_chain(plan: Plan) -> int:
    """Messages of which each had to wait for the one before; a request follows on the inference before it."""
    return plan_cost(plan, rates=Rates()).rounds + _OFFLINE_DEPTH


def largest_batch(plan: Plan) -> int:
    """Samples of one inference, by default: as many as have correlations that fit into this machine's memory.

    The server holds all of them until the online phase, so a larger batch could not be answered anyway; what a peer may
    make a party allocate is bounded by it.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    sample = sum(plan_cost(plan, batch=_BATCH, rates=Rates()).offline.values()) / _BATCH
    return max(int(memory / sample), 1)
