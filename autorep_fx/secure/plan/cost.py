"""What a native run will cost: rounds and bytes from the plan alone, seconds from measured rates.

Rounds and bytes are exact; a test holds them equal to what the channels counted. A round is a message that had to wait
for another one; a round trip is two. Messages that go the same way in a row, or both ways at once, are one round.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from ...text import brief
from ..link.message import HEADER_BYTES
from ..network import Network, network_of
from . import wire
from .plan import Plan, Step
from .rates import Rates

PARTIES = ("client", "server", "dealer")
COMPARISONS = ("fss", "gmw")

#: By how much dealing a comparison of the bit-sliced tree takes longer than evaluating it: three parties' masks are
#: made, and products of them.
_DEALING = 8


@dataclass
class StepCost:
    """Messages and work of one step.

    Attributes:
        online, offline: bytes sent, by party, headers included.
        online_seconds: of the party that takes longest, without the network.
        offline_seconds: of the slowest party.
        exchanges: whether messages go both ways at once.
        rounds: by how many its messages make the longest chain longer; those of all steps add up to the plan's.
        total_seconds: online, the network included; those of all steps add up to the plan's.
    """

    online: dict[str, int] = field(default_factory=dict)
    offline: dict[str, int] = field(default_factory=dict)
    online_seconds: float = 0.0
    offline_seconds: float = 0.0
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
        rounds: messages that wait for one another, from the input to the output; round_trips is half of it.
        online, offline: bytes sent, by party.
        setup: bytes sent once per model, by party.
        steps: the same by step, in order.
        online_seconds, offline_seconds: predicted.
        comparison: the variant that this is about.
    """

    comparison: str
    network: Network
    rounds: int
    online: dict[str, int]
    offline: dict[str, int]
    setup: dict[str, int]
    steps: dict[str, StepCost]
    online_seconds: float
    offline_seconds: float

    __repr__ = brief

    @property
    def round_trips(self) -> float:
        return self.rounds / 2

    def __str__(self) -> str:
        def sizes(sent: dict[str, int]) -> str:
            return ", ".join(f"{party} {sent.get(party, 0) / 1e6:,.2f} MB" for party in PARTIES if sent.get(party))

        net = self.network
        lines = [
            f"comparison {self.comparison}, {net.rtt_ms:g} ms round trip, {net.mbps:,g} Mbit/s",
            f"online   {self.rounds} rounds ({self.round_trips:g} round trips), {sizes(self.online)}, "
            f"about {self.online_seconds:.3g} s",
            f"offline  {sizes(self.offline)}, about {self.offline_seconds:.3g} s",
            f"setup    {sizes(self.setup)}, once per model",
        ]
        return "\n".join(lines)


def plan_cost(plan: Plan, network: Network | str = "lan", *, batch: int = 1, rates: Rates | None = None) -> Cost:
    """Cost of a run of ``plan`` on ``batch`` samples. rates: of this machine, if None."""
    network, rates = network_of(network), rates or Rates.measured()
    macs = _macs(plan, batch)
    steps = {step.name: _step(step, batch, macs.get(step.name, 0), rates) for step in plan.steps}
    for name, more in _rounds(plan).items():
        step = steps[name]
        step.rounds = more
        step.total_seconds = step.online_seconds + more * (network.delay + rates.message) + network.seconds(step.sent)
    online = _sum(cost.online for cost in steps.values())
    offline = _sum(cost.offline for cost in steps.values())
    offline["server"] = offline.get("server", 0) + HEADER_BYTES  # "ready"
    # The dealer streams to both parties over links of their own.
    busiest = max([offline["server"], *(sum(c.offline.get("dealer", 0) for c in steps.values()),)])
    offline_seconds = sum(c.offline_seconds for c in steps.values()) + network.seconds(busiest) + network.delay * 2
    variants = {s.attrs["comparison"] for s in plan.steps if s.attrs.get("comparison")}
    return Cost(
        comparison=" and ".join(sorted(variants)) or "none",
        network=network,
        rounds=sum(c.rounds for c in steps.values()),
        online=online,
        offline=offline,
        setup=_setup(plan),
        steps=steps,
        online_seconds=sum(c.total_seconds for c in steps.values()),
        offline_seconds=offline_seconds,
    )


def quickest(plan: Plan, network: Network, batch: int = 1) -> Cost:
    """Cost with the comparison with which a plan takes less time online."""
    costs = (plan_cost(plan.with_comparison(name), network, batch=batch) for name in COMPARISONS)
    return min(costs, key=lambda cost: cost.online_seconds)


def quicker(plan: Plan, network: Network, batch: int = 1) -> str:
    """That comparison; any, where nothing is compared."""
    found = quickest(plan, network, batch).comparison
    return found if found in COMPARISONS else COMPARISONS[0]


def _is_gmw(step: Step) -> bool:
    return step.attrs.get("comparison") == "gmw"


def _sum(parts) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for party, size in part.items():
            total[party] = total.get(party, 0) + size
    return total


def _macs(plan: Plan, batch: int) -> dict[str, int]:
    found = {}
    for step in plan.steps:
        kind = step.attrs.get("kind")
        if kind in ("conv2d", "linear"):
            found[step.name] = batch * step.size * int(np.prod(step.attrs["weight_shape"][1:]))
    return found


def _step(step: Step, batch: int, macs: int, rates: Rates) -> StepCost:
    size, cost = step.width // 8 * batch * step.size, StepCost(exchanges=_exchanges(step))
    if step.op == "input":
        cost.online = {"client": size + HEADER_BYTES}
        cost.online_seconds = rates.step + 3 * size / rates.bytes
    elif step.op in ("local", "constant"):
        cost.online_seconds = rates.step + 3 * size / rates.bytes
        cost.offline_seconds = cost.online_seconds
    elif step.op == "map":
        cost.offline = {"client": size + HEADER_BYTES, "dealer": size + HEADER_BYTES}
        rate = rates.macs if step.width == 64 else rates.macs32
        cost.online_seconds = rates.step + macs / rate + (0 if macs else 4 * size / rates.bytes)
        cost.offline_seconds = cost.online_seconds + rates.message + 2 * size / rates.prg + 2 * size / rates.bytes
    else:
        _activation(step, batch, size, cost, rates)
    return cost


def _activation(step: Step, batch: int, size: int, cost: StepCost, rates: Rates) -> None:
    found = wire.layout(step, batch)
    dealt = 8 * wire.words(found)
    key, n = 8 * wire.key_words(step, batch), wire.compared(step, batch)
    cost.offline = {"dealer": dealt + HEADER_BYTES + (2 * key + HEADER_BYTES if key else 0)}
    cost.offline_seconds = rates.step + rates.message + 2 * dealt / rates.prg + (dealt + 2 * key) / rates.bytes
    cost.online_seconds = 2 * rates.step + (dealt + 4 * size) / rates.bytes
    if step.op == "output":
        cost.online = {"server": size + step.attrs["wire"] // 8 * batch * step.size + HEADER_BYTES}
        return
    masked = step.attrs["wire"] // 8 * batch * step.wire_size
    cost.online = {"client": size + HEADER_BYTES, "server": masked + HEADER_BYTES}
    compared = n * len(wire.points(step))
    if key:
        wide, levels = step.width == 64, step.attrs["window"] - 1
        cost.online_seconds += compared * levels / (rates.eval_blocks if wide else rates.eval_blocks32)
        cost.offline_seconds += n * levels / (rates.gen_blocks if wide else rates.gen_blocks32)
    elif n:
        cost.online_seconds += compared / rates.gmw
        cost.offline_seconds += _DEALING * compared / rates.gmw
    exchanged = exchanged_bytes(step, batch)
    cost.online = {party: sent + exchanged for party, sent in cost.online.items()}


def exchanged_bytes(step: Step, batch: int) -> int:
    """Bytes that each party sends between the two messages of an activation, headers included."""
    if not _exchanges(step):
        return 0
    sent, a = 0, step.attrs
    if _is_gmw(step):
        sent += 8 * wire.planes(step, batch) * (wire.masks(a["window"]) + 1)
    if "knots" in a:
        sent += step.width // 8 * int(np.prod(wire.openings(step, batch)))
    return sent + HEADER_BYTES * wire.exchanges(step)


def _exchanges(step: Step) -> bool:
    return step.op == "activation" and wire.exchanges(step) > 0


def _rounds(plan: Plan) -> dict[str, int]:
    """By how much each step's messages are deeper than all before it, by playing the parties' clocks (server.py says
    when it waits)."""
    client = server = deepest = 0
    rounds: dict[str, int] = {}
    waiting: deque[tuple[str, int]] = deque()
    known: set[str] = set()

    def need(name: str) -> None:
        nonlocal server
        while name not in known:
            found, depth = waiting.popleft()
            server = max(server, depth)
            known.add(found)

    for step in plan.steps:
        for name in step.inputs:
            need(name)
        depth = deepest
        if step.op == "input":
            depth = server = max(server, client + 1)
        elif step.op == "output":
            depth = client = max(client, server + 1)
        if step.op in ("activation", "product"):
            if _exchanges(step) and waiting:
                need(waiting[-1][0])
            client = max(client, server + 1)
            if _exchanges(step):
                for _ in range(wire.exchanges(step)):
                    client, server = max(client, server + 1), max(server, client + 1)
            depth = client + 1
            waiting.append((step.name, depth))
        else:
            known.add(step.name)
        rounds[step.name], deepest = max(depth - deepest, 0), max(depth, deepest)
    return rounds


def _setup(plan: Plan) -> dict[str, int]:
    """Greetings, seeds, and E once per model."""
    hello = HEADER_BYTES + 32
    maps = [s for s in plan.steps if s.op == "map"]
    blinded = sum(s.width // 8 * int(np.prod(s.attrs["weight_shape"])) + HEADER_BYTES for s in maps)
    seed, seeds = 16 + HEADER_BYTES, 32 + HEADER_BYTES
    return {"client": 2 * hello + seed, "server": 2 * hello + seeds + blinded, "dealer": 2 * hello}
