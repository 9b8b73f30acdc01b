"""What each layer of a private inference costs, by the plan, on the networks that have a name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor, fx

from ..forms.drafts import unreplaced_plan
from ..graph.canonicalize import site_nodes
from ..graph.targets import path_of
from ..hybrid.activation import HybridActivation, sites
from ..secure.cost.cost import Cost, quickest
from ..secure.link.network import NETWORKS, Network, network_of
from ..secure.makers.table import maker_of
from ..secure.plan import wire
from ..secure.plan.plan import Plan, Step, node_of
from ..secure.plan.table import OPERATIONS
from ..secure.planner.clamp import clips
from ..secure.planner.names import CLAMP
from ..secure.secure_program import SecureProgram

#: What is gathered into the last row: sums, pools and reshapes, which send nothing.
REST = "sums, pools, reshapes"


@dataclass
class LayerCost:
    """One site, one layer, or one end of the network.

    Attributes:
        name: the site's or the module's name; node: of the graph; what clips the input is one beside it.
        is_site: whether it is a site.
        form: how it is computed.
        travels: elements of a sample that are sent masked.
        rounds: by how many messages it makes the longest chain longer.
        online, offline: bytes sent by all parties, headers included.
        seconds: predicted online, the network included.
    """

    name: str
    node: str
    is_site: bool
    form: str = ""
    travels: int = 0
    rounds: int = 0
    online: int = 0
    offline: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Total:
    """Of one private inference: as in :class:`LayerCost`; ``offline_seconds``, predicted; ``core_seconds`` of work of
    the busiest party, online and offline; ``offline_rounds``, as ``rounds`` before there is an input."""

    rounds: int
    online: int
    offline: int
    seconds: float
    offline_seconds: float
    core_seconds: float
    offline_rounds: int = 0

    @property
    def all_seconds(self) -> float:
        """Of an inference for which nothing is prepared."""
        return self.offline_seconds + self.seconds

    @staticmethod
    def of(cost: Cost) -> Total:
        work = sum(step.online_seconds + step.offline_seconds for step in cost.steps.values())
        return Total(cost.rounds, sum(cost.online.values()), sum(cost.offline.values()), cost.online_seconds,
                     cost.offline_seconds, work, cost.offline_rounds)  # fmt: skip


@dataclass(frozen=True)
class NetworkCost:
    """On one network.

    Attributes:
        label: its name, or what it is.
        comparison: which is quicker there.
        layers: in run order; what they leave of the total is headers.
        original: the total with every activation kept, by a draft of its plan; None where all are, or without examples.
        dealer: whether all of that is with a dealer, as the program is planned.
        other: the total of the same plan the other way; None where it does not run so.
    """

    label: str
    network: Network
    comparison: str
    layers: list[LayerCost] = field(repr=False)
    total: Total
    original: Total | None
    dealer: bool = True
    other: Total | None = None

    @property
    def by_maker(self) -> list[tuple[str, Total]]:
        """The total with a dealer and that without one."""
        both = [(self.dealer, self.total), (not self.dealer, self.other)]
        return [("with a dealer" if dealer else "without one", total)
                for dealer, total in sorted(both, key=lambda each: not each[0]) if total is not None]  # fmt: skip


def costs(gm: fx.GraphModule, program: SecureProgram, network: Network | str, x: Tensor | None) -> list[NetworkCost]:
    """Of ``network`` first, then of those that have a name.

    Args:
        program: of ``gm``.
        x: examples, from which the original is planned.

    Raises:
        ValueError: the program is of another model, or of other masks.
        CompileError: the program has no plan.
    """
    plan, chosen = program.native[0], network_of(network)
    _check_same(gm, plan)
    there, original = sites(gm).values(), None
    if x is not None and all(s.shape is not None for s in there) and any(s.kept < s.total for s in there):
        original = unreplaced_plan(gm, x, chosen, program.dealer)
    labels = {found: name for name, found in NETWORKS.items()}
    networks = dict.fromkeys([chosen, *NETWORKS.values()])
    return [
        _on_network(
            gm, plan, original, each, labels.get(each, f"{each.rtt_ms:g} ms, {each.mbps:,g} Mbit/s"), program.dealer
        )
        for each in networks
    ]


def _on_network(
    gm: fx.GraphModule, plan: Plan, original: Plan | None, network: Network, label: str, dealer: bool
) -> NetworkCost:
    maker, other = (maker_of(each, network) for each in (dealer, not dealer))
    cost = quickest(plan, network, maker=maker)
    without = None if plan.checked else Total.of(quickest(plan, network, maker=other))
    plan = plan.with_comparison(cost.comparison)
    names = {node.name: node.target for node in gm.graph.nodes if node.op == "call_module"}
    of_sites = {node.name for node in site_nodes(gm, HybridActivation)}
    steps: dict[str, list[Step]] = {}
    for step in plan.steps:
        node = node_of(step.name)
        shown = node in of_sites or OPERATIONS[step.op].shown is not None
        row = node + CLAMP if clips(step.name) else node
        steps.setdefault(row if shown else REST, []).append(step)
    layers = [
        LayerCost(
            names.get(node, node), node, node in of_sites, "" if node == REST else _form(found, node in of_sites),
            *_sums([cost.steps[step.name] for step in found], found),
        )
        for node, found in steps.items()
    ]  # fmt: skip
    layers.sort(key=lambda layer: layer.node == REST)
    return NetworkCost(label, network, cost.comparison, layers, Total.of(cost),
                       None if original is None else Total.of(quickest(original, network, maker=maker)), dealer,
                       without)  # fmt: skip


def _sums(found: Sequence, steps: Sequence[Step]) -> tuple[int, int, int, int, float]:
    travels = sum(step.wire_size for step in steps if step.sent)
    return (
        travels,
        sum(cost.rounds for cost in found),
        sum(sum(cost.online.values()) for cost in found),
        sum(sum(cost.offline.values()) for cost in found),
        sum(cost.total_seconds for cost in found),
    )


def _form(steps: Sequence[Step], is_site: bool) -> str:
    """How a layer is computed, in a few words: what it sends, or by which weights."""
    sent = next((step for step in steps if step.sent), None)
    parts = [text for step in ([sent] if sent else steps) if (text := _shown(step, is_site))]
    text = " and ".join(dict.fromkeys(parts)) or "no private numbers"
    if sent or not is_site:
        return text
    return f"lines, within {text}" if parts else "lines"


def _shown(step: Step, is_site: bool) -> str | None:
    shown = OPERATIONS[step.op].shown
    return None if shown is None else shown(step, is_site)


def _check_same(gm: fx.GraphModule, plan: Plan) -> None:
    nodes, compares = {node.name for node in gm.graph.nodes}, Counter[str]()
    for step in plan.steps:
        node = node_of(step.name)
        if node not in nodes and step is not plan.output:
            raise ValueError(f"program was compiled from another model: it has a step '{node}', and gm no such node")
        compares[node] += wire.compared(step, 1)
    there = sites(gm)
    for called in site_nodes(gm, HybridActivation):
        site, compared = there[path_of(called)], compares[called.name]
        if site.shape is not None and (compared > site.kept or (compared == 0) != (site.kept == 0)):
            raise ValueError(f"program was compiled from other masks: at site '{called.target}' it compares "
                             f"{compared:,} positions, and gm keeps {site.kept:,}; compile gm again")  # fmt: skip
