"""What a native run will cost: rounds and bytes from the plan alone, seconds from measured rates.

Rounds and bytes are exact; a test holds them equal to what the channels counted. A round is a message that had to wait
for another one; a round trip is two. Messages that go the same way in a row, or both ways at once, are one round.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from ...text import brief
from ..correlations import layout
from ..link.message import CHALLENGE_BYTES, HEADER_BYTES, HELLO_BODY
from ..link.network import Network, network_of
from ..makers.maker import Maker
from ..makers.table import DEALT
from ..plan import wire
from ..plan.message_rounds import message_rounds
from ..plan.plan import Plan, Step
from ..rates import Rates


@dataclass
class StepCost:
    """Messages and work of one step.

    Attributes:
        online, offline: bytes sent, by party, headers included.
        online_seconds: of the party that takes longest, without the network.
        offline_seconds: of the slowest party, without the network; offline_link_seconds: of the busiest link. Those of
            all steps, and what waits, add up to the plan's.
        exchanges: whether messages go both ways at once.
        rounds: by how many its messages make the longest chain longer; those of all steps add up to the plan's.
        total_seconds: online, the network included; those of all steps add up to the plan's.
    """

    online: dict[str, int] = field(default_factory=dict)
    offline: dict[str, int] = field(default_factory=dict)
    online_seconds: float = 0.0
    offline_seconds: float = 0.0
    offline_link_seconds: float = 0.0
    exchanges: bool = False
    rounds: int = 0
    total_seconds: float = 0.0

    @property
    def sent(self) -> int:
        """Bytes that are on the way online one after another: messages there and back alternate, but exchanges, which
        go both ways at once."""
        return max(self.online.values(), default=0) if self.exchanges else sum(self.online.values())


@dataclass
class Cost:
    """Cost of one private inference on a network.

    Attributes:
        maker: of the correlations, its name.
        rounds: messages that wait for one another, from the input to the output; round_trips is half of it.
        offline_rounds: the same before there is an input.
        online, offline: bytes sent, by party.
        setup: bytes sent once per model, by party.
        steps: the same by step, in order.
        online_seconds, offline_seconds: predicted.
        comparison: the variant that this is about.
        note: what else to know of the plan; nothing, mostly.
    """

    comparison: str
    network: Network
    maker: str
    rounds: int
    offline_rounds: int
    online: dict[str, int]
    offline: dict[str, int]
    setup: dict[str, int]
    steps: dict[str, StepCost]
    online_seconds: float
    offline_seconds: float
    note: str = ""

    __repr__ = brief

    @property
    def round_trips(self) -> float:
        return self.rounds / 2

    @property
    def total_seconds(self) -> float:
        """Of an inference for which nothing is prepared, offline and online together."""
        return self.offline_seconds + self.online_seconds

    def __str__(self) -> str:
        def sizes(sent: dict[str, int]) -> str:
            return ", ".join(f"{party} {sent.get(party, 0) / 1e6:,.2f} MB" for party in sent if sent[party])

        net = self.network
        without = "" if "dealer" in self.setup else ", without a dealer"
        lines = [
            f"comparison {self.comparison}{without}, {net.rtt_ms:g} ms round trip, {net.mbps:,g} Mbit/s",
            f"online   {self.rounds} rounds ({self.round_trips:g} round trips), {sizes(self.online)}, "
            f"about {self.online_seconds:.3g} s",
            f"offline  {self.offline_rounds} rounds, {sizes(self.offline)}, about {self.offline_seconds:.3g} s",
            f"setup    {sizes(self.setup)}, once per {'session' if without else 'model'}",
            *([f"note     {self.note}"] if self.note else []),
        ]
        return "\n".join(lines)


def plan_cost(
    plan: Plan, network: Network | str = "lan", *, batch: int = 1, rates: Rates | None = None, maker: Maker = DEALT
) -> Cost:
    """Cost of a run of ``plan`` on ``batch`` samples. rates: of this machine, if None. maker: of correlations."""
    network, rates = network_of(network), rates or Rates.measured()
    offline = maker.offline(plan, batch, network, rates)
    steps = {step.name: _step(step, batch, rates, plan.checked) for step in plan.steps}
    for name, rounds in message_rounds(plan).items():
        step = steps[name]
        step.rounds = rounds
        own = offline.steps[name]
        step.offline, step.offline_seconds, step.offline_link_seconds = own.sent, own.seconds, own.link_seconds
        step.total_seconds = step.online_seconds + rounds * (network.delay + rates.message) + network.seconds(step.sent)
    hello = (HEADER_BYTES + HELLO_BODY.size) * (len(maker.roles) - 1)
    return Cost(
        comparison=plan.variant or "none",
        network=network,
        maker=maker.name,
        offline_rounds=offline.rounds,
        rounds=sum(c.rounds for c in steps.values()),
        online=_sum(cost.online for cost in steps.values()),
        offline={party: offline.sent[party] for party in maker.roles if offline.sent.get(party)},
        setup={party: hello + offline.setup[party] for party in maker.roles},
        steps=steps,
        online_seconds=sum(c.total_seconds for c in steps.values()),
        offline_seconds=offline.seconds,
    )


def quickest(plan: Plan, network: Network, batch: int = 1, maker: Maker = DEALT) -> Cost:
    """Cost with the comparison with which a plan takes less time online, of those that the maker has."""
    names = maker.comparisons_of(plan)
    costs = (plan_cost(plan.with_comparison(name), network, batch=batch, maker=maker) for name in names)
    return min(costs, key=lambda cost: cost.online_seconds)


def quicker(plan: Plan, network: Network, batch: int = 1, maker: Maker = DEALT) -> str:
    """That comparison; any, where nothing is compared."""
    found = quickest(plan, network, batch, maker).comparison
    return found if found in maker.comparisons else maker.comparisons[0]


def _sum(parts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for party, size in part.items():
            total[party] = total.get(party, 0) + size
    return total


def _step(step: Step, batch: int, rates: Rates, checked: bool) -> StepCost:
    size, cost = step.width // 8 * batch * step.size, StepCost(exchanges=wire.exchanges(step) > 0)
    if step.masked:
        _on_masked_wire(step, batch, size, cost, rates)
        if checked:
            _check(step, batch, cost, rates)
    elif step.op == "map":
        cost.online_seconds = rates.map(step, batch)
    else:
        cost.online = {"client": size + HEADER_BYTES} if step.sent else {}
        cost.online_seconds = rates.pass_over(size)
    return cost


def _on_masked_wire(step: Step, batch: int, size: int, cost: StepCost, rates: Rates) -> None:
    shares = 8 * layout.words(layout.layout(step, batch))
    cost.online_seconds = 2 * rates.step + (shares + 4 * size) / rates.bytes
    masked = step.attrs["wire"] // 8 * batch * step.wire_size
    if not step.answered:
        cost.online = {"server": size + masked + HEADER_BYTES}
        return
    cost.online = {"client": size + HEADER_BYTES, "server": masked + HEADER_BYTES}
    if n := wire.compared(step, batch):
        n *= len(wire.points(step))
        if step.attrs["comparison"] == "fss":
            rate = rates.eval_blocks if step.width == 64 else rates.eval_blocks32
            cost.online_seconds += n * (step.attrs["window"] - 1) / rate
        else:
            cost.online_seconds += wire.tree_compared(step, batch) / rates.gmw
    exchanged = exchanged_bytes(step, batch)
    cost.online = {party: sent + exchanged for party, sent in cost.online.items()}


def _check(step: Step, batch: int, cost: StepCost, rates: Rates) -> None:
    """What a check adds: the client's numbers in 64 bits, the evaluation once more on tags, and at the output a
    challenge and its answer."""
    if not step.answered:
        cost.online["server"] += CHALLENGE_BYTES + HEADER_BYTES
        cost.online["client"] = 8 + HEADER_BYTES
        return
    elements = batch * step.size
    opened = math.prod(wire.openings(step, batch)) if "knots" in step.attrs else 0
    cost.online["client"] += 4 * (elements + opened)
    # Tags are evaluated while the other party works, so that half of that shows; keys carry twice as much, of 64 bits.
    held = 8 * layout.words(layout.whole(step.lifted, batch))
    cost.online_seconds += rates.step + (held + 16 * elements) / rates.bytes
    if n := wire.compared(step, batch):
        blocks = n * len(wire.points(step)) * (step.attrs["window"] - 1)
        cost.online_seconds += blocks * (4 / 3 / rates.eval_blocks - 1 / rates.eval_blocks32)


def exchanged_bytes(step: Step, batch: int) -> int:
    """Bytes that each party sends between the two messages of an activation, headers included."""
    if not wire.exchanges(step):
        return 0
    sent, a = 0, step.attrs
    if a["comparison"] != "fss":
        sent += 8 * wire.tree_words(step, batch) * (wire.masks(wire.tree_window(step)) + 1)
    if wire.by_table(step):
        sent += 8 * wire.planes(step, batch)
    if "knots" in a:
        sent += step.width // 8 * math.prod(wire.openings(step, batch))
    return sent + HEADER_BYTES * wire.exchanges(step)
