"""What dealing costs."""

from __future__ import annotations

import math

from ...correlations import layout
from ...link.message import HEADER_BYTES
from ...link.network import Network
from ...plan import wire
from ...plan.plan import Plan, Step
from ...rates import Rates
from ..maker import Offline, StepOffline

#: By how much dealing a comparison of the bit-sliced tree takes longer than evaluating it: three parties' masks are
#: made, and products of them.
_DEALING = 8


def offline(plan: Plan, batch: int, network: Network, rates: Rates) -> Offline:
    """See :meth:`~..maker.Maker.offline`."""
    steps = {step.name: _step(step, batch, rates) for step in plan.steps}
    sent = {"server": HEADER_BYTES}  # "ready"
    for step in steps.values():
        for party, size in step.sent.items():
            sent[party] = sent.get(party, 0) + size
    # The dealer streams to both parties over links of their own.
    busiest = max(sent["server"], sent.get("dealer", 0))
    rounds = _rounds(plan)
    seconds = sum(step.seconds for step in steps.values()) + network.seconds(busiest) + network.delay * rounds
    return Offline(steps, sent, rounds, seconds, _setup(plan))


def _rounds(plan: Plan) -> int:
    """What is dealt, and "ready"; between them what the client says of maps that come behind its first key."""
    keys = [i for i, step in enumerate(plan.steps) if layout.key_words(step, 1)]
    return 3 if keys and any(step.op == "map" for step in plan.steps[keys[0] :]) else 2


def _step(step: Step, batch: int, rates: Rates) -> StepOffline:
    size = step.width // 8 * batch * step.size
    if step.op == "input":
        return StepOffline()
    if step.op in ("local", "constant"):
        return StepOffline(seconds=rates.pass_over(size))
    if step.op == "map":
        seconds = rates.map(step, batch) + rates.message + 2 * size / rates.prg + 2 * size / rates.bytes
        return StepOffline({"client": size + HEADER_BYTES, "dealer": size + HEADER_BYTES}, seconds)
    dealt, key = 8 * layout.words(layout.layout(step, batch)), 8 * layout.key_words(step, batch)
    sent = dealt + HEADER_BYTES + (2 * key + HEADER_BYTES if key else 0)
    seconds = rates.step + rates.message + 2 * dealt / rates.prg + (dealt + 2 * key) / rates.bytes
    n = wire.compared(step, batch)
    if key:
        seconds += n * (step.attrs["window"] - 1) / (rates.gen_blocks if step.width == 64 else rates.gen_blocks32)
    elif n:
        seconds += _DEALING * n * len(wire.points(step)) / rates.gmw
    return StepOffline({"dealer": sent}, seconds)


def _setup(plan: Plan) -> dict[str, int]:
    """Seeds, and E once per model."""
    maps = [step for step in plan.steps if step.op == "map"]
    blinded = sum(s.width // 8 * math.prod(s.attrs["weight_shape"]) + HEADER_BYTES for s in maps)
    return {"client": 16 + HEADER_BYTES, "server": 32 + HEADER_BYTES + blinded, "dealer": 0}
