"""What dealing costs."""

from __future__ import annotations

import math
from functools import partial

from ...correlations import layout
from ...link.message import CHALLENGE_BYTES, HEADER_BYTES
from ...link.network import Network
from ...plan import wire
from ...plan.plan import Plan, Step
from ...rates import Rates
from ..maker import Offline, StepOffline
from .map_check import ANSWERS
from .own import draws_u, held_arrays, is_tagged

#: By how much dealing a comparison of the bit-sliced tree takes longer than evaluating it: three parties' masks are
#: made, and products of them.
_DEALING = 8


def offline(plan: Plan, batch: int, network: Network, rates: Rates) -> Offline:
    """See :meth:`~..maker.Maker.offline`."""
    of = partial(_checked, plan) if plan.checked else _step
    steps = {step.name: of(step, batch, rates) for step in plan.steps}
    sent = {"server": HEADER_BYTES}  # "ready"
    if plan.checked and any(step.op == "map" for step in plan.steps):
        sent = {"client": 8 * ANSWERS * batch + HEADER_BYTES, "server": 2 * HEADER_BYTES + CHALLENGE_BYTES}
    for step in steps.values():
        for party, size in step.sent.items():
            sent[party] = sent.get(party, 0) + size
    # The dealer streams to both parties over links of their own.
    busiest = max(sent["server"], sent.get("dealer", 0))
    if sent.get("dealer", 0) == busiest:
        for step in steps.values():
            step.link_seconds = network.seconds(step.sent.get("dealer", 0))
    rounds = _rounds(plan)
    seconds = sum(step.seconds for step in steps.values()) + network.seconds(busiest) + network.delay * rounds
    return Offline(steps, sent, rounds, seconds, _setup(plan))


def _rounds(plan: Plan) -> int:
    """What is dealt, and "ready"; between them what the client says of maps behind the first thing that it is dealt,
    and of a checked plan the challenge and its answer."""
    dealt = [i for i, step in enumerate(plan.steps)
             if layout.key_words(step, 1) or plan.checked and is_tagged(step)]  # fmt: skip
    says = bool(dealt) and any(step.op == "map" for step in plan.steps[dealt[0] :])
    return 2 + says + 2 * (says and plan.checked)


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
        seconds += _DEALING * wire.tree_compared(step, batch) / rates.gmw
    return StepOffline({"dealer": sent}, seconds)


def _checked(plan: Plan, step: Step, batch: int, rates: Rates) -> StepOffline:
    """In a checked plan: h in 64 bits, and tags for the client."""
    elements = batch * step.size
    tags = 8 * layout.words(held_arrays(plan, step.lifted, batch)) if is_tagged(step) else 0
    sent = {"dealer": tags + HEADER_BYTES} if tags else {}
    # Of what has a tag: two streams of 64 bits at the dealer, one at client and server, and a pass that adds them up.
    seconds = 2 * tags / rates.prg + 2 * tags / rates.bytes
    if step.op == "input":
        return StepOffline(sent, seconds)
    if step.op in ("local", "constant"):
        return StepOffline(seconds=2 * rates.pass_over(8 * elements))
    if step.op == "map":
        u = 0 if draws_u(plan, step) else 4 * elements + HEADER_BYTES
        sent = {"client": 8 * elements + HEADER_BYTES, "dealer": sent["dealer"] + u}
        # The client's in a ring of 64 bits; and for the check a pass over the weights, and two over h.
        folded = 4 * math.prod(step.attrs["weight_shape"]) + 8 * ANSWERS * elements
        maps = rates.map(step.lifted, batch) + rates.pass_over(folded)
        return StepOffline(sent, seconds + maps + rates.message + 4 * elements / rates.bytes)
    dealt, key = 8 * layout.words(layout.whole(step, batch)), 8 * layout.key_words(step, batch, checked=True)
    to_client = tags + key + HEADER_BYTES if tags or key else 0
    seconds += rates.step + rates.message + (dealt + 2 * key) / rates.bytes
    if key:
        seconds += 4 / 3 * wire.compared(step, batch) * (step.attrs["window"] - 1) / rates.gen_blocks
    return StepOffline({"dealer": dealt + key + HEADER_BYTES + to_client}, seconds)


def _setup(plan: Plan) -> dict[str, int]:
    """Seeds, and E once per model."""
    maps = [step for step in plan.steps if step.op == "map"]
    blinded = sum(s.width // 8 * math.prod(s.attrs["weight_shape"]) + HEADER_BYTES for s in maps)
    return {"client": 16 + HEADER_BYTES, "server": 32 + HEADER_BYTES + blinded, "dealer": 0}
